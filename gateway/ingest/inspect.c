#include "gateway/ingest/inspect.h"

#include "base/limits.h"
#include "base/mem.h"

#include <string.h>

void inspector_deinit(struct inspector *inspector)
{
    digest_map_deinit(&inspector->seen);
    digest_map_deinit(&inspector->configs);
    free(inspector->items);
    free(inspector->glances);
    inspector->items = NULL;
    inspector->glances = NULL;
}

/* ---- its bytes ---- */

static bool read_bytes(const struct inspector *inspector, const struct digest *digest, size_t limit,
                       char **data, size_t *size)
{
    struct error ignored = ERROR_INIT;
    const struct catalog_entry *entry = catalog_find_blob(inspector->catalog, digest);
    return entry != NULL && entry->content.raw_size <= limit &&
           !cancel_requested(inspector->cancel) &&
           batch_read_all(inspector->batch, &entry->content.digest, limit, "blob", data, size,
                          &ignored) == ERR_OK;
}

bool inspect_read(struct inspector *inspector, const struct descriptor *descriptor,
                  struct manifest *out)
{
    struct error ignored = ERROR_INIT;
    autofree char *data = NULL;
    size_t size = 0;
    return read_bytes(inspector, &descriptor->digest, MANIFEST_LIMIT_BYTES, &data, &size) &&
           manifest_parse_any(data, size, descriptor->media_type, "manifest", out, &ignored) ==
               ERR_OK;
}

static bool is_blob(const struct inspector *inspector, const struct descriptor *member)
{
    bool manifest = false;
    autofree char *data = NULL;
    size_t size = 0;
    if (manifest_member_by_type(member->media_type, &manifest))
        return !manifest;
    return catalog_find_blob(inspector->catalog, &member->digest) != NULL &&
           !(read_bytes(inspector, &member->digest, MANIFEST_LIMIT_BYTES, &data, &size) &&
             manifest_is_member(member->media_type, data, size));
}

/* ---- images and artifacts ---- */

/* Many manifests may share one config. */
const struct config_glance *inspect_config(struct inspector *inspector, const struct digest *config)
{
    struct digest_item *item = digest_map_add(&inspector->configs, config);
    if (item->number == 0) {
        autofree char *data = NULL;
        size_t size = 0;
        inspector->glances = mem_grow(inspector->glances, inspector->glance_count,
                                      &inspector->glance_capacity, sizeof *inspector->glances);
        item->number = ++inspector->glance_count;
        inspector->glances[item->number - 1] = (struct config_glance){.has_rootfs = false};
        if (read_bytes(inspector, config, IMAGE_CONFIG_LIMIT_BYTES, &data, &size))
            inspector->glances[item->number - 1] = image_config_glance(data, size);
    }
    return &inspector->glances[item->number - 1];
}

static bool is_image(struct inspector *inspector, const struct manifest *manifest,
                     struct platform *platform)
{
    if (!manifest_may_be_image(manifest))
        return false;
    const struct config_glance *config = inspect_config(inspector, &manifest->config.digest);
    *platform = config->platform;
    /* One that is missing is the assembly's to say. */
    return catalog_find_blob(inspector->catalog, &manifest->config.digest) == NULL ||
           (config->has_rootfs && (config->lists_layers || manifest->layer_count == 0));
}

/* Of the config, else of the first layer that tells. */
static enum supplement supplement_of(const struct manifest *manifest)
{
    enum supplement found = supplement_of_type(manifest->config.media_type);
    for (size_t i = 0; found == SUPPLEMENT_NONE && i < manifest->layer_count; i++)
        found = supplement_of_type(manifest->layers[i].media_type);
    return found;
}

static bool has_blob(const struct inspector *inspector, const struct descriptor *blob)
{
    return blob->foreign || media_type_is_foreign_layer(blob->media_type) ||
           catalog_find_blob(inspector->catalog, &blob->digest) != NULL;
}

