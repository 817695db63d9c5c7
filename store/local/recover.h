/*
 * What a store does at open and at close so that its records are true.
 *
 * A blob file in blobs/ is complete, but the disk may not have it: in the same boot of the machine
 * the page cache does; in another boot nobody can say, unless the store was settled in between. The
 * state record holds the boot in which the store was last open and whether it was settled.
 *
 * After a crash of the machine every file that no durable record vouches for is removed: those of
 * volatile records, and those that were moved in by a batch that never committed. First the files,
 * then the records in one durable change with the new state, so that a crash in the middle does it
 * again.
 */
#ifndef SLIPWAY_STORE_LOCAL_RECOVER_H
#define SLIPWAY_STORE_LOCAL_RECOVER_H

#include "store/local/internal.h"

/* Write the schema number into a new store; ERR_STORE for a store of a newer schema. */
enum errc store_check_schema(struct store *store, struct error *err);

/* Drop what a crash of the machine left in doubt, and mark the store as open in this boot. */
enum errc store_recover(struct store *store, struct error *err);

/* Wait for the disk and make every volatile blob durable, then mark the store as settled. Nothing
 * when the store was opened with leave_volatile and has volatile blobs. */
enum errc store_settle(struct store *store, struct error *err);

#endif
