/*
 * The pushes that were accepted and have targets left which are pushed after the answer: a record
 * each, so that they are started again when slipway is.
 *
 * A record is written in the batch that brings the image (batch_put_push), so that there is no
 * image without its push and no push without its image, and it is rewritten as targets end. It
 * holds the targets that are acknowledged when they are stored, and no results.
 *
 * The order of pushes is that of their acceptance, which their ids sort by: an id is given by the
 * store, in the change that accepts the push or, where nothing of it is recorded, by
 * pushes_accept().
 *
 * After a crash of the machine a record whose manifest was lost with it is dropped; its batch was
 * not durable, so it was not acknowledged. Any thread. Beside the errors named: ERR_STORE,
 * ERR_STORE_FULL, ERR_BUSY, ERR_IO.
 */
#ifndef SLIPWAY_STORE_PUSHES_H
#define SLIPWAY_STORE_PUSHES_H

#include "store/batch.h"
#include "store/push.h"

/* Written at the batch's commit, which fills push->id and push->created_s; its failure is
 * ERR_BLOB_UNKNOWN when neither the batch nor the store has its manifest, or one that refers to it.
 * Borrowed until then. At most one push a batch. */
void batch_put_push(struct batch *batch, struct push *push);

/* Give an id to a push of which nothing is recorded. */
void pushes_accept(struct store *store, struct push *push);

/* Replace a record. Durable. */
enum errc pushes_put(struct store *store, const struct push *push, struct error *err);
/* Durable. One that is not there is success. */
enum errc pushes_remove(struct store *store, const char *id, struct error *err);

/* Bring many records up to date: those without a target that waits are removed, the others
 * replaced. Durable, in changes of a bounded size; on failure a part of it may have happened. */
enum errc pushes_update(struct store *store, struct push *const *pushes, size_t count,
                        struct error *err);

/* All records, oldest first; owned array, each to be deinited. */
enum errc pushes_list(struct store *store, struct push **out, size_t *count, struct error *err);

#endif
