/* The way of a stranger's archive up to the point where its image is known: reader, pipeline,
 * catalog, tables of contents. */
#include "base/mem.h"
#include "gateway/ingest/contents.h"
#include "gateway/ingest/stream_tables.h"
#include "image/archive.h"
#include "image/catalog.h"
#include "image/docker_archive.h"
#include "image/image_config.h"
#include "image/manifest.h"
#include "image/oci_layout.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct memory {
    const uint8_t *data;
    size_t size;
    size_t taken;
};

static enum errc pull(void *self, const uint8_t **data, size_t *size, struct error *err)
{
    (void)err;
    struct memory *memory = self;
    *size = memory->size < 1000 ? memory->size : 1000;
    *data = memory->data;
    memory->data += *size;
    memory->size -= *size;
    memory->taken += *size;
    return ERR_OK;
}

static enum errc pass_over(void *self, uint64_t count, uint64_t *skipped, struct error *err)
{
    (void)err;
    struct memory *memory = self;
    size_t n = count < memory->size ? (size_t)count : memory->size;
    memory->data += n;
    memory->size -= n;
    memory->taken += n;
    *skipped = n;
    return ERR_OK;
}

static enum errc begin_again(void *self, struct error *err)
{
    (void)err;
    struct memory *memory = self;
    memory->data -= memory->taken;
    memory->size += memory->taken;
    memory->taken = 0;
    return ERR_OK;
}

static struct source as_stream(struct memory *memory)
{
    return (struct source){.pull = pull, .self = memory};
}

static struct source as_file(struct memory *memory)
{
    return (struct source){
        .pull = pull, .self = memory, .pass_over = pass_over, .rewind = begin_again};
}

static enum errc keep(void *self, const void *data, size_t size, struct error *err)
{
    (void)err;
    buf_append(self, data, size);
    return ERR_OK;
}

static struct stream_tables tables; /* of the archive at hand */

static void look_at(const char *name, const struct buf *bytes)
{
    struct error err = ERROR_INIT;
    struct docker_archive docker;
    struct oci_layout layout;
    struct image_config config;
    struct manifest manifest;
    const char *text = buf_cstr(bytes);
    if (strcmp(name, "manifest.json") == 0 &&
        docker_archive_parse(text, bytes->size, &docker, &err) == ERR_OK)
        docker_archive_deinit(&docker);
    if (strcmp(name, "index.json") == 0 &&
        oci_layout_parse(text, bytes->size, &layout, &err) == ERR_OK)
        oci_layout_deinit(&layout);
    stream_tables_names(&tables, name);
    if (bytes->size <= stream_tables_wants(&tables, name))
        stream_tables_see(&tables, name, text, bytes->size);
    if (image_config_parse(text, bytes->size, name, &config, &err) == ERR_OK)
        image_config_deinit(&config);
    if (manifest_parse(text, bytes->size, NULL, name, &manifest, &err) == ERR_OK)
        manifest_deinit(&manifest);
}

static enum errc take(struct archive_reader *reader, struct layer_pipeline *pipeline,
                      struct catalog *catalog, const struct archive_entry_info *info,
                      struct error *err)
{
    autofree char *name = xstrdup(info->name);
    autobuf struct buf bytes = BUF_INIT((size_t)1 << 20);
    struct layer_result content;
    layer_pipeline_begin(pipeline, DIGEST_SHA256, (struct sink){keep, &bytes});
    for (;;) {
        const uint8_t *data = NULL;
        size_t size = 0;
        if (archive_reader_read(reader, &data, &size, err) != ERR_OK ||
            (size > 0 && layer_pipeline_write(pipeline, data, size, err) != ERR_OK)) {
            layer_pipeline_abort(pipeline);
            return err->code;
        }
        if (size == 0)
            break;
    }
    if (layer_pipeline_finish(pipeline, &content, err) != ERR_OK)
        return err->code;
    look_at(name, &bytes);
    return catalog_add_file(catalog, name, &content, err);
}

/* What is there when nothing is read: names, sizes, and how it ends. */
static void list(const uint8_t *data, size_t size, bool file, struct buf *out)
{
    struct error err = ERROR_INIT;
    struct memory memory = {.data = data, .size = size};
    struct archive_reader *reader = NULL;
    const struct source source = file ? as_file(&memory) : as_stream(&memory);
    if (archive_reader_open(source, (uint64_t)1 << 22, &reader, &err) == ERR_OK) {
        struct archive_entry_info info;
        bool end = false;
        while (archive_reader_next(reader, &info, &end, &err) == ERR_OK && !end) {
            buf_format(out, "%s %s %llu\n", info.name, info.target ? info.target : "",
                       (unsigned long long)info.size);
            if (archive_reader_skip(reader, &err) != ERR_OK)
                break;
        }
        archive_reader_close(reader);
    }
    buf_text(out, err.text);
}

/* A file that is sought in is what it is as a stream, and its tables may be of any kind. */
static void seek(const uint8_t *data, size_t size)
{
    struct error err = ERROR_INIT;
    struct cancel cancel;
    struct contents *contents = NULL;
    autobuf struct buf of_stream = BUF_INIT((size_t)64 << 20);
    autobuf struct buf of_file = BUF_INIT((size_t)64 << 20);
    struct memory memory = {.data = data, .size = size};
    list(data, size, false, &of_stream);
    list(data, size, true, &of_file);
    if (strcmp(buf_cstr(&of_stream), buf_cstr(&of_file)) != 0)
        abort();
    cancel_init(&cancel);
    if (contents_read(as_file(&memory), (uint64_t)1 << 22, true, &cancel, &contents, &err) !=
            ERR_OK ||
        memory.taken != 0)
        abort();
    contents_diff_id(contents, "layer.tar");
    contents_free(contents);
    cancel_deinit(&cancel);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct pool *pool;
    struct error err = ERROR_INIT;
    struct memory memory = {.data = data, .size = size};
    struct archive_reader *reader = NULL;
    if (pool == NULL && pool_new(1, &pool, &err) != ERR_OK)
        return 0;
    seek(data, size);
    if (archive_reader_open(as_stream(&memory), (uint64_t)1 << 22, &reader, &err) != ERR_OK)
        return 0;
    struct layer_pipeline *pipeline = layer_pipeline_new(pool, CODEC_NONE, EFFORT_FAST);
    struct catalog *catalog = catalog_new();
    struct archive_entry_info info;
    bool end = false;
    while (archive_reader_next(reader, &info, &end, &err) == ERR_OK && !end) {
        enum errc rc = info.target ? catalog_add_link(catalog, info.name, info.target, &err)
                                   : take(reader, pipeline, catalog, &info, &err);
        if (rc != ERR_OK)
            break;
    }
    error_clear(&err);
    const struct catalog_entry *found = NULL;
    for (size_t i = 0; i < catalog_count(catalog); i++)
        if (catalog_find(catalog, catalog_at(catalog, i)->name, &found, &err) != ERR_OK)
            error_clear(&err);
    catalog_free(catalog);
    stream_tables_deinit(&tables);
    layer_pipeline_free(pipeline);
    archive_reader_close(reader);
    return 0;
}
