#include "gateway/ingest/stream_tables.h"

#include "base/mem.h"
#include "image/catalog.h"
#include "image/docker_archive.h"
#include "image/manifest.h"
#include "image/media_type.h"
#include "image/oci_layout.h"

#include <string.h>

static void note(struct stream_tables *tables, struct digest_map *map, const struct digest *digest,
                 enum named_layer named)
{
    if (tables->noted == CATALOG_ENTRIES_MAX)
        return;
    struct digest_item *item = digest_map_add(map, digest);
    tables->noted += item->number == LAYER_NOT_NAMED;
    if (item->number < named)
        item->number = named;
}

static void see_index(struct stream_tables *tables, const char *data, size_t size)
{
    struct oci_layout layout = {.count = 0};
    struct error ignored = ERROR_INIT;
    bool good = oci_layout_parse(data, size, &layout, &ignored) == ERR_OK && layout.count == 1;
    if (good)
        note(tables, &tables->manifests, &layout.entries[0].descriptor.digest, LAYER_NAMED);
    tables->odd = tables->odd || !good;
    tables->has_index = true;
    oci_layout_deinit(&layout);
}

/* What has `urls` is not pushed. */
static void see_manifest(struct stream_tables *tables, const char *data, size_t size)
{
    struct manifest manifest;
    struct error ignored = ERROR_INIT;
    if (manifest_parse_any(data, size, NULL, "manifest", &manifest, &ignored) != ERR_OK)
        return;
    for (size_t i = 0; i < manifest.layer_count; i++) {
        const struct descriptor *layer = &manifest.layers[i];
        bool plain = media_type_is_plain_layer(layer->media_type);
        if (!layer->foreign)
            note(tables, &tables->layers, &layer->digest,
                 plain ? LAYER_NAMED : LAYER_NAMED_AS_IT_IS);
    }
    for (size_t i = 0; i < manifest.child_count; i++)
        note(tables, &tables->manifests, &manifest.children[i].digest, LAYER_NAMED);
    manifest_deinit(&manifest);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void see_table(struct stream_tables *tables, const char *data, size_t size)
{
    struct docker_archive table = {.count = 0};
    struct error ignored = ERROR_INIT;
    bool good = docker_archive_parse(data, size, &table, &ignored) == ERR_OK && table.count == 1;
    if (good) {
        tables->names = mem_take(&table.images[0].layers);
        tables->name_count = table.images[0].layer_count;
        table.images[0].layer_count = 0;
        qsort(tables->names, tables->name_count, sizeof(char *), by_text);
    }
    tables->odd = tables->odd || !good;
    tables->has_table = true;
    docker_archive_deinit(&table);
}

static bool is_index(const struct stream_tables *tables, const char *name)
{
    return !tables->has_index && strcmp(name, "index.json") == 0;
}

static bool is_table(const struct stream_tables *tables, const char *name)
{
    return !tables->has_table && strcmp(name, "manifest.json") == 0;
}

static bool is_manifest(const struct stream_tables *tables, const char *name)
{
    const struct digest digest = layout_blob_digest(name);
    return digest.algorithm != DIGEST_NONE && digest_map_find(&tables->manifests, &digest);
}

size_t stream_tables_wants(const struct stream_tables *tables, const char *name)
{
    if (is_index(tables, name))
        return LAYOUT_LIMIT_BYTES;
    if (is_table(tables, name))
        return DOCKER_ARCHIVE_LIMIT_BYTES;
    return is_manifest(tables, name) ? MANIFEST_LIMIT_BYTES : 0;
}

void stream_tables_see(struct stream_tables *tables, const char *name, const char *data,
                       size_t size)
{
    if (is_index(tables, name))
        see_index(tables, data, size);
    else if (is_table(tables, name))
        see_table(tables, data, size);
    else if (is_manifest(tables, name))
        see_manifest(tables, data, size);
}

enum named_layer stream_tables_names(const struct stream_tables *tables, const char *name)
{
    const struct digest digest = layout_blob_digest(name);
    const struct digest_item *layer = NULL;
    if (tables->odd)
        return LAYER_NOT_NAMED;
    if (digest.algorithm != DIGEST_NONE)
        layer = digest_map_find(&tables->layers, &digest);
    if (layer)
        return (enum named_layer)layer->number;
    bool found = tables->name_count > 0 &&
                 bsearch(&name, tables->names, tables->name_count, sizeof(char *), by_text);
    return found ? LAYER_NAMED : LAYER_NOT_NAMED;
}

void stream_tables_deinit(struct stream_tables *tables)
{
    for (size_t i = 0; i < tables->name_count; i++)
        free(tables->names[i]);
    free(tables->names);
    digest_map_deinit(&tables->manifests);
    digest_map_deinit(&tables->layers);
    *tables = (struct stream_tables){.noted = 0};
}
