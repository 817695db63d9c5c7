/*
 * The inside of a store, for the files of store/local/ and their tests.
 */
#ifndef SLIPWAY_STORE_LOCAL_INTERNAL_H
#define SLIPWAY_STORE_LOCAL_INTERNAL_H

#include "base/fault.h"
#include "base/via.h"
#include "store/blob.h"
#include "store/local/blob_files.h"
#include "store/local/kv/writer.h"
#include "store/local/records.h"
#include "store/store_local.h"

#include <stdatomic.h>

struct store {
    char *path;
    int root_fd;
    int lock_fd; /* holds the pid */
    int blobs_fd;
    int staging_fd;
    int uploads_fd;
    struct upload_table *uploads;
    struct fault fault;                    /* store/health.h */
    struct blob_folders_kept folders_kept; /* of blobs/ */
    struct proofs *proofs;
    struct leases *leases;
    bool has_leases;        /* they are written down before they are lost: store_options */
    atomic_flag collecting; /* or making a backup: while nothing may be collected */
    void (*collect_hook)(void *self, const char *point); /* of tests: called between two steps */
    void *collect_hook_self;
    struct quarantine *quarantine; /* store/local/quarantine_local.h */
    struct kv *kv;
    struct writer *writer;
    atomic_uint_fast64_t next_batch;
    _Atomic uint64_t last_push;       /* number of the push that was accepted last */
    _Atomic uint64_t keep_free_bytes; /* as in store_options; does not change outside of tests */
    atomic_bool pushes_taken;         /* the queue knows the open pushes: store/local/push_mend.h */
    atomic_bool unsynced;             /* blobs/ has files that the disk may not have */
    bool leave_volatile;
    char id[VIA_ID_SIZE + 1];  /* store_id() */
    char boot_id[BOOT_ID_MAX]; /* of this boot of the machine; "" when not known */
};

/* store_open_local() for a machine whose boot has this id. */
enum errc store_open_in_boot(const char *path, const struct store_options *options,
                             const char *boot_id, struct store **out, struct error *err);

/* What could not be written is a fault of the store if the disk is at fault, one that stays if it
 * is ERR_SYNC. Returns the error's code. */
enum errc store_tell(struct store *store, struct error *err);

/* Have a part of what is kept back given to the metadata. Before anything is written. */
void store_keep_ahead(struct store *store);

/* store_check_room() once in a while: `size` bytes are about to follow the `before` that a body has
 * brought already. Not for what is smaller than that: manifests and records. */
enum errc store_check_room_at(struct store *store, uint64_t before, size_t size, struct error *err);

/* Pushes that are accepted from now on sort behind all that are recorded, whatever the clock says.
 */
enum errc store_meet_pushes(struct store *store, struct error *err);

/* *found false when the blob is not held. */
enum errc blob_find(struct store *store, const struct digest *digest, bool *found,
                    struct blob_record *out, struct error *err);

/* As blob_find(), and whoever asks will believe it: a lease, in the repository too unless that is
 * "". *found false for what a collection is about to delete. */
enum errc blob_find_leased(struct store *store, const char *repository, const struct digest *digest,
                           bool *found, struct blob_record *out, struct error *err);

/* Before a reference by digest is put: those of its name that are too many with it are deleted.
 * *put_s is made greater where another is as young. */
enum errc reference_make_room(struct store *store, const struct reference *ref, uint64_t *put_s,
                              struct change *change, struct error *err);

#endif
