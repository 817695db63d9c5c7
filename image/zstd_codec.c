#include "image/zstd_codec.h"

#include "base/mem.h"

#include <assert.h>
#include <zstd.h>

#define LEVEL_FAST 3
#define LEVEL_BEST 12
#define RESTORE_PIECE ((size_t)256 * 1024)

size_t zstd_block_bound(size_t size)
{
    return ZSTD_compressBound(size);
}

struct zstd_encoder {
    ZSTD_CCtx *context;
};

struct zstd_encoder *zstd_encoder_new(enum effort effort)
{
    struct zstd_encoder *encoder = xcalloc(1, sizeof *encoder);
    encoder->context = ZSTD_createCCtx();
    assert(encoder->context);
    ZSTD_CCtx_setParameter(encoder->context, ZSTD_c_compressionLevel,
                           effort == EFFORT_BEST ? LEVEL_BEST : LEVEL_FAST);
    ZSTD_CCtx_setParameter(encoder->context, ZSTD_c_checksumFlag, 1);
    return encoder;
}

void zstd_encoder_free(struct zstd_encoder *encoder)
{
    if (encoder == NULL)
        return;
    ZSTD_freeCCtx(encoder->context);
    free(encoder);
}

size_t zstd_encode_block(struct zstd_encoder *encoder, const uint8_t *in, size_t size, uint8_t *out)
{
    size_t n = ZSTD_compress2(encoder->context, out, ZSTD_compressBound(size), in, size);
    assert(!ZSTD_isError(n));
    return n;
}

/* *open: a frame has begun and not ended. */
static enum errc restore_span(ZSTD_DStream *stream, ZSTD_inBuffer *in, uint8_t *out,
                              struct sink *sink, bool *open, struct error *err)
{
    for (bool more = true; more || in->pos < in->size;) {
        ZSTD_outBuffer piece = {.dst = out, .size = RESTORE_PIECE};
        size_t rc = ZSTD_decompressStream(stream, &piece, in);
        if (ZSTD_isError(rc))
            return fail(err, ERR_BLOB_CORRUPT, 0, "zstd data is damaged: %s",
                        ZSTD_getErrorName(rc));
        if (piece.pos > 0 && sink_write(sink, out, piece.pos, err) != ERR_OK)
            return err->code;
        *open = rc != 0;
        more = rc != 0 && piece.pos == piece.size;
    }
    return ERR_OK;
}

enum errc zstd_restore(struct source source, struct sink sink, struct error *err)
{
    ZSTD_DStream *stream = ZSTD_createDStream();
    if (stream == NULL)
        return fail(err, ERR_MEMORY, 0, "no memory to decompress");
    autofree uint8_t *out = xmalloc(RESTORE_PIECE);
    bool open = true;
    enum errc rc = ERR_OK;
    while (rc == ERR_OK) {
        ZSTD_inBuffer in = {0};
        const uint8_t *data = NULL;
        rc = source_pull(&source, &data, &in.size, err);
        if (rc != ERR_OK || in.size == 0)
            break;
        in.src = data;
        rc = restore_span(stream, &in, out, &sink, &open, err);
    }
    ZSTD_freeDStream(stream);
    if (rc == ERR_OK && open)
        return fail(err, ERR_BLOB_CORRUPT, 0, "zstd data ends early");
    return rc;
}
