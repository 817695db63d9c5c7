#include "gateway/recode.h"

#include "base/mem.h"

/* Where recoded bytes go: into a new blob and its digest. */
struct recoded {
    struct blob_writer *writer;
    struct digester *digester;
    uint64_t size;
};

static enum errc recoded_write(void *self, const void *data, size_t size, struct error *err)
{
    struct recoded *recoded = self;
    digester_update(recoded->digester, data, size);
    recoded->size += size;
    return blob_writer_write(recoded->writer, data, size, err);
}

static enum errc compress_stream(struct source source, struct sink sink, struct error *err)
{
    struct gzip_encoder *encoder = gzip_encoder_new(EFFORT_FAST);
    autofree uint8_t *out = xmalloc(gzip_block_bound(CODEC_BLOCK_BYTES));
    uint32_t crc = 0;
    uint64_t raw_size = 0;
    enum errc rc = sink_write(&sink, gzip_header, GZIP_HEADER_BYTES, err);
    for (bool last = false; rc == ERR_OK && !last;) {
        const uint8_t *data = NULL;
        size_t size = 0;
        rc = source_pull(&source, &data, &size, err);
        if (rc != ERR_OK)
            break;
        last = size == 0;
        uint32_t block_crc = 0;
        size_t n = gzip_encode_block(encoder, data, size, last, out, &block_crc);
        crc = gzip_crc_combine(crc, block_crc, size);
        raw_size += size;
        rc = sink_write(&sink, out, n, err);
    }
    gzip_encoder_free(encoder);
    if (rc != ERR_OK)
        return rc;
    uint8_t trailer[GZIP_TRAILER_BYTES];
    gzip_trailer(crc, raw_size, trailer);
    return sink_write(&sink, trailer, sizeof trailer, err);
}

struct conversion {
    enum errc (*run)(struct source source, struct sink sink, struct error *err);
};

static enum errc recode(struct batch *batch, const struct conversion *conversion,
                        enum digest_algorithm algorithm, struct layer_result *content,
                        struct error *err)
{
    autoblob struct blob blob = BLOB_INIT;
    struct recoded recoded = {0};
    if (batch_open_blob(batch, &content->digest, &blob, err) != ERR_OK ||
        blob_writer_open(batch, &recoded.writer, err) != ERR_OK)
        return err->code;
    recoded.digester = digester_new(algorithm);
    struct file_source reader;
    file_source_init(&reader, blob.fd, "blob");
    enum errc rc = conversion->run(file_source(&reader),
                                   (struct sink){.write = recoded_write, .self = &recoded}, err);
    file_source_deinit(&reader);
    struct digest digest = {0};
    if (rc == ERR_OK) {
        digest = digester_finish(recoded.digester);
        rc = blob_writer_commit(recoded.writer, &digest, err);
    } else {
        blob_writer_abort(recoded.writer);
    }
    digester_free(recoded.digester);
    if (rc == ERR_OK) {
        content->digest = digest;
        content->size = recoded.size;
    }
    return rc;
}

static const struct conversion compression = {.run = compress_stream};
static const struct conversion restoration = {.run = gzip_inflate};

enum errc recode_compress(struct batch *batch, struct layer_result *content, struct error *err)
{
    if (recode(batch, &compression, DIGEST_SHA256, content, err) != ERR_OK)
        return err->code;
    content->codec = CODEC_GZIP;
    return ERR_OK;
}

enum errc recode_restore(struct batch *batch, struct layer_result *content, struct error *err)
{
    if (recode(batch, &restoration, content->raw.algorithm, content, err) != ERR_OK)
        return err->code;
    content->codec = CODEC_NONE;
    return ERR_OK;
}
