/*
 * One attempt to bring one layer into the target repository, step by step as docs/architecture.md
 * tells the algorithm; each step that finds the layer there ends it.
 *
 *     1. a foreign layer is skipped
 *     2. the push state knows it
 *     3. the registry is asked for its digest
 *     4. upload
 *
 * Turns, further attempts and sharing with other pushes are the business of upstream/transfers.h.
 */
#ifndef SLIPWAY_UPSTREAM_LAYER_PUSH_H
#define SLIPWAY_UPSTREAM_LAYER_PUSH_H

#include "upstream/push_state.h"

struct push_layer {
    const struct descriptor *blob; /* borrowed */
    char id[DIGEST_SHORT_MAX];     /* in events: of the diffID, or of the blob of an artifact */
};

/* Blocks. Counts the layer in the result, then tells its last words. Errors: those of the steps. */
enum errc layer_attempt(struct push *push, const struct push_layer *layer, struct error *err);

#endif
