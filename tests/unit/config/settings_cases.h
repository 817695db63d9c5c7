/*
 * What the tests of the settings share: a folder for files, and configurations that are taken or
 * refused. One test program each, one thread.
 */
#ifndef SLIPWAY_TESTS_CONFIG_SETTINGS_CASES_H
#define SLIPWAY_TESTS_CONFIG_SETTINGS_CASES_H

#include "base/file.h"
#include "base/mem.h"
#include "config/settings.h"
#include "tests/support/test_folder.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

/* After base/error.h: cmocka has a macro with the name of fail(). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define NAME "test.json"

static char folder[TEST_FOLDER_MAX];

static inline int make_folder(void **state)
{
    (void)state;
    test_folder_make(folder);
    return 0;
}

static inline int remove_folder(void **state)
{
    (void)state;
    return test_folder_remove(folder);
}

/* The path of a file of the folder with this content, owned. */
static inline char *write_bytes(const char *name, const void *data, size_t size)
{
    char *path = xasprintf("%s/%s", folder, name);
    struct error err = ERROR_INIT;
    autofd int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(file_write_all(fd, data, size, &err), ERR_OK);
    return path;
}

static inline char *write_text(const char *name, const char *text)
{
    return write_bytes(name, text, strlen(text));
}

static inline enum errc parse(const char *text, struct settings **out, struct error *err)
{
    return settings_parse(text, strlen(text), NAME, out, err);
}

static inline struct settings *parsed(const char *text)
{
    struct settings *settings = NULL;
    struct error err = ERROR_INIT;
    if (parse(text, &settings, &err) != ERR_OK)
        fail_msg("%s: %s", text, err.text);
    return settings;
}

/* Refused with a message that begins with the file and the key and goes on with `what`. */
static inline void expect_refusal(const char *text, const char *key, const char *what)
{
    struct settings *settings = NULL;
    struct error err = ERROR_INIT;
    if (parse(text, &settings, &err) != ERR_SETTINGS)
        fail_msg("%s was taken", text);
    assert_int_equal(err.code, ERR_SETTINGS);
    assert_null(settings);
    autofree char *begin = xasprintf(NAME ": %s: ", key);
    if (strncmp(err.text, begin, strlen(begin)) != 0 || strstr(err.text, what) == NULL)
        fail_msg("%s: \"%s\" is not \"%s...%s\"", text, err.text, begin, what);
    assert_null(strstr(err.text, "hunter2"));
}

static inline void expect_checked(const char *text, const char *wanted)
{
    struct settings *settings = parsed(text);
    struct error err = ERROR_INIT;
    enum errc rc = settings_check(settings, &err);
    if (wanted == NULL && rc != ERR_OK)
        fail_msg("%s: %s", text, err.text);
    if (wanted != NULL && (rc != ERR_SETTINGS || strstr(err.text, wanted) == NULL))
        fail_msg("%s: \"%s\" does not say \"%s\"", text, err.text, wanted);
    settings_free(settings);
}

#endif
