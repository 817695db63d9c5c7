#include "image/decoder.h"

#include "base/mem.h"

#include <assert.h>
#include <zlib.h>
#include <zstd.h>

#define ZLIB_GZIP_WINDOW (15 + 16) /* the window's bits, and "with a gzip header" */
#define ZSTD_WINDOW_LOG_MAX 27
#define DECODED_PIECE ((size_t)256 * 1024)
#define ENCODED_PIECE ((size_t)1 << 20) /* of what zlib counts in 32 bits */

struct decoder {
    enum codec codec;
    struct sink sink;
    bool ready; /* the library's state is there */
    bool open;  /* a member or frame has begun and not ended, or none has yet */
    z_stream gzip;
    ZSTD_DCtx *zstd;
    uint8_t *out;
};

struct decoder *decoder_new(enum codec codec, struct sink sink)
{
    assert(codec != CODEC_NONE);
    struct decoder *decoder = xcalloc(1, sizeof *decoder);
    decoder->codec = codec;
    decoder->sink = sink;
    decoder->open = true;
    decoder->out = xmalloc(DECODED_PIECE);
    return decoder;
}

void decoder_free(struct decoder *decoder)
{
    if (decoder == NULL)
        return;
    if (decoder->ready && decoder->codec == CODEC_GZIP)
        inflateEnd(&decoder->gzip);
    ZSTD_freeDCtx(decoder->zstd);
    free(decoder->out);
    free(decoder);
}

static enum errc make_ready(struct decoder *decoder, struct error *err)
{
    if (decoder->codec == CODEC_ZSTD) {
        decoder->zstd = ZSTD_createDCtx();
        decoder->ready = decoder->zstd != NULL;
        if (decoder->ready)
            ZSTD_DCtx_setParameter(decoder->zstd, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG_MAX);
    } else {
        decoder->ready = inflateInit2(&decoder->gzip, ZLIB_GZIP_WINDOW) == Z_OK;
    }
    return decoder->ready ? ERR_OK : fail(err, ERR_MEMORY, 0, "no memory to decompress");
}

/* What zlib has made of the bytes at hand, as far as one piece holds it. */
static enum errc inflate_piece(struct decoder *decoder, bool *more, struct error *err)
{
    z_stream *stream = &decoder->gzip;
    if (!decoder->open) /* bytes behind a member: another one */
        inflateReset(stream);
    decoder->open = true;
    stream->next_out = decoder->out;
    stream->avail_out = DECODED_PIECE;
    int rc = inflate(stream, Z_NO_FLUSH);
    if (rc == Z_MEM_ERROR)
        return fail(err, ERR_MEMORY, 0, "no memory to decompress");
    if (rc != Z_OK && rc != Z_STREAM_END && rc != Z_BUF_ERROR)
        return fail(err, ERR_ARCHIVE_CORRUPT, 0, "gzip data is damaged: %s",
                    stream->msg ? stream->msg : "no reason given");
    size_t size = DECODED_PIECE - stream->avail_out;
    decoder->open = rc != Z_STREAM_END;
    *more = stream->avail_in > 0 || (decoder->open && stream->avail_out == 0);
    return size > 0 ? sink_write(&decoder->sink, decoder->out, size, err) : ERR_OK;
}

static enum errc inflate_bytes(struct decoder *decoder, const uint8_t *data, size_t size,
                               struct error *err)
{
    while (size > 0) {
        size_t n = size < ENCODED_PIECE ? size : ENCODED_PIECE;
        decoder->gzip.next_in = (uint8_t *)(uintptr_t)data;
        decoder->gzip.avail_in = (uInt)n;
        for (bool more = true; more;)
            if (inflate_piece(decoder, &more, err) != ERR_OK)
                return err->code;
        data += n;
        size -= n;
    }
    return ERR_OK;
}

static enum errc zstd_bytes(struct decoder *decoder, const uint8_t *data, size_t size,
                            struct error *err)
{
    ZSTD_inBuffer in = {.src = data, .size = size};
    for (bool more = true; more;) {
        ZSTD_outBuffer piece = {.dst = decoder->out, .size = DECODED_PIECE};
        size_t rc = ZSTD_decompressStream(decoder->zstd, &piece, &in);
        if (ZSTD_isError(rc))
            return fail(err, ERR_ARCHIVE_CORRUPT, 0, "zstd data is damaged: %s",
                        ZSTD_getErrorName(rc));
        if (piece.pos > 0 && sink_write(&decoder->sink, decoder->out, piece.pos, err) != ERR_OK)
            return err->code;
        decoder->open = rc != 0;
        more = in.pos < in.size || (decoder->open && piece.pos == piece.size);
    }
    return ERR_OK;
}

enum errc decoder_write(struct decoder *decoder, const void *data, size_t size, struct error *err)
{
    if (size == 0)
        return ERR_OK;
    if (!decoder->ready && make_ready(decoder, err) != ERR_OK)
        return err->code;
    return decoder->codec == CODEC_ZSTD ? zstd_bytes(decoder, data, size, err)
                                        : inflate_bytes(decoder, data, size, err);
}

enum errc decoder_finish(struct decoder *decoder, struct error *err)
{
    if (!decoder->open)
        return ERR_OK;
    return fail(err, ERR_ARCHIVE_TRUNCATED, 0, "%s data ends early",
                decoder->codec == CODEC_ZSTD ? "zstd" : "gzip");
}
