/*
 * What was found to be wrong and was taken out of the way: records that cannot be read, blobs with
 * other bytes than their digest says, files that nobody knows. Nothing of it is deleted: a person
 * looks at it, and removes it by removing its files.
 *
 * An item is two files of the folder DATA/quarantine: ID has the bytes (of a record its value), and
 * ID.json says what they were, where, and why they are here.
 *
 * A reader that meets a record that it cannot read leaves it out and goes on;
 * quarantine_unreadable(), which is called at a start and now and then, moves it here. So one
 * record stops nobody.
 *
 * Any thread. Beside the errors named: ERR_IO, ERR_NO_SPACE, ERR_SYNC.
 */
#ifndef SLIPWAY_STORE_QUARANTINE_H
#define SLIPWAY_STORE_QUARANTINE_H

#include "store/store.h"

#include <stddef.h>
#include <stdint.h>

#define QUARANTINE_ID_MAX 16
#define QUARANTINE_NAME_MAX 512
#define QUARANTINE_LIST_MAX 1000

struct quarantine_item {
    char id[QUARANTINE_ID_MAX];     /* sorts by time */
    char what[16];                  /* "record", "blob" or "file" */
    char table[32];                 /* of a record; "" */
    char name[QUARANTINE_NAME_MAX]; /* of a file where it was; of a record its key, readable */
    char reason[ERROR_TEXT_MAX];
    uint64_t at_s; /* seconds since the epoch */
    uint64_t size; /* bytes that are there */
};

/* How many items there are. Without a look at the disk. */
uint64_t quarantine_count(struct store *store);

/* Those behind `after` (an id or "": from the first), oldest first, at most `most` into `out`;
 * *more when there are others behind them. One whose description cannot be read is listed by its id
 * and the reason for that. */
enum errc quarantine_list(struct store *store, const char *after, struct quarantine_item *out,
                          size_t most, size_t *count, bool *more, struct error *err);

/* Move the records that readers could not read. Of a push all records are looked at: its readable
 * targets stay. *moved may be NULL. ERR_STORE and the other errors of a change. */
enum errc quarantine_unreadable(struct store *store, size_t *moved, struct error *err);

/* An item's description; all but the id, and `size`, which is of the bytes beside it. ERR_STORE. */
enum errc quarantine_item_parse(const void *data, size_t size, struct quarantine_item *out,
                                struct error *err);

#endif
