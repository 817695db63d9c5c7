#include "image/codec.h"

#include "base/mem.h"
#include "image/tar_check.h"

#include <assert.h>
#include <string.h>
#include <zlib.h>

#if SLIPWAY_HAVE_ISAL
#include <isa-l.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif
#define ISAL_LEVEL 2
#define ISAL_LEVEL_BUFFER ISAL_DEF_LVL2_DEFAULT
#endif

#define ZLIB_LEVEL_FAST 1
#define ZLIB_LEVEL_BEST 6
#define ZLIB_RAW_WINDOW (-15)
#define ZLIB_MEM_LEVEL 8

#define STORED_BYTES_MAX 65535 /* of one block of deflate: RFC 1951, 3.2.4 */

/* What a block is judged by: so many bytes of each stretch, if there are that many of them. */
#define SAMPLE_BYTES ((size_t)64)
#define SAMPLE_STRETCH ((size_t)8 << 10)
#define SAMPLES_MIN ((size_t)16)

/* RFC 1952, 2.3: magic, CM deflate, no flags, no time, no extra flags, OS unknown. */
const uint8_t gzip_header[GZIP_HEADER_BYTES] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255};

static bool all_zero(const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (data[i] != 0)
            return false;
    return true;
}

enum content content_of(const uint8_t *data, size_t size)
{
    static const uint8_t zstd_magic[] = {0x28, 0xb5, 0x2f, 0xfd};
    if (size == 0)
        return CONTENT_EMPTY;
    if (size >= 3 && data[0] == 0x1f && data[1] == 0x8b && data[2] == 8)
        return CONTENT_GZIP;
    if (size >= sizeof zstd_magic && memcmp(data, zstd_magic, sizeof zstd_magic) == 0)
        return CONTENT_ZSTD;
    if (size >= TAR_BLOCK_BYTES && (all_zero(data, TAR_BLOCK_BYTES) || tar_checksum_fits(data)))
        return CONTENT_TAR;
    return CONTENT_OTHER;
}

const char *content_compression(const uint8_t *data, size_t size)
{
    static const uint8_t xz[] = {0xfd, '7', 'z', 'X', 'Z', 0};
    if (size >= sizeof xz && memcmp(data, xz, sizeof xz) == 0)
        return "xz";
    return size >= 4 && memcmp(data, "BZh", 3) == 0 && data[3] >= '1' && data[3] <= '9' ? "bzip2"
                                                                                        : NULL;
}

size_t gzip_block_bound(size_t size)
{
    /* Incompressible data goes out as stored blocks, 5 bytes per 65,535 (RFC 1951, 3.2.4). Both
     * libraries want room to try before they store. */
    return size + size / 16 + 4096;
}

struct gzip_encoder {
    enum effort effort;
    z_stream zlib; /* in use when state is not NULL */
#if SLIPWAY_HAVE_ISAL
    struct isal_zstream isal;
    uint8_t level_buffer[ISAL_LEVEL_BUFFER];
#endif
};

static bool uses_isal(enum effort effort)
{
    return SLIPWAY_HAVE_ISAL && effort == EFFORT_FAST;
}

struct gzip_encoder *gzip_encoder_new(enum effort effort)
{
    struct gzip_encoder *encoder = xcalloc(1, sizeof *encoder);
    encoder->effort = effort;
    if (!uses_isal(effort)) {
        int level = effort == EFFORT_FAST ? ZLIB_LEVEL_FAST : ZLIB_LEVEL_BEST;
        int rc = deflateInit2(&encoder->zlib, level, Z_DEFLATED, ZLIB_RAW_WINDOW, ZLIB_MEM_LEVEL,
                              Z_DEFAULT_STRATEGY);
        assert(rc == Z_OK);
        (void)rc;
    }
    return encoder;
}

void gzip_encoder_free(struct gzip_encoder *encoder)
{
    if (encoder == NULL)
        return;
    if (encoder->zlib.state)
        deflateEnd(&encoder->zlib);
    free(encoder);
}

static uint32_t crc_of(const uint8_t *in, size_t size)
{
#if SLIPWAY_HAVE_ISAL
    return crc32_gzip_refl(0, in, size);
#else
    return (uint32_t)crc32(0, in, (uInt)size);
#endif
}

/*
 * All bytes are about as frequent, as in what is compressed or encrypted already: deflate would
 * take its time and leave 97 of 100 bytes. The sum of the squares of the frequencies, to what it is
 * where all are the same: 1 for noise of any length, when what chance adds to a sample is taken
 * off. Of a block that is mostly noise with a tenth of something else, it is over the limit.
 */
static bool is_noise(const uint8_t *in, size_t size)
{
    size_t samples = size / SAMPLE_STRETCH;
    uint32_t counts[2][256] = {{0}}; /* two, as neighbours are often the same */
    if (samples < SAMPLES_MIN)
        return false;
    for (size_t sample = 0; sample < samples; sample++) {
        const uint8_t *at = in + sample * SAMPLE_STRETCH;
        for (size_t i = 0; i < SAMPLE_BYTES; i += 2) {
            counts[0][at[i]]++;
            counts[1][at[i + 1]]++;
        }
    }
    uint64_t squares = 0;
    for (size_t value = 0; value < 256; value++) {
        uint64_t count = counts[0][value] + counts[1][value];
        squares += count * count;
    }
    uint64_t seen = samples * SAMPLE_BYTES;
    return (squares - seen) * 256 < seen * seen * 11 / 10;
}

