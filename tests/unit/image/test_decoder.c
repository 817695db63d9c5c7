/* Decompressing what strangers made: members and frames in a row, whatever the pieces; damage,
 * truncation and garbage behind the end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours is base/error.h */

#include "base/buf.h"
#include "base/mem.h"
#include "image/decoder.h"

#include <string.h>
#include <zlib.h>
#include <zstd.h>

#define SIZE ((size_t)700000) /* more than two pieces of output */

static enum errc collect(void *self, const void *data, size_t size, struct error *err)
{
    struct buf *out = self;
    buf_append(out, data, size);
    return out->overflowed ? fail(err, ERR_NO_SPACE, 0, "full") : ERR_OK;
}

static char *content(void)
{
    char *data = xmalloc(SIZE);
    unsigned seed = 7;
    for (size_t i = 0; i < SIZE; i++) {
        seed = seed * 1103515245u + 12345u;
        data[i] = (seed >> 16) % 3 ? "slipway "[i % 8] : (char)(seed >> 20);
    }
    return data;
}

static void gzip_member(struct buf *out, const char *data, size_t size)
{
    z_stream stream = {0};
    size_t bound = size + size / 8 + 100;
    autofree char *coded = xmalloc(bound);
    assert_int_equal(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    stream.next_in = (Bytef *)(uintptr_t)data;
    stream.avail_in = (uInt)size;
    stream.next_out = (Bytef *)coded;
    stream.avail_out = (uInt)bound;
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    buf_append(out, coded, bound - stream.avail_out);
    deflateEnd(&stream);
}

static void zstd_frame(struct buf *out, const char *data, size_t size)
{
    size_t bound = ZSTD_compressBound(size);
    autofree char *coded = xmalloc(bound);
    ZSTD_CCtx *context = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
    size_t n = ZSTD_compress2(context, coded, bound, data, size);
    assert_false(ZSTD_isError(n));
    buf_append(out, coded, n);
    ZSTD_freeCCtx(context);
}

static void encode(enum codec codec, struct buf *out, const char *data, size_t size)
{
    if (codec == CODEC_ZSTD)
        zstd_frame(out, data, size);
    else
        gzip_member(out, data, size);
}

static enum errc decode(enum codec codec, const char *data, size_t size, size_t piece,
                        struct buf *out, struct error *err)
{
    struct decoder *decoder = decoder_new(codec, (struct sink){.write = collect, .self = out});
    enum errc rc = ERR_OK;
    error_clear(err);
    for (size_t at = 0; rc == ERR_OK && at < size; at += piece)
        rc = decoder_write(decoder, data + at, size - at < piece ? size - at : piece, err);
    if (rc == ERR_OK)
        rc = decoder_finish(decoder, err);
    decoder_free(decoder);
    return rc;
}

static void check_rows(enum codec codec)
{
    struct error err = ERROR_INIT;
    autofree char *data = content();
    autobuf struct buf coded = BUF_INIT(2 * SIZE);
    encode(codec, &coded, data, 300000);
    encode(codec, &coded, data, 0);
    encode(codec, &coded, data + 300000, SIZE - 300000);
    static const size_t pieces[] = {1, 3, 4096, 99991, SIZE * 2};
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        autobuf struct buf out = BUF_INIT(SIZE);
        assert_int_equal(decode(codec, coded.data, coded.size, pieces[i], &out, &err), ERR_OK);
        assert_int_equal(out.size, SIZE);
        assert_memory_equal(out.data, data, SIZE);
    }
}

static void test_members_in_a_row(void **state)
{
    (void)state;
    check_rows(CODEC_GZIP);
    check_rows(CODEC_ZSTD);
}

