/*
 * What stands below a batch: what it has collected is here, in store/; the store at hand keeps its
 * bytes until the commit, and brings all of it in. Only files of store/ and of the store at hand
 * include this.
 *
 * A blob of a batch is staged by blob_writer_open() and what follows (store/batch.h), which are the
 * store's too: they end in batch_add_blob() with the number under which its bytes are staged.
 */
#ifndef SLIPWAY_STORE_BACKEND_H
#define SLIPWAY_STORE_BACKEND_H

#include "store/batch_internal.h"

/* Make batch->stage, where nothing is yet. */
void stage_begin(struct batch *batch);
/* Free it, with all that is left in it. */
void stage_end(struct batch *batch);
/* The bytes with this number are not needed any more. */
void stage_drop(struct batch *batch, uint32_t number);
/* Open a blob that is staged. */
enum errc stage_open_blob(struct batch *batch, const struct batch_blob *blob, struct blob *out,
                          struct error *err);
/* The bytes of one that is staged in memory, borrowed; NULL where it has to be opened. */
const void *stage_peek(const struct batch *batch, const struct batch_blob *blob);

/* A blob that is staged becomes one of the batch `other`, too; it is held until `batch` ends. */
enum errc stage_share_blob(struct batch *batch, const struct batch_blob *blob, struct batch *other,
                           struct error *err);

/* Bring all of the batch in, as store/batch.h promises. The batch stays the caller's; it has no
 * error so far. */
enum errc backend_commit(struct batch *batch, struct error *err);

/* *held: there is a record of the blob; it is not collected before the batch ends. */
enum errc backend_hold_blob(struct batch *batch, const struct digest *digest, bool *held,
                            struct error *err);

#endif
