#include "image/zstd_codec.h"

#include "base/mem.h"

#include <assert.h>
#include <zstd.h>

#define LEVEL_FAST 3
#define LEVEL_BEST 12

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
