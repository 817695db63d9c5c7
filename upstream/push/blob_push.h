/*
 * One blob to the target repository: is it there, and if not, send it. What layers and configs have
 * in common.
 */
#ifndef SLIPWAY_UPSTREAM_PUSH_BLOB_PUSH_H
#define SLIPWAY_UPSTREAM_PUSH_BLOB_PUSH_H

#include "upstream/push/target_push.h"
#include "upstream/upload/upload.h"

/* Ask the registry; what is there goes into the push state. The question is a help only: where it
 * is answered with 5xx the upload decides. */
enum errc blob_check(struct target_push *push, struct registry_client *client,
                     const struct descriptor *blob, bool *exists, struct error *err);

/* One attempt to upload it from the store; `upload` is what is kept of it over the attempts, as in
 * upload_blob(). It goes into the push state. With an `id` its
 * progress is told, at most five times a second and once at the end. ERR_BLOB_UNKNOWN or
 * ERR_BLOB_CORRUPT when the store does not hold it as described: its bytes are proved before they
 * leave (store/blob_proof.h), and again before a registry is blamed for refusing them. */
enum errc blob_send(struct target_push *push, struct registry_client *client,
                    struct unfinished_upload *upload, const struct descriptor *blob, const char *id,
                    struct error *err);

#endif
