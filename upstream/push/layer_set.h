/*
 * Blobs of one manifest on their way to the target repository: the config and the layers of an
 * image, or a blob that leaves before its manifest. At most as many as the host's window are under
 * way for one set, so that an image of many layers keeps no others waiting, nor memory.
 *
 * A set never waits: layer_set_advance() does what can be done now and says whether something is
 * still under way; `wake` is called whenever there is more to do. When a blob fails the others are
 * left, and the set has failed when they have ended.
 *
 * A set belongs to one thread at a time; `wake` is called on any, under the set's lock: it blocks
 * on nothing and does not use the set.
 */
#ifndef SLIPWAY_UPSTREAM_PUSH_LAYER_SET_H
#define SLIPWAY_UPSTREAM_PUSH_LAYER_SET_H

#include "upstream/push/transfers.h"

enum layer_set_state { LAYER_SET_DONE, LAYER_SET_WAITS, LAYER_SET_FAILED };

struct layer_set_waker {
    void (*wake)(void *self);
    void *self;
};

struct layer_set;

/* `layers` are copied, what they point to is borrowed. Those from `distinct` on repeat blobs of
 * earlier ones. */
struct layer_set *layer_set_new(struct target_push *push, struct transfers *transfers,
                                const struct push_layer *layers, size_t count, size_t distinct,
                                transfer_attempt *attempt, struct layer_set_waker waker);

/* LAYER_SET_FAILED: push->failure says why, and nothing is under way any more. */
enum layer_set_state layer_set_advance(struct layer_set *set);

/* Nothing further begins, and what is under way is left. True when nothing is under way. */
bool layer_set_leave(struct layer_set *set);

/* When nothing is under way; NULL is a no-op. */
void layer_set_free(struct layer_set *set);

#endif
