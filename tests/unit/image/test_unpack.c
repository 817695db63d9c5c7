/* Each format comes out as it went in, in a row and in each other; windows over the limit are
 * refused before they are made. */
/* Before cmocka.h, which has a macro with the name of base/error.h's fail(). */
#include "base/buf.h"
#include "base/mem.h"
#include "image/unpack.h"
#include "tests/support/pieces.h"

#include <bzlib.h>
#include <lzma.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include <cmocka.h>

#define ROOM ((size_t)2 << 20)
#define SIZE ((size_t)700000)

enum form { GZIP, ZSTD, XZ, BZIP2, FORMS };

static char *content(void)
{
    char *data = xmalloc(SIZE);
    uint32_t word = 1;
    for (size_t i = 0; i < SIZE; i++) {
        word = word * 1664525 + 1013904223;
        data[i] = (char)('a' + (word >> 28));
    }
    return data;
}

static void pack_gzip(struct buf *out, const void *data, size_t size)
{
    autofree uint8_t *packed = xmalloc(ROOM);
    z_stream stream = {.next_in = (uint8_t *)(uintptr_t)data,
                       .avail_in = (uInt)size,
                       .next_out = packed,
                       .avail_out = ROOM};
    assert_int_equal(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    buf_append(out, packed, ROOM - stream.avail_out);
    deflateEnd(&stream);
}

static void pack(enum form form, struct buf *out, const void *data, size_t size)
{
    autofree uint8_t *packed = xmalloc(ROOM);
    size_t used = 0;
    unsigned room = ROOM;
    switch (form) {
    case GZIP:
        pack_gzip(out, data, size);
        return;
    case ZSTD:
        used = ZSTD_compress(packed, ROOM, data, size, 3);
        break;
    case XZ:
        assert_int_equal(
            lzma_easy_buffer_encode(0, LZMA_CHECK_CRC64, NULL, data, size, packed, &used, ROOM),
            LZMA_OK);
        break;
    default:
        assert_int_equal(BZ2_bzBuffToBuffCompress((char *)packed, &room, (char *)(uintptr_t)data,
                                                  (unsigned)size, 1, 0, 0),
                         BZ_OK);
        used = room;
        break;
    }
    buf_append(out, packed, used);
}

static enum errc unpack_bytes(const struct buf *packed, size_t piece, struct buf *out,
                              struct error *err)
{
    struct pieces pieces = {
        .data = (const uint8_t *)packed->data, .size = packed->size, .piece = piece};
    struct unpack *unpack = NULL;
    error_clear(err);
    buf_clear(out);
    if (unpack_open(pieces_source(&pieces), &unpack, err) != ERR_OK)
        return err->code;
    struct source source = unpack_source(unpack);
    for (;;) {
        const uint8_t *data = NULL;
        size_t size = 0;
        if (source_pull(&source, &data, &size, err) != ERR_OK || size == 0)
            break;
        buf_append(out, data, size);
    }
    unpack_close(unpack);
    return err->code;
}

static void assert_unpacks(const struct buf *packed, const void *data, size_t size)
{
    static const size_t pieces[] = {1, 7, 1000, (size_t)1 << 20};
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        struct error err = ERROR_INIT;
        autobuf struct buf out = BUF_INIT(2 * ROOM);
        if (unpack_bytes(packed, pieces[i], &out, &err) != ERR_OK)
            fail_msg("%s", err.text);
        assert_int_equal(out.size, size);
        assert_memory_equal(buf_cstr(&out), data, size);
    }
}

static void assert_fails(const struct buf *packed, enum errc code, const char *says)
{
    struct error err = ERROR_INIT;
    autobuf struct buf out = BUF_INIT(2 * ROOM);
    assert_int_equal(unpack_bytes(packed, 1000, &out, &err), code);
    assert_non_null(strstr(err.text, says));
}

static void assert_refused(const struct buf *packed)
{
    struct error err = ERROR_INIT;
    autobuf struct buf out = BUF_INIT(2 * ROOM);
    enum errc rc = unpack_bytes(packed, 1000, &out, &err);
    assert_true(rc == ERR_ARCHIVE_CORRUPT || rc == ERR_ARCHIVE_TRUNCATED);
}

static void test_plain(void **state)
{
    (void)state;
    autobuf struct buf data = BUF_INIT(ROOM);
    for (size_t size = 0; size < 12; size++) {
        assert_unpacks(&data, buf_cstr(&data), data.size);
        buf_text(&data, "x");
    }
}

static void test_members_in_a_row(void **state)
{
    (void)state;
    autofree char *data = content();
    for (enum form form = GZIP; form < FORMS; form++) {
        autobuf struct buf packed = BUF_INIT(ROOM);
        pack(form, &packed, data, 0);
        pack(form, &packed, data, SIZE / 2);
        pack(form, &packed, data, 0);
        pack(form, &packed, data + SIZE / 2, SIZE - SIZE / 2);
        assert_unpacks(&packed, data, SIZE);
    }
}

