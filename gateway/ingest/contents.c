#include "gateway/ingest/contents.h"

#include "base/buf.h"
#include "base/limits.h"
#include "base/mem.h"
#include "gateway/ingest/file_intake.h"
#include "image/archive.h"
#include "image/catalog.h"
#include "image/docker_archive.h"
#include "image/image_config.h"
#include "image/manifest.h"
#include "image/media_type.h"
#include "image/oci_layout.h"

#include <string.h>

/* Of a layout that are looked at; one with more is only read. */
#define MANIFESTS_MAX 256

struct promised {
    const char *name; /* borrowed from `names` */
    struct digest diff_id;
    bool as_it_is; /* named by the digest of its bytes, and not as a plain tar */
};

struct contents {
    struct catalog *names;
    struct promised *items; /* by name, each once, when all is read */
    size_t count, capacity;
    bool sure;  /* they are those of one image */
    bool lacks; /* and some are not in the archive */
};

struct reading {
    struct source source;
    uint64_t limit_bytes;
    struct cancel *cancel;
    struct contents *contents;
    struct archive_reader *reader;
    struct docker_archive table;
    const char **configs; /* of its images: the names of the files; NULL for what is not there */
    bool wanted;          /* there is a file that only the table can tell of */
    bool layers;          /* which files are layers is asked for */
    struct oci_layout layout;
    bool odd_layout;          /* there is one that cannot be read */
    struct digest *manifests; /* that the layout leads to */
    size_t manifest_count, manifest_capacity;
    size_t read_from; /* of them: those before were read */
};

void contents_free(struct contents *contents)
{
    if (contents == NULL)
        return;
    catalog_free(contents->names);
    free(contents->items);
    free(contents);
}

/* ---- one walk through the archive ---- */

/* False when the archive is not plain. */
typedef bool take_fn(struct reading *reading, const struct archive_entry_info *info);

static bool take_entries(struct reading *reading, take_fn *take)
{
    for (;;) {
        struct archive_entry_info info;
        struct error why = ERROR_INIT;
        bool end = false;
        if (cancel_check(reading->cancel, &why) != ERR_OK ||
            archive_reader_next(reading->reader, &info, &end, &why) != ERR_OK)
            return false;
        if (end || !take(reading, &info))
            return end;
    }
}

static bool walk(struct reading *reading, take_fn *take)
{
    struct error why = ERROR_INIT;
    if (source_rewind(&reading->source, &why) != ERR_OK ||
        archive_reader_open(reading->source, reading->limit_bytes, &reading->reader, &why) !=
            ERR_OK)
        return false;
    bool plain = archive_reader_seeks(reading->reader) && take_entries(reading, take);
    archive_reader_close(reading->reader);
    return plain;
}

/* The whole file at hand. */
static bool read_file(struct reading *reading, struct buf *out)
{
    struct error why = ERROR_INIT;
    const uint8_t *data = NULL;
    size_t size = 0;
    do {
        if (archive_reader_read(reading->reader, &data, &size, &why) != ERR_OK)
            return false;
        buf_append(out, data, size);
    } while (size > 0 && !out->overflowed);
    return size == 0;
}

/* ---- first: all names, and the table ---- */

static bool read_table(struct reading *reading)
{
    struct error why = ERROR_INIT;
    autobuf struct buf bytes = BUF_INIT(DOCKER_ARCHIVE_LIMIT_BYTES);
    return read_file(reading, &bytes) &&
           docker_archive_parse(buf_cstr(&bytes), bytes.size, &reading->table, &why) == ERR_OK;
}

static void read_layout(struct reading *reading)
{
    struct error why = ERROR_INIT;
    autobuf struct buf bytes = BUF_INIT(LAYOUT_LIMIT_BYTES);
    reading->odd_layout =
        !read_file(reading, &bytes) ||
        oci_layout_parse(buf_cstr(&bytes), bytes.size, &reading->layout, &why) != ERR_OK;
}

static bool take_name(struct reading *reading, const struct archive_entry_info *info)
{
    struct error why = ERROR_INIT;
    struct catalog *names = reading->contents->names;
    const struct catalog_entry *there = NULL;
    const struct layer_result unknown = {.raw_size = info->size};
    if (catalog_find(names, info->name, &there, &why) != ERR_OK || there != NULL)
        return false;
    if (info->target)
        return catalog_add_link(names, info->name, info->target, &why) == ERR_OK;
    if (info->size >= FILE_PASSED_MIN && layout_blob_digest(info->name).algorithm == DIGEST_NONE)
        reading->wanted = true;
    if (reading->layers && strcmp(info->name, "index.json") == 0)
        read_layout(reading);
    return catalog_add_file(names, info->name, &unknown, &why) == ERR_OK &&
           (strcmp(info->name, "manifest.json") != 0 || read_table(reading));
}

