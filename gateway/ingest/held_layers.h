/*
 * Layers that an archive's tables name and that are not in it, because the gateway was said to hold
 * them: each is entered in the catalog as what the store has for its digest, in the form that the
 * file would have been given. So everything behind the catalog is as for a whole archive.
 *
 * What is completed is neither read nor verified: it was, when it came. A layer of which only a
 * registry client has said what it is does not count as held.
 */
#ifndef SLIPWAY_GATEWAY_INGEST_HELD_LAYERS_H
#define SLIPWAY_GATEWAY_INGEST_HELD_LAYERS_H

#include "gateway/ingest/file_intake.h"
#include "image/catalog.h"

struct held_layers {
    /* May it be used for whoever sent the archive? By the diffID, or by the digest of a blob that
     * came compressed. NULL: all may. */
    bool (*may_use)(void *self, const struct digest *layer);
    void *self;
    struct digest *missing; /* owned: free(); not held, each once: by what the archive calls them */
    size_t missing_count;
};

/* Complete all images that the archive lists. ERR_LAYER_UNKNOWN when some are missing. The batch
 * holds what was found. Tables that cannot be read name nothing: what is wrong with them is for the
 * choice of an image to say. */
enum errc held_layers_complete(struct held_layers *held, const struct file_intake_options *files,
                               struct batch *batch, struct catalog *catalog, struct error *err);

#endif
