/*
 * Many digests: 16 bytes of each, 32 at most with what is kept free. Who wants two that are alike
 * in those has to look for them 2^64 times; then the second counts as there. One owner.
 */
#ifndef SLIPWAY_STORE_LOCAL_LIVE_SET_H
#define SLIPWAY_STORE_LOCAL_LIVE_SET_H

#include "image/digest.h"

#include <stddef.h>

struct digest_mark {
    uint64_t words[2]; /* both 0: a free place */
};

/* Zeroed, it is an empty one. */
struct live_set {
    struct digest_mark *marks; /* owned */
    size_t capacity;           /* a power of two */
    size_t count;
};

void live_set_deinit(struct live_set *set);
/* True when it was not there. */
bool live_set_add(struct live_set *set, const struct digest *digest);
bool live_set_has(const struct live_set *set, const struct digest *digest);
/* All of `from`, too. */
void live_set_merge(struct live_set *set, const struct live_set *from);

#endif
