/* Entries of every dialect as they stand there, whatever the pieces; what claims too much is
 * refused before it is kept. */
/* Before cmocka.h, which has a macro with the name of base/error.h's fail(). */
#include "base/mem.h"
#include "image/tar_reader.h"
#include "tests/support/pieces.h"
#include "tests/support/tar_blocks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define TAR_BUF_MAX ((size_t)4 << 20)

static uint8_t *add_header(struct buf *tar, const char *name, char type, size_t size)
{
    uint8_t block[TAR_BLOCK_BYTES] = {0};
    memcpy(block, name, strnlen(name, 100));
    snprintf((char *)block + 124, 12, "%011o", (unsigned)size & 0x7fffffffu);
    block[156] = (uint8_t)type;
    memcpy(block + 257, "ustar\00000", 8);
    buf_append(tar, block, sizeof block);
    return (uint8_t *)tar->data + tar->size - sizeof block;
}

static void add_file(struct buf *tar, const char *name, char type, const char *data)
{
    tar_seal(add_header(tar, name, type, strlen(data)));
    tar_add_content(tar, data, strlen(data));
}

static void add_link(struct buf *tar, const char *name, char type, const char *target, size_t size)
{
    uint8_t *header = add_header(tar, name, type, size);
    memcpy(header + 157, target, strnlen(target, 100));
    tar_seal(header);
}

static void add_end(struct buf *tar)
{
    static const uint8_t zeros[2 * TAR_BLOCK_BYTES];
    buf_append(tar, zeros, sizeof zeros);
}

/* The content of the entry at hand behind its line. */
static enum errc tell_content(struct tar_reader *reader, struct buf *out, struct error *err)
{
    for (;;) {
        const uint8_t *data = NULL;
        size_t size = 0;
        if (tar_reader_read(reader, &data, &size, err) != ERR_OK)
            return err->code;
        if (size == 0)
            break;
        buf_append(out, data, size);
    }
    buf_text(out, "\n");
    return ERR_OK;
}

/* A line an entry: kind, name, target, size, content. */
static enum errc tell(const struct buf *tar, size_t piece, uint64_t limit, bool contents,
                      struct buf *out, struct error *err)
{
    static const char kinds[] = "-dlhcp";
    struct pieces pieces = {.data = (const uint8_t *)tar->data, .size = tar->size, .piece = piece};
    struct tar_reader reader;
    bool end = false;
    error_clear(err);
    tar_reader_init(&reader, pieces_source(&pieces), limit);
    while (err->code == ERR_OK) {
        struct tar_entry entry;
        if (tar_reader_next(&reader, &entry, &end, err) != ERR_OK || end)
            break;
        buf_format(out, "%c%s %s>%s %llu ", kinds[entry.kind], entry.sparse ? "S" : "", entry.name,
                   entry.target, (unsigned long long)entry.size);
        if (contents)
            tell_content(&reader, out, err);
    }
    tar_reader_deinit(&reader);
    return err->code;
}

static const size_t piece_sizes[] = {1, 7, 511, 512, 513, (size_t)1 << 20};

static void assert_told(const struct buf *tar, const char *want)
{
    for (size_t i = 0; i < sizeof piece_sizes / sizeof piece_sizes[0]; i++) {
        struct error err = ERROR_INIT;
        autobuf struct buf out = BUF_INIT(TAR_BUF_MAX);
        if (tell(tar, piece_sizes[i], UINT64_MAX, true, &out, &err) != ERR_OK)
            fail_msg("%s", err.text);
        assert_string_equal(buf_cstr(&out), want);
    }
}

static void assert_refused(const struct buf *tar, enum errc code, const char *says)
{
    for (size_t i = 0; i < sizeof piece_sizes / sizeof piece_sizes[0]; i++) {
        struct error err = ERROR_INIT;
        autobuf struct buf out = BUF_INIT(TAR_BUF_MAX);
        assert_int_equal(tell(tar, piece_sizes[i], UINT64_MAX, true, &out, &err), code);
        assert_non_null(strstr(err.text, says));
    }
}

static void test_kinds(void **state)
{
    (void)state;
    autobuf struct buf tar = BUF_INIT(TAR_BUF_MAX);
    add_file(&tar, "a", '0', "content");
    add_file(&tar, "old", '\0', "v7");
    add_file(&tar, "contiguous", '7', "x");
    add_file(&tar, "old-folder/", '0', "");
    tar_seal(add_header(&tar, "folder/", '5', 512)); /* its size means nothing */
    add_link(&tar, "link", '2', "a", 7);
    add_link(&tar, "hard", '1', "a", 7); /* in ustar neither does this one */
    add_link(&tar, "device", '3', "", 0);
    add_link(&tar, "pipe", '6', "", 0);
    tar_seal(add_header(&tar, "label", 'V', 0));
    const char *want = "- a> 7 content\n- old> 2 v7\n- contiguous> 1 x\nd old-folder/> 0 \n"
                       "d folder/> 0 \nl link>a 0 \nh hard>a 0 \nc device> 0 \np pipe> 0 \n";
    assert_told(&tar, want); /* no end blocks */
    add_end(&tar);
    buf_text(&tar, "behind the end");
    assert_told(&tar, want);
}

