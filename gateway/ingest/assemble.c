#include "gateway/ingest/assemble.h"

#include "base/file.h"
#include "base/limits.h"
#include "base/mem.h"
#include "gateway/ingest/recompress.h"

#include <assert.h>
#include <string.h>

static void use_blob(struct assembly *assembly, const struct digest *digest)
{
    digest_map_add(&assembly->used, digest);
}

void assembly_deinit(struct assembly *assembly)
{
    digest_map_deinit(&assembly->used);
    digest_map_deinit(&assembly->replaced);
    digest_map_deinit(&assembly->recoded);
    digest_map_deinit(&assembly->done);
    free(assembly->results);
    free(assembly->assembled);
    assembly->results = NULL;
    assembly->assembled = NULL;
}

void assembly_drop_unused(const struct catalog *catalog, struct batch *batch,
                          const struct digest_map *used)
{
    for (size_t i = 0; i < catalog_count(catalog); i++) {
        const struct catalog_entry *entry = catalog_at(catalog, i);
        if (entry->target == NULL && !digest_map_find(used, &entry->content.digest))
            batch_drop_blob(batch, &entry->content.digest);
    }
}

/* What many manifests name is recoded once. */
static enum errc recode(struct assembly *assembly, struct layer_result *content, struct error *err)
{
    const struct recompress_options options = {.batch = assembly->batch,
                                               .codecs = assembly->codecs,
                                               .cancel = assembly->cancel,
                                               .codec = assembly->codec,
                                               .effort = assembly->effort};
    struct digest_item *item = digest_map_add(&assembly->recoded, &content->raw);
    if (item->number > 0) {
        *content = assembly->results[item->number - 1];
        return ERR_OK;
    }
    enum errc rc = content->codec == CODEC_NONE ? recompress(&options, content, err)
                                                : recompress_restore(&options, content, err);
    if (rc != ERR_OK)
        return rc;
    assembly->results =
        xrealloc(assembly->results, assembly->result_count + 1, sizeof *assembly->results);
    assembly->results[assembly->result_count++] = *content;
    item->number = assembly->result_count;
    return ERR_OK;
}

/* No runtime takes these, whatever their media type says. */
static enum errc check_compression(struct assembly *assembly, const struct catalog_entry *entry,
                                   struct error *err)
{
    autoblob struct blob blob = BLOB_INIT;
    uint8_t head[8] = {0};
    size_t got = 0;
    if (entry->content.content != CONTENT_OTHER)
        return ERR_OK;
    if (batch_open_blob(assembly->batch, &entry->content.digest, &blob, err) != ERR_OK ||
        file_read_at(blob.fd, head, sizeof head, 0, &got, err) != ERR_OK)
        return err->code;
    const char *form = content_compression(head, got);
    return form ? fail(err, ERR_ENTRY_UNSUPPORTED, 0,
                       "layer \"%.200s\" is compressed with %s, which no runtime takes: make the "
                       "image again with layers in gzip or zstd, or plain",
                       entry->name, form)
                : ERR_OK;
}

/* A layer entry as it will be pushed. `diff_id` is what the config says of it, NULL when nobody
 * does; it is checked where slipway knows the raw bytes. */
static enum errc check_diff_id(const struct catalog_entry *entry, const struct digest *diff_id,
                               struct error *err)
{
    char want[DIGEST_TEXT_MAX];
    char have[DIGEST_TEXT_MAX];
    if (diff_id == NULL || digest_equal(diff_id, &entry->content.diff_id) ||
        digest_equal(diff_id, &entry->content.raw))
        return ERR_OK;
    return fail(err, ERR_DIFFID_MISMATCH, 0,
                "the uncompressed layer \"%s\" has the digest %s, the config's diffID is %s",
                entry->name, digest_text(&entry->content.diff_id, have),
                digest_text(diff_id, want));
}

