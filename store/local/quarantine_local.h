/*
 * How things get into the quarantine (store/quarantine.h).
 *
 * First their description is written, then their bytes are there, and then the record goes: a crash
 * in between leaves the record where it was, and it is moved again.
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

/* Copy a record; it is the caller's to delete it in a change. `reason` is for a person. */
enum errc quarantine_record(struct store *store, enum kv_table table, struct kv_slice key,
                            struct kv_slice value, const char *reason, struct error *err);

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