static void inspect_image(struct inspector *inspector, const struct manifest *manifest,
                          struct inspected *out)
{
    bool image = is_image(inspector, manifest, &out->platform);
    out->kind = image ? INSPECTED_IMAGE : INSPECTED_ARTIFACT;
    out->supplement = image ? SUPPLEMENT_NONE : supplement_of(manifest);
    out->config = manifest->config.digest;
    out->whole = has_blob(inspector, &manifest->config);
    if (manifest->layer_count > 0)
        out->first_layer = manifest->layers[0].digest;
    for (size_t i = 0; i < manifest->layer_count; i++)
        out->whole = out->whole && has_blob(inspector, &manifest->layers[i]);
}

/* ---- all kinds ---- */

static void inspect_manifest(struct inspector *inspector, const struct manifest *manifest,
                             unsigned depth, struct inspected *out)
{
    out->has_subject = manifest->has_subject;
    out->subject = manifest->subject.digest;
    switch (manifest->kind) {
    case MANIFEST_IMAGE:
        inspect_image(inspector, manifest, out);
        break;
    case MANIFEST_INDEX:
        out->kind = INSPECTED_INDEX;
        out->whole = depth <= INDEX_DEPTH_MAX;
        for (size_t i = 0; i < manifest->child_count && depth <= INDEX_DEPTH_MAX; i++)
            out->whole &= inspect(inspector, &manifest->children[i], depth + 1).whole;
        break;
    case MANIFEST_OPAQUE:
        out->kind = INSPECTED_ARTIFACT;
        out->whole = true;
        break;
    }
}

struct inspected inspect(struct inspector *inspector, const struct descriptor *descriptor,
                         unsigned depth)
{
    struct digest_item *item = digest_map_add(&inspector->seen, &descriptor->digest);
    struct manifest manifest = {.kind = MANIFEST_OPAQUE};
    struct inspected found = {.kind = INSPECTED_NOTHING};
    if (item->number > 0)
        return inspector->items[item->number - 1];
    if (depth > 0 && is_blob(inspector, descriptor)) {
        found.kind = INSPECTED_BLOB;
        found.whole = has_blob(inspector, descriptor);
    } else if (inspect_read(inspector, descriptor, &manifest)) {
        inspect_manifest(inspector, &manifest, depth, &found);
        manifest_deinit(&manifest);
    }
    /* Nothing names itself by its digest, so it was not entered meanwhile. */
    inspector->items = mem_grow(inspector->items, inspector->count, &inspector->capacity,
                                sizeof *inspector->items);
    inspector->items[inspector->count++] = found;
    item->number = inspector->count;
    return found;
}

/* ---- below an index ---- */

struct walk {
    struct inspector *inspector;
    inspect_visit *visit;
    void *self;
    struct digest_map visited;
    size_t visits;
};

static bool walk_node(struct walk *walk, const struct descriptor *at, unsigned depth)
{
    struct manifest index = {0};
    struct digest_item *item = digest_map_add(&walk->visited, &at->digest);
    const struct inspected info = inspect(walk->inspector, at, depth);
    if (item->number > 0 || info.kind == INSPECTED_BLOB || walk->visits == INSPECT_VISITS_MAX)
        return false;
    item->number = 1;
    walk->visits++;
    if (walk->visit(walk->self, at, &info))
        return true;
    if (info.kind != INSPECTED_INDEX || depth == INDEX_DEPTH_MAX ||
        !inspect_read(walk->inspector, at, &index))
        return false;
    bool ended = false;
    for (size_t i = 0; i < index.child_count && !ended; i++)
        ended = walk_node(walk, &index.children[i], depth + 1);
    manifest_deinit(&index);
    return ended;
}

bool inspect_walk(struct inspector *inspector, const struct descriptor *root, inspect_visit *visit,
                  void *self)
{
    struct walk walk = {.inspector = inspector, .visit = visit, .self = self};
    bool ended = walk_node(&walk, root, 0);
    digest_map_deinit(&walk.visited);
    return ended;
}

struct platform inspected_platform(const struct descriptor *descriptor,
                                   const struct inspected *info)
{
    return descriptor->platform.os[0] ? descriptor->platform : info->platform;
}