static void note_layer(struct assembly *assembly, const struct layer_result *content)
{
    if (content->codec == CODEC_NONE)
        return;
    struct layer_form form = {.codec = assembly->codec,
                              .effort = assembly->effort,
                              .digest = content->digest,
                              .size = content->size,
                              .raw_size = content->raw_size};
    batch_put_layer(assembly->batch, &content->diff_id, &form);
    if (content->start.algorithm != DIGEST_NONE)
        batch_put_start(assembly->batch, &content->start, &content->diff_id);
}

/* ---- manifest.json ---- */

static enum codec codec_of(const struct layer_result *content)
{
    if (content->content == CONTENT_ZSTD)
        return CODEC_ZSTD;
    return content->content == CONTENT_GZIP ? CODEC_GZIP : content->codec;
}

static enum codec codec_of_type(const char *type)
{
    enum codec codec = CODEC_GZIP;
    media_type_codec(type, &codec);
    return codec;
}

static void set_layer_type(struct descriptor *layer, enum codec codec, bool docker)
{
    snprintf(layer->media_type, sizeof layer->media_type, "%s", media_type_of_layer(codec, docker));
}

static enum errc docker_layer(struct assembly *assembly, const char *name,
                              const struct digest *diff_id, struct descriptor *out,
                              struct error *err)
{
    const struct catalog_entry *entry = NULL;
    if (catalog_find(assembly->catalog, name, &entry, err) != ERR_OK)
        return err->code;
    if (entry == NULL)
        return fail(err, ERR_LAYER_MISSING, 0, "layer \"%.200s\" of manifest.json is not there",
                    name);
    if (check_compression(assembly, entry, err) != ERR_OK)
        return err->code;
    struct layer_result content = entry->content;
    bool compressed = content.content == CONTENT_GZIP || content.content == CONTENT_ZSTD;
    if (!compressed && check_diff_id(entry, diff_id, err) != ERR_OK)
        return err->code;
    if (!compressed && content.codec == CODEC_NONE && assembly->codec != CODEC_NONE &&
        recode(assembly, &content, err) != ERR_OK)
        return error_wrap(err, "layer \"%.200s\"", name);
    if (!compressed)
        note_layer(assembly, &content);
    use_blob(assembly, &content.digest);
    *out = (struct descriptor){.digest = content.digest, .size = content.size};
    set_layer_type(out, codec_of(&content), true);
    return ERR_OK;
}

static void build_image_manifest(const struct digest *config, uint64_t config_size,
                                 struct descriptor *layers, size_t count, bool oci, struct buf *out)
{
    struct descriptor descriptor = {.digest = *config, .size = config_size};
    snprintf(descriptor.media_type, sizeof descriptor.media_type, "%s",
             oci ? MEDIA_OCI_CONFIG : MEDIA_DOCKER_CONFIG);
    if (!oci) {
        manifest_build_schema2(&descriptor, layers, count, out);
        return;
    }
    for (size_t i = 0; i < count; i++)
        set_layer_type(&layers[i], codec_of_type(layers[i].media_type), false);
    manifest_build_oci(&descriptor, layers, count, out);
}

static enum errc put_manifest(struct assembly *assembly, const struct buf *bytes, const char *type,
                              struct descriptor *out, struct error *err)
{
    struct descriptor manifest = {.size = bytes->size};
    snprintf(manifest.media_type, sizeof manifest.media_type, "%s", type);
    if (bytes->overflowed || bytes->size > MANIFEST_LIMIT_BYTES)
        return fail(err, ERR_MANIFEST_INVALID, 0, "the manifest would be over %zu bytes",
                    MANIFEST_LIMIT_BYTES);
    if (batch_put_blob(assembly->batch, buf_cstr(bytes), bytes->size, &manifest.digest, err) !=
        ERR_OK)
        return err->code;
    use_blob(assembly, &manifest.digest);
    *out = manifest;
    return ERR_OK;
}

