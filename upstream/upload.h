/*
 * The upload of one blob: OCI distribution-spec, "Pushing Blobs", in whichever way the registry
 * takes it, and what to do when something goes wrong on the way.
 *
 * The bytes are in the store and their digest is known beforehand. So they leave in the way that
 * the registry is known to take or, where nothing is known, in the first of the ladder's ways that
 * it does not refuse (upstream/upload_ladder.h); after any doubtful end the registry is asked
 * whether it has the digest before a byte is sent again; and what it has of a session is not sent
 * again. Only what can be mended at once is mended here: waiting and trying again are the caller's.
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
 * digest; ERR_REGISTRY_UNSUPPORTED when it takes blobs in none of the ways that may be tried, with
 * the first refusal's text and status; ERR_UPLOAD_UNKNOWN, ERR_REGISTRY_*, ERR_UNAUTHORIZED,
 * ERR_DENIED, ERR_NAME_UNKNOWN; those of exchange().
 */
enum errc upload_blob(struct registry_client *client, struct upload_session *session,
                      const struct upload_blob *blob, struct error *err);

#endif
