/*
 * What slipway holds: blobs on disk, metadata in LMDB. One store is one data folder, used by one
 * process at a time.
 *
 *     DATA/lock            flock'ed by the process that has the store open; holds its pid
 *     DATA/blobs/ALG/AB/HEX  content-addressed blobs, complete and verified
 *     DATA/staging/N/      blobs of batches that are being written; emptied at every open
 *     DATA/meta/           LMDB (key layouts and encodings: store/records.h)
 *
 * The modules around it: store/blob.h (reading), store/batch.h (writing), store/layers.h and
 * store/references.h (metadata). All of them may be called from any thread; each call takes what it
 * needs from the LMDB map as a copy.
 *
 * Durability is the batch's choice, see store/batch.h. At open, blobs that were never promised to
 * be durable are kept if the machine did not restart since (the page cache has them) or the last
 * close was orderly, and dropped otherwise.
 */
#ifndef SLIPWAY_STORE_STORE_H
#define SLIPWAY_STORE_STORE_H

#include "base/error.h"

#include <stdint.h>

struct store;

struct store_options {
    const char *path;        /* the data folder; made (0700) when absent */
    uint64_t map_size_bytes; /* LMDB's address space; 0 = 64 GiB; the bound on metadata */
};

/* ERR_STORE_LOCKED names the process that has it; ERR_STORE for a folder of a newer schema or a
 * damaged one; ERR_IO, ERR_NO_SPACE. */
enum errc store_open(const struct store_options *options, struct store **out, struct error *err);

/* Orderly end: what is not durable yet is written out. No call may be running, no batch open. */
void store_close(struct store *store);

#endif