static enum errc read_config(struct assembly *assembly, const struct catalog_entry *entry,
                             struct image_config *out, struct error *err)
{
    autofree char *data = NULL;
    size_t size = 0;
    autofree char *what = xasprintf("config \"%.200s\"", entry->name);
    if (batch_read_all(assembly->batch, &entry->content.digest, IMAGE_CONFIG_LIMIT_BYTES, what,
                       &data, &size, err) != ERR_OK)
        return err->code;
    use_blob(assembly, &entry->content.digest);
    return image_config_parse(data, size, what, out, err);
}

static enum errc docker_layers(struct assembly *assembly, const struct docker_image *image,
                               const struct image_config *config, struct descriptor *layers,
                               bool *oci, struct error *err)
{
    if (config->diff_id_count != image->layer_count)
        return fail(err, ERR_CONFIG_INVALID, 0,
                    "config \"%.200s\" has %zu diff_ids, manifest.json lists %zu layers",
                    image->config, config->diff_id_count, image->layer_count);
    for (size_t i = 0; i < image->layer_count; i++) {
        if (docker_layer(assembly, image->layers[i], &config->diff_ids[i], &layers[i], err) !=
            ERR_OK)
            return err->code;
        /* No registry need take zstd in a schema2 manifest: such an image gets an OCI one. */
        *oci = *oci || codec_of_type(layers[i].media_type) == CODEC_ZSTD;
    }
    return ERR_OK;
}

enum errc assemble_docker_image(struct assembly *assembly, const struct docker_image *image,
                                struct descriptor *manifest, struct digest *config_digest,
                                struct error *err)
{
    const struct catalog_entry *entry = NULL;
    if (catalog_find(assembly->catalog, image->config, &entry, err) != ERR_OK)
        return err->code;
    if (entry == NULL)
        return fail(err, ERR_CONFIG_MISSING, 0, "config \"%.200s\" of manifest.json is not there",
                    image->config);
    struct image_config config;
    if (read_config(assembly, entry, &config, err) != ERR_OK)
        return err->code;
    struct descriptor *layers = xcalloc(image->layer_count, sizeof *layers);
    bool oci = false;
    enum errc rc = docker_layers(assembly, image, &config, layers, &oci, err);
    if (rc == ERR_OK) {
        autobuf struct buf bytes = BUF_INIT(2 * MANIFEST_LIMIT_BYTES);
        build_image_manifest(&entry->content.digest, entry->content.size, layers,
                             image->layer_count, oci, &bytes);
        rc = put_manifest(assembly, &bytes, oci ? MEDIA_OCI_MANIFEST : MEDIA_DOCKER_MANIFEST,
                          manifest, err);
    }
    if (rc == ERR_OK)
        *config_digest = entry->content.digest;
    free(layers);
    image_config_deinit(&config);
    return rc;
}

/* ---- index.json ---- */

static enum errc find_blob(struct assembly *assembly, const struct descriptor *descriptor,
                           enum errc missing, const char *what, const struct catalog_entry **out,
                           struct error *err)
{
    char text[DIGEST_TEXT_MAX];
    const struct catalog_entry *entry = catalog_find_blob(assembly->catalog, &descriptor->digest);
    digest_text(&descriptor->digest, text);
    if (entry == NULL)
        return fail(err, missing, 0, "%s %s is not in the archive", what, text);
    if (entry->content.raw_size != descriptor->size)
        return fail(err, ERR_MANIFEST_INVALID, 0, "%s %s has %llu bytes, its descriptor says %llu",
                    what, text, (unsigned long long)entry->content.raw_size,
                    (unsigned long long)descriptor->size);
    *out = entry;
    return ERR_OK;
}

/* A blob as it came. It may have looked like a layer when it passed. */
static enum errc take_blob(struct assembly *assembly, const struct descriptor *blob,
                           enum errc missing, const char *what, struct error *err)
{
    const struct catalog_entry *entry = NULL;
    if (find_blob(assembly, blob, missing, what, &entry, err) != ERR_OK)
        return err->code;
    struct layer_result content = entry->content;
    if (content.codec != CODEC_NONE && recode(assembly, &content, err) != ERR_OK)
        return error_wrap(err, "blob \"%s\"", entry->name);
    use_blob(assembly, &content.digest);
    return ERR_OK;
}