static size_t stored_block(const uint8_t *in, size_t size, bool last, uint8_t *out, uint32_t *crc)
{
    uint8_t *at = out;
    for (size_t done = 0; done < size;) {
        size_t left = size - done;
        uint16_t n = (uint16_t)(left < STORED_BYTES_MAX ? left : STORED_BYTES_MAX);
        *at++ = last && n == left;
        *at++ = (uint8_t)n;
        *at++ = (uint8_t)(n >> 8);
        *at++ = (uint8_t)~n;
        *at++ = (uint8_t)(~n >> 8);
        memcpy(at, in + done, n);
        at += n;
        done += n;
    }
    *crc = crc_of(in, size);
    return (size_t)(at - out);
}

#if SLIPWAY_HAVE_ISAL
static size_t isal_block(struct gzip_encoder *encoder, const uint8_t *in, size_t size, bool last,
                         uint8_t *out, uint32_t *crc)
{
    struct isal_zstream *stream = &encoder->isal;
    isal_deflate_stateless_init(stream);
    stream->level = ISAL_LEVEL;
    stream->level_buf = encoder->level_buffer;
    stream->level_buf_size = sizeof encoder->level_buffer;
    stream->gzip_flag = IGZIP_DEFLATE;
    stream->flush = FULL_FLUSH;
    stream->end_of_stream = last;
    stream->next_in = (uint8_t *)(uintptr_t)in;
    stream->avail_in = (uint32_t)size;
    stream->next_out = out;
    stream->avail_out = (uint32_t)gzip_block_bound(size);
    int rc = isal_deflate_stateless(stream);
    assert(rc == COMP_OK && stream->avail_in == 0);
    (void)rc;
    *crc = crc_of(in, size);
    return gzip_block_bound(size) - stream->avail_out;
}
#endif

static size_t zlib_block(struct gzip_encoder *encoder, const uint8_t *in, size_t size, bool last,
                         uint8_t *out, uint32_t *crc)
{
    z_stream *stream = &encoder->zlib;
    deflateReset(stream);
    stream->next_in = (uint8_t *)(uintptr_t)in;
    stream->avail_in = (uInt)size;
    stream->next_out = out;
    stream->avail_out = (uInt)gzip_block_bound(size);
    int rc = deflate(stream, last ? Z_FINISH : Z_FULL_FLUSH);
    assert(rc == (last ? Z_STREAM_END : Z_OK) && stream->avail_in == 0);
    (void)rc;
    *crc = crc_of(in, size);
    return gzip_block_bound(size) - stream->avail_out;
}

static size_t any_block(struct gzip_encoder *encoder, const uint8_t *in, size_t size, bool last,
                        uint8_t *out, uint32_t *crc)
{
    if (encoder->effort == EFFORT_FAST && is_noise(in, size))
        return stored_block(in, size, last, out, crc);
#if SLIPWAY_HAVE_ISAL
    if (uses_isal(encoder->effort))
        return isal_block(encoder, in, size, last, out, crc);
#endif
    return zlib_block(encoder, in, size, last, out, crc);
}

/* ISA-L 2.30 returns with the upper halves of vector registers in use; SSE code that comes next, as
 * SHA-256 in OpenSSL, then waits for them with each of its instructions. */
#if SLIPWAY_HAVE_ISAL && defined(__x86_64__)
__attribute__((target("avx"))) static void zero_upper_halves(void)
{
    _mm256_zeroupper();
}

static void leave_vectors(void)
{
    if (__builtin_cpu_supports("avx"))
        zero_upper_halves();
}
#else
static void leave_vectors(void)
{
}
#endif

size_t gzip_encode_block(struct gzip_encoder *encoder, const uint8_t *in, size_t size, bool last,
                         uint8_t *out, uint32_t *crc)
{
    assert(size <= CODEC_BLOCK_BYTES);
    size_t encoded = any_block(encoder, in, size, last, out, crc);
    leave_vectors();
    return encoded;
}

uint32_t gzip_crc_combine(uint32_t crc_a, uint32_t crc_b, uint64_t size_b)
{
    return (uint32_t)crc32_combine(crc_a, crc_b, (z_off_t)size_b);
}

static void put_le32(uint8_t *out, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        out[i] = (uint8_t)(value >> (8 * i));
}

void gzip_trailer(uint32_t crc, uint64_t raw_size, uint8_t out[GZIP_TRAILER_BYTES])
{
    put_le32(out, crc);
    put_le32(out + 4, (uint32_t)raw_size);
}

const char *gzip_library(void)
{
#if SLIPWAY_HAVE_ISAL
    return "ISA-L";
#else
    return "zlib " ZLIB_VERSION;
#endif
}
