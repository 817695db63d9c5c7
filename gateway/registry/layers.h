/*
 * The layers of an image that a registry client has put, for the rest of slipway: which diffID each
 * of them is, so that archives, images assembled from layers, and mounts know them.
 */
#ifndef SLIPWAY_GATEWAY_REGISTRY_LAYERS_H
#define SLIPWAY_GATEWAY_REGISTRY_LAYERS_H

#include "image/manifest.h"
#include "store/batch.h"

/* Put a record for each layer of a media type whose codec is known into the batch. Nothing for what
 * is no image, or has a config that does not name its layers: an artifact, say. The config and the
 * layers are in the store. */
void v2_put_layers(struct store *store, const struct manifest *manifest, struct batch *batch);

#endif