/* One layer of an image, in place. *changed is set when it is not pushed as it came. */
static enum errc image_layer(struct assembly *assembly, struct descriptor *layer,
                             const struct digest *diff_id, bool *changed, struct error *err)
{
    const struct catalog_entry *entry = NULL;
    enum codec codec;
    if (find_blob(assembly, layer, ERR_LAYER_MISSING, "layer", &entry, err) != ERR_OK ||
        (media_type_codec(layer->media_type, &codec) &&
         check_compression(assembly, entry, err) != ERR_OK))
        return err->code;
    if (!media_type_is_plain_layer(layer->media_type))
        return take_blob(assembly, layer, ERR_LAYER_MISSING, "layer", err);
    const struct layer_result *content = &entry->content;
    if (content->content == CONTENT_TAR && check_diff_id(entry, diff_id, err) != ERR_OK)
        return err->code;
    if (content->codec != CODEC_NONE) {
        note_layer(assembly, content);
        layer->digest = content->digest;
        layer->size = content->size;
        set_layer_type(layer, content->codec, strcmp(layer->media_type, MEDIA_DOCKER_LAYER) == 0);
        *changed = true;
    }
    use_blob(assembly, &content->digest);
    return ERR_OK;
}

static enum errc oci_config(struct assembly *assembly, const struct manifest *manifest,
                            struct image_config *out, struct error *err)
{
    const struct catalog_entry *entry = NULL;
    if (find_blob(assembly, &manifest->config, ERR_CONFIG_MISSING, "config", &entry, err) !=
            ERR_OK ||
        read_config(assembly, entry, out, err) != ERR_OK)
        return err->code;
    if (out->diff_id_count == manifest->layer_count)
        return ERR_OK;
    fail(err, ERR_CONFIG_INVALID, 0, "config \"%s\" has %zu diff_ids, its manifest %zu layers",
         entry->name, out->diff_id_count, manifest->layer_count);
    image_config_deinit(out);
    return err->code;
}

/* schema2 as slipway writes it has no way to say where else a layer can be had. */
static bool has_foreign(const struct manifest *manifest)
{
    for (size_t i = 0; i < manifest->layer_count; i++)
        if (manifest->layers[i].foreign ||
            media_type_is_foreign_layer(manifest->layers[i].media_type))
            return true;
    return false;
}

/* New bytes for an image whose layers were compressed. */
static enum errc rebuild_image(struct assembly *assembly, const char *data, size_t size,
                               struct manifest *manifest, struct descriptor *out, struct error *err)
{
    autobuf struct buf bytes = BUF_INIT(2 * MANIFEST_LIMIT_BYTES);
    if (!assembly->schema2 || assembly->enclosing > 0 || has_foreign(manifest)) {
        if (manifest_replace_layers(data, size, manifest->layers, manifest->layer_count, &bytes,
                                    err) != ERR_OK)
            return err->code;
        return put_manifest(assembly, &bytes, manifest->media_type, out, err);
    }
    bool oci = false;
    for (size_t i = 0; i < manifest->layer_count; i++)
        oci = oci || codec_of_type(manifest->layers[i].media_type) == CODEC_ZSTD;
    for (size_t i = 0; !oci && i < manifest->layer_count; i++)
        set_layer_type(&manifest->layers[i], codec_of_type(manifest->layers[i].media_type), true);
    build_image_manifest(&manifest->config.digest, manifest->config.size, manifest->layers,
                         manifest->layer_count, oci, &bytes);
    return put_manifest(assembly, &bytes, oci ? MEDIA_OCI_MANIFEST : MEDIA_DOCKER_MANIFEST, out,
                        err);
}

