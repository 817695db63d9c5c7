/* Whole tars of every dialect pass, whatever the pieces; a tar that is cut or bent does not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* ours is base/error.h */

#include "base/mem.h"
#include "image/tar_check.h"
#include "tests/support/tar_blocks.h"

#include <stdio.h>
#include <string.h>

static uint8_t *add_header(struct buf *tar, const char *name, char type, const char *size)
{
    uint8_t block[TAR_BLOCK_BYTES] = {0};
    snprintf((char *)block, 100, "%s", name);
    memcpy(block + 124, size, strlen(size));
    block[156] = (uint8_t)type;
    memcpy(block + 257, "ustar\00000", 8);
    buf_append(tar, block, sizeof block);
    return (uint8_t *)tar->data + tar->size - sizeof block;
}

static void add_file(struct buf *tar, const char *name, char type, const char *data)
{
    char size[12];
    snprintf(size, sizeof size, "%011o", (unsigned)strlen(data) & 0xfffffu);
    tar_seal(add_header(tar, name, type, size));
    tar_add_content(tar, data, strlen(data));
}

static void add_end(struct buf *tar)
{
    static const uint8_t zeros[2 * TAR_BLOCK_BYTES];
    buf_append(tar, zeros, sizeof zeros);
}

static enum errc check_bytes(const void *data, size_t size, size_t piece, uint64_t *files,
                             struct error *err)
{
    struct tar_check check;
    enum errc rc = ERR_OK;
    error_clear(err);
    tar_check_init(&check);
    for (size_t at = 0; rc == ERR_OK && at < size; at += piece)
        rc = tar_check_write(&check, (const char *)data + at, size - at < piece ? size - at : piece,
                             err);
    if (rc == ERR_OK)
        rc = tar_check_finish(&check, err);
    *files = check.files;
    tar_check_deinit(&check);
    return rc;
}

static void assert_tar(const struct buf *tar, enum errc code, uint64_t files)
{
    static const size_t pieces[] = {1, 7, 511, 512, 513, (size_t)1 << 20};
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        struct error err = ERROR_INIT;
        uint64_t seen = 0;
        assert_int_equal(check_bytes(tar->data, tar->size, pieces[i], &seen, &err), code);
        if (code == ERR_OK)
            assert_int_equal(seen, files);
    }
}

static void test_whole(void **state)
{
    (void)state;
    autobuf struct buf tar = BUF_INIT((size_t)1 << 20);
    add_file(&tar, "a", '0', "content");
    assert_tar(&tar, ERR_OK, 1); /* no end blocks */
    add_file(&tar, "empty", '0', "");
    tar_seal(add_header(&tar, "folder/", '5', "00000001000")); /* its size means nothing */
    tar_seal(add_header(&tar, "link", '2', "00000000000"));
    add_file(&tar, "././@LongLink", 'L', "a long name");
    add_file(&tar, "long", '\0', "v7");
    assert_tar(&tar, ERR_OK, 5);
    add_end(&tar);
    assert_tar(&tar, ERR_OK, 5);
    buf_text(&tar, "behind the end");
    assert_tar(&tar, ERR_OK, 5);
}

static void test_empty_tars(void **state)
{
    (void)state;
    autobuf struct buf tar = BUF_INIT((size_t)1 << 20);
    assert_tar(&tar, ERR_ARCHIVE_EMPTY, 0);
    buf_text(&tar, "x");
    assert_tar(&tar, ERR_ARCHIVE_UNRECOGNISED, 0);
    buf_clear(&tar);
    add_end(&tar);
    assert_tar(&tar, ERR_OK, 0);
    tar.size = TAR_BLOCK_BYTES;
    assert_tar(&tar, ERR_OK, 0);
    tar.size = TAR_BLOCK_BYTES - 1;
    assert_tar(&tar, ERR_ARCHIVE_UNRECOGNISED, 0);
    tar.size = TAR_BLOCK_BYTES + 1;
    assert_tar(&tar, ERR_ARCHIVE_TRUNCATED, 0);
}

static void test_cut_anywhere(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    autobuf struct buf tar = BUF_INIT((size_t)1 << 20);
    uint64_t files = 0;
    add_file(&tar, "a", '0', "content");
    add_file(&tar, "x", 'x', "10 path=b\n");
    add_file(&tar, "b", '0', "content");
    for (size_t cut = 1; cut < tar.size; cut++) {
        bool whole = cut == 1024;
        enum errc rc = check_bytes(tar.data, cut, 4096, &files, &err);
        if (whole)
            assert_int_equal(rc, ERR_OK);
        else
            assert_int_equal(rc, cut < 512 ? ERR_ARCHIVE_UNRECOGNISED : ERR_ARCHIVE_TRUNCATED);
    }
}

static void test_pax_size(void **state)
{
    (void)state;
    autobuf struct buf tar = BUF_INIT((size_t)1 << 20);
    add_file(&tar, "x", 'x', "10 path=b\n12 size=600\n");
    tar_seal(add_header(&tar, "b", '0', "00000000000")); /* says 0, has 600 */
    uint8_t content[600];
    memset(content, 'c', sizeof content);
    tar_add_content(&tar, content, sizeof content);
    add_file(&tar, "next", '0', "its size is its own");
    add_end(&tar);
    assert_tar(&tar, ERR_OK, 2);
}

static void assert_pax(const char *records, enum errc code)
{
    autobuf struct buf tar = BUF_INIT((size_t)1 << 20);
    add_file(&tar, "x", 'x', records);
    add_file(&tar, "a", '0', "");
    add_end(&tar);
    assert_tar(&tar, code, 1);
}

