#include "gateway/ingest/file_intake.h"

#include "base/mem.h"
#include "gateway/ingest/recompress.h"
#include "store/layers.h"

#include <string.h>

struct file_intake {
    struct file_intake_options options;
    struct batch *batch;
    struct cancel *cancel;
    struct layer_pipeline *compress; /* tars are compressed */
    struct layer_pipeline *hash;     /* bytes as they are, for layers that are held already */
    uint8_t *start;                  /* LAYER_START_BYTES: what the file at hand begins with */
    size_t start_size;
};

/* The file at hand, as far as it is known before its end. */
struct file {
    struct source source;
    const uint8_t *rest; /* pulled, but not part of the start */
    size_t rest_size;
    bool ended;
    enum digest_algorithm algorithm;
    bool tar;
    bool held;           /* its promise says which layer it is, and `form` of that is held */
    bool guessed;        /* it begins as the layer `diff_id`, and `form` of that is held */
    struct digest start; /* layer_start(), or DIGEST_NONE: nobody has asked for it */
    struct digest diff_id;
    struct layer_form form;
};

struct file_intake *file_intake_new(const struct file_intake_options *options,
                                    struct cancel *cancel, struct batch *batch)
{
    struct file_intake *intake = xcalloc(1, sizeof *intake);
    intake->options = *options;
    intake->batch = batch;
    intake->cancel = cancel;
    intake->compress = layer_pipeline_new(options->codecs, options->codec, options->effort);
    intake->hash = layer_pipeline_new(options->codecs, CODEC_NONE, EFFORT_FAST);
    intake->start = xmalloc(LAYER_START_BYTES);
    return intake;
}

void file_intake_free(struct file_intake *intake)
{
    if (intake == NULL)
        return;
    layer_pipeline_free(intake->compress);
    layer_pipeline_free(intake->hash);
    free(intake->start);
    free(intake);
}

enum effort file_intake_effort(enum codec codec, enum effort effort)
{
    return codec == CODEC_NONE ? EFFORT_AS_CAME : effort;
}

static enum errc nowhere(void *self, const void *data, size_t size, struct error *err)
{
    (void)self;
    (void)data;
    (void)size;
    (void)err;
    return ERR_OK;
}

/* The file from its beginning, of which read_start() has taken a part already. */
static enum errc read_file(struct file_intake *intake, struct file *file,
                           struct layer_pipeline *pipeline, struct layer_result *out,
                           struct error *err)
{
    if (intake->start_size > 0 &&
        layer_pipeline_write(pipeline, intake->start, intake->start_size, err) != ERR_OK)
        return err->code;
    if (file->rest_size > 0 &&
        layer_pipeline_write(pipeline, file->rest, file->rest_size, err) != ERR_OK)
        return err->code;
    return layer_pipeline_run(pipeline, file->source, out, err);
}

/* Until the start has `enough`, if the file has as much. */
static enum errc read_start(struct file_intake *intake, struct file *file, size_t enough,
                            struct error *err)
{
    while (intake->start_size < enough && !file->ended) {
        if (source_pull(&file->source, &file->rest, &file->rest_size, err) != ERR_OK)
            return err->code;
        file->ended = file->rest_size == 0;
        if (file->ended)
            return ERR_OK;
        size_t room = LAYER_START_BYTES - intake->start_size;
        size_t n = file->rest_size < room ? file->rest_size : room;
        memcpy(intake->start + intake->start_size, file->rest, n);
        intake->start_size += n;
        file->rest += n;
        file->rest_size -= n;
    }
    return ERR_OK;
}

/* A blob's sink that tells how it grows. */
struct watched {
    struct sink inner;
    const struct layer_watch *watch;
};

static enum errc write_watched(void *self, const void *data, size_t size, struct error *err)
{
    const struct watched *watched = self;
    if (sink_write(&watched->inner, data, size, err) == ERR_OK)
        watched->watch->grew(watched->watch->self, size);
    return err->code;
}

/* A tar that a manifest does not call one is stored compressed, and restored where it is used. */
static bool is_watched(const struct file_intake *intake, const struct file_promise *promise)
{
    enum content content = content_of(intake->start, intake->start_size);
    if (promise->watch == NULL || promise->named == LAYER_NAMED)
        return promise->watch != NULL;
    if (promise->named == LAYER_NAMED_AS_IT_IS)
        return content != CONTENT_TAR || intake->options.codec == CODEC_NONE;
    return content == CONTENT_TAR || content == CONTENT_GZIP || content == CONTENT_ZSTD;
}

