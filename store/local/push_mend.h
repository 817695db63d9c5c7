/*
 * The records of one push, looked at together, and mended where one of them cannot be read or they
 * do not agree: the push, its targets, and which of them are open.
 *
 * - A push that cannot be read, or has no target that can, goes to the quarantine with all records.
 * - A target that cannot be read goes there; the push is recorded anew with the others.
 * - Which targets are open is recorded as the targets say.
 *
 * A push that is under way is known to the queue by the numbers of its targets. So once the queue
 * has taken the open pushes (pushes_each_open()) one with an open target is not recorded anew: that
 * is left to the next start.
 *
 * Any thread.
 */
#ifndef SLIPWAY_STORE_LOCAL_PUSH_MEND_H
#define SLIPWAY_STORE_LOCAL_PUSH_MEND_H

#include "store/local/internal.h"
#include "store/pushes.h"

enum push_verdict {
    PUSH_GONE, /* no record of it */
    PUSH_GOOD,
    PUSH_UNREADABLE,
    PUSH_TARGET_UNREADABLE,
    PUSH_INDEX_WRONG, /* which targets are open */
};

struct push_record;

struct push_records {
    char id[PUSH_ID_MAX];
    enum push_verdict verdict;
    char reason[ERROR_TEXT_MAX]; /* "" where it is good */
    struct push push;            /* unless it is gone or unreadable; only readable targets */
    bool any_open;               /* there is a record that says so */
    struct push_record *items;   /* owned */
    size_t item_count;
    size_t item_capacity;
};

#define autopush_records __attribute__((cleanup(push_records_deinit)))

enum errc push_records_read(struct store *store, const char *id, struct push_records *out,
                            struct error *err);
void push_records_deinit(struct push_records *records);

/* *mended false: there was nothing to do, it is left to the next start, or the records have changed
 * meanwhile. */
enum errc push_records_mend(struct store *store, const struct push_records *records, bool *mended,
                            struct error *err);

/* Is the table one of pushes? */
bool push_mend_is_for(enum kv_table table);
/* The push that a record of these tables is of; false for a key that is no push's. */
bool push_mend_id(enum kv_table table, struct kv_slice key, char id[PUSH_ID_MAX]);
/* push_records_mend() of that push; a record whose key is no push's goes to the quarantine alone.
 */
enum errc push_mend_record(struct store *store, enum kv_table table, struct kv_slice key,
                           struct error *err);

#endif
