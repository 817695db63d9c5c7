/*
 * An image from its config alone: its layers were streamed in before
 * (gateway/ingest/layer_intake.h), and rootfs.diff_ids says which they are. What is missing is the
 * manifest, and that follows from the rest: schema2 for Docker's media type of configs, an OCI
 * manifest for OCI's. The same config and layers give the same manifest on every run.
 *
 * Of each layer the form is taken that is asked for, else any that is held (form_choose). What a
 * registry client has put is only believed to be that layer (store/layers.h): it is unpacked and
 * looked at first, once (gateway/ingest/unpacked.h), and counts as not held where that would be
 * more than is left of the limit.
 */
#ifndef SLIPWAY_GATEWAY_INGEST_CONFIG_IMAGE_H
#define SLIPWAY_GATEWAY_INGEST_CONFIG_IMAGE_H

#include "base/cancel.h"
#include "gateway/ingest/form_choice.h"
#include "image/descriptor.h"
#include "image/image_config.h"
#include "store/batch.h"

/* Is this Content-Type a config's? Parameters are ignored; NULL is none. */
bool config_image_type(const char *content_type, bool *docker);

struct config_order {
    struct store *store;
    struct form_preference preference;
    uint64_t limit_bytes; /* of what is unpacked to see which layers these are, all together */
    /* Layers that are held, of which the image may be made; NULL: of all. Others are missing. */
    bool (*may_use)(void *self, const struct digest *diff_id);
    void *self;
    bool docker;      /* the config is Docker's: a schema2 manifest, whose layers cannot be zstd */
    const char *data; /* of the config, borrowed */
    size_t size;
};

struct config_image {
    struct descriptor manifest;
    struct digest config;
    struct digest *missing; /* owned; with ERR_LAYER_UNKNOWN, each once: diffIDs not held */
    size_t missing_count;
};
void config_image_deinit(struct config_image *image);

/* Put config and manifest into the batch, and hold the layers. ERR_LAYER_UNKNOWN fills
 * out->missing; ERR_BAD_REQUEST when a layer is held only in a form that the manifest cannot have;
 * ERR_CONFIG_INVALID, ERR_JSON_INVALID, ERR_JSON_TOO_LARGE, ERR_MANIFEST_INVALID, ERR_CANCELLED;
 * the store's own. `out` is to be deinited in any case. */
enum errc config_image_make(const struct config_order *order, struct cancel *cancel,
                            struct batch *batch, struct config_image *out, struct error *err);

#endif
