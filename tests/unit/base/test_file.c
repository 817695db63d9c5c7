#include "base/file.h"

#include "base/mem.h"
#include "tests/support/test_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

struct scratch {
    char path[64];
    int fd;
};

static int make_scratch(void **state)
{
    struct scratch *scratch = xcalloc(1, sizeof *scratch);
    test_folder_make(scratch->path);
    scratch->fd = open(scratch->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    *state = scratch;
    return scratch->fd < 0 ? -1 : 0;
}

static int drop_scratch(void **state)
{
    struct scratch *scratch = *state;
    close(scratch->fd);
    int rc = test_folder_remove(scratch->path);
    free(scratch);
    return rc;
}

static bool exists(const struct scratch *scratch, const char *name)
{
    struct stat st;
    return fstatat(scratch->fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static void put_file(const struct scratch *scratch, const char *name, const void *data, size_t size)
{
    struct error err = ERROR_INIT;
    autofd int fd = openat(scratch->fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(file_write_all(fd, data, size, &err), ERR_OK);
    assert_int_equal(file_sync(fd, name, &err), ERR_OK);
}

static void folders_are_made_with_their_parents(void **state)
{
    struct scratch *scratch = *state;
    struct error err = ERROR_INIT;
    autofree char *deep = xasprintf("%s/a/b//c/", scratch->path);
    assert_int_equal(file_make_folders(deep, 0700, &err), ERR_OK);
    assert_true(exists(scratch, "a/b/c"));
    assert_int_equal(file_make_folders(deep, 0700, &err), ERR_OK);
    assert_int_equal(file_make_folders("/", 0700, &err), ERR_OK);

    assert_int_equal(symlinkat("a", scratch->fd, "link"), 0);
    autofree char *linked = xasprintf("%s/link", scratch->path);
    assert_int_equal(file_make_folders(linked, 0700, &err), ERR_OK);
}

static void folders_are_not_made_of_files(void **state)
{
    struct scratch *scratch = *state;
    struct error err = ERROR_INIT;
    put_file(scratch, "f", "x", 1);
    autofree char *file = xasprintf("%s/f", scratch->path);
    autofree char *below = xasprintf("%s/f/g", scratch->path);
    assert_int_equal(file_make_folders(file, 0700, &err), ERR_IO);
    assert_int_equal(err.sys, EEXIST);
    assert_int_equal(file_make_folders(below, 0700, &err), ERR_IO);
    assert_non_null(strstr(err.text, file));
    assert_int_equal(file_make_folders("", 0700, &err), ERR_IO);
    assert_int_equal(err.sys, ENOENT);
}

static void whole_files_are_read_up_to_the_limit(void **state)
{
    struct scratch *scratch = *state;
    autofree char *content = xmalloc(10000);
    memset(content, 'x', 10000);
    content[9999] = 'y';
    put_file(scratch, "f", content, 10000);
    put_file(scratch, "empty", "", 0);
    autofree char *file = xasprintf("%s/f", scratch->path);
    for (size_t limit = 9999; limit <= 10001; limit++) {
        struct error err = ERROR_INIT;
        autofree char *data = NULL;
        size_t size = 77;
        enum errc rc = file_read_all(file, limit, &data, &size, &err);
        assert_int_equal(rc, limit < 10000 ? ERR_IO : ERR_OK);
        assert_int_equal(size, rc == ERR_OK ? 10000 : 77);
        if (rc == ERR_OK) {
            assert_memory_equal(data, content, 10000);
            assert_int_equal(data[10000], '\0');
        } else {
            assert_int_equal(err.sys, EFBIG);
            assert_null(data);
        }
    }
    struct error err = ERROR_INIT;
    autofree char *data = NULL;
    size_t size = 77;
    autofree char *empty = xasprintf("%s/empty", scratch->path);
    assert_int_equal(file_read_all(empty, 0, &data, &size, &err), ERR_OK);
    assert_int_equal(size, 0);
    assert_string_equal(data, "");
    char *none = NULL;
    assert_int_equal(file_read_all(scratch->path, 10, &none, &size, &err), ERR_IO);
    assert_int_equal(err.sys, EISDIR);
    assert_int_equal(file_read_all("/nonexistent/x", 10, &none, &size, &err), ERR_IO);
    assert_int_equal(err.sys, ENOENT);
    assert_non_null(strstr(err.text, "/nonexistent/x"));
    assert_null(none);
}

static void reads_at_an_offset_are_short_only_at_the_end(void **state)
{
    struct scratch *scratch = *state;
    struct error err = ERROR_INIT;
    put_file(scratch, "f", "0123456789", 10);
    autofd int fd = openat(scratch->fd, "f", O_RDONLY | O_CLOEXEC);
    char data[16];
    size_t got = 77;
    assert_int_equal(file_read_at(fd, data, 4, 3, &got, &err), ERR_OK);
    assert_int_equal(got, 4);
    assert_memory_equal(data, "3456", 4);
    assert_int_equal(file_read_at(fd, data, 16, 8, &got, &err), ERR_OK);
    assert_int_equal(got, 2);
    assert_int_equal(file_read_at(fd, data, 16, 10, &got, &err), ERR_OK);
    assert_int_equal(got, 0);
    assert_int_equal(file_read_at(-1, data, 1, 0, &got, &err), ERR_IO);
    assert_int_equal(err.sys, EBADF);
}

static void a_full_disk_is_told(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    autofd int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        skip();
    assert_int_equal(file_write_all(fd, "x", 1, &err), ERR_NO_SPACE);
    assert_int_equal(err.sys, ENOSPC);
}

static void sources_read_to_the_end(void **state)
{
    struct scratch *scratch = *state;
    struct error err = ERROR_INIT;
    const size_t total = (size_t)600 * 1024;
    autofree uint8_t *content = xmalloc(total);
    for (size_t i = 0; i < total; i++)
        content[i] = (uint8_t)(i * 31 >> 4);
    put_file(scratch, "f", content, total);
    autofd int fd = openat(scratch->fd, "f", O_RDONLY | O_CLOEXEC);
    struct file_source reader;
    file_source_init(&reader, fd, "f");
    struct source source = file_source(&reader);
    const uint8_t *data = NULL;
    size_t size = 0, have = 0;
    do {
        assert_int_equal(source_pull(&source, &data, &size, &err), ERR_OK);
        assert_true(have + size <= total);
        assert_memory_equal(data, content + have, size);
        have += size;
    } while (size > 0);
    assert_int_equal(have, total);
    /* Passed over, as far as there is something, and begun again where it began. */
    uint64_t skipped = 0;
    for (uint64_t first = 0; first <= total; first += total / 3) {
        assert_int_equal(source_rewind(&source, &err), ERR_OK);
        assert_int_equal(source_pass_over(&source, first, &skipped, &err), ERR_OK);
        assert_int_equal(skipped, first);
        assert_int_equal(source_pull(&source, &data, &size, &err), ERR_OK);
        assert_int_equal(size, first < total ? 4096 : 0);
        assert_memory_equal(data, content + first, size);
        assert_int_equal(source_pass_over(&source, UINT64_MAX, &skipped, &err), ERR_OK);
        assert_int_equal(skipped, total - first - size);
    }
    reader.fd = -1;
    assert_int_equal(source_pull(&source, &data, &size, &err), ERR_IO);
    file_source_deinit(&reader);
}

static void trees_are_removed_whole(void **state)
{
    struct scratch *scratch = *state;
    struct error err = ERROR_INIT;
    autofree char *deep = xasprintf("%s/t/a/b/c/d", scratch->path);
    assert_int_equal(file_make_folders(deep, 0700, &err), ERR_OK);
    for (int i = 0; i < 300; i++) {
        autofree char *name = xasprintf("t/a/file-%d", i);
        put_file(scratch, name, "x", 1);
    }
    assert_int_equal(mkfifoat(scratch->fd, "t/a/b/fifo", 0600), 0);
    assert_int_equal(file_remove_tree(scratch->fd, "t", &err), ERR_OK);
    assert_false(exists(scratch, "t"));
    assert_int_equal(file_remove_tree(scratch->fd, "t", &err), ERR_OK);
}

static void links_are_removed_and_not_followed(void **state)
{
    struct scratch *scratch = *state;
    struct error err = ERROR_INIT;
    assert_int_equal(mkdirat(scratch->fd, "precious", 0700), 0);
    put_file(scratch, "precious/file", "x", 1);
    assert_int_equal(mkdirat(scratch->fd, "t", 0700), 0);
    assert_int_equal(mkdirat(scratch->fd, "t/sub", 0700), 0);
    assert_int_equal(symlinkat("../precious", scratch->fd, "t/to-folder"), 0);
    assert_int_equal(symlinkat("../../precious/file", scratch->fd, "t/sub/to-file"), 0);
    assert_int_equal(symlinkat("nowhere", scratch->fd, "t/sub/dangling"), 0);
    assert_int_equal(file_remove_tree(scratch->fd, "t", &err), ERR_OK);
    assert_false(exists(scratch, "t"));
    assert_true(exists(scratch, "precious/file"));

    assert_int_equal(symlinkat("precious", scratch->fd, "t"), 0);
    assert_int_equal(file_remove_tree(scratch->fd, "t", &err), ERR_IO);
    assert_true(exists(scratch, "precious/file"));
}

static void a_file_is_no_tree(void **state)
{
    struct scratch *scratch = *state;
    struct error err = ERROR_INIT;
    put_file(scratch, "f", "x", 1);
    assert_int_equal(file_remove_tree(scratch->fd, "f", &err), ERR_IO);
    assert_int_equal(err.sys, ENOTDIR);
    assert_true(exists(scratch, "f"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_scratch, drop_scratch)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(folders_are_made_with_their_parents),
        TEST(folders_are_not_made_of_files),
        TEST(whole_files_are_read_up_to_the_limit),
        TEST(reads_at_an_offset_are_short_only_at_the_end),
        TEST(a_full_disk_is_told),
        TEST(sources_read_to_the_end),
        TEST(trees_are_removed_whole),
        TEST(links_are_removed_and_not_followed),
        TEST(a_file_is_no_tree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
