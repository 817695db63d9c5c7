/*
 * Digests in the order in which they were added, each once and with a number: what has been looked
 * at, and what came of it. The cost of a call grows with the logarithm of the count, whatever the
 * digests are. One owner.
 */
#ifndef SLIPWAY_IMAGE_DIGEST_MAP_H
#define SLIPWAY_IMAGE_DIGEST_MAP_H

#include "image/digest.h"

#include <stddef.h>

struct digest_item {
    struct digest digest;
    size_t number;
    struct digest_item *next; /* NULL: the last one so far */
};

/* Zeroed, it is an empty one. */
struct digest_map {
    struct digest_item *first, *last; /* owned; to be walked by `next`, also while it grows */
    void *tree;
};
void digest_map_deinit(struct digest_map *map);

/* NULL when it is not there. Borrowed until the deinit, as below. */
struct digest_item *digest_map_find(const struct digest_map *map, const struct digest *digest);

/* The same, but one that is not there is added, with the number 0. */
struct digest_item *digest_map_add(struct digest_map *map, const struct digest *digest);

#endif
