/*
 * From the schema of an earlier slipway to that of this one (store/local/records.h), at the opening
 * of a store.
 *
 * Schema 2: a push and its targets are records of their own (schema 1 had the targets that are
 * pushed after the answer in the push).
 */
#ifndef SLIPWAY_STORE_LOCAL_MIGRATE_H
#define SLIPWAY_STORE_LOCAL_MIGRATE_H

#include "store/local/internal.h"

/* Durable, and safe to be broken off: what was done is not done again. The number of the schema is
 * the caller's to write, afterwards. ERR_STORE for a schema that there never was. */
enum errc store_migrate(struct store *store, uint32_t from, struct error *err);

#endif
