/*
 * What one call of manifest_tree_advance() (upstream/push/manifest_push.h) leads to, and what the
 * tree has to wait for then.
 */
#ifndef SLIPWAY_UPSTREAM_PUSH_TREE_TURN_H
#define SLIPWAY_UPSTREAM_PUSH_TREE_TURN_H

#include <stdint.h>

enum tree_state {
    TREE_DONE,
    TREE_FAILED,
    TREE_WAITS,   /* for transfers: the waker is called */
    TREE_LATER,   /* until turn->until_ms */
    TREE_IN_TURN, /* for its turn under turn->key (base/executor.h) */
};

struct tree_turn {
    int64_t until_ms;
    const char *key; /* borrowed until the next call */
};

#endif