static enum errc oci_image(struct assembly *assembly, const char *data, size_t size,
                           struct manifest *manifest, struct descriptor *out, struct error *err)
{
    struct image_config config = {0};
    if (oci_config(assembly, manifest, &config, err) != ERR_OK)
        return err->code;
    bool changed = false;
    enum errc rc = ERR_OK;
    for (size_t i = 0; rc == ERR_OK && i < manifest->layer_count; i++)
        if (!manifest->layers[i].foreign)
            rc = image_layer(assembly, &manifest->layers[i], &config.diff_ids[i], &changed, err);
    if (rc == ERR_OK && changed)
        rc = rebuild_image(assembly, data, size, manifest, out, err);
    image_config_deinit(&config);
    return rc;
}

/* Nobody's image, or one that is to keep its bytes. */
static enum errc oci_artifact(struct assembly *assembly, const struct manifest *manifest,
                              struct error *err)
{
    enum errc rc = take_blob(assembly, &manifest->config, ERR_CONFIG_MISSING, "config", err);
    for (size_t i = 0; rc == ERR_OK && i < manifest->layer_count; i++)
        if (!manifest->layers[i].foreign)
            rc = take_blob(assembly, &manifest->layers[i], ERR_LAYER_MISSING, "layer", err);
    return rc;
}

static enum errc oci_node(struct assembly *assembly, const struct descriptor *root, unsigned depth,
                          struct descriptor *out, struct digest *config, struct error *err);

static enum errc count_members(struct assembly *assembly, unsigned more, const char *what,
                               struct error *err)
{
    if (more > INDEX_MEMBERS_MAX - assembly->members)
        return fail(err, ERR_MANIFEST_INVALID, 0, "%s: the index has more than %d members", what,
                    INDEX_MEMBERS_MAX);
    assembly->members += more;
    return ERR_OK;
}

/* A member that is no manifest. */
static enum errc oci_blob(struct assembly *assembly, const struct descriptor *blob,
                          struct error *err)
{
    if (count_members(assembly, 1, "a blob", err) != ERR_OK)
        return err->code;
    return blob->foreign ? ERR_OK : take_blob(assembly, blob, ERR_BLOB_MISSING, "member", err);
}

static enum errc oci_index(struct assembly *assembly, const char *data, size_t size,
                           struct manifest *index, unsigned depth, struct descriptor *out,
                           struct error *err)
{
    bool changed = false;
    assembly->enclosing++;
    for (size_t i = 0; i < index->child_count; i++) {
        struct descriptor *child = &index->children[i];
        struct digest config = {0};
        struct descriptor pushed = *child;
        bool blob = inspect(assembly->inspector, child, depth + 1).kind == INSPECTED_BLOB;
        enum errc rc = blob ? oci_blob(assembly, child, err)
                            : oci_node(assembly, child, depth + 1, &pushed, &config, err);
        if (rc != ERR_OK)
            return rc;
        if (!digest_equal(&pushed.digest, &child->digest)) {
            child->digest = pushed.digest;
            child->size = pushed.size;
            changed = true;
        }
    }
    assembly->enclosing--;
    if (!changed)
        return ERR_OK;
    autobuf struct buf bytes = BUF_INIT(2 * MANIFEST_LIMIT_BYTES);
    if (manifest_replace_children(data, size, index->children, index->child_count, &bytes, err) !=
        ERR_OK)
        return err->code;
    return put_manifest(assembly, &bytes, index->media_type, out, err);
}

/* What came of the same before, where that does not depend on where it is named now; NULL: none. */
static const struct assembled *find_assembled(const struct assembly *assembly,
                                              const struct descriptor *root, unsigned depth)
{
    const struct digest_item *item = digest_map_find(&assembly->done, &root->digest);
    if (item == NULL)
        return NULL;
    const struct assembled *found = &assembly->assembled[item->number - 1];
    bool same = strcmp(found->root.media_type, root->media_type) == 0 && depth <= found->depth &&
                found->verbatim == assembly->verbatim &&
                found->enclosed == (assembly->enclosing > 0);
    return same ? found : NULL;
}

