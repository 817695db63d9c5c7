/*
 * Layers that leave while their archive is still read: as soon as each is in the store, or piece by
 * piece while it is compressed where it is huge and the registry takes pieces
 * (upstream/push/growing_send.h). The push that follows finds them there, or joins what is left.
 *
 * Only for targets that the client named, and for layers that had to be stored: what was held goes
 * with the push, which asks the registry first. A layer that was seen at a registry before is not
 * sent ahead either: it may be there, or be mounted.
 *
 * Which files are layers of the image, the archive's tables say, where they can be read first.
 * Where they cannot, as in a stream that ends with them, what looks like a layer goes only for a
 * client that asked for that (`unlisted`): it is told which of them the image did not need.
 *
 * When nothing comes of the archive, what is under way is cancelled with its upload sessions. A
 * blob that had arrived stays at the registry, as one that no manifest names, and in the store as
 * what nothing needs.
 *
 * One archive, one thread.
 */
#ifndef SLIPWAY_GATEWAY_PUSH_EARLY_LAYERS_H
#define SLIPWAY_GATEWAY_PUSH_EARLY_LAYERS_H

#include "gateway/ingest/layer_watch.h"
#include "gateway/push/runtime.h"
#include "image/digest_map.h"
#include "store/push.h"

/* What is smaller costs its round trips, which the push makes for all at once. */
#define EARLY_LAYER_MIN_BYTES ((uint64_t)1 << 20)
/* What is sent while it is compressed, as its tar is large. Whether the registry has it can be
 * asked only when it is compressed, so for what turns out to be there the bytes sent until then
 * were in vain. */
#define GROWING_LAYER_MIN_BYTES ((uint64_t)256 << 20)

/* One keeps a file open until the archive has ended: where there are more, the others leave when
 * they are whole. */
#define GROWN_LAYERS_MAX 16
/* What comes after so many goes with the push. */
#define EARLY_LAYERS_MAX 10000

struct growing_blob;

struct early_layers {
    struct runtime *runtime;
    struct batch *batch;
    const struct push *push; /* its targets; borrowed, as all above */
    struct layer_watch watch;

    /* of the layer at hand */
    bool begun;
    struct growing_blob *growing; /* held; NULL: none */

    struct digest_map sent; /* number: bytes */
    size_t sent_count;
    size_t broken; /* began to leave while they grew, and came to nothing */
    struct grown_layer {
        struct growing_blob *blob; /* held */
    } * grown;                     /* owned; those that are whole */
    size_t grown_count, grown_capacity;
};

/* For what goes into `batch`; `push` has targets. */
void early_layers_init(struct early_layers *early, struct runtime *runtime, struct batch *batch,
                       const struct push *push, bool unlisted);

/* Nothing comes of the archive, for the reason in `err`, which is told how much may have left. */
void early_layers_cancel(struct early_layers *early, struct error *err);

/* `push` has its image, whose manifests are in the batch: what went and is no part of it becomes
 * push->unused, and what of that is under way is cancelled. */
void early_layers_note_unused(struct early_layers *early, struct push *push);

/* The push may begin when this has returned: what was sent while it grew is a transfer by now. */
void early_layers_settle(struct early_layers *early, struct cancel *cancel);

void early_layers_deinit(struct early_layers *early);

#endif