static void test_behind_the_end(void **state)
{
    (void)state;
    autofree char *data = content();
    for (size_t more = 1; more < 20; more++)
        for (enum form form = GZIP; form < FORMS; form++) {
            autobuf struct buf packed = BUF_INIT(ROOM);
            pack(form, &packed, data, 1000);
            for (size_t i = 0; i < more; i++)
                buf_append(&packed, "\0", 1);
            if (form == GZIP || form == BZIP2 || (form == XZ && more % 4 == 0))
                assert_unpacks(&packed, data, 1000);
            else
                assert_refused(&packed);
        }
}

static void test_cut_and_bent(void **state)
{
    (void)state;
    autofree char *data = content();
    for (enum form form = GZIP; form < FORMS; form++) {
        autobuf struct buf packed = BUF_INIT(ROOM);
        pack(form, &packed, data, SIZE);
        const size_t whole = packed.size;
        for (size_t cut = 1; cut < 12; cut++) {
            packed.size = whole - cut;
            assert_fails(&packed, ERR_ARCHIVE_TRUNCATED, "early");
        }
        packed.size = whole;
        if (form == ZSTD) /* has no checksum unless it is asked for one */
            continue;
        packed.data[whole / 2] ^= 1;
        assert_fails(&packed, ERR_ARCHIVE_CORRUPT, "damaged");
    }
}

static void test_in_each_other(void **state)
{
    (void)state;
    autofree char *data = content();
    for (enum form outer = GZIP; outer < FORMS; outer++) {
        autobuf struct buf once = BUF_INIT(ROOM);
        autobuf struct buf twice = BUF_INIT(ROOM);
        autobuf struct buf thrice = BUF_INIT(ROOM);
        pack((enum form)((outer + 1) % FORMS), &once, data, 10000);
        pack(outer, &twice, once.data, once.size);
        pack(GZIP, &thrice, twice.data, twice.size);
        assert_unpacks(&twice, data, 10000);
        assert_fails(&thrice, ERR_ARCHIVE_UNRECOGNISED, "more than 2 times");
    }
}

/* A name in a gzip header may be as long as the stream. */
static void test_gzip_with_a_name(void **state)
{
    (void)state;
    autobuf struct buf plain = BUF_INIT(ROOM);
    autobuf struct buf packed = BUF_INIT(2 * ROOM);
    autofree char *name = xcalloc(ROOM / 2, 1);
    memset(name, 'n', ROOM / 2 - 1);
    pack(GZIP, &plain, "content", 7);
    plain.data[3] = 8; /* FNAME, RFC 1952, 2.3.1 */
    buf_append(&packed, plain.data, 10);
    buf_append(&packed, name, ROOM / 2);
    buf_append(&packed, plain.data + 10, plain.size - 10);
    assert_unpacks(&packed, "content", 7);
}

/* One stream whose first block header says another dictionary size: (2 | bits & 1) << (bits / 2 +
 * 11), of which 30 is 128 MiB; .xz file format, 5.3.1. */
static void add_xz(struct buf *out, uint8_t dictionary)
{
    autobuf struct buf packed = BUF_INIT(ROOM);
    pack(XZ, &packed, "slipway", 7);
    uint8_t *header = (uint8_t *)packed.data + 12;
    size_t size = ((size_t)header[0] + 1) * 4;
    uint8_t *filter = memchr(header + 2, 0x21, size - 6);
    assert_non_null(filter);
    filter[2] = dictionary;
    uint32_t crc = lzma_crc32(header, size - 4, 0);
    for (size_t i = 0; i < 4; i++)
        header[size - 4 + i] = (uint8_t)(crc >> (8 * i));
    buf_append(out, packed.data, packed.size);
}

static void test_xz_dictionary_limit(void **state)
{
    (void)state;
    static const uint8_t bits[] = {28, 29, 30, 31, 32, 40};
    for (size_t i = 0; i < sizeof bits; i++)
        for (int second = 0; second <= 1; second++) {
            autobuf struct buf packed = BUF_INIT(ROOM);
            if (second)
                pack(XZ, &packed, "", 0);
            add_xz(&packed, bits[i]);
            if (bits[i] <= 30)
                assert_unpacks(&packed, "slipway", 7);
            else
                assert_fails(&packed, ERR_ARCHIVE_TOO_LARGE, "134217728");
        }
}

static void add_zstd(struct buf *out, int window_log)
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

static void test_zstd_window_limit(void **state)
{
    (void)state;
    for (int window = 26; window <= 28; window++)
        for (int second = 0; second <= 1; second++) {
            autobuf struct buf packed = BUF_INIT(ROOM);
            if (second)
                pack(ZSTD, &packed, "", 0);
            add_zstd(&packed, window);
            if (window <= 27)
                assert_unpacks(&packed, "slipway", 7);
            else
                assert_fails(&packed, ERR_ARCHIVE_TOO_LARGE, "134217728");
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_members_in_a_row),
        cmocka_unit_test(test_behind_the_end),
        cmocka_unit_test(test_cut_and_bent),
        cmocka_unit_test(test_in_each_other),
        cmocka_unit_test(test_gzip_with_a_name),
        cmocka_unit_test(test_xz_dictionary_limit),
        cmocka_unit_test(test_zstd_window_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
