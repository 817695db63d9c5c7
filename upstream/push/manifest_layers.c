#include "upstream/push/manifest_push_internal.h"

#include "base/mem.h"
#include "image/digest_map.h"
#include "image/image_config.h"
#include "store/blob.h"
#include "upstream/push/blob_push.h"

/* Images name their layers by diffID; what has none (artifacts) by the blob's digest. */
static void name_layer(const struct manifest *manifest, const struct image_config *config,
                       size_t position, struct push_layer *out)
{
    bool by_diff_id = config->diff_id_count == manifest->layer_count;
    out->blob = &manifest->layers[position];
    out->layer = by_diff_id ? config->diff_ids[position] : out->blob->digest;
    digest_short(&out->layer, out->id);
}

/* The config before the layers, as its requests follow one another. Each distinct blob's first
 * position before all repetitions, of which a config is one that is a layer, too; returns how many
 * those are. */
static size_t list_blobs(const struct manifest *manifest, const struct image_config *config,
                         struct push_layer *blobs, size_t *count)
{
    struct digest_map first = {.first = NULL}; /* positions + 1 */
    const struct push_layer config_blob = {.blob = &manifest->config};
    for (size_t i = 0; i < manifest->layer_count; i++) {
        struct digest_item *item = digest_map_add(&first, &manifest->layers[i].digest);
        if (item->number == 0)
            item->number = i + 1;
    }
    bool has_config = manifest->config.digest.algorithm != DIGEST_NONE;
    bool repeated = has_config && digest_map_find(&first, &manifest->config.digest);
    size_t distinct = 0;
    if (has_config && !repeated)
        blobs[distinct++] = config_blob;
    for (size_t i = 0; i < manifest->layer_count; i++)
        if (digest_map_find(&first, &manifest->layers[i].digest)->number == i + 1)
            name_layer(manifest, config, i, &blobs[distinct++]);
    *count = distinct;
    for (size_t i = 0; i < manifest->layer_count; i++)
        if (digest_map_find(&first, &manifest->layers[i].digest)->number != i + 1)
            name_layer(manifest, config, i, &blobs[(*count)++]);
    if (repeated)
        blobs[(*count)++] = config_blob;
    digest_map_deinit(&first);
    return distinct;
}

/* The config as the layers' names need it; an artifact's config is anything and has no diffIDs. */
static enum errc read_config(struct target_push *push, const struct manifest *manifest,
                             struct image_config *out, struct error *err)
{
    *out = (struct image_config){0};
    if (!media_type_is_image_config(manifest->config.media_type))
        return ERR_OK;
    autofree char *data = NULL;
    size_t size = 0;
    if (blob_read_all(push->store, &manifest->config.digest, IMAGE_CONFIG_LIMIT_BYTES, "config",
                      &data, &size, err) != ERR_OK)
        return err->code;
    struct error ignored = ERROR_INIT;
    if (image_config_parse(data, size, "config", out, &ignored) != ERR_OK)
        *out = (struct image_config){0};
    return ERR_OK;
}

static enum errc config_attempt(struct target_push *push, const struct push_layer *config,
                                struct unfinished_upload *upload, struct layer_outcome *outcome,
                                struct error *err)
{
    autoclient struct registry_client client = {0};
    registry_client_open(&client, push->repository, &push->cancel);
    bool exists = false;
    if (!upload->begun && !config->send &&
        blob_check(push, &client, config->blob, &exists, err) != ERR_OK)
        return err->code;
    if (exists)
        return ERR_OK;
    if (blob_send(push, &client, upload, config->blob, NULL, err) != ERR_OK)
        return err->code;
    outcome->sent_bytes = config->blob->size;
    return ERR_OK;
}

static enum errc attempt(struct target_push *push, const struct push_layer *blob,
                         struct unfinished_upload *upload, struct layer_outcome *outcome,
                         struct error *err)
{
    return blob->id[0] ? layer_attempt(push, blob, upload, outcome, err)
                       : config_attempt(push, blob, upload, outcome, err);
}

enum errc frame_begin_blobs(struct manifest_tree *tree, struct frame *frame, struct error *err)
{
    struct target_push *push = tree->push;
    const struct manifest *manifest = &frame->manifest;
    struct image_config config;
    if (read_config(push, manifest, &config, err) != ERR_OK)
        return err->code;
    size_t count = 0;
    size_t at_once = push->repository->endpoint->host->window;
    autofree struct push_layer *blobs = xcalloc(manifest->layer_count + 1, sizeof *blobs);
    size_t distinct = list_blobs(manifest, &config, blobs, &count);
    image_config_deinit(&config);
    for (size_t i = 0; i < count; i++)
        target_push_tell_layer(push, blobs[i].id, "Preparing");
    for (size_t i = at_once; i < count; i++)
        target_push_tell_layer(push, blobs[i].id, "Waiting");
    frame->blobs =
        layer_set_new(push, tree->transfers, blobs, count, distinct, attempt, tree->waker);
    return ERR_OK;
}
