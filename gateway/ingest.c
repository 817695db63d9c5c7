#include "gateway/ingest.h"

#include "base/mem.h"
#include "gateway/recode.h"
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
    uint8_t *start;                  /* LAYER_START_BYTES: what the file at hand begins with */
    size_t start_size;
};

struct span {
    const uint8_t *data; /* borrowed from the archive reader */
    size_t size;
};

/* One file of the archive, as far as it is known before its end. */
struct file {
    enum digest_algorithm algorithm;
    struct digest start; /* DIGEST_NONE for what is not compressed */
    bool held;           /* its name says which layer it is, and `form` of that is held */
    bool guessed;        /* it begins as the layer `diff_id`, and `form` of that is held */
    struct digest diff_id;
    struct layer_form form;
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

/* More of the file at hand; *size 0 at its end. */
static enum errc read_more(struct ingest *ingest, const uint8_t **data, size_t *size,
                           struct error *err)
{
    if (cancel_check(ingest->cancel, err) != ERR_OK)
        return err->code;
    return archive_reader_read(ingest->reader, data, size, err);
}

/* The file from its beginning, of which read_start() has taken a part already. `rest` is what the
 * archive gave beyond that part. */
static enum errc read_file(struct ingest *ingest, struct span *rest,
                           struct layer_pipeline *pipeline, struct layer_result *out,
                           struct error *err)
{
    if (ingest->start_size > 0 &&
        layer_pipeline_write(pipeline, ingest->start, ingest->start_size, err) != ERR_OK)
        return err->code;
    for (;;) {
        if (rest->size > 0 && layer_pipeline_write(pipeline, rest->data, rest->size, err) != ERR_OK)
            return err->code;
        if (read_more(ingest, &rest->data, &rest->size, err) != ERR_OK)
            return err->code;
        if (rest->size == 0)
            return layer_pipeline_finish(pipeline, out, err);
    }
}

/* Until there is enough to know the file again by. */
static enum errc read_start(struct ingest *ingest, struct span *rest, struct error *err)
{
    ingest->start_size = 0;
    while (ingest->start_size < LAYER_START_BYTES) {
        if (read_more(ingest, &rest->data, &rest->size, err) != ERR_OK)
            return err->code;
        if (rest->size == 0)
            return ERR_OK;
        size_t room = LAYER_START_BYTES - ingest->start_size;
        size_t n = rest->size < room ? rest->size : room;
        memcpy(ingest->start + ingest->start_size, rest->data, n);
        ingest->start_size += n;
        rest->data += n;
        rest->size -= n;
    }
    return ERR_OK;
}

static enum errc store_file(struct ingest *ingest, const struct file *file, struct span *rest,
                            struct layer_result *out, struct error *err)
{
    struct blob_writer *writer = NULL;
    if (blob_writer_open(ingest->batch, &writer, err) != ERR_OK)
        return err->code;
    layer_pipeline_begin(ingest->compress, file->algorithm, blob_writer_sink(writer));
    if (read_file(ingest, rest, ingest->compress, out, err) != ERR_OK) {
        layer_pipeline_abort(ingest->compress);
        blob_writer_abort(writer);
        return err->code;
    }
    return blob_writer_commit(writer, &out->digest, err);
}

static enum errc use_form(struct ingest *ingest, const struct layer_form *form,
                          struct layer_result *out, struct error *err)
{
    if (batch_hold_blob(ingest->batch, &form->digest, err) != ERR_OK)
        return err->code;
    out->codec = form->codec;
    out->digest = form->digest;
    out->size = form->size;
    return ERR_OK;
}

/* A layer of which the compressed form is held: only its digest is of interest. */
static enum errc verify_file(struct ingest *ingest, const struct file *file, struct span *rest,
                             struct layer_result *out, struct error *err)
{
    layer_pipeline_begin(ingest->hash, file->algorithm, (struct sink){.write = nowhere});
    if (read_file(ingest, rest, ingest->hash, out, err) != ERR_OK) {
        layer_pipeline_abort(ingest->hash);
        return err->code;
    }
    return use_form(ingest, &file->form, out, err);
}

/* A layer of which the compressed form is held, if it goes on as it began: its bytes are put aside
 * until that is known, and compressed from there when it did not. */
static enum errc guess_file(struct ingest *ingest, const struct file *file, struct span *rest,
                            struct layer_result *out, struct error *err)
{
    const struct ingest_options *options = ingest->options;
    struct blob_writer *writer = NULL;
    if (blob_writer_open(ingest->batch, &writer, err) != ERR_OK)
        return err->code;
    layer_pipeline_begin(ingest->hash, file->algorithm, blob_writer_sink(writer));
    if (read_file(ingest, rest, ingest->hash, out, err) != ERR_OK) {
        layer_pipeline_abort(ingest->hash);
        blob_writer_abort(writer);
        return err->code;
    }
    if (digest_equal(&out->diff_id, &file->diff_id)) {
        blob_writer_abort(writer);
        return use_form(ingest, &file->form, out, err);
    }
    struct digest aside = out->digest;
    if (blob_writer_commit(writer, &aside, err) != ERR_OK ||
        recode_compress(ingest->batch, options->codec, options->effort, out, err) != ERR_OK)
        return err->code;
    batch_drop_blob(ingest->batch, &aside);
    return ERR_OK;
}

/* What is known of the file before its end. */
static enum errc look_up(struct ingest *ingest, const struct digest *promised, uint64_t size,
                         struct file *file, struct error *err)
{
    const struct ingest_options *options = ingest->options;
    if (promised->algorithm != DIGEST_NONE &&
        layer_find(options->store, promised, options->codec, options->effort, &file->held,
                   &file->form, err) != ERR_OK)
        return err->code;
    if (content_of(ingest->start, ingest->start_size) != CONTENT_TAR ||
        options->codec == CODEC_NONE)
        return ERR_OK;
    file->start = layer_start(ingest->start, ingest->start_size, size);
    if (promised->algorithm == DIGEST_SHA256)
        return ERR_OK;
    return layer_find_by_start(options->store, &file->start, options->codec, options->effort,
                               &file->guessed, &file->diff_id, &file->form, err);
}

static enum errc read_content(struct ingest *ingest, const struct digest *promised, uint64_t size,
                              struct layer_result *out, struct error *err)
{
    struct span rest = {0};
    struct file file = {.algorithm = promised->algorithm == DIGEST_NONE ? DIGEST_SHA256
                                                                        : promised->algorithm};
    if (read_start(ingest, &rest, err) != ERR_OK ||
        look_up(ingest, promised, size, &file, err) != ERR_OK)
        return err->code;
    enum errc rc;
    if (file.held)
        rc = verify_file(ingest, &file, &rest, out, err);
    else if (file.guessed)
        rc = guess_file(ingest, &file, &rest, out, err);
    else
        rc = store_file(ingest, &file, &rest, out, err);
    if (rc == ERR_OK)
        out->start = file.start;
    return rc;
}

static enum errc take_file(struct ingest *ingest, const struct archive_entry_info *info,
                           struct error *err)
{
    autofree char *name = xstrdup(info->name);
    struct digest promised;
    struct layer_result content;
    if (promised_digest(name, &promised, err) != ERR_OK ||
        read_content(ingest, &promised, info->size, &content, err) != ERR_OK)
        return err->code;
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
    ingest.start = xmalloc(LAYER_START_BYTES);
    enum errc rc = take_entries(&ingest, err);
    free(ingest.start);
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
