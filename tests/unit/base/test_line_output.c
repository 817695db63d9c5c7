#include "base/line_output.h"

#include "base/file.h"
#include "base/mem.h"
#include "tests/support/test_folder.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cmocka.h>

/* cmocka has a macro of that name. */
#undef fail

#define LIMIT_BYTES ((size_t)1 << 16)

static char folder[TEST_FOLDER_MAX];

static int make_folder(void **state)
{
    (void)state;
    test_folder_make(folder);
    return 0;
}

static int drop_folder(void **state)
{
    (void)state;
    return test_folder_remove(folder);
}

/* In one of two buffers, in turn. */
static const char *path_of(const char *name)
{
    static char paths[2][128];
    static unsigned turn;
    char *path = paths[turn++ % 2];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static void write_file(const char *name, const char *text)
{
    FILE *file = fopen(path_of(name), "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    fclose(file);
}

static void assert_file(const char *name, const char *text)
{
    struct error err = ERROR_INIT;
    autofree char *found = NULL;
    size_t size = 0;
    assert_int_equal(file_read_all(path_of(name), LIMIT_BYTES, &found, &size, &err), ERR_OK);
    assert_string_equal(found, text);
}

static struct line_file *open_file(const char *name)
{
    struct error err = ERROR_INIT;
    struct line_file *file = NULL;
    assert_int_equal(line_file_open(path_of(name), &file, &err), ERR_OK);
    return file;
}

static void append(struct line_file *file, const char *line)
{
    struct error err = ERROR_INIT;
    assert_int_equal(line_file_append(file, line, strlen(line), &err), ERR_OK);
}

/* ---- the file ---- */

static void a_file_is_its_owners(void **state)
{
    struct stat found;
    struct line_file *file = open_file("a");
    (void)state;
    append(file, "1\n");
    line_file_close(file);
    assert_int_equal(stat(path_of("a"), &found), 0);
    assert_int_equal(found.st_mode & 07777, 0600);
    file = open_file("a");
    append(file, "2\n");
    line_file_close(file);
    assert_file("a", "1\n2\n");
}

static void half_a_line_is_ended(void **state)
{
    (void)state;
    write_file("torn", "1\nhal");
    struct line_file *file = open_file("torn");
    append(file, "2\n");
    append(file, "3\n");
    line_file_close(file);
    assert_file("torn", "1\nhal\n2\n3\n");
}

static void only_files_are_opened(void **state)
{
    static const char *const names[] = {"link", "pipe", "none/a", "."};
    struct line_file *file = NULL;
    (void)state;
    write_file("there", "");
    assert_int_equal(symlink(path_of("there"), path_of("link")), 0);
    assert_int_equal(mkfifo(path_of("pipe"), 0600), 0);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct error err = ERROR_INIT;
        assert_int_equal(line_file_open(path_of(names[i]), &file, &err), ERR_IO);
        assert_non_null(strstr(err.text, folder));
    }
    assert_null(file);
}

static void a_rotated_file_is_made_anew(void **state)
{
    struct error err = ERROR_INIT;
    struct line_file *file = open_file("log");
    (void)state;
    append(file, "1\n");
    assert_int_equal(rename(path_of("log"), path_of("log.1")), 0);
    append(file, "2\n");
    assert_int_equal(line_file_renew(file, false, &err), ERR_OK);
    append(file, "3\n");
    write_file("other", "x\n");
    assert_int_equal(rename(path_of("other"), path_of("log")), 0);
    assert_int_equal(line_file_renew(file, false, &err), ERR_OK);
    append(file, "4\n");
    /* What cannot be opened anew goes on where it is. */
    assert_int_equal(rename(path_of("log"), path_of("log.2")), 0);
    assert_int_equal(mkdir(path_of("log"), 0700), 0);
    assert_int_equal(line_file_renew(file, false, &err), ERR_IO);
    append(file, "5\n");
    line_file_close(file);
    assert_file("log.1", "1\n2\n");
    assert_file("log.2", "x\n4\n5\n");
}

/* ---- the queue ---- */

static size_t failures;

static void count_failure(void *self, const struct error *err)
{
    size_t *count = self;
    assert_int_equal(err->code, ERR_NO_SPACE);
    ++*count;
}

static void tell_lost(void *self, uint64_t count, struct buf *line)
{
    assert_ptr_equal(self, &failures);
    buf_format(line, "lost %d\n", (int)count);
}

static struct line_output *output_to(const char *name)
{
    const struct line_output_options options = {.file = open_file(name),
                                                .limit_bytes = LIMIT_BYTES,
                                                .tell_lost = tell_lost,
                                                .failed = count_failure,
                                                .self = &failures};
    return line_output_new(&options);
}

/* When it returns, all lines are written. */
static void put_all(struct line_output *output, const char *const *lines)
{
    assert_true(line_output_start(output));
    for (; *lines; lines++)
        assert_true(line_output_put(output, *lines, strlen(*lines)));
    assert_true(line_output_stop(output, 60000));
}

static void limit_files(rlim_t size)
{
    struct rlimit limit;
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = size;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* A disk that takes no more is shown by the limit of the process, which also takes a part. */
static void a_full_disk_loses_whole_lines(void **state)
{
    struct line_output *output = output_to("full");
    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    limit_files(10);
    put_all(output, (const char *[]){"first\n", "second\n", "third\n", NULL});
    assert_int_equal(line_output_lost(output), 2);
    limit_files(RLIM_INFINITY);
    assert_file("full", "first\n");
    put_all(output, (const char *[]){"fourth\n", NULL});
    assert_file("full", "first\nlost 2\nfourth\n");
    assert_int_equal(line_output_lost(output), 2);
    assert_int_equal(failures, 2);
    line_output_free(output);
}

static void a_file_is_renewed_when_told(void **state)
{
    struct line_output *output = output_to("told");
    (void)state;
    put_all(output, (const char *[]){"1\n", NULL});
    assert_int_equal(rename(path_of("told"), path_of("told.1")), 0);
    line_output_renew(output);
    put_all(output, (const char *[]){"2\n", NULL});
    line_output_free(output);
    assert_file("told.1", "1\n");
    assert_file("told", "2\n");
}

static void without_a_thread_it_takes_nothing(void **state)
{
    struct line_output *output = output_to("none");
    (void)state;
    assert_false(line_output_put(output, "1\n", 2));
    put_all(output, (const char *[]){"2\n", NULL});
    assert_false(line_output_put(output, "3\n", 2));
    assert_int_equal(line_output_lost(output), 0);
    line_output_free(output);
    assert_file("none", "2\n");
}

/* One byte more than the limit is lost, though nothing else waits. */
static void the_limit_is_of_bytes(void **state)
{
    static char line[LIMIT_BYTES + 2];
    struct line_output *output = output_to("limit");
    (void)state;
    memset(line, 'x', sizeof line - 1);
    put_all(output, (const char *[]){line, NULL});
    assert_int_equal(line_output_lost(output), 1);
    assert_file("limit", "lost 1\n");
    line[LIMIT_BYTES] = '\0';
    put_all(output, (const char *[]){line, NULL});
    assert_int_equal(line_output_lost(output), 1);
    line_output_free(output);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_its_owners),
        cmocka_unit_test(half_a_line_is_ended),
        cmocka_unit_test(only_files_are_opened),
        cmocka_unit_test(a_rotated_file_is_made_anew),
        cmocka_unit_test(a_full_disk_loses_whole_lines),
        cmocka_unit_test(a_file_is_renewed_when_told),
        cmocka_unit_test(without_a_thread_it_takes_nothing),
        cmocka_unit_test(the_limit_is_of_bytes),
    };
    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
