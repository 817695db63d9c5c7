#include "gateway/registry/layers.h"

#include "base/mem.h"
#include "image/image_config.h"
#include "store/blob.h"

/* What the config says of a plain tar can be held against it; of a compressed one it is believed,
 * as registries do. */
static void put_layer(const struct descriptor *layer, const struct digest *diff_id,
                      struct batch *batch)
{
    struct layer_form form = {
        .effort = EFFORT_AS_CAME, .digest = layer->digest, .size = layer->size};
    if (layer->foreign || !media_type_codec(layer->media_type, &form.codec))
        return;
    if (form.codec == CODEC_NONE) {
        if (!digest_equal(diff_id, &layer->digest))
            return;
        form.raw_size = layer->size;
    }
    batch_put_layer(batch, diff_id, &form);
}

void v2_put_layers(struct store *store, const struct manifest *manifest, struct batch *batch)
{
    struct error ignored = ERROR_INIT;
    autofree char *data = NULL;
    size_t size = 0;
    struct image_config config;
    if (!manifest_may_be_image(manifest) ||
        blob_read_all(store, &manifest->config.digest, IMAGE_CONFIG_LIMIT_BYTES, "config", &data,
                      &size, &ignored) != ERR_OK ||
        image_config_parse(data, size, "config", &config, &ignored) != ERR_OK)
        return;
    if (config.diff_id_count == manifest->layer_count)
        for (size_t i = 0; i < manifest->layer_count; i++)
            put_layer(&manifest->layers[i], &config.diff_ids[i], batch);
    image_config_deinit(&config);
}