/* ---- then: the configs ---- */

static const char *file_name(const struct reading *reading, const char *name)
{
    struct error loop = ERROR_INIT;
    const struct catalog_entry *entry = NULL;
    return catalog_find(reading->contents->names, name, &entry, &loop) == ERR_OK && entry
               ? entry->name
               : NULL;
}

static bool promise(struct reading *reading, const char *layer, const struct digest *diff_id,
                    bool as_it_is)
{
    struct contents *contents = reading->contents;
    const char *name = file_name(reading, layer);
    if (contents->count == CATALOG_ENTRIES_MAX)
        return false;
    if (name == NULL) {
        contents->lacks = true;
        return true;
    }
    contents->items =
        mem_grow(contents->items, contents->count, &contents->capacity, sizeof *contents->items);
    contents->items[contents->count++] =
        (struct promised){.name = name, .diff_id = *diff_id, .as_it_is = as_it_is};
    return true;
}

static bool promise_layers(struct reading *reading, const struct docker_image *image,
                           const struct image_config *config)
{
    bool plain = true;
    for (size_t i = 0; i < image->layer_count && config->diff_id_count == image->layer_count; i++)
        plain = plain && promise(reading, image->layers[i], &config->diff_ids[i], false);
    return plain;
}

/* One that cannot be read promises nothing. */
static bool take_config(struct reading *reading, const struct archive_entry_info *info)
{
    struct error why = ERROR_INIT;
    struct image_config config = {.diff_ids = NULL};
    bool plain = true;
    bool read = false;
    for (size_t i = 0; i < reading->table.count && plain; i++) {
        if (reading->configs[i] == NULL || strcmp(reading->configs[i], info->name) != 0)
            continue;
        if (!read) {
            autobuf struct buf bytes = BUF_INIT(IMAGE_CONFIG_LIMIT_BYTES);
            if (!read_file(reading, &bytes) ||
                image_config_parse(buf_cstr(&bytes), bytes.size, "config", &config, &why) != ERR_OK)
                return true;
            read = true;
        }
        plain = promise_layers(reading, &reading->table.images[i], &config);
    }
    image_config_deinit(&config);
    return plain;
}

static bool read_configs(struct reading *reading)
{
    reading->configs = xcalloc(reading->table.count, sizeof(char *));
    for (size_t i = 0; i < reading->table.count; i++)
        reading->configs[i] = file_name(reading, reading->table.images[i].config);
    bool plain = walk(reading, take_config);
    free(reading->configs);
    return plain;
}

/* ---- or: the manifests of a layout ---- */

static bool note_manifest(struct reading *reading, const struct digest *digest)
{
    if (reading->manifest_count == MANIFESTS_MAX)
        return false;
    reading->manifests = mem_grow(reading->manifests, reading->manifest_count,
                                  &reading->manifest_capacity, sizeof *reading->manifests);
    reading->manifests[reading->manifest_count++] = *digest;
    return true;
}

static bool is_noted(const struct reading *reading, size_t end, const struct digest *digest)
{
    for (size_t i = reading->read_from; i < end; i++)
        if (digest_equal(&reading->manifests[i], digest))
            return true;
    return false;
}

/* What has `urls` is not pushed. */
static bool promise_blob(struct reading *reading, const struct descriptor *layer)
{
    char name[LAYOUT_BLOB_NAME_MAX];
    const struct digest unknown = {.algorithm = DIGEST_NONE};
    return layer->foreign || promise(reading, layout_blob_name(&layer->digest, name), &unknown,
                                     !media_type_is_plain_layer(layer->media_type));
}

/* A member that is no manifest promises nothing. */
static bool promise_below(struct reading *reading, const struct manifest *manifest)
{
    bool plain = true;
    for (size_t i = 0; i < manifest->layer_count && plain; i++)
        plain = promise_blob(reading, &manifest->layers[i]);
    for (size_t i = 0; i < manifest->child_count && plain; i++)
        plain = note_manifest(reading, &manifest->children[i].digest);
    return plain;
}

