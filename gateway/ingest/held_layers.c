#include "gateway/ingest/held_layers.h"

#include "base/limits.h"
#include "base/mem.h"
#include "image/digest_map.h"
#include "image/docker_archive.h"
#include "image/image_config.h"
#include "image/manifest.h"
#include "image/oci_layout.h"
#include "store/layers.h"

struct completing {
    struct held_layers *held;
    const struct file_intake_options *files;
    struct batch *batch;
    struct catalog *catalog;
    struct digest_map absent; /* those that are noted as missing */
    struct digest_map seen;   /* manifests */
    size_t capacity;          /* of held->missing */
};

/* ---- one layer ---- */

static void note_missing(struct completing *all, const struct digest *digest)
{
    struct held_layers *held = all->held;
    struct digest_item *item = digest_map_add(&all->absent, digest);
    if (item->number++ > 0)
        return;
    held->missing =
        mem_grow(held->missing, held->missing_count, &all->capacity, sizeof *held->missing);
    held->missing[held->missing_count++] = *digest;
}

/* As a blob that came compressed. */
static enum errc find_blob(const struct completing *all, const struct digest *digest, bool *found,
                           struct layer_result *out, struct error *err)
{
    autoblob struct blob blob = BLOB_INIT;
    struct error missing = ERROR_INIT;
    uint8_t start[CONTENT_PEEK_BYTES];
    size_t got = 0;
    if (blob_open(all->files->store, digest, &blob, &missing) != ERR_OK)
        return ERR_OK;
    if (file_read_at(blob.fd, start, sizeof start, 0, &got, err) != ERR_OK)
        return err->code;
    *out = (struct layer_result){.content = content_of(start, got),
                                 .raw = *digest,
                                 .diff_id = *digest,
                                 .raw_size = blob.size,
                                 .digest = *digest,
                                 .size = blob.size};
    *found = out->content != CONTENT_TAR || all->files->codec == CODEC_NONE;
    return ERR_OK;
}

/* As a tar, in the form that it would be given. */
static enum errc find_tar(const struct completing *all, const struct digest *digest, bool *found,
                          struct layer_result *out, struct error *err)
{
    const struct file_intake_options *files = all->files;
    struct layer_form form;
    if (files->codec == CODEC_NONE)
        return ERR_OK;
    if (layer_find(files->store, digest, files->codec,
                   file_intake_effort(files->codec, files->effort), found, &form, err) != ERR_OK)
        return err->code;
    *found = *found && form.raw_size > 0;
    if (*found)
        *out = (struct layer_result){.content = CONTENT_TAR,
                                     .raw = *digest,
                                     .diff_id = *digest,
                                     .raw_size = form.raw_size,
                                     .codec = form.codec,
                                     .digest = form.digest,
                                     .size = form.size};
    return ERR_OK;
}

static enum errc find_held(const struct completing *all, const struct digest *digest, bool *found,
                           struct layer_result *out, struct error *err)
{
    const struct held_layers *held = all->held;
    if (digest->algorithm != DIGEST_SHA256 ||
        (held->may_use && !held->may_use(held->self, digest)) ||
        find_tar(all, digest, found, out, err) != ERR_OK || *found)
        return err->code;
    return find_blob(all, digest, found, out, err);
}

static enum errc complete(struct completing *all, const char *name, const struct digest *digest,
                          struct error *err)
{
    const struct catalog_entry *there = NULL;
    struct layer_result content;
    struct error loop = ERROR_INIT;
    bool found = false;
    if (catalog_find(all->catalog, name, &there, &loop) != ERR_OK || there != NULL)
        return ERR_OK;
    if (find_held(all, digest, &found, &content, err) != ERR_OK)
        return err->code;
    struct error gone = ERROR_INIT;
    if (!found || batch_hold_blob(all->batch, &content.digest, &gone) != ERR_OK) {
        note_missing(all, digest);
        return ERR_OK;
    }
    return catalog_add_file(all->catalog, name, &content, err);
}

/* ---- documents ---- */

/* Of a file of the archive; *data NULL when it cannot be read. */
static void read_document(const struct completing *all, const struct catalog_entry *entry,
                          size_t limit_bytes, char **data, size_t *size)
{
    struct error ignored = ERROR_INIT;
    *data = NULL;
    if (entry && batch_read_all(all->batch, &entry->content.digest, limit_bytes, "document", data,
                                size, &ignored) != ERR_OK)
        *data = NULL;
}

