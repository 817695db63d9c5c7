/*
 * The config of an image: the JSON whose digest is the image's identity.
 * OCI image specification, config.md; Docker's image.v1 config is the same shape.
 *
 * Only what a push needs is looked at; the bytes are what is stored and pushed.
 */
#ifndef SLIPWAY_IMAGE_IMAGE_CONFIG_H
#define SLIPWAY_IMAGE_IMAGE_CONFIG_H

#include "image/descriptor.h"

#define IMAGE_CONFIG_LIMIT_BYTES ((size_t)8 << 20)
#define IMAGE_LAYERS_MAX 30000 /* more do not fit a manifest of 4 MiB */

struct image_config {
    struct platform platform;
    struct digest *diff_ids; /* owned; rootfs.diff_ids, bottom layer first */
    size_t diff_id_count;
};

/* `what` names the config in messages. ERR_JSON_INVALID / ERR_JSON_TOO_LARGE; ERR_CONFIG_INVALID
 * for a value that is no object, a rootfs that is missing or whose type is not "layers" (old tools
 * write no type), a malformed or missing diff_ids, more than IMAGE_LAYERS_MAX of them. Docker
 * leaves diff_ids out of an image without layers: with the type given, that is an empty list. */
enum errc image_config_parse(const void *data, size_t size, const char *what,
                             struct image_config *out, struct error *err);
/* What a config shows before it is known to be an image's: artifacts give theirs an image's media
 * type, too ("{}"). Never fails; what is no JSON object shows nothing. */
struct config_glance {
    bool has_rootfs;
    bool lists_layers; /* its rootfs has diff_ids */
    struct platform platform;
};
struct config_glance image_config_glance(const void *data, size_t size);
void image_config_deinit(struct image_config *config);

#endif
