#include "gateway/ingest/recode.h"

#include "base/mem.h"
#include "image/encoder.h"

#include <string.h>

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

/* From the stored bytes to the wanted ones. */
struct conversion {
    enum errc (*run)(const struct conversion *self, struct source source, struct sink sink,
                     struct error *err);
    enum codec codec;
    enum effort effort;
};

/* Blocks are cut where the layer pipeline cuts them, so that the bytes are the same. */
static enum errc fill_block(struct source *source, uint8_t *block, size_t *filled,
                            const uint8_t **left, size_t *left_size, struct error *err)
{
    *filled = 0;
    while (*filled < CODEC_BLOCK_BYTES) {
        if (*left_size == 0 && source_pull(source, left, left_size, err) != ERR_OK)
            return err->code;
        if (*left_size == 0)
            return ERR_OK;
        size_t room = CODEC_BLOCK_BYTES - *filled;
        size_t n = *left_size < room ? *left_size : room;
        memcpy(block + *filled, *left, n);
        *filled += n;
        *left += n;
        *left_size -= n;
    }
    return ERR_OK;
}

struct compression {
    enum codec codec;
    struct encoder *encoder;
    uint8_t *block;
    uint8_t *out;
    uint32_t crc;
    uint64_t raw_size;
};

static enum errc compress_block(struct compression *c, size_t size, bool last, struct sink *sink,
                                struct error *err)
{
    uint32_t crc = 0;
    size_t n = encoder_block(c->encoder, c->block, size, last, c->out, &crc);
    if (c->codec == CODEC_GZIP)
        c->crc = gzip_crc_combine(c->crc, crc, size);
    c->raw_size += size;
    return n > 0 ? sink_write(sink, c->out, n, err) : ERR_OK;
}

static enum errc compress_blocks(struct compression *c, struct source source, struct sink sink,
                                 struct error *err)
{
    uint8_t frame[ENCODER_FRAME_MAX];
    const uint8_t *left = NULL;
    size_t left_size = 0;
    size_t n = encoder_head(c->codec, frame);
    if (n > 0 && sink_write(&sink, frame, n, err) != ERR_OK)
        return err->code;
    for (bool last = false; !last;) {
        size_t size = 0;
        if (fill_block(&source, c->block, &size, &left, &left_size, err) != ERR_OK)
            return err->code;
        if (size == CODEC_BLOCK_BYTES && left_size == 0 &&
            source_pull(&source, &left, &left_size, err) != ERR_OK)
            return err->code;
        last = left_size == 0;
        if (compress_block(c, size, last, &sink, err) != ERR_OK)
            return err->code;
    }
    n = encoder_tail(c->codec, c->crc, c->raw_size, frame);
    return n > 0 ? sink_write(&sink, frame, n, err) : ERR_OK;
}

static enum errc compress_stream(const struct conversion *self, struct source source,
                                 struct sink sink, struct error *err)
{
    struct compression c = {.codec = self->codec,
                            .encoder = encoder_new(self->codec, self->effort),
                            .block = xmalloc(CODEC_BLOCK_BYTES),
                            .out = xmalloc(encoder_bound(self->codec))};
    enum errc rc = compress_blocks(&c, source, sink, err);
    encoder_free(c.encoder);
    free(c.block);
    free(c.out);
    return rc;
}

static enum errc restore_stream(const struct conversion *self, struct source source,
                                struct sink sink, struct error *err)
{
    return encoder_restore(self->codec, source, sink, err);
}

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
    enum errc rc = conversion->run(conversion, file_source(&reader),
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

enum errc recode_compress(struct batch *batch, enum codec codec, enum effort effort,
                          struct layer_result *content, struct error *err)
{
    const struct conversion compression = {
        .run = compress_stream, .codec = codec, .effort = effort};
    if (recode(batch, &compression, DIGEST_SHA256, content, err) != ERR_OK)
        return err->code;
    content->codec = codec;
    return ERR_OK;
}

enum errc recode_restore(struct batch *batch, struct layer_result *content, struct error *err)
{
    const struct conversion restoration = {.run = restore_stream, .codec = content->codec};
    if (recode(batch, &restoration, content->raw.algorithm, content, err) != ERR_OK)
        return err->code;
    content->codec = CODEC_NONE;
    return ERR_OK;
}
