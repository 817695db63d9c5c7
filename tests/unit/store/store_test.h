/*
 * What the tests of store/ share: a folder of their own, errors that fail the test with their text,
 * digests to play with, and a second process (the test program itself, run again with arguments).
 */
#ifndef SLIPWAY_TESTS_STORE_TEST_H
#define SLIPWAY_TESTS_STORE_TEST_H

/* Before cmocka.h, which has a macro with the name of base/error.h's fail(). */
#include "base/file.h"
#include "base/mem.h"
#include "image/digest.h"
#include "store/store_local.h"
#include "tests/support/test_folder.h"

#include <fcntl.h>
#include <setjmp.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

extern char **environ;

#define assert_ok(call, err)                                                                       \
    do {                                                                                           \
        if ((call) != ERR_OK)                                                                      \
            fail_msg("%s: %s", error_name((err)->code), (err)->text);                              \
    } while (0)

#define assert_code(call, expected, err)                                                           \
    do {                                                                                           \
        assert_string_equal(error_name(call), error_name(expected));                               \
        assert_string_equal(error_name((err)->code), error_name(expected));                        \
    } while (0)

static inline int make_folder(void **state)
{
    *state = test_folder_make(xmalloc(TEST_FOLDER_MAX));
    return 0;
}

static inline int remove_folder(void **state)
{
    int rc = test_folder_remove(*state);
    free(*state);
    return rc;
}

#define folder_test(function) cmocka_unit_test_setup_teardown(function, make_folder, remove_folder)

static inline struct digest digest_of_text(const char *text)
{
    return digest_of(DIGEST_SHA256, text, strlen(text));
}

/* A store, of whatever kind, that leaves what is volatile when it is closed. */
static inline struct store *open_store(const char *folder)
{
    struct error err = ERROR_INIT;
    struct store *store = NULL;
    const struct store_options options = {.map_size_bytes = (uint64_t)16 << 20,
                                          .leave_volatile = true};
    assert_ok(store_open_local(folder, &options, &store, &err), &err);
    return store;
}

/* Run this program again as `program MODE FOLDER`; its status as waitpid() gives it. */
static inline int run_again(const char *mode, const char *folder)
{
    char *argv[] = {xstrdup("/proc/self/exe"), xstrdup(mode), xstrdup(folder), NULL};
    pid_t pid = -1;
    int status = -1;
    if (posix_spawn(&pid, argv[0], NULL, NULL, argv, environ) == 0)
        waitpid(pid, &status, 0);
    for (size_t i = 0; argv[i] != NULL; i++)
        free(argv[i]);
    return status;
}

static inline bool path_exists(const char *folder, const char *name)
{
    char path[512];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return stat(path, &st) == 0;
}

#endif