/* Every cut within the one member; every bit of a checksum matters. */
static void check_damage(enum codec codec)
{
    struct error err = ERROR_INIT;
    autofree char *data = content();
    autobuf struct buf coded = BUF_INIT(2 * SIZE);
    autobuf struct buf out = BUF_INIT(2 * SIZE);
    encode(codec, &coded, data, 3000);
    for (size_t cut = 0; cut < coded.size; cut++) {
        assert_int_equal(decode(codec, coded.data, cut, 512, &out, &err), ERR_ARCHIVE_TRUNCATED);
        buf_clear(&out);
    }
    assert_int_equal(decode(codec, coded.data, coded.size, 512, &out, &err), ERR_OK);
    coded.data[coded.size - (codec == CODEC_GZIP ? 5 : 1)] ^= 1; /* of the checksum */
    assert_int_equal(decode(codec, coded.data, coded.size, 512, &out, &err), ERR_ARCHIVE_CORRUPT);
}

static void test_damage(void **state)
{
    (void)state;
    check_damage(CODEC_GZIP);
    check_damage(CODEC_ZSTD);
}

static void test_garbage_behind_the_end(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    static const char *const garbage[] = {"garbage", "\0\0\0\0\0\0\0"};
    for (enum codec codec = CODEC_GZIP; codec <= CODEC_ZSTD; codec++)
        for (size_t i = 0; i < 2; i++) {
            autobuf struct buf coded = BUF_INIT(SIZE);
            autobuf struct buf out = BUF_INIT(SIZE);
            encode(codec, &coded, "slipway", 7);
            buf_append(&coded, garbage[i], 7);
            assert_int_equal(decode(codec, coded.data, coded.size, 512, &out, &err),
                             ERR_ARCHIVE_CORRUPT);
        }
}

/* RFC 8878, 3.1.2; zstd:chunked layers end with such frames. */
static void test_skippable_frames(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    static const char skippable[] = "\x50\x2a\x4d\x18\x03\0\0\0abc";
    autobuf struct buf coded = BUF_INIT(SIZE);
    autobuf struct buf out = BUF_INIT(SIZE);
    zstd_frame(&coded, "slipway", 7);
    buf_append(&coded, skippable, sizeof skippable - 1);
    assert_int_equal(decode(CODEC_ZSTD, coded.data, coded.size, 1, &out, &err), ERR_OK);
    assert_string_equal(buf_cstr(&out), "slipway");
    assert_int_equal(decode(CODEC_ZSTD, coded.data, coded.size - 1, 1, &out, &err),
                     ERR_ARCHIVE_TRUNCATED);
}

static void empty_frame(struct buf *out, int window_log)
{
    char coded[64];
    ZSTD_outBuffer to = {.dst = coded, .size = sizeof coded};
    ZSTD_inBuffer from = {.src = "slipway", .size = 7};
    ZSTD_CCtx *context = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, window_log);
    assert_false(ZSTD_isError(ZSTD_compressStream2(context, &to, &from, ZSTD_e_flush)));
    assert_int_equal(ZSTD_compressStream2(context, &to, &from, ZSTD_e_end), 0);
    ZSTD_freeCCtx(context);
    buf_append(out, coded, to.pos);
}

static void test_window_limit(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    for (int window = 26; window <= 28; window++) {
        autobuf struct buf coded = BUF_INIT(SIZE);
        autobuf struct buf out = BUF_INIT(SIZE);
        empty_frame(&coded, window);
        assert_int_equal(decode(CODEC_ZSTD, coded.data, coded.size, 512, &out, &err),
                         window <= 27 ? ERR_OK : ERR_ARCHIVE_CORRUPT);
    }
}

static void test_sink_fails(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    autofree char *data = content();
    for (enum codec codec = CODEC_GZIP; codec <= CODEC_ZSTD; codec++) {
        autobuf struct buf coded = BUF_INIT(2 * SIZE);
        autobuf struct buf out = BUF_INIT(SIZE / 2);
        encode(codec, &coded, data, SIZE);
        assert_int_equal(decode(codec, coded.data, coded.size, SIZE, &out, &err), ERR_NO_SPACE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_members_in_a_row),       cmocka_unit_test(test_damage),
        cmocka_unit_test(test_garbage_behind_the_end), cmocka_unit_test(test_skippable_frames),
        cmocka_unit_test(test_window_limit),           cmocka_unit_test(test_sink_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