static bool take_manifest(struct reading *reading, const struct archive_entry_info *info)
{
    struct error why = ERROR_INIT;
    const struct digest digest = layout_blob_digest(info->name);
    struct manifest manifest;
    if (info->target || info->size > MANIFEST_LIMIT_BYTES || digest.algorithm == DIGEST_NONE ||
        !is_noted(reading, reading->manifest_count, &digest))
        return true;
    autobuf struct buf bytes = BUF_INIT(MANIFEST_LIMIT_BYTES);
    if (!read_file(reading, &bytes) || manifest_parse_any(buf_cstr(&bytes), bytes.size, NULL,
                                                          "manifest", &manifest, &why) != ERR_OK)
        return true;
    bool plain = promise_below(reading, &manifest);
    manifest_deinit(&manifest);
    return plain;
}

/* One walk for each depth: an index may stand behind what it names. */
static bool read_manifests(struct reading *reading)
{
    note_manifest(reading, &reading->layout.entries[0].descriptor.digest);
    for (unsigned depth = 0; depth <= INDEX_DEPTH_MAX; depth++) {
        size_t end = reading->manifest_count;
        if (reading->read_from == end)
            return true;
        if (!walk(reading, take_manifest))
            return false;
        reading->read_from = end;
    }
    return false;
}

/* ---- all together ---- */

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct promised *)a)->name, ((const struct promised *)b)->name);
}

/* Each name once; of one that is promised different things, nothing. */
static void settle(struct contents *contents)
{
    size_t kept = 0;
    qsort(contents->items, contents->count, sizeof *contents->items, by_name);
    for (size_t i = 0; i < contents->count; i++) {
        const struct promised *item = &contents->items[i];
        struct promised *last = kept > 0 ? &contents->items[kept - 1] : NULL;
        if (last == NULL || strcmp(last->name, item->name) != 0)
            contents->items[kept++] = *item;
        else if (!digest_equal(&last->diff_id, &item->diff_id))
            last->diff_id = (struct digest){0};
        if (last && strcmp(last->name, item->name) == 0)
            last->as_it_is = last->as_it_is || item->as_it_is;
    }
    contents->count = kept;
}

static bool read_all(struct reading *reading)
{
    struct contents *contents = reading->contents;
    const struct oci_layout *layout = &reading->layout;
    if (!walk(reading, take_name) || (!reading->wanted && !reading->layers))
        return false;
    bool docker = reading->table.count > 0;
    bool one_listed = !reading->odd_layout && layout->count <= 1;
    contents->sure = reading->layers && one_listed && reading->table.count <= 1;
    if (docker ? !read_configs(reading)
               : !contents->sure || layout->count == 0 || !read_manifests(reading))
        return false;
    if (contents->count > 0)
        settle(contents);
    return contents->count > 0;
}

enum errc contents_read(struct source source, uint64_t limit_bytes, bool layers,
                        struct cancel *cancel, struct contents **out, struct error *err)
{
    struct reading reading = {
        .source = source, .limit_bytes = limit_bytes, .cancel = cancel, .layers = layers};
    if (source.pass_over == NULL || source.rewind == NULL)
        return ERR_OK;
    reading.contents = xcalloc(1, sizeof *reading.contents);
    reading.contents->names = catalog_new();
    if (!read_all(&reading)) {
        contents_free(reading.contents);
        reading.contents = NULL;
    }
    docker_archive_deinit(&reading.table);
    oci_layout_deinit(&reading.layout);
    free(reading.manifests);
    if (cancel_check(cancel, err) != ERR_OK || source_rewind(&source, err) != ERR_OK) {
        contents_free(reading.contents);
        return err->code;
    }
    *out = reading.contents;
    return ERR_OK;
}

static const struct promised *find(const struct contents *contents, const char *name)
{
    const struct promised key = {.name = name};
    return contents ? bsearch(&key, contents->items, contents->count, sizeof key, by_name) : NULL;
}

struct digest contents_diff_id(const struct contents *contents, const char *name)
{
    const struct promised *found = find(contents, name);
    return found ? found->diff_id : (struct digest){0};
}

enum named_layer contents_names_layer(const struct contents *contents, const char *name)
{
    const struct promised *found = contents && contents->sure ? find(contents, name) : NULL;
    if (found == NULL)
        return LAYER_NOT_NAMED;
    return found->as_it_is ? LAYER_NAMED_AS_IT_IS : LAYER_NAMED;
}

bool contents_whole(const struct contents *contents)
{
    return contents && contents->sure && !contents->lacks;
}
