#include "image/encoder.h"

#include "base/mem.h"
#include "image/decoder.h"
#include "image/zstd_codec.h"

#include <assert.h>
#include <string.h>

static_assert(GZIP_HEADER_BYTES <= ENCODER_FRAME_MAX && GZIP_TRAILER_BYTES <= ENCODER_FRAME_MAX,
              "gzip's frame fits");

struct encoder {
    struct gzip_encoder *gzip; /* one of the two */
    struct zstd_encoder *zstd;
};

size_t encoder_bound(enum codec codec)
{
    return codec == CODEC_ZSTD ? zstd_block_bound(CODEC_BLOCK_BYTES)
                               : gzip_block_bound(CODEC_BLOCK_BYTES);
}

struct encoder *encoder_new(enum codec codec, enum effort effort)
{
    struct encoder *encoder = xcalloc(1, sizeof *encoder);
    if (codec == CODEC_ZSTD)
        encoder->zstd = zstd_encoder_new(effort);
    else
        encoder->gzip = gzip_encoder_new(effort);
    return encoder;
}

void encoder_free(struct encoder *encoder)
{
    if (encoder == NULL)
        return;
    gzip_encoder_free(encoder->gzip);
    zstd_encoder_free(encoder->zstd);
    free(encoder);
}

size_t encoder_block(struct encoder *encoder, const uint8_t *in, size_t size, bool last,
                     uint8_t *out, uint32_t *crc)
{
    if (encoder->gzip)
        return gzip_encode_block(encoder->gzip, in, size, last, out, crc);
    *crc = 0;
    return size > 0 ? zstd_encode_block(encoder->zstd, in, size, out) : 0;
}

size_t encoder_head(enum codec codec, uint8_t out[ENCODER_FRAME_MAX])
{
    if (codec != CODEC_GZIP)
        return 0;
    memcpy(out, gzip_header, GZIP_HEADER_BYTES);
    return GZIP_HEADER_BYTES;
}

size_t encoder_tail(enum codec codec, uint32_t crc, uint64_t raw_size,
                    uint8_t out[ENCODER_FRAME_MAX])
{
    if (codec != CODEC_GZIP)
        return 0;
    gzip_trailer(crc, raw_size, out);
    return GZIP_TRAILER_BYTES;
}

static enum errc decode_all(struct decoder *decoder, struct source *source, struct error *err)
{
    for (;;) {
        const uint8_t *data = NULL;
        size_t size = 0;
        if (source_pull(source, &data, &size, err) != ERR_OK)
            return err->code;
        if (size == 0)
            return decoder_finish(decoder, err);
        if (decoder_write(decoder, data, size, err) != ERR_OK)
            return err->code;
    }
}

enum errc encoder_restore(enum codec codec, struct source source, struct sink sink,
                          struct error *err)
{
    struct decoder *decoder = decoder_new(codec, sink);
    enum errc rc = decode_all(decoder, &source, err);
    decoder_free(decoder);
    /* What slipway made itself and kept is at fault, not a client's archive. */
    if (rc == ERR_ARCHIVE_CORRUPT || rc == ERR_ARCHIVE_TRUNCATED)
        err->code = ERR_BLOB_CORRUPT;
    return rc == ERR_OK ? ERR_OK : err->code;
}
