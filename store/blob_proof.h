/*
 * Are a blob's bytes still those of its digest? A disk may give other ones than it was given, and
 * nobody but a hash over them can tell.
 *
 * What is read whole (blob_read_all()) is hashed each time. For what is sent as it lies there,
 * blob_prove() is asked first; it remembers what it has seen, and what came in through this process
 * was hashed as it came, so most blobs are read for it once a day at most. How many it remembers is
 * bounded: a forgotten one is read again.
 *
 * A blob with other bytes is dropped: its file and its record. It is not held from then on, so that
 * clients are told so and bring it again, like one that never was.
 *
 * Threads: any. Those that want the same blob proved at the same time read it once.
 */
#ifndef SLIPWAY_STORE_BLOB_PROOF_H
#define SLIPWAY_STORE_BLOB_PROOF_H

#include "base/cancel.h"
#include "store/blob.h"

#define BLOB_PROOF_DAY_MS ((int64_t)24 * 3600 * 1000)

/* Read and hash the blob, unless that was done in the last `age_ms` milliseconds: 0 is always.
 * ERR_BLOB_CORRUPT: other bytes, fewer, or none; it is dropped. ERR_BLOB_UNKNOWN, ERR_CANCELLED,
 * ERR_IO. */
enum errc blob_prove(struct store *store, const struct digest *digest, int64_t age_ms,
                     const struct cancel *cancel, struct error *err);

#endif
