/* The way of a stranger's archive up to the point where its image is known: reader, pipeline,
 * catalog, tables of contents. */
#include "base/mem.h"
#include "image/archive.h"
#include "image/catalog.h"
#include "image/docker_archive.h"
#include "image/image_config.h"
#include "image/manifest.h"
#include "image/oci_layout.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct memory {
    const uint8_t *data;
    size_t size;
};

static enum errc pull(void *self, const uint8_t **data, size_t *size, struct error *err)
{
    (void)err;
    struct memory *memory = self;
    *size = memory->size < 1000 ? memory->size : 1000;
    *data = memory->data;
    memory->data += *size;
    memory->size -= *size;
    return ERR_OK;
}

static enum errc keep(void *self, const void *data, size_t size, struct error *err)
{
    (void)err;
    buf_append(self, data, size);
    return ERR_OK;
}

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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct pool *pool;
    struct error err = ERROR_INIT;
    struct memory memory = {data, size};
    struct archive_reader *reader = NULL;
    if (pool == NULL && pool_new(1, &pool, &err) != ERR_OK)
        return 0;
    if (archive_reader_open((struct source){pull, &memory}, (uint64_t)1 << 22, &reader, &err) !=
        ERR_OK)
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
    layer_pipeline_free(pipeline);
    archive_reader_close(reader);
    return 0;
}