static enum errc store_file(struct file_intake *intake, struct file *file,
                            const struct file_promise *promise, struct layer_result *out,
                            struct error *err)
{
    struct blob_writer *writer = NULL;
    if (blob_writer_open(intake->batch, &writer, err) != ERR_OK)
        return err->code;
    struct watched watched = {.inner = blob_writer_sink(writer), .watch = promise->watch};
    struct sink sink = watched.inner;
    if (is_watched(intake, promise)) {
        sink = (struct sink){.write = write_watched, .self = &watched};
        promise->watch->begins(promise->watch->self, promise->size, &promise->diff_id, writer);
    }
    layer_pipeline_begin(intake->compress, file->algorithm, sink);
    if (read_file(intake, file, intake->compress, out, err) != ERR_OK) {
        layer_pipeline_abort(intake->compress);
        blob_writer_abort(writer);
        return err->code;
    }
    return blob_writer_commit(writer, &out->digest, err);
}

static enum errc use_form(struct file_intake *intake, const struct layer_form *form,
                          struct layer_result *out, struct error *err)
{
    if (batch_hold_blob(intake->batch, &form->digest, err) != ERR_OK)
        return err->code;
    out->codec = form->codec;
    out->digest = form->digest;
    out->size = form->size;
    return ERR_OK;
}

/* The blob of this digest, if it is held and begins like the file. */
static enum errc find_same(struct file_intake *intake, const struct digest *digest, uint64_t size,
                           bool *found, struct error *err)
{
    autoblob struct blob blob = BLOB_INIT;
    struct error missing = ERROR_INIT;
    uint8_t start[CONTENT_PEEK_BYTES];
    size_t got = 0;
    if (blob_open(intake->options.store, digest, &blob, &missing) != ERR_OK || blob.size != size)
        return ERR_OK;
    if (file_read_at(blob.fd, start, sizeof start, 0, &got, err) != ERR_OK)
        return err->code;
    *found = got == sizeof start && memcmp(start, intake->start, sizeof start) == 0;
    return ERR_OK;
}

/* What is held for the digest that the file is promised to have, as it would be stored. */
static enum errc find_promised(struct file_intake *intake, const struct file_promise *promise,
                               const struct digest *digest, enum content content,
                               struct layer_form *form, bool *found, struct error *err)
{
    const struct file_intake_options *options = &intake->options;
    if (content == CONTENT_TAR && options->codec != CODEC_NONE) {
        if (layer_find(options->store, digest, options->codec,
                       file_intake_effort(options->codec, options->effort), found, form,
                       err) != ERR_OK)
            return err->code;
        *found = *found && form->raw_size == promise->size;
        return ERR_OK;
    }
    /* A table says what a layer's tar is, not what it is when it is compressed. */
    if (content != CONTENT_TAR && promise->digest.algorithm == DIGEST_NONE)
        return ERR_OK;
    *form = (struct layer_form){.codec = CODEC_NONE, .digest = *digest, .size = promise->size};
    return find_same(intake, digest, promise->size, found, err);
}

/* A file that need not be read; *passed false when it has to be. */
static enum errc pass_file(struct file_intake *intake, const struct file_promise *promise,
                           bool *passed, struct layer_result *out, struct error *err)
{
    bool named = promise->digest.algorithm != DIGEST_NONE;
    const struct digest *digest = named ? &promise->digest : &promise->diff_id;
    struct layer_form form;
    if (!promise->passable || promise->size < FILE_PASSED_MIN ||
        promise->size == FILE_SIZE_UNKNOWN || digest->algorithm != DIGEST_SHA256)
        return ERR_OK;
    enum content content = content_of(intake->start, intake->start_size);
    if (find_promised(intake, promise, digest, content, &form, passed, err) != ERR_OK || !*passed)
        return err->code;
    *out = (struct layer_result){
        .content = content, .raw = *digest, .diff_id = *digest, .raw_size = promise->size};
    return use_form(intake, &form, out, err);
}

/* A layer of which the wanted form is held: only its digest is of interest. */
static enum errc verify_file(struct file_intake *intake, struct file *file,
                             struct layer_result *out, struct error *err)
{
    layer_pipeline_begin(intake->hash, file->algorithm, (struct sink){.write = nowhere});
    if (read_file(intake, file, intake->hash, out, err) != ERR_OK) {
        layer_pipeline_abort(intake->hash);
        return err->code;
    }
    return use_form(intake, &file->form, out, err);
}

/* A layer of which the wanted form is held, if it goes on as it began: its bytes are put aside
 * until that is known, and compressed from there when it did not. */
