/*
 * The store of one process in one folder: blobs are files, metadata is in LMDB. This header alone
 * knows that there is a folder; what is in it is for the headers of store/local/.
 *
 *     DATA/                flock'ed by the process that has the store open
 *     DATA/lock            its pid
 *     DATA/blobs/ALG/AB/HEX  content-addressed blobs, complete and verified
 *     DATA/staging/N/      blobs of batches that are being written; emptied at every open
 *     DATA/uploads/ID      bytes of upload sessions (store/blob_upload.h); linked to while one ends
 *     DATA/quarantine/ID   what was wrong, and ID.json: what it was (store/quarantine.h)
 *     DATA/trust_key.pem   the key of store/trust_key.h, mode 0600
 *     DATA/meta/           LMDB (key layouts and encodings: store/local/records.h)
 *
 * A batch moves its files to their places by rename and then writes all records in one transaction;
 * one that fails in its commit may leave files without records, which nobody sees. Durable is, in
 * this order, always: blob fsync, rename, folder fsync, commit of the metadata, return. What is
 * volatile outlives the process, however it ends, as long as the machine runs: the page cache has
 * it. When the machine went down without an orderly close, the next open drops what was volatile
 * with the records that depend on it (store/local/recover.h).
 */
#ifndef SLIPWAY_STORE_STORE_LOCAL_H
#define SLIPWAY_STORE_STORE_LOCAL_H

#include "store/store.h"

#include <stdint.h>

/* How many upload sessions there can be at the same time; 0: any number. */
struct upload_limits {
    unsigned all;
    unsigned per_repository;
    unsigned per_client;
    int64_t yield_ms; /* one that nobody asked for after its begin can give way from then on */
};

/* The smaller of 1 GiB and a twentieth of the file system. */
#define STORE_KEEP_FREE_DEFAULT UINT64_MAX

struct store_options {
    uint64_t map_size_bytes;  /* LMDB's address space; 0 = 32 GiB; the bound on metadata */
    uint64_t keep_free_bytes; /* of the file system, see store_check_room(); 0: nothing */
    struct upload_limits uploads;
    bool has_leases;     /* clients are told what is there, and may come back: what they were told
                            is remembered over a crash (store/collect.h) */
    bool leave_volatile; /* close without waiting for the disk, see store_close() */
};

/* `path` is the data folder; made (0700) when absent; copied. ERR_STORE_LOCKED names the process
 * that has it; ERR_STORE for a folder of a newer schema or a damaged one, or one that has
 * blobs and no metadata; ERR_IO, ERR_NO_SPACE. */
enum errc store_open_local(const char *path, const struct store_options *options,
                           struct store **out, struct error *err);

#endif
