/*
 * Reading blobs that the store holds.
 *
 * A blob is immutable. An open blob is a file descriptor: it can be read by several threads at once
 * (pread only) and stays readable when the blob is deleted meanwhile.
 */
#ifndef SLIPWAY_STORE_BLOB_H
#define SLIPWAY_STORE_BLOB_H

#include "base/file.h"
#include "image/digest.h"
#include "store/store.h"

struct blob {
    int fd; /* owned: blob_close */
    uint64_t size;
};

#define autoblob __attribute__((cleanup(blob_close)))
#define BLOB_INIT                                                                                  \
    {                                                                                              \
        .fd = -1                                                                                   \
    }

/* How many bytes it has. ERR_BLOB_UNKNOWN when it is not held, ERR_BLOB_CORRUPT when its bytes are
 * not there any more; of blob_open(), too. */
enum errc blob_stat(struct store *store, const struct digest *digest, uint64_t *size,
                    struct error *err);

enum errc blob_open(struct store *store, const struct digest *digest, struct blob *out,
                    struct error *err);
void blob_close(struct blob *blob);

/* The whole blob as owned bytes followed by NUL: for manifests and configs. ERR_JSON_TOO_LARGE when
 * it is over `limit_bytes`, before anything is read; `what` names it. ERR_BLOB_CORRUPT, and it is
 * dropped, when they are not the bytes of the digest (store/blob_proof.h). */
enum errc blob_read_all(struct store *store, const struct digest *digest, size_t limit_bytes,
                        const char *what, char **data, size_t *size, struct error *err);
/* The same of one that is open, whatever its bytes are. */
enum errc blob_slurp(const struct blob *blob, size_t limit_bytes, const char *what, char **data,
                     size_t *size, struct error *err);

/* The bytes that were read from `blob` (NULL: it could not be opened) are not the digest's: drop
 * what is there, unless it is another file by now. Returns ERR_BLOB_CORRUPT. */
enum errc blob_refute(struct store *store, const struct digest *digest, const struct blob *blob,
                      struct error *err);

#endif
