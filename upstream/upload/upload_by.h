/*
 * The ways to send one blob, each as far as it goes without trouble: OCI distribution-spec,
 * "Pushing a blob monolithically" (end-4b, end-6) and "Pushing a blob in chunks" (end-5, end-6).
 * Which one, and what to do when it does not work, is upstream/upload/upload.c's to say.
 *
 * A body always has its length. What the registry has already of an open session (its offset) is
 * not sent again.
 */
#ifndef SLIPWAY_UPSTREAM_UPLOAD_UPLOAD_WAYS_H
#define SLIPWAY_UPSTREAM_UPLOAD_UPLOAD_WAYS_H

#include "upstream/client/upload_methods.h"
#include "upstream/upload/upload.h"

/* The request that failed, when one did. */
enum upload_stage {
    UPLOAD_OPENING,    /* the POST that opens a session */
    UPLOAD_SENDING,    /* a PATCH */
    UPLOAD_COMMITTING, /* what gives the digest */
};

struct upload {
    struct registry_client *client;
    const struct upload_blob *blob;
    struct upload_session *session; /* opened where it is none and the way needs one */
    struct upload_memo *memo;       /* is told where it is */
    enum upload_stage stage;
    uint64_t body_bytes; /* of the last request's body */
};

/* ERR_OK when the registry acknowledged the blob under its digest, else `upload` says at which
 * request it ended. `chunk_bytes` is for the chunked way. Errors: those of exchange() and what a
 * refusal says, err->status is its status; ERR_PUSHED_DIGEST when another digest was stored. */
enum errc upload_by(struct upload *upload, enum upload_method way, uint64_t chunk_bytes,
                    struct error *err);

/* A piece of a blob whose end is not known yet: the `size` bytes from the session's offset on. Of
 * the blob's digest only the algorithm counts. Errors as above. */
enum errc upload_piece(struct upload *upload, uint64_t size, struct error *err);

#endif
