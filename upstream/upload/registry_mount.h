/*
 * Mounting: a blob of another repository of the same registry becomes one of the target's without a
 * byte of it being sent. OCI distribution-spec 1.1, "Mounting a blob from another repository"
 * (end-11).
 */
#ifndef SLIPWAY_UPSTREAM_UPLOAD_REGISTRY_MOUNT_H
#define SLIPWAY_UPSTREAM_UPLOAD_REGISTRY_MOUNT_H

#include "image/digest.h"
#include "upstream/upload/upload_session.h"

/*
 * POST with `mount` and `from`, a repository path at the same host. ERR_OK: *mounted says whether
 * the registry did it (201); if not, it opened an upload session instead (202), which is now in
 * `session` (none before). Any other end is an error that says why; no mount is never a reason to
 * fail a push, so the caller goes on unless it is ERR_CANCELLED.
 *
 * The token is asked for with `repository:FROM:pull` beside the repository's own scope, for this
 * request only; where the token server refuses that, the mount is tried without.
 */
enum errc registry_mount(struct registry_client *client, const struct digest *digest,
                         const char *from, bool *mounted, struct upload_session *session,
                         struct error *err);

#endif
