/*
 * What slipway holds: blobs on disk, metadata in LMDB. One store is one data folder, used by one
 * process at a time.
 *
 *     DATA/lock            flock'ed by the process that has the store open; holds its pid
 *     DATA/blobs/ALG/AB/HEX  content-addressed blobs, complete and verified
 *     DATA/staging/N/      blobs of batches that are being written; emptied at every open
 *     DATA/uploads/ID      bytes of upload sessions of the registry front (store/blob_upload.h)
 *     DATA/meta/           LMDB (key layouts and encodings: store/local/records.h)
 *
 * The modules around it: store/blob.h (reading), store/batch.h (writing), store/layers.h,
 * store/references.h and store/repositories.h (metadata), store/blob_upload.h (what clients send in
 * pieces), store/pushes.h (what was promised). All of them may be called from any thread; each call
 * takes what it needs from the LMDB map as a copy.
 *
 * Durability is the batch's choice, see store/batch.h. Blobs that were never promised to be durable
 * outlive the process, however it ends, as long as the machine runs: the page cache has them. An
 * orderly close writes them out, and they are durable from then on. When the machine went down
 * without one, the next open drops them with the records that depend on them.
 */
#ifndef SLIPWAY_STORE_STORE_H
#define SLIPWAY_STORE_STORE_H

#include "base/error.h"

#include <stdint.h>

struct store;

struct store_options {
    const char *path;        /* the data folder; made (0700) when absent */
    uint64_t map_size_bytes; /* LMDB's address space; 0 = 32 GiB; the bound on metadata */
    bool leave_volatile;     /* close without waiting for the disk, see store_close() */
};

/* ERR_STORE_LOCKED names the process that has it; ERR_STORE for a folder of a newer schema or a
 * damaged one; ERR_IO, ERR_NO_SPACE. */
enum errc store_open(const struct store_options *options, struct store **out, struct error *err);

/* Orderly end: what is not durable yet is written out, which may take as long as the disk needs for
 * all of it. With `leave_volatile` (a command that pushes and ends) it stays volatile instead. No
 * call may be running, no batch open. NULL is a no-op. */
void store_close(struct store *store);

#endif
