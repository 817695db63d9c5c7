/*
 * The records of a store about itself, in the table meta: one key each. Whoever has one of its own
 * there reads it with meta_find() and writes it with meta_put().
 */
#ifndef SLIPWAY_STORE_LOCAL_META_H
#define SLIPWAY_STORE_LOCAL_META_H

#include "store/local/internal.h"

/* *value is borrowed until the transaction ends, which is begun here and the caller's to end. */
enum errc meta_find(struct store *store, const struct record_key *key, struct kv_txn *txn,
                    struct kv_slice *value, bool *found, struct error *err);
/* Durable, and made even where there is little room. */
enum errc meta_put(struct store *store, const struct record_key *key,
                   const struct record_value *value, struct error *err);

/* Write the schema number into a new store; ERR_STORE for a store of a newer schema. */
enum errc store_check_schema(struct store *store, struct error *err);

/* Read store->id, or make it, in a new store. */
enum errc store_meet_id(struct store *store, struct error *err);

/* What the last process left; clean where there was none. */
enum errc meta_read_state(struct store *store, struct state_record *out, struct error *err);
/* Of this boot of the machine. */
enum errc meta_put_state(struct store *store, bool clean, struct error *err);

#endif