static void test_pax_records(void **state)
{
    (void)state;
    assert_pax("10 size=0\n", ERR_OK);
    assert_pax("9 size=\n", ERR_ARCHIVE_CORRUPT);
    assert_pax("8 size=\n", ERR_OK);
    assert_pax("10 size=x\n", ERR_ARCHIVE_CORRUPT);
    assert_pax("11 size=-1\n", ERR_ARCHIVE_CORRUPT);
    assert_pax("10 path=b", ERR_ARCHIVE_CORRUPT);
    assert_pax("11 path=b\n", ERR_ARCHIVE_CORRUPT);
    assert_pax("8 path=b\n", ERR_ARCHIVE_CORRUPT);
    assert_pax("path=b\n", ERR_ARCHIVE_CORRUPT);
    assert_pax("3 \n", ERR_OK); /* nobody's key: not for us to judge */
    assert_pax("2 \n", ERR_ARCHIVE_CORRUPT);
    assert_pax("99999999999999999999 a=b\n", ERR_ARCHIVE_CORRUPT);
    assert_pax("28 size=9223372036854775808\n", ERR_ARCHIVE_CORRUPT);
}

static void test_sizes(void **state)
{
    (void)state;
    static const struct {
        const char size[13];
        enum errc code;
    } cases[] = {
        {"\200\0\0\0\0\0\0\0\0\0\0\007", ERR_OK},
        {" 7 ", ERR_OK},
        {"7", ERR_OK},
        {"8", ERR_ARCHIVE_CORRUPT},
        {"\377\377\377\377\377\377\377\377\377\377\377\371", ERR_ARCHIVE_CORRUPT},
        {"\200\0\0\001\0\0\0\0\0\0\0\0", ERR_ARCHIVE_CORRUPT},
        {"\200\0\0\0\177\377\377\377\377\377\377\377", ERR_ARCHIVE_CORRUPT},
        {"\200\0\0\0\177\377\377\377\377\377\375\0", ERR_ARCHIVE_TRUNCATED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        autobuf struct buf tar = BUF_INIT((size_t)1 << 20);
        uint8_t *header = add_header(&tar, "a", '0', "");
        memcpy(header + 124, cases[i].size, 12);
        tar_seal(header);
        tar_add_content(&tar, "content", 7);
        add_end(&tar);
        assert_tar(&tar, cases[i].code, 1);
    }
}

static void test_gnu_sparse(void **state)
{
    (void)state;
    autobuf struct buf tar = BUF_INIT((size_t)1 << 20);
    uint8_t more[TAR_BLOCK_BYTES] = {0};
    uint8_t *header = add_header(&tar, "sparse", 'S', "00000000007");
    memcpy(header + 257, "ustar  ", 8);
    header[482] = 1;
    tar_seal(header);
    more[504] = 1;
    buf_append(&tar, more, sizeof more);
    more[504] = 0;
    buf_append(&tar, more, sizeof more);
    assert_tar(&tar, ERR_ARCHIVE_TRUNCATED, 1);
    tar_add_content(&tar, "content", 7);
    add_file(&tar, "next", '0', "x");
    add_end(&tar);
    assert_tar(&tar, ERR_OK, 2);
}

static void test_bent(void **state)
{
    (void)state;
    autobuf struct buf tar = BUF_INIT((size_t)1 << 20);
    add_file(&tar, "a", '0', "content");
    add_file(&tar, "b", '0', "content");
    tar.data[0] ^= 1;
    assert_tar(&tar, ERR_ARCHIVE_UNRECOGNISED, 0);
    tar.data[0] ^= 1;
    tar.data[1024] ^= 1;
    assert_tar(&tar, ERR_ARCHIVE_CORRUPT, 1);
    buf_clear(&tar);
    add_end(&tar);
    tar.size = TAR_BLOCK_BYTES;
    add_file(&tar, "a", '0', "content");
    assert_tar(&tar, ERR_ARCHIVE_CORRUPT, 0); /* one zero block */
    buf_clear(&tar);
    add_file(&tar, "x", 'x', "10 path=b\n");
    add_end(&tar);
    assert_tar(&tar, ERR_ARCHIVE_CORRUPT, 0);
}

static void test_extended_header_limit(void **state)
{
    (void)state;
    for (int more = -1; more <= 1; more++) {
        autobuf struct buf tar = BUF_INIT((size_t)4 << 20);
        size_t size = (size_t)((int)TAR_EXTENDED_MAX + more);
        autofree char *content = xcalloc(1, size);
        char text[13];
        snprintf(text, sizeof text, "%011zo", size);
        tar_seal(add_header(&tar, "long", 'L', text));
        tar_add_content(&tar, content, size);
        add_file(&tar, "a", '0', "");
        assert_tar(&tar, more > 0 ? ERR_ARCHIVE_CORRUPT : ERR_OK, 1);
        /* and as a pax header, of one record */
        buf_clear(&tar);
        memset(content, 'v', size);
        int head = snprintf(content, 16, "%zu k=", size);
        content[head] = 'v';
        content[size - 1] = '\n';
        tar_seal(add_header(&tar, "pax", 'x', text));
        tar_add_content(&tar, content, size);
        add_file(&tar, "a", '0', "");
        assert_tar(&tar, more > 0 ? ERR_ARCHIVE_CORRUPT : ERR_OK, 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole),
        cmocka_unit_test(test_empty_tars),
        cmocka_unit_test(test_cut_anywhere),
        cmocka_unit_test(test_pax_size),
        cmocka_unit_test(test_pax_records),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_gnu_sparse),
        cmocka_unit_test(test_bent),
        cmocka_unit_test(test_extended_header_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
