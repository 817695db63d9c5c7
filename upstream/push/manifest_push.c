#include "upstream/push/manifest_push.h"

#include "base/crew.h"
#include "base/log.h"
#include "base/mem.h"
#include "image/image_config.h"
#include "image/manifest.h"
#include "store/blob.h"
#include "upstream/push/blob_push.h"
#include "upstream/push/manifest_put.h"
#include "upstream/push/referrers.h"
#include "upstream/push/schema1_push.h"
#include "upstream/push/transfers.h"

#include <stdio.h>
#include <string.h>

/* --- layers --- */

/* The layers of one image, each distinct blob's first position before all repetitions, so that a
 * repetition finds its blob in the push state. */
struct layer_list {
    struct target_push *push;
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
    out->layer = by_diff_id ? config->diff_ids[position] : out->blob->digest;
    digest_short(&out->layer, out->id);
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

/* What needs no registry is not worth a transfer. */
static enum errc push_layer(struct target_push *push, const struct push_layer *layer,
                            struct error *err)
{
    struct unfinished_upload none = {.begun = false};
    bool foreign = layer->blob->foreign;
    enum errc code = foreign || push_knows(push, &layer->blob->digest)
                         ? layer_attempt(push, layer, &none, err)
                         : transfers_push(push, layer, layer_attempt, err);
    if (code == ERR_OK && !foreign)
        layer_note(push, layer);
    return code;
}

static void push_one_layer(void *self, size_t index)
{
    struct layer_list *list = self;
    struct error err = ERROR_INIT;
    if (stop_check(&list->push->stop, &err) != ERR_OK ||
        push_layer(list->push, &list->layers[list->offset + index], &err) != ERR_OK)
        push_part_failed(list->push, &err);
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

static enum errc push_layers(struct target_push *push, const struct manifest *manifest,
                             struct error *err)
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

static enum errc config_attempt(struct target_push *push, const struct push_layer *config,
                                struct unfinished_upload *upload, struct error *err)
{
    autoclient struct registry_client client = {0};
    registry_client_open(&client, push->repository, &push->stop);
    bool exists = false;
    if (!upload->begun && blob_check(push, &client, config->blob, &exists, err) != ERR_OK)
        return err->code;
    return exists ? ERR_OK : blob_send(push, &client, upload, config->blob, NULL, err);
}

static enum errc push_config(struct target_push *push, const struct descriptor *config,
                             struct error *err)
{
    const struct push_layer nameless = {.blob = config};
    if (push_knows(push, &config->digest) ||
        transfers_push(push, &nameless, config_attempt, err) == ERR_OK)
        return ERR_OK;
    return error_wrap(err, "config");
}

/* --- the tree --- */

struct node {
    const struct descriptor *manifest;
    const char *tag; /* NULL: under its digest */
    int depth;
    const struct push_request *request; /* of the top one, NULL below it */
};

/* A manifest whose bytes were read, on its way out. */
struct parsed {
    struct manifest manifest; /* owned, as `data` */
    char *data;
    struct outgoing_manifest outgoing;
};

static enum errc push_node(struct target_push *push, const struct node *node, struct error *err);

static enum errc push_children(struct target_push *push, const struct manifest *index, int depth,
                               struct error *err)
{
    for (size_t i = 0; i < index->child_count; i++) {
        const struct node child = {.manifest = &index->children[i], .depth = depth + 1};
        char id[DIGEST_SHORT_MAX];
        if (push_node(push, &child, err) != ERR_OK)
            return error_wrap(err, "member %s", digest_short(&child.manifest->digest, id));
    }
    return ERR_OK;
}

static enum errc push_referrers(struct target_push *push, const struct push_request *request,
                                struct error *err)
{
    for (size_t i = 0; i < request->referrer_count; i++) {
        const struct push_referrer *referrer = &request->referrers[i];
        const struct node node = {.manifest = &referrer->manifest,
                                  .tag = referrer->tag[0] ? referrer->tag : NULL};
        char id[DIGEST_SHORT_MAX];
        if (push_node(push, &node, err) != ERR_OK)
            return error_wrap(err, "referrer %s", digest_short(&referrer->manifest.digest, id));
    }
    return ERR_OK;
}

static enum errc note_referrer(struct target_push *push, struct registry_client *client,
                               const struct node *node, const struct parsed *parsed,
                               struct error *err)
{
    struct descriptor descriptor = *node->manifest;
    memcpy(descriptor.media_type, parsed->manifest.media_type, MEDIA_TYPE_MAX);
    const struct referrer referrer = {
        .descriptor = &descriptor,
        .data = parsed->data,
        .size = parsed->outgoing.canonical_size,
    };
    return referrers_note(push, client, &parsed->manifest.subject.digest, &referrer, err);
}

/* What goes with it is there before the tag shows it; *refused when the registry takes no manifest
 * of this kind. */
static enum errc put_below_tag(struct target_push *push, struct registry_client *client,
                               const struct node *node, const struct parsed *parsed, bool *refused,
                               struct error *err)
{
    struct manifest_answer answer;
    if (manifest_put(push, client, NULL, &parsed->outgoing, &answer, err) != ERR_OK) {
        *refused = answer.kind_refused;
        return err->code;
    }
    return push_referrers(push, node->request, err);
}

/* The first refusal is the one that says what is wrong with the image. */
static enum errc fall_back(struct target_push *push, struct registry_client *client,
                           const struct node *node, const struct parsed *parsed, struct error *err)
{
    struct error why = ERROR_INIT;
    log_info("%s: %s; trying a schema1 manifest", push->target, err->text);
    if (schema1_push(push, client, &parsed->manifest, node->tag, &why) != ERR_OK) {
        log_info("%s: schema1: %s", push->target, why.text);
        if (why.code == ERR_CANCELLED)
            *err = why;
        return err->code;
    }
    if (node->request->referrer_count > 0)
        log_warn("%s: %zu referrers stay behind, the manifest they refer to was refused",
                 push->target, node->request->referrer_count);
    error_clear(err);
    return ERR_OK;
}

static void report(struct target_push *push, const struct parsed *parsed)
{
    push->result->digest = parsed->outgoing.digest;
    push->result->size = parsed->outgoing.canonical_size;
    memcpy(push->result->media_type, parsed->manifest.media_type, MEDIA_TYPE_MAX);
}

static bool may_fall_back(const struct target_push *push, const struct node *node,
                          const struct manifest *manifest)
{
    return node->request && node->tag && schema1_push_applies(push, manifest);
}

static enum errc put_parsed(struct target_push *push, struct registry_client *client,
                            const struct node *node, const struct parsed *parsed, struct error *err)
{
    bool top = node->request != NULL;
    bool with_referrers = top && node->request->referrer_count > 0;
    bool refused = false;
    struct manifest_answer answer = {0};
    enum errc code = ERR_OK;
    if (with_referrers && node->tag)
        code = put_below_tag(push, client, node, parsed, &refused, err);
    if (code == ERR_OK) {
        code = manifest_put(push, client, node->tag, &parsed->outgoing, &answer, err);
        refused = answer.kind_refused;
    }
    if (code != ERR_OK && refused && may_fall_back(push, node, &parsed->manifest))
        return fall_back(push, client, node, parsed, err);
    if (code == ERR_OK && parsed->manifest.has_subject && !answer.subject_noted)
        code = note_referrer(push, client, node, parsed, err);
    if (code == ERR_OK && with_referrers && node->tag == NULL)
        code = push_referrers(push, node->request, err);
    if (code == ERR_OK && top)
        report(push, parsed);
    return code;
}

static enum errc push_content(struct target_push *push, const struct manifest *manifest, int depth,
                              struct error *err)
{
    switch (manifest->kind) {
    case MANIFEST_INDEX:
        return push_children(push, manifest, depth, err);
    case MANIFEST_IMAGE:
        if (push_layers(push, manifest, err) != ERR_OK)
            return err->code;
        return push_config(push, &manifest->config, err);
    case MANIFEST_OPAQUE:
        break;
    }
    return ERR_OK;
}

/* A connection is leased for the manifest only: transfers lease their own. */
static enum errc push_parsed(struct target_push *push, const struct node *node,
                             const struct parsed *parsed, struct error *err)
{
    if (push_content(push, &parsed->manifest, node->depth, err) != ERR_OK)
        return err->code;
    autoclient struct registry_client client = {0};
    registry_client_open(&client, push->repository, &push->stop);
    return put_parsed(push, &client, node, parsed, err);
}

static enum errc read_node(struct target_push *push, const struct node *node, struct parsed *out,
                           struct error *err)
{
    const struct descriptor *descriptor = node->manifest;
    const char *type = descriptor->media_type[0] ? descriptor->media_type : NULL;
    autofree char *data = NULL;
    size_t size = 0;
    if (node->depth > INDEX_DEPTH_MAX)
        return fail(err, ERR_MANIFEST_INVALID, 0, "indexes are nested more than %d deep",
                    INDEX_DEPTH_MAX);
    if (stop_check(&push->stop, err) != ERR_OK ||
        blob_read_all(push->store, &descriptor->digest, MANIFEST_LIMIT_BYTES, "manifest", &data,
                      &size, err) != ERR_OK ||
        manifest_parse_any(data, size, type, "manifest", &out->manifest, err) != ERR_OK)
        return err->code;
    out->data = mem_take(&data);
    out->outgoing = (struct outgoing_manifest){
        .bytes = {out->data, size, out->manifest.media_type},
        .canonical = out->data,
        .canonical_size = size,
        .digest = descriptor->digest,
    };
    return ERR_OK;
}

static enum errc push_node(struct target_push *push, const struct node *node, struct error *err)
{
    struct parsed parsed = {0};
    bool by_digest = node->request == NULL && node->tag == NULL;
    if (by_digest && push_knows_manifest(push, &node->manifest->digest))
        return ERR_OK;
    if (read_node(push, node, &parsed, err) != ERR_OK)
        return err->code;
    enum errc code = push_parsed(push, node, &parsed, err);
    if (by_digest && code == ERR_OK)
        push_learn_manifest(push, &node->manifest->digest);
    manifest_deinit(&parsed.manifest);
    free(parsed.data);
    return code;
}

enum errc manifest_push(struct target_push *push, const struct push_request *request,
                        struct error *err)
{
    const struct node top = {
        .manifest = &request->manifest,
        .tag = request->target.tag[0] ? request->target.tag : NULL,
        .request = request,
    };
    return push_node(push, &top, err);
}
