/*
 * One attempt to bring one layer into the target repository, step by step as docs/architecture.md
 * tells the algorithm; each step that finds the layer there ends it.
 *
 *     1. a foreign layer is skipped
 *     2. the push state knows it
 *     3. its uncompressed size decides how much may be asked (upstream/push/candidates.h)
 *     4. the registry is asked, if the layer was pushed to this repository before
 *     5. it is mounted from a repository of the same registry where it was seen
 *     6. the registry is asked for what other repositories call the layer, if it is big
 *     7. the registry is asked for the blob that would be sent, if the layer is not small
 *     8. upload, in the session that a mount left open or in a new one
 *
 * An attempt whose upload broke off is followed by one that goes straight to step 8 and takes the
 * upload up where the registry says it ended (upstream/upload/upload.h).
 *
 * No digest is asked for twice, nor by a further attempt once that was answered. The bytes of the
 * manifest are fixed before its layers go, so only the blob that it names counts: known locations
 * of other compressions of the layer are passed over, and steps 4, 6 and 7 together ask at most
 * once.
 *
 * What the registry is known to have lost (push_layer.send) is sent at once, and where it is said
 * to be at that registry is forgotten.
 *
 * Wherever the layer is found or put is remembered in the store for later pushes; a place that
 * turned out to be wrong is forgotten. A mount that fails never fails the push, nor does a memory
 * that cannot be read or written.
 *
 * Turns, further attempts and sharing with other pushes are the business of
 * upstream/push/transfers.h.
 */
#ifndef SLIPWAY_UPSTREAM_PUSH_LAYER_PUSH_H
#define SLIPWAY_UPSTREAM_PUSH_LAYER_PUSH_H

#include "upstream/push/target_push.h"
#include "upstream/upload/upload.h"

/* What an attempt at a layer does: a large one is looked for among the small requests, and then
 * waits for its place among the large transfers. */
enum layer_part { LAYER_ALL, LAYER_FIND, LAYER_SEND };

struct push_layer {
    const struct descriptor *blob; /* borrowed */
    struct digest layer;           /* its diffID; the blob's digest where it has none */
    char id[DIGEST_SHORT_MAX];     /* in events: of `layer` */
    bool send;                     /* whatever the registry says: it has lost the blob before */
    enum layer_part part;
    /* The caller's: open, with bytes of the blob in it; the transfer takes it over where it is the
     * first one of the blob. NULL: there is none. */
    struct upload_session *opened;
};

/* Blocks. What came of the layer goes into `outcome`: LAYER_NONE when it was to be found and has to
 * be sent. `upload` belongs to the caller, which makes
 * all attempts at the layer with the same one and ends it after the last: a session that a mount
 * opened may be left in it, also when the layer was found after all. Errors: those of the steps. */
enum errc layer_attempt(struct target_push *push, const struct push_layer *layer,
                        struct unfinished_upload *upload, struct layer_outcome *outcome,
                        struct error *err);

/* True, and `outcome` filled, when no request is needed to know what comes of the layer: steps 1
 * and 2. */
bool layer_is_settled(struct target_push *push, const struct push_layer *layer,
                      struct layer_outcome *outcome);

/* The layer is in the target repository, however that came to be known: by another push's transfer,
 * say, that had no diffID for it (upstream/push/early_upload.h). Remember it, unless it is. */
void layer_note(struct target_push *push, const struct push_layer *layer);

#endif
