/*
 * What slipway holds: blobs, and records of them.
 *
 * The modules around it: store/blob.h (reading), store/batch.h (writing), store/layers.h,
 * store/references.h and store/repositories.h (metadata), store/blob_upload.h (what clients send in
 * pieces), store/pushes.h (what was promised). All of them may be called from any thread; what they
 * give is a copy.
 *
 * Durability is the batch's choice, see store/batch.h. Which kind of store it is, is known where it
 * is opened: store/store_local.h.
 */
#ifndef SLIPWAY_STORE_STORE_H
#define SLIPWAY_STORE_STORE_H

#include "base/error.h"

#include <stdint.h>

struct store;

/* Orderly end: what is volatile is made durable, which may take as long as the disk needs for all
 * of it, unless the store was opened to leave it volatile (a command that pushes and ends). No call
 * may be running, no batch open. NULL is a no-op. */
void store_close(struct store *store);

/* Of this store: the same for all its life, and no other's (base/via.h). Borrowed. */
const char *store_id(const struct store *store);

/* Drop blobs, those that were not used for the longest time first, until at most `keep_bytes` are
 * held: for a store that is nothing but a memory of what was pushed. What is in a repository
 * (store/repositories.h) stays, and while a push is promised (store/pushes.h) everything does. No
 * other call may be running, no batch open. ERR_STORE, ERR_IO. */
enum errc store_trim(struct store *store, uint64_t keep_bytes, struct error *err);

#endif
