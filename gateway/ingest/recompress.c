#include "gateway/ingest/recompress.h"

#include "image/encoder.h"

/* A blob as a source that ends when it is cancelled. */
struct reading {
    struct file_source file;
    const struct cancel *cancel;
};

static enum errc read_piece(void *self, const uint8_t **data, size_t *size, struct error *err)
{
    struct reading *reading = self;
    const struct source file = file_source(&reading->file);
    if (cancel_check(reading->cancel, err) != ERR_OK)
        return err->code;
    return source_pull(&file, data, size, err);
}

static enum errc write_piece(void *self, const void *data, size_t size, struct error *err)
{
    return layer_pipeline_write(self, data, size, err);
}

static enum errc run(struct layer_pipeline *pipeline, enum codec codec, struct source source,
                     struct layer_result *out, struct error *err)
{
    const struct sink sink = {.write = write_piece, .self = pipeline};
    if (codec == CODEC_NONE)
        return layer_pipeline_run(pipeline, source, out, err);
    if (encoder_restore(codec, source, sink, err) != ERR_OK)
        return err->code;
    return layer_pipeline_finish(pipeline, out, err);
}

static enum errc recode(const struct recompress_options *options, struct layer_pipeline *pipeline,
                        struct layer_result *content, struct error *err)
{
    autoblob struct blob blob = BLOB_INIT;
    struct blob_writer *writer = NULL;
    struct reading reading = {.cancel = options->cancel};
    struct layer_result result;
    if (batch_open_blob(options->batch, &content->digest, &blob, err) != ERR_OK ||
        blob_writer_open(options->batch, &writer, err) != ERR_OK)
        return err->code;
    file_source_init(&reading.file, blob.fd, "blob");
    layer_pipeline_begin(pipeline, content->raw.algorithm, blob_writer_sink(writer));
    enum errc rc = run(pipeline, content->codec,
                       (struct source){.pull = read_piece, .self = &reading}, &result, err);
    file_source_deinit(&reading.file);
    if (rc != ERR_OK) {
        layer_pipeline_abort(pipeline);
        blob_writer_abort(writer);
        return rc;
    }
    if (blob_writer_commit(writer, &result.digest, err) != ERR_OK)
        return err->code;
    content->codec = result.codec;
    content->digest = result.digest;
    content->size = result.size;
    return ERR_OK;
}

enum errc recompress(const struct recompress_options *options, struct layer_result *content,
                     struct error *err)
{
    struct layer_pipeline *pipeline =
        layer_pipeline_new(options->codecs, options->codec, options->effort);
    layer_pipeline_take_all(pipeline);
    enum errc rc = recode(options, pipeline, content, err);
    layer_pipeline_free(pipeline);
    return rc;
}

enum errc recompress_restore(const struct recompress_options *options, struct layer_result *content,
                             struct error *err)
{
    struct layer_pipeline *pipeline = layer_pipeline_new(options->codecs, CODEC_NONE, EFFORT_FAST);
    enum errc rc = recode(options, pipeline, content, err);
    layer_pipeline_free(pipeline);
    return rc;
}
