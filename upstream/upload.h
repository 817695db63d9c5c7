/*
 * The upload of one blob: OCI distribution-spec, "Pushing a blob monolithically", "POST then PUT"
 * (end-4a, end-6), and what to do when its answer gets lost.
 *
 * The bytes are in the store and their digest is known beforehand, so the blob leaves in a single
 * PUT with its length, and after any doubtful end the registry is asked whether it has the digest
 * before the upload is called failed. Other ways to send the bytes (PATCH, chunks, a single POST)
 * are the business of this module alone.
 */
#ifndef SLIPWAY_UPSTREAM_UPLOAD_H
#define SLIPWAY_UPSTREAM_UPLOAD_H

#include "image/digest.h"
#include "upstream/upload_session.h"

struct upload_blob {
    const struct digest *digest;
    const struct http_body *body;
    void (*sent)(void *arg, uint64_t bytes); /* as in http_request; may be NULL */
    void *sent_arg;
};

/*
 * Returns when the registry acknowledged the blob. `session` is one that is open already (kept from
 * a mount that failed), or NULL, or none: then one is opened where the way to send needs one. It is
 * none afterwards, whatever happens. On failure and cancellation the session in use is taken back
 * (DELETE, best effort, at most 2 s). Errors: ERR_PUSHED_DIGEST when the registry names another
 * digest; ERR_UPLOAD_UNKNOWN, ERR_REGISTRY_*, ERR_UNAUTHORIZED, ERR_DENIED, ERR_NAME_UNKNOWN; those
 * of exchange().
 */
enum errc upload_blob(struct registry_client *client, struct upload_session *session,
                      const struct upload_blob *blob, struct error *err);

#endif