static void note_assembled(struct assembly *assembly, const struct assembled *made)
{
    const struct descriptor *root = &made->root;
    struct digest_item *item = digest_map_add(&assembly->done, &root->digest);
    if (item->number == 0) {
        assembly->assembled = mem_grow(assembly->assembled, assembly->assembled_count,
                                       &assembly->assembled_capacity, sizeof *assembly->assembled);
        item->number = ++assembly->assembled_count;
    }
    assembly->assembled[item->number - 1] = *made;
}

/* The annotations and the platform are those of the descriptor at hand. */
static void take_assembled(const struct assembled *from, const struct descriptor *root,
                           struct descriptor *out, struct digest *config)
{
    *out = *root;
    out->digest = from->out.digest;
    out->size = from->out.size;
    memcpy(out->media_type, from->out.media_type, sizeof out->media_type);
    *config = from->config;
}

static enum errc oci_manifest(struct assembly *assembly, const struct descriptor *root,
                              const char *data, size_t size, struct manifest *manifest,
                              unsigned depth, struct descriptor *out, struct error *err)
{
    switch (manifest->kind) {
    case MANIFEST_INDEX:
        return oci_index(assembly, data, size, manifest, depth, out, err);
    case MANIFEST_OPAQUE:
        return ERR_OK;
    case MANIFEST_IMAGE:
        break;
    }
    return !assembly->verbatim && inspect(assembly->inspector, root, depth).kind == INSPECTED_IMAGE
               ? oci_image(assembly, data, size, manifest, out, err)
               : oci_artifact(assembly, manifest, err);
}

/* A manifest or index and everything below it. `out` is what is pushed for it. */
static enum errc oci_node(struct assembly *assembly, const struct descriptor *root, unsigned depth,
                          struct descriptor *out, struct digest *config, struct error *err)
{
    char text[DIGEST_TEXT_MAX];
    autofree char *what = xasprintf("manifest %s", digest_text(&root->digest, text));
    if (depth > INDEX_DEPTH_MAX)
        return fail(err, ERR_MANIFEST_INVALID, 0, "%s: indexes are nested more than %d deep", what,
                    INDEX_DEPTH_MAX);
    unsigned before = assembly->members;
    if (count_members(assembly, 1, what, err) != ERR_OK)
        return err->code;
    const struct catalog_entry *entry = NULL;
    if (cancel_check(assembly->cancel, err) != ERR_OK ||
        find_blob(assembly, root, ERR_BLOB_MISSING, "manifest", &entry, err) != ERR_OK)
        return err->code;
    const struct assembled *known = find_assembled(assembly, root, depth);
    if (known) {
        take_assembled(known, root, out, config);
        return count_members(assembly, known->members - 1, what, err);
    }
    autofree char *data = NULL;
    size_t size = 0;
    struct manifest manifest;
    if (batch_read_all(assembly->batch, &entry->content.digest, MANIFEST_LIMIT_BYTES, what, &data,
                       &size, err) != ERR_OK ||
        manifest_parse_any(data, size, root->media_type, what, &manifest, err) != ERR_OK)
        return err->code;
    *out = *root;
    snprintf(out->media_type, sizeof out->media_type, "%s", manifest.media_type);
    *config = manifest.config.digest;
    enum errc rc = oci_manifest(assembly, root, data, size, &manifest, depth, out, err);
    if (rc == ERR_OK && digest_equal(&out->digest, &root->digest))
        use_blob(assembly, &entry->content.digest);
    else if (rc == ERR_OK)
        digest_map_add(&assembly->replaced, &root->digest);
    if (rc == ERR_OK)
        note_assembled(assembly, &(struct assembled){.root = *root,
                                                     .out = *out,
                                                     .config = *config,
                                                     .depth = depth,
                                                     .members = assembly->members - before,
                                                     .verbatim = assembly->verbatim,
                                                     .enclosed = assembly->enclosing > 0});
    manifest_deinit(&manifest);
    return rc;
}

enum errc assemble_oci_image(struct assembly *assembly, const struct descriptor *root,
                             struct descriptor *manifest, struct digest *config, struct error *err)
{
    return oci_node(assembly, root, 0, manifest, config, err);
}