static enum errc guess_file(struct file_intake *intake, struct file *file, struct layer_result *out,
                            struct error *err)
{
    const struct recompress_options recode = {.batch = intake->batch,
                                              .codecs = intake->options.codecs,
                                              .cancel = intake->cancel,
                                              .codec = intake->options.codec,
                                              .effort = intake->options.effort};
    struct blob_writer *writer = NULL;
    if (blob_writer_open_aside(intake->batch, &writer, err) != ERR_OK)
        return err->code;
    layer_pipeline_begin(intake->hash, file->algorithm, blob_writer_sink(writer));
    if (read_file(intake, file, intake->hash, out, err) != ERR_OK) {
        layer_pipeline_abort(intake->hash);
        blob_writer_abort(writer);
        return err->code;
    }
    if (digest_equal(&out->diff_id, &file->diff_id)) {
        blob_writer_abort(writer);
        return use_form(intake, &file->form, out, err);
    }
    struct digest aside = out->digest;
    if (blob_writer_commit(writer, &aside, err) != ERR_OK ||
        recompress(&recode, out, err) != ERR_OK)
        return err->code;
    batch_drop_blob(intake->batch, &aside);
    return ERR_OK;
}

/* All of it is in the start, by which it is that layer. */
static bool is_whole_start(const struct file_intake *intake, const struct file *file,
                           const struct file_promise *promise)
{
    return file->ended && intake->start_size == promise->size && file->algorithm == DIGEST_SHA256;
}

static enum errc use_known(struct file_intake *intake, const struct file *file,
                           struct layer_result *out, struct error *err)
{
    *out = (struct layer_result){.content = CONTENT_TAR,
                                 .raw = file->diff_id,
                                 .diff_id = file->diff_id,
                                 .raw_size = intake->start_size};
    return use_form(intake, &file->form, out, err);
}

/* What is known of the file before its end. */
static enum errc look_up(struct file_intake *intake, const struct file_promise *promise,
                         struct file *file, struct error *err)
{
    const struct file_intake_options *options = &intake->options;
    enum effort effort = file_intake_effort(options->codec, options->effort);
    file->tar = content_of(intake->start, intake->start_size) == CONTENT_TAR;
    if (!file->tar)
        return ERR_OK;
    if (promise->digest.algorithm != DIGEST_NONE &&
        layer_find(options->store, &promise->digest, options->codec, effort, &file->held,
                   &file->form, err) != ERR_OK)
        return err->code;
    if (options->codec == CODEC_NONE || promise->size == FILE_SIZE_UNKNOWN ||
        promise->digest.algorithm == DIGEST_SHA256)
        return ERR_OK;
    file->start = layer_start(intake->start, intake->start_size, promise->size);
    return layer_find_by_start(options->store, &file->start, options->codec, effort, &file->guessed,
                               &file->diff_id, &file->form, err);
}

static enum errc take_whole(struct file_intake *intake, struct file *file,
                            const struct file_promise *promise, struct layer_result *out,
                            struct error *err)
{
    if (read_start(intake, file, LAYER_START_BYTES, err) != ERR_OK ||
        look_up(intake, promise, file, err) != ERR_OK)
        return err->code;
    enum errc rc;
    if (file->held)
        rc = verify_file(intake, file, out, err);
    else if (file->guessed && is_whole_start(intake, file, promise))
        rc = use_known(intake, file, out, err);
    else if (file->guessed)
        rc = guess_file(intake, file, out, err);
    else
        rc = store_file(intake, file, promise, out, err);
    /* Of most that is held it was recorded with that; what has none is compressed once more when it
     * comes without a promise. */
    if (rc != ERR_OK || file->held || !file->tar || intake->options.codec == CODEC_NONE)
        return rc;
    bool looked_at = file->start.algorithm != DIGEST_NONE && out->raw_size == promise->size;
    out->start =
        looked_at ? file->start : layer_start(intake->start, intake->start_size, out->raw_size);
    return rc;
}

enum errc file_intake_take(struct file_intake *intake, struct source source,
                           const struct file_promise *promise, struct layer_result *out,
                           struct error *err)
{
    struct layer_result result = {.content = CONTENT_EMPTY};
    struct file file = {.source = source, .algorithm = promise->digest.algorithm};
    bool passed = false;
    if (file.algorithm == DIGEST_NONE)
        file.algorithm = DIGEST_SHA256;
    intake->start_size = 0;
    if (read_start(intake, &file, CONTENT_PEEK_BYTES, err) != ERR_OK ||
        pass_file(intake, promise, &passed, &result, err) != ERR_OK ||
        (!passed && take_whole(intake, &file, promise, &result, err) != ERR_OK))
        return err->code;
    *out = result;
    return ERR_OK;
}
