/* Headers as libarchive reads them. */
#include "image/tar_write.h"

#include "base/mem.h"
#include "image/tar_header.h"

#include <archive.h>
#include <archive_entry.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define GIB (UINT64_C(1) << 30)

static char *repeated(const char *part, size_t count)
{
    char *text = xcalloc(1, strlen(part) * count + 1);
    for (size_t i = 0; i < count; i++)
        strcat(text, part);
    return text;
}

static void expect(const char *name, uint64_t size, const char *target, size_t blocks)
{
    struct error err = ERROR_INIT;
    autobuf struct buf out = BUF_INIT((size_t)1 << 20);
    assert_int_equal(tar_write_header(&out, name, size, target, &err), ERR_OK);
    assert_int_equal(out.size, blocks * TAR_BLOCK_BYTES);
    assert_true(tar_checksum_fits((const uint8_t *)out.data));
    struct archive *reader = archive_read_new();
    struct archive_entry *entry = NULL;
    archive_read_support_format_tar(reader);
    assert_int_equal(archive_read_open_memory(reader, out.data, out.size), ARCHIVE_OK);
    if (archive_read_next_header(reader, &entry) != ARCHIVE_OK)
        fail_msg("%.60s: %s", name, archive_error_string(reader));
    assert_string_equal(archive_entry_pathname(entry), name);
    assert_int_equal(archive_entry_filetype(entry), target ? 0 : AE_IFREG);
    assert_int_equal(archive_entry_size(entry), target ? 0 : size);
    assert_int_equal(archive_entry_perm(entry), 0644);
    if (target)
        assert_string_equal(archive_entry_hardlink(entry), target);
    else
        assert_null(archive_entry_hardlink(entry));
    archive_read_free(reader);
}

/* Of a header with a record of its name: "LENGTH path=NAME\n". */
static size_t blocks_for(const char *name)
{
    size_t record = strlen(name) + strlen("123 path=\n");
    record += record > 999;
    return 2 + (record + TAR_BLOCK_BYTES - 1) / TAR_BLOCK_BYTES;
}

static void names_of_all_lengths(void **state)
{
    (void)state;
    expect("a", 0, NULL, 1);
    expect("blobs/sha256/0123", 12345, NULL, 1);
    for (size_t size = 1; size <= 300; size++) {
        autofree char *flat = repeated("n", size);
        expect(flat, 7, NULL, size <= 100 ? 1 : blocks_for(flat));
        autofree char *deep = repeated("d/", size);
        autofree char *file = xasprintf("%sf", deep);
        expect(file, 7, NULL, strlen(file) <= 255 ? 1 : blocks_for(file));
    }
    /* The only "/" is where neither part takes it. */
    autofree char *late = repeated("l", 160);
    autofree char *split = xasprintf("%s/f", late);
    expect(split, 1, NULL, 3);
    autofree char *early = xasprintf("d/%s", late);
    expect(early, 1, NULL, 3);
}

static void sizes(void **state)
{
    (void)state;
    expect("f", 8 * GIB - 1, NULL, 1);
    expect("f", 8 * GIB, NULL, 3);
    expect("f", 100000 * GIB, NULL, 3);
}

static void names_that_are_no_ascii(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    autobuf struct buf out = BUF_INIT((size_t)1 << 20);
    assert_int_equal(tar_write_header(&out, "b\xc3\xa4ume/\xe6\x9c\xa8", 3, NULL, &err), ERR_OK);
    assert_int_equal(out.size, 3 * TAR_BLOCK_BYTES);
    assert_memory_equal((char *)out.data + TAR_BLOCK_BYTES, "19 path=b\xc3\xa4ume/\xe6\x9c\xa8\n",
                        19);
}

static void links(void **state)
{
    (void)state;
    autofree char *longer = repeated("t", 101);
    expect("a", 5, "target", 1);
    expect("a", 5, longer, 3);
    expect(longer, 5, longer, 3);
}

/* The length of a record counts its own digits, also where they become one more. */
static void records_around_a_power_of_ten(void **state)
{
    (void)state;
    for (size_t size = 101; size < 1100; size++) {
        autofree char *name = repeated("n", size);
        expect(name, 1, NULL, blocks_for(name));
    }
}

static void what_has_no_room_is_an_error(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    autobuf struct buf out = BUF_INIT(TAR_BLOCK_BYTES - 1);
    assert_int_equal(tar_write_header(&out, "a", 1, NULL, &err), ERR_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_of_all_lengths),
        cmocka_unit_test(sizes),
        cmocka_unit_test(names_that_are_no_ascii),
        cmocka_unit_test(links),
        cmocka_unit_test(records_around_a_power_of_ten),
        cmocka_unit_test(what_has_no_room_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