static void read_named(const struct completing *all, const char *name, size_t limit_bytes,
                       char **data, size_t *size)
{
    const struct catalog_entry *entry = NULL;
    struct error loop = ERROR_INIT;
    if (catalog_find(all->catalog, name, &entry, &loop) != ERR_OK)
        entry = NULL;
    read_document(all, entry, limit_bytes, data, size);
}

/* ---- manifest.json ---- */

static enum errc complete_layers(struct completing *all, const struct docker_image *image,
                                 const struct image_config *config, struct error *err)
{
    for (size_t i = 0; i < image->layer_count && config->diff_id_count == image->layer_count; i++) {
        const struct digest named = layout_blob_digest(image->layers[i]);
        bool by_name = named.algorithm != DIGEST_NONE;
        if (complete(all, image->layers[i], by_name ? &named : &config->diff_ids[i], err) != ERR_OK)
            return err->code;
    }
    return ERR_OK;
}

static enum errc complete_docker(struct completing *all, const struct docker_image *image,
                                 struct error *err)
{
    struct image_config config = {.diff_ids = NULL};
    struct error ignored = ERROR_INIT;
    autofree char *data = NULL;
    size_t size = 0;
    read_named(all, image->config, IMAGE_CONFIG_LIMIT_BYTES, &data, &size);
    if (data && image_config_parse(data, size, "config", &config, &ignored) == ERR_OK)
        complete_layers(all, image, &config, err);
    image_config_deinit(&config);
    return err->code;
}

static enum errc complete_table(struct completing *all, struct error *err)
{
    struct docker_archive table = {.count = 0};
    struct error ignored = ERROR_INIT;
    autofree char *data = NULL;
    size_t size = 0;
    read_named(all, "manifest.json", DOCKER_ARCHIVE_LIMIT_BYTES, &data, &size);
    if (data && docker_archive_parse(data, size, &table, &ignored) == ERR_OK)
        for (size_t i = 0; i < table.count && err->code == ERR_OK; i++)
            complete_docker(all, &table.images[i], err);
    docker_archive_deinit(&table);
    return err->code;
}

/* ---- index.json ---- */

static enum errc complete_blob(struct completing *all, const struct digest *digest,
                               struct error *err)
{
    char name[LAYOUT_BLOB_NAME_MAX];
    return complete(all, layout_blob_name(digest, name), digest, err);
}

static enum errc complete_below(struct completing *all, const struct descriptor *root,
                                unsigned depth, struct error *err)
{
    struct manifest manifest;
    struct error ignored = ERROR_INIT;
    autofree char *data = NULL;
    size_t size = 0;
    if (depth > INDEX_DEPTH_MAX || digest_map_add(&all->seen, &root->digest)->number++ > 0)
        return ERR_OK;
    read_document(all, catalog_find_blob(all->catalog, &root->digest), MANIFEST_LIMIT_BYTES, &data,
                  &size);
    if (data == NULL ||
        manifest_parse_any(data, size, root->media_type[0] ? root->media_type : NULL, "manifest",
                           &manifest, &ignored) != ERR_OK)
        return ERR_OK;
    for (size_t i = 0; i < manifest.layer_count && err->code == ERR_OK; i++)
        if (!manifest.layers[i].foreign)
            complete_blob(all, &manifest.layers[i].digest, err);
    for (size_t i = 0; i < manifest.child_count && err->code == ERR_OK; i++)
        complete_below(all, &manifest.children[i], depth + 1, err);
    manifest_deinit(&manifest);
    return err->code;
}

static enum errc complete_layout(struct completing *all, struct error *err)
{
    struct oci_layout layout = {.count = 0};
    struct error ignored = ERROR_INIT;
    autofree char *data = NULL;
    size_t size = 0;
    read_named(all, "index.json", LAYOUT_LIMIT_BYTES, &data, &size);
    if (data && oci_layout_parse(data, size, &layout, &ignored) == ERR_OK)
        for (size_t i = 0; i < layout.count && err->code == ERR_OK; i++)
            complete_below(all, &layout.entries[i].descriptor, 0, err);
    oci_layout_deinit(&layout);
    return err->code;
}

enum errc held_layers_complete(struct held_layers *held, const struct file_intake_options *files,
                               struct batch *batch, struct catalog *catalog, struct error *err)
{
    struct completing all = {.held = held, .files = files, .batch = batch, .catalog = catalog};
    if (complete_table(&all, err) == ERR_OK)
        complete_layout(&all, err);
    digest_map_deinit(&all.absent);
    digest_map_deinit(&all.seen);
    if (err->code == ERR_OK && held->missing_count > 0)
        return fail(err, ERR_LAYER_UNKNOWN, 0, "%zu layers of the archive are not held: send them",
                    held->missing_count);
    return err->code;
}