static void test_names(void **state)
{
    (void)state;
    autobuf struct buf tar = BUF_INIT(TAR_BUF_MAX);
    char name[201];
    memset(name, 'n', 200);
    name[200] = '\0';
    uint8_t *header = add_header(&tar, name, '0', 0); /* 100 bytes, no NUL */
    memcpy(header + 345, "pre", 3);
    tar_seal(header);
    header = add_header(&tar, "gnu", '0', 0); /* times are where the prefix would be */
    memcpy(header + 257, "ustar  ", 8);
    memcpy(header + 345, "01234567", 8);
    tar_seal(header);
    add_file(&tar, "././@LongLink", 'L', name);
    add_file(&tar, "././@LongLink", 'K', "far/away");
    add_link(&tar, "short", '2', "near", 0);
    add_file(&tar, "PaxHeaders/x", 'x', "11 path=\303\244\n19 linkpath=target\n9 other=\n6 a=b\n");
    add_link(&tar, "short", '1', "near", 0);
    add_file(&tar, "PaxHeaders/g", 'g', "13 path=wrong\n");
    add_file(&tar, "name\377", '0', "");
    add_file(&tar, "././@LongLink", 'L', "first, and longer");
    add_file(&tar, "././@LongLink", 'K', "one");
    add_file(&tar, "././@LongLink", 'L', "second");
    add_file(&tar, "././@LongLink", 'K', "two");
    add_file(&tar, "PaxHeaders/x", 'x', "14 path=third\n");
    add_link(&tar, "short", '2', "near", 0);
    autobuf struct buf want = BUF_INIT(TAR_BUF_MAX);
    buf_format(&want, "- pre/%.100s> 0 \n- gnu> 0 \nl %s>far/away 0 \n", name, name);
    buf_text(&want, "h \303\244>target 0 \n- name\377> 0 \nl second>two 0 \n");
    assert_told(&tar, buf_cstr(&want));
}

static void test_sizes(void **state)
{
    (void)state;
    autobuf struct buf tar = BUF_INIT(TAR_BUF_MAX);
    uint8_t *header = add_header(&tar, "binary", '0', 0);
    memcpy(header + 124, "\200\0\0\0\0\0\0\0\0\0\0\002", 12);
    tar_seal(header);
    tar_add_content(&tar, "ab", 2);
    add_file(&tar, "PaxHeaders/x", 'x', "10 size=3\n");
    tar_seal(add_header(&tar, "pax", '0', 1000));
    tar_add_content(&tar, "abc", 3);
    add_link(&tar, "hard", '1', "pax", 4); /* pax has been seen: the file comes along */
    tar_add_content(&tar, "abcd", 4);
    assert_told(&tar, "- binary> 2 ab\n- pax> 3 abc\nh hard>pax 4 abcd\n");
    header = add_header(&tar, "negative", '0', 0);
    memset(header + 124, 0xff, 12);
    tar_seal(header);
    assert_refused(&tar, ERR_ARCHIVE_CORRUPT, "no number");
    buf_clear(&tar);
    header = add_header(&tar, "behind a NUL", '0', 1);
    header[124] = '\0';
    tar_seal(header);
    assert_refused(&tar, ERR_ARCHIVE_CORRUPT, "no number");
}

static void test_passed_over(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    autobuf struct buf tar = BUF_INIT(TAR_BUF_MAX);
    autobuf struct buf out = BUF_INIT(TAR_BUF_MAX);
    add_file(&tar, "a", '0', "content that nobody wants to read");
    add_file(&tar, "b", '0', "neither");
    assert_int_equal(tell(&tar, 100, UINT64_MAX, false, &out, &err), ERR_OK);
    assert_string_equal(buf_cstr(&out), "- a> 33 - b> 7 ");
}

static void test_sparse(void **state)
{
    (void)state;
    static const char *const records[] = {"22 GNU.sparse.major=1\n", "22 GNU.sparse.map=1,2\n",
                                          "20 SUN.holesdata= 1\n", "26 GNU.sparse.name=a/hole\n"};
    for (size_t i = 0; i < sizeof records / sizeof records[0]; i++) {
        autobuf struct buf tar = BUF_INIT(TAR_BUF_MAX);
        add_file(&tar, "PaxHeaders/x", 'x', records[i]);
        add_file(&tar, "a/hole", '0', "");
        add_file(&tar, "b", '0', "");
        assert_told(&tar, "-S a/hole> 0 \n- b> 0 \n");
    }
    autobuf struct buf tar = BUF_INIT(TAR_BUF_MAX);
    add_file(&tar, "hole", 'S', "");
    assert_told(&tar, "-S hole> 0 \n");
}

