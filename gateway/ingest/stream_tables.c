#include "gateway/ingest/stream_tables.h"

#include "image/manifest.h"
#include "image/oci_layout.h"

#include <string.h>

static void note(struct stream_tables *tables, struct digest_map *map, const struct digest *digest)
{
    if (tables->noted == CATALOG_ENTRIES_MAX)
        return;
    tables->noted++;
    digest_map_add(map, digest);
}

static void see_index(struct stream_tables *tables, const char *data, size_t size)
{
    struct oci_layout layout = {.count = 0};
    struct error ignored = ERROR_INIT;
    if (oci_layout_parse(data, size, &layout, &ignored) == ERR_OK && layout.count == 1)
        note(tables, &tables->manifests, &layout.entries[0].descriptor.digest);
    oci_layout_deinit(&layout);
}

static void see_manifest(struct stream_tables *tables, const char *data, size_t size)
{
    struct manifest manifest;
    struct error ignored = ERROR_INIT;
    if (manifest_parse_any(data, size, NULL, "manifest", &manifest, &ignored) != ERR_OK)
        return;
    for (size_t i = 0; i < manifest.layer_count; i++)
        note(tables, &tables->layers, &manifest.layers[i].digest);
    for (size_t i = 0; i < manifest.child_count; i++)
        note(tables, &tables->manifests, &manifest.children[i].digest);
    manifest_deinit(&manifest);
}

static bool is_manifest(const struct stream_tables *tables, const char *name)
{
    const struct digest digest = layout_blob_digest(name);
    return digest.algorithm != DIGEST_NONE && digest_map_find(&tables->manifests, &digest);
}

size_t stream_tables_wants(const struct stream_tables *tables, const char *name)
{
    if (strcmp(name, "index.json") == 0)
        return LAYOUT_LIMIT_BYTES;
    if (strcmp(name, "manifest.json") == 0)
        return DOCKER_ARCHIVE_LIMIT_BYTES;
    return is_manifest(tables, name) ? MANIFEST_LIMIT_BYTES : 0;
}

void stream_tables_see(struct stream_tables *tables, const char *name, const char *data,
                       size_t size)
{
    struct error ignored = ERROR_INIT;
    if (strcmp(name, "index.json") == 0) {
        see_index(tables, data, size);
    } else if (strcmp(name, "manifest.json") == 0) {
        docker_archive_deinit(&tables->table);
        docker_archive_parse(data, size, &tables->table, &ignored);
    } else if (is_manifest(tables, name)) {
        see_manifest(tables, data, size);
    }
}

bool stream_tables_sure_layer(const struct stream_tables *tables, const char *name)
{
    const struct digest digest = layout_blob_digest(name);
    if (digest.algorithm != DIGEST_NONE && digest_map_find(&tables->layers, &digest))
        return true;
    if (tables->table.count != 1)
        return false;
    const struct docker_image *image = &tables->table.images[0];
    for (size_t i = 0; i < image->layer_count; i++)
        if (strcmp(image->layers[i], name) == 0)
            return true;
    return false;
}

void stream_tables_deinit(struct stream_tables *tables)
{
    digest_map_deinit(&tables->manifests);
    digest_map_deinit(&tables->layers);
    docker_archive_deinit(&tables->table);
    *tables = (struct stream_tables){.noted = 0};
}
