/*
 * What slipway put last under a tag of a registry: for targets whose tags are left as they are
 * where somebody else has moved them (mirrors[].to[].on_drift). A memory of registries, never a
 * promise.
 *
 * One record a tag of such a target, of about 150 bytes, and at most PUSHED_TAGS_MAX in all: then
 * those that are new are not recorded. Writing does not wait for the disk: the record survives the
 * process.
 *
 * Any thread. Errors: ERR_STORE, ERR_STORE_FULL, ERR_BUSY, ERR_IO.
 */
#ifndef SLIPWAY_STORE_PUSHED_TAGS_H
#define SLIPWAY_STORE_PUSHED_TAGS_H

#include "image/reference.h"
#include "store/store.h"

#define PUSHED_TAGS_MAX 1000000

/* `reference` has a tag; a digest beside it does not matter. */
enum errc pushed_tags_put(struct store *store, const struct reference *reference,
                          const struct digest *digest, struct error *err);

/* *found false, *digest untouched, when nothing is known of the tag. */
enum errc pushed_tags_get(struct store *store, const struct reference *reference, bool *found,
                          struct digest *digest, struct error *err);

#endif
