#include "upstream/manifest_push.h"

#include "base/log.h"
#include "base/mem.h"
#include "image/image_config.h"
#include "image/manifest.h"
#include "store/blob.h"
#include "upstream/blob_push.h"
#include "upstream/crew.h"
#include "upstream/layer_push.h"
#include "upstream/registry.h"

#include <stdio.h>
#include <string.h>

/* --- layers --- */

/* The layers of one image, each distinct blob's first position before all repetitions, so that a
 * repetition finds its blob in the push state. */
struct layer_list {
    struct push *push;
    struct push_layer *layers;
    size_t count;
    size_t distinct;
    size_t offset; /* where the crew at work begins */
};

static bool seen_before(const struct manifest *manifest, size_t position)
{
    const struct digest *digest = &manifest->layers[position].digest;
    for (size_t i = 0; i < position; i++)
        if (digest_equal(&manifest->layers[i].digest, digest))
            return true;
    return false;
}

/* Images name their layers by diffID; what has none (artifacts) by the blob's digest. */
static void name_layer(const struct manifest *manifest, const struct image_config *config,
                       size_t position, struct push_layer *out)
{
    bool by_diff_id = config->diff_id_count == manifest->layer_count;
    out->blob = &manifest->layers[position];
    digest_short(by_diff_id ? &config->diff_ids[position] : &out->blob->digest, out->id);
}

static void list_layers(const struct manifest *manifest, const struct image_config *config,
                        struct layer_list *list)
{
    list->layers = xcalloc(manifest->layer_count, sizeof *list->layers);
    for (int repetitions = 0; repetitions <= 1; repetitions++) {
        for (size_t i = 0; i < manifest->layer_count; i++)
            if (seen_before(manifest, i) == (repetitions == 1))
                name_layer(manifest, config, i, &list->layers[list->count++]);
        if (repetitions == 0)
            list->distinct = list->count;
    }
}

static void push_one_layer(void *self, size_t index)
{
    struct layer_list *list = self;
    struct error err = ERROR_INIT;
    if (stop_check(&list->push->stop, &err) != ERR_OK ||
        layer_push(list->push, &list->layers[list->offset + index], &err) != ERR_OK)
        push_part_failed(list->push, &err);
}

