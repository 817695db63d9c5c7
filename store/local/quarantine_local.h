/*
 * How things get into the quarantine (store/quarantine.h).
 *
 * First their bytes and their description are there, and then the record goes: a crash in between
 * leaves the record where it was, and it is moved again. What fails leaves nothing here.
 *
 * A sync that fails is told to the store (store/health.h).
 *
 * Threads: any; one lock guards what readers have met, no I/O under it.
 */
#ifndef SLIPWAY_STORE_LOCAL_QUARANTINE_LOCAL_H
#define SLIPWAY_STORE_LOCAL_QUARANTINE_LOCAL_H

#include "store/local/internal.h"
#include "store/quarantine.h"

/* Counts what is there. `store->root_fd` is open. */
enum errc quarantine_open(struct store *store, struct error *err);
void quarantine_close(struct store *store); /* also when it was not opened */

/* Records that `change` deletes, and what is in the quarantine of them. */
struct quarantined {
    struct store *store;           /* borrowed */
    struct change *change;         /* borrowed */
    struct quarantine_item *items; /* owned */
    size_t count, capacity;
    bool stay;
};
#define autoquarantined __attribute__((cleanup(quarantined_deinit)))

/* Copy a record; the caller lets the change delete it. `reason` is for a person. */
enum errc quarantine_record(struct quarantined *moved, enum kv_table table, struct kv_slice key,
                            struct kv_slice value, const char *reason, struct error *err);

/* Make the change. Where it fails, or is superseded, or is never made, quarantined_deinit() takes
 * the copies out of the quarantine again. */
enum errc quarantined_submit(struct quarantined *moved, struct error *err);
void quarantined_deinit(struct quarantined *moved);

/* Move the file `path` of `folder_fd`. `what` and `name` as in struct quarantine_item. A file that
 * is not there is success. */
enum errc quarantine_file(struct store *store, int folder_fd, const char *path, const char *what,
                          const char *name, const char *reason, struct error *err);

/* Within a transaction: the record could not be read, and `err` says why. Copied; where many are
 * met at once some are left to the next reader. Returns the error's code. */
enum errc quarantine_note(struct store *store, enum kv_table table, struct kv_slice key,
                          struct kv_slice value, const struct error *err);
/* The same for a reader that leaves the record out and goes on: clears the error. */
enum errc quarantine_skip(struct store *store, enum kv_table table, struct kv_slice key,
                          struct kv_slice value, struct error *err);

/* A record's key for people; returns `text`. */
const char *record_name(enum kv_table table, struct kv_slice key, char text[QUARANTINE_NAME_MAX]);

#endif
