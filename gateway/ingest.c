#include "gateway/ingest.h"

#include "base/mem.h"
#include "image/archive.h"
#include "store/layers.h"

#include <stdio.h>
#include <string.h>

struct ingest {
    const struct ingest_options *options;
    struct cancel *cancel;
    struct batch *batch;
    struct archive_reader *reader;
    struct catalog *catalog;
    struct layer_pipeline *compress; /* tars are compressed */
    struct layer_pipeline *hash;     /* bytes as they are, for layers that are held already */
};

/* `blobs/ALG/HEX`: the digest that the name promises; DIGEST_NONE for any other name. */
static enum errc promised_digest(const char *name, struct digest *out, struct error *err)
{
    char algorithm[16];
    int at = 0;
    *out = (struct digest){0};
    if (sscanf(name, "blobs/%15[a-z0-9]/%n", algorithm, &at) != 1 || at == 0 ||
        strchr(name + at, '/') != NULL)
        return ERR_OK;
    if (digest_parse_parts(algorithm, name + at, out, err) != ERR_OK)
        return error_wrap(err, "entry \"%.200s\"", name);
    return ERR_OK;
}

static enum errc nowhere(void *self, const void *data, size_t size, struct error *err)
{
    (void)self;
    (void)data;
    (void)size;
    (void)err;
    return ERR_OK;
}

static enum errc read_file(struct ingest *ingest, struct layer_pipeline *pipeline,
                           struct layer_result *out, struct error *err)
{
    for (;;) {
        const uint8_t *data = NULL;
        size_t size = 0;
        if (cancel_check(ingest->cancel, err) != ERR_OK ||
            archive_reader_read(ingest->reader, &data, &size, err) != ERR_OK)
            return err->code;
        if (size == 0)
            return layer_pipeline_finish(pipeline, out, err);
        if (layer_pipeline_write(pipeline, data, size, err) != ERR_OK)
            return err->code;
    }
}

static enum errc store_file(struct ingest *ingest, enum digest_algorithm algorithm,
                            struct layer_result *out, struct error *err)
{
    struct blob_writer *writer = NULL;
    if (blob_writer_open(ingest->batch, &writer, err) != ERR_OK)
        return err->code;
    layer_pipeline_begin(ingest->compress, algorithm, blob_writer_sink(writer));
    if (read_file(ingest, ingest->compress, out, err) != ERR_OK) {
        layer_pipeline_abort(ingest->compress);
        blob_writer_abort(writer);
        return err->code;
    }
    return blob_writer_commit(writer, &out->digest, err);
}

/* A layer of which the compressed form is held: only its digest is of interest. */
static enum errc verify_file(struct ingest *ingest, enum digest_algorithm algorithm,
                             const struct layer_form *form, struct layer_result *out,
                             struct error *err)
{
    layer_pipeline_begin(ingest->hash, algorithm, (struct sink){.write = nowhere});
    if (read_file(ingest, ingest->hash, out, err) != ERR_OK) {
        layer_pipeline_abort(ingest->hash);
        return err->code;
    }
    if (batch_hold_blob(ingest->batch, &form->digest, err) != ERR_OK)
        return err->code;
    out->codec = form->codec;
    out->digest = form->digest;
    out->size = form->size;
    return ERR_OK;
}

static enum errc take_file(struct ingest *ingest, const struct archive_entry_info *info,
                           struct error *err)
{
    autofree char *name = xstrdup(info->name);
    struct digest promised;
    if (promised_digest(name, &promised, err) != ERR_OK)
        return err->code;
    bool held = false;
    struct layer_form form;
    if (promised.algorithm != DIGEST_NONE &&
        layer_find(ingest->options->store, &promised, ingest->options->codec,
                   ingest->options->effort, &held, &form, err) != ERR_OK)
        return err->code;
    enum digest_algorithm algorithm =
        promised.algorithm == DIGEST_NONE ? DIGEST_SHA256 : promised.algorithm;
    struct layer_result content;
    enum errc rc = held ? verify_file(ingest, algorithm, &form, &content, err)
                        : store_file(ingest, algorithm, &content, err);
    if (rc != ERR_OK)
        return rc;
    if (promised.algorithm != DIGEST_NONE && !digest_equal(&promised, &content.raw)) {
        char text[DIGEST_TEXT_MAX];
        return fail(err, ERR_DIGEST_MISMATCH, 0,
                    "the bytes of entry \"%s\" have the digest %s, not that of its name", name,
                    digest_text(&content.raw, text));
    }
    return catalog_add_file(ingest->catalog, name, &content, err);
}

static enum errc take_entries(struct ingest *ingest, struct error *err)
{
    for (;;) {
        struct archive_entry_info info;
        bool end = false;
        if (archive_reader_next(ingest->reader, &info, &end, err) != ERR_OK)
            return err->code;
        if (end)
            return catalog_check_links(ingest->catalog, err);
        enum errc rc = info.target ? catalog_add_link(ingest->catalog, info.name, info.target, err)
                                   : take_file(ingest, &info, err);
        if (rc != ERR_OK)
            return rc;
    }
}

enum errc ingest_archive(const struct ingest_options *options, struct source source,
                         struct cancel *cancel, struct batch *batch, struct catalog **out,
                         struct error *err)
{
    struct ingest ingest = {.options = options, .cancel = cancel, .batch = batch};
    if (archive_reader_open(source, options->limit_bytes, &ingest.reader, err) != ERR_OK)
        return err->code;
    ingest.catalog = catalog_new();
    ingest.compress = layer_pipeline_new(options->codecs, options->codec, options->effort);
    ingest.hash = layer_pipeline_new(options->codecs, CODEC_NONE, EFFORT_FAST);
    enum errc rc = take_entries(&ingest, err);
    layer_pipeline_free(ingest.hash);
    layer_pipeline_free(ingest.compress);
    archive_reader_close(ingest.reader);
    if (rc != ERR_OK) {
        catalog_free(ingest.catalog);
        return rc;
    }
    *out = ingest.catalog;
    return ERR_OK;
}