/* The config as the layers' names need it; an artifact's config is anything and has no diffIDs. */
static enum errc read_config(struct push *push, const struct manifest *manifest,
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

static void push_listed(struct layer_list *list)
{
    unsigned threads = list->push->repository->endpoint->host->transfer_limit;
    for (size_t i = 0; i < list->count; i++)
        push_tell_layer(list->push, list->layers[i].id, "Preparing");
    for (size_t i = threads; i < list->count; i++)
        push_tell_layer(list->push, list->layers[i].id, "Waiting");
    crew_run(list->distinct, threads, push_one_layer, list);
    list->offset = list->distinct;
    crew_run(list->count - list->distinct, 1, push_one_layer, list);
}

static enum errc push_layers(struct push *push, const struct manifest *manifest, struct error *err)
{
    struct image_config config;
    if (read_config(push, manifest, &config, err) != ERR_OK)
        return err->code;
    struct layer_list list = {.push = push};
    list_layers(manifest, &config, &list);
    image_config_deinit(&config);
    push_listed(&list);
    free(list.layers);
    if (push->failure.code == ERR_OK)
        return ERR_OK;
    *err = push->failure;
    return err->code;
}

static enum errc push_config(struct push *push, struct registry_client *client,
                             const struct descriptor *config, struct error *err)
{
    bool exists = push_knows(push, &config->digest);
    if (exists)
        return ERR_OK;
    if (blob_check(push, client, config, &exists, err) != ERR_OK ||
        (!exists && blob_send(push, client, config, NULL, err) != ERR_OK))
        return error_wrap(err, "config");
    return ERR_OK;
}

/* --- the manifest itself --- */

/* An answer that got lost, or a tag that may not be moved: what counts is what is there now. */
static bool stands_there_anyway(struct registry_client *client, const char *reference,
                                const struct digest *digest, const struct error *why)
{
    bool doubtful =
        why->status >= 400 || why->code == ERR_TIMEOUT || why->code == ERR_CONNECTION_LOST;
    if (!doubtful || why->status == 401 || why->status == 429)
        return false;
    struct digest there = {0};
    struct error ignored = ERROR_INIT;
    return registry_manifest_digest(client, reference, &there, &ignored) == ERR_OK &&
           digest_equal(&there, digest);
}

static enum errc check_stored(const struct push *push, const struct manifest_bytes *bytes,
                              const struct digest *stored, struct error *err)
{
    if (stored->algorithm == DIGEST_NONE)
        return fail(err, ERR_PUSHED_DIGEST, 0,
                    "%s: the registry accepted the manifest but does not serve it", push->target);
    struct digest sent = digest_of(stored->algorithm, bytes->data, bytes->size);
    if (digest_equal(&sent, stored))
        return ERR_OK;
    char ours[DIGEST_TEXT_MAX];
    char theirs[DIGEST_TEXT_MAX];
    return fail(err, ERR_PUSHED_DIGEST, 0, "%s: the registry holds %s, sent was %s", push->target,
                digest_text(stored, theirs), digest_text(&sent, ours));
}

static enum errc put_manifest(struct push *push, struct registry_client *client,
                              const struct digest *digest, const char *tag,
                              const struct manifest_bytes *bytes, struct error *err)
{
    char digest_as_text[DIGEST_TEXT_MAX];
    const char *reference = tag ? tag : digest_text(digest, digest_as_text);
    struct digest stored = {0};
    if (registry_manifest_put(client, reference, bytes, &stored, err) != ERR_OK) {
        if (!stands_there_anyway(client, reference, digest, err))
            return error_wrap(err, "manifest");
        log_info("%s: the manifest is there although its push ended with: %s", push->target,
                 err->text);
        error_clear(err);
        stored = *digest;
    }
    if (stored.algorithm == DIGEST_NONE && tag == NULL)
        return ERR_OK;
    if (stored.algorithm == DIGEST_NONE &&
        registry_manifest_digest(client, reference, &stored, err) != ERR_OK)
        return error_wrap(err, "verifying the manifest");
    return check_stored(push, bytes, &stored, err);
}

/* --- the tree --- */

struct node {
    const struct descriptor *manifest;
    const char *tag;
    int depth;
};

static enum errc push_node(struct push *push, const struct node *node, uint64_t *size,
                           char media_type[MEDIA_TYPE_MAX], struct error *err);

static enum errc push_children(struct push *push, const struct manifest *index, int depth,
                               struct error *err)
{
    for (size_t i = 0; i < index->child_count; i++) {
        const struct node child = {.manifest = &index->children[i], .depth = depth + 1};
        uint64_t size;
        char media_type[MEDIA_TYPE_MAX];
        char id[DIGEST_SHORT_MAX];
        if (push_node(push, &child, &size, media_type, err) != ERR_OK)
            return error_wrap(err, "member %s", digest_short(&child.manifest->digest, id));
    }
    return ERR_OK;
}

/* Connections are leased for the config and the manifest only: layers lease their own. */
static enum errc push_parsed(struct push *push, const struct node *node,
                             const struct manifest *manifest, const struct manifest_bytes *bytes,
                             struct error *err)
{
    bool index = manifest->kind == MANIFEST_INDEX;
    enum errc code =
        index ? push_children(push, manifest, node->depth, err) : push_layers(push, manifest, err);
    if (code != ERR_OK)
        return code;
    autoclient struct registry_client client = {0};
    registry_client_open(&client, push->repository, &push->stop);
    if (!index && push_config(push, &client, &manifest->config, err) != ERR_OK)
        return err->code;
    return put_manifest(push, &client, &node->manifest->digest, node->tag, bytes, err);
}

static enum errc push_node(struct push *push, const struct node *node, uint64_t *size,
                           char media_type[MEDIA_TYPE_MAX], struct error *err)
{
    const struct descriptor *descriptor = node->manifest;
    if (node->depth > INDEX_DEPTH_MAX)
        return fail(err, ERR_MANIFEST_INVALID, 0, "indexes are nested more than %d deep",
                    INDEX_DEPTH_MAX);
    autofree char *data = NULL;
    struct manifest_bytes bytes = {0};
    if (stop_check(&push->stop, err) != ERR_OK ||
        blob_read_all(push->store, &descriptor->digest, MANIFEST_LIMIT_BYTES, "manifest", &data,
                      &bytes.size, err) != ERR_OK)
        return err->code;
    struct manifest manifest = {0};
    const char *type = descriptor->media_type[0] ? descriptor->media_type : NULL;
    if (manifest_parse(data, bytes.size, type, "manifest", &manifest, err) != ERR_OK)
        return err->code;
    bytes.data = data;
    bytes.media_type = manifest.media_type;
    enum errc code = push_parsed(push, node, &manifest, &bytes, err);
    if (code == ERR_OK) {
        *size = bytes.size;
        memcpy(media_type, manifest.media_type, MEDIA_TYPE_MAX);
    }
    manifest_deinit(&manifest);
    return code;
}

enum errc manifest_push(struct push *push, const struct descriptor *manifest, const char *tag,
                        uint64_t *size, char media_type[MEDIA_TYPE_MAX], struct error *err)
{
    const struct node top = {.manifest = manifest, .tag = tag};
    return push_node(push, &top, size, media_type, err);
}
