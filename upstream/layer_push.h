/*
 * The way of one layer into the target repository, step by step as docs/architecture.md tells the
 * algorithm; each step that finds the layer there ends it.
 *
 *     1. a foreign layer is skipped
 *     2. the push state knows it
 *     3. a turn among the registry's transfers ("Waiting" meanwhile)
 *     4. the registry is asked for its digest
 *     5. upload
 */
#ifndef SLIPWAY_UPSTREAM_LAYER_PUSH_H
#define SLIPWAY_UPSTREAM_LAYER_PUSH_H

#include "upstream/push_state.h"

struct push_layer {
    const struct descriptor *blob; /* borrowed */
    char id[DIGEST_SHORT_MAX];     /* in events: of the diffID, or of the blob of an artifact */
};

/* Blocks. Counts the layer in the result and tells its words. Errors: those of the steps. */
enum errc layer_push(struct push *push, const struct push_layer *layer, struct error *err);

#endif
