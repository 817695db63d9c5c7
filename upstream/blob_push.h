/*
 * One blob to the target repository: is it there, and if not, send it. What layers and configs have
 * in common.
 */
#ifndef SLIPWAY_UPSTREAM_BLOB_PUSH_H
#define SLIPWAY_UPSTREAM_BLOB_PUSH_H

#include "upstream/push_state.h"
#include "upstream/upload_session.h"

/* Ask the registry; what is there goes into the push state. */
enum errc blob_check(struct push *push, struct registry_client *client,
                     const struct descriptor *blob, bool *exists, struct error *err);

/* Upload it from the store. It goes into the push state and its bytes into the result. With an `id`
 * its progress is told, at most five times a second and once at the end. ERR_BLOB_UNKNOWN or
 * ERR_BLOB_CORRUPT when the store does not hold it as described.
 *
 * blob_send_in() uses `session` where one is open, and leaves none, whatever happens. */
enum errc blob_send_in(struct push *push, struct registry_client *client,
                       struct upload_session *session, const struct descriptor *blob,
                       const char *id, struct error *err);
enum errc blob_send(struct push *push, struct registry_client *client,
                    const struct descriptor *blob, const char *id, struct error *err);

#endif