static void test_bent(void **state)
{
    (void)state;
    static const char *const records[] = {"10 path=b", "11 path=b\n", "path=b\n", "10 size=x\n"};
    for (size_t i = 0; i < sizeof records / sizeof records[0]; i++) {
        autobuf struct buf tar = BUF_INIT(TAR_BUF_MAX);
        add_file(&tar, "PaxHeaders/x", 'x', records[i]);
        add_file(&tar, "a", '0', "");
        assert_refused(&tar, ERR_ARCHIVE_CORRUPT, "pax record");
    }
    autobuf struct buf tar = BUF_INIT(TAR_BUF_MAX);
    tar_seal(add_header(&tar, "x", 'x', 11));
    tar_add_content(&tar, "11 path=\0a\n", 11);
    add_file(&tar, "a", '0', "");
    assert_refused(&tar, ERR_ARCHIVE_CORRUPT, "NUL");
    buf_clear(&tar);
    add_file(&tar, "a", '0', "");
    tar.data[0] = 'b';
    assert_refused(&tar, ERR_ARCHIVE_UNRECOGNISED, "");
    tar.data[0] = 'a';
    add_file(&tar, "b", '0', "");
    tar.data[512] = 'c';
    assert_refused(&tar, ERR_ARCHIVE_CORRUPT, "checksum");
    tar.data[512] = 'b';
    tar.data[512 + 155] = 'x'; /* not in the sum, but in the field */
    assert_refused(&tar, ERR_ARCHIVE_CORRUPT, "checksum");
    buf_clear(&tar);
    add_file(&tar, "long", 'L', "name");
    add_end(&tar);
    assert_refused(&tar, ERR_ARCHIVE_CORRUPT, "describes nothing");
}

static void test_cut(void **state)
{
    (void)state;
    autobuf struct buf tar = BUF_INIT(TAR_BUF_MAX);
    add_file(&tar, "a", '0', "content");
    add_file(&tar, "long", 'L', "name");
    add_file(&tar, "b", '0', "more");
    const size_t whole = tar.size;
    for (size_t size = 0; size < whole; size++) {
        struct error err = ERROR_INIT;
        autobuf struct buf out = BUF_INIT(TAR_BUF_MAX);
        enum errc want = size < 512 ? ERR_ARCHIVE_UNRECOGNISED : ERR_ARCHIVE_TRUNCATED;
        tar.size = size;
        assert_int_equal(tell(&tar, 500, UINT64_MAX, true, &out, &err),
                         size == 1024 ? ERR_OK : want);
    }
    tar.size = whole;
}

static void test_extended_header_limit(void **state)
{
    (void)state;
    autofree char *name = xcalloc(TAR_EXTENDED_MAX + 2, 1);
    for (int more = -1; more <= 1; more++) {
        autobuf struct buf tar = BUF_INIT(TAR_BUF_MAX);
        memset(name, 'n', TAR_EXTENDED_MAX + 1);
        name[(int)TAR_EXTENDED_MAX + more] = '\0';
        add_file(&tar, "././@LongLink", 'L', name);
        add_file(&tar, "a", '0', "");
        struct error err = ERROR_INIT;
        autobuf struct buf out = BUF_INIT(TAR_BUF_MAX);
        assert_int_equal(tell(&tar, 4096, UINT64_MAX, true, &out, &err),
                         more <= 0 ? ERR_OK : ERR_ARCHIVE_CORRUPT);
        if (more > 0)
            assert_non_null(strstr(err.text, "LongLink"));
    }
    static const char types[] = "xXgLK";
    for (const char *type = types; *type; type++) { /* by what it claims, not when it is there */
        autobuf struct buf tar = BUF_INIT(TAR_BUF_MAX);
        tar_seal(add_header(&tar, "claim", *type, TAR_EXTENDED_MAX + 1));
        assert_refused(&tar, ERR_ARCHIVE_CORRUPT, "claim");
    }
}

static void test_limit(void **state)
{
    (void)state;
    autobuf struct buf tar = BUF_INIT(TAR_BUF_MAX);
    add_file(&tar, "a", '0', "content");
    for (int contents = 0; contents <= 1; contents++)
        for (int more = -1; more <= 1; more++) {
            struct error err = ERROR_INIT;
            autobuf struct buf out = BUF_INIT(TAR_BUF_MAX);
            assert_int_equal(
                tell(&tar, 4096, (uint64_t)((int)tar.size + more), contents, &out, &err),
                more < 0 ? ERR_ARCHIVE_TOO_LARGE : ERR_OK);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds),  cmocka_unit_test(test_names),
        cmocka_unit_test(test_sizes),  cmocka_unit_test(test_passed_over),
        cmocka_unit_test(test_sparse), cmocka_unit_test(test_bent),
        cmocka_unit_test(test_cut),    cmocka_unit_test(test_extended_header_limit),
        cmocka_unit_test(test_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
