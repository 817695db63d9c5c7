#include "gateway/push/registry_logins.h"

#include "base/file.h"
#include "base/mem.h"
#include "tests/support/test_folder.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* After base/error.h: cmocka has a macro with the name of fail(). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define HOST "r.example.com"

static char folder[TEST_FOLDER_MAX];

/* Its password is the number of its run. */
static const char script[] = "echo run >>\"$1/runs\"; echo \"password-$(wc -l <\"$1/runs\")\"; "
                             "echo second; test ! -e \"$1/fails\" || exit 7";
static char *words[] = {(char[]){"sh"}, (char[]){"-c"}, (char *)(uintptr_t)script, (char[]){"sh"},
                        folder};
static struct registry_setting registry = {.host = (char[]){HOST},
                                           .username = (char[]){"AWS"},
                                           .password_command = {.items = words, .count = 5}};
static struct settings settings = {.references = 1, .registries = &registry, .registry_count = 1};

static void set_file(const char *name, bool there)
{
    autofree char *path = xasprintf("%s/%s", folder, name);
    if (there)
        close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    else
        unlink(path);
}

static long runs(void)
{
    autofree char *path = xasprintf("%s/runs", folder);
    struct stat about;
    return stat(path, &about) == 0 ? (long)(about.st_size / 4) : 0;
}

static char *password_of(const struct credentials_source *source,
                         const struct credentials_refusal *refused)
{
    struct registry_credentials found = {0};
    struct error err = ERROR_INIT;
    if (source->find(source->self, HOST, "team/app", refused, &found, &err) != ERR_OK)
        fail_msg("%s", err.text);
    assert_string_equal(found.username, "AWS");
    assert_true(found.expire);
    assert_null(strstr(found.origin, "password-"));
    char *password = mem_take(&found.password);
    registry_credentials_clear(&found);
    return password;
}

static void expect(const struct credentials_source *source, const char *refused, bool denied,
                   const char *wanted)
{
    autofree char *old = refused ? xstrdup(refused) : NULL;
    const struct registry_credentials before = {.password = old};
    const struct credentials_refusal refusal = {&before, denied};
    autofree char *password = password_of(source, refused ? &refusal : NULL);
    assert_string_equal(password, wanted);
}

static void an_answer_is_kept_until_it_is_refused(void **state)
{
    (void)state;
    struct registry_logins *logins = registry_logins_new(&settings);
    const struct credentials_source source = registry_logins_source(logins);
    expect(&source, NULL, false, "password-1");
    expect(&source, NULL, false, "password-1");
    expect(&source, "password-1", false, "password-2");
    /* Others that were refused with the old one find the new one there. */
    expect(&source, "password-1", false, "password-2");
    /* A young password has not ended: the 403 is about rights. */
    expect(&source, "password-2", true, "password-2");
    assert_int_equal(runs(), 2);
    registry_logins_free(logins);
}

static void a_failure_is_told_and_not_kept(void **state)
{
    (void)state;
    struct registry_logins *logins = registry_logins_new(&settings);
    const struct credentials_source source = registry_logins_source(logins);
    struct registry_credentials found = {0};
    struct error err = ERROR_INIT;
    set_file("fails", true);
    assert_int_equal(source.find(source.self, HOST, "app", NULL, &found, &err), ERR_CREDENTIALS);
    assert_non_null(strstr(err.text, "registries.\"" HOST "\".password_command: the program sh"));
    assert_non_null(strstr(err.text, "exit status 7"));
    assert_null(strstr(err.text, "password-"));
    assert_null(found.password);
    set_file("fails", false);
    expect(&source, NULL, false, "password-2");
    registry_logins_free(logins);
}

static void *find_on_thread(void *self)
{
    return password_of(self, NULL);
}

static void those_that_wait_share_one_run(void **state)
{
    (void)state;
    struct registry_logins *logins = registry_logins_new(&settings);
    struct credentials_source source = registry_logins_source(logins);
    pthread_t threads[8];
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, find_on_thread, &source), 0);
    for (size_t i = 0; i < 8; i++) {
        void *password = NULL;
        assert_int_equal(pthread_join(threads[i], &password), 0);
        assert_string_equal(password, "password-1");
        free(password);
    }
    assert_int_equal(runs(), 1);
    registry_logins_free(logins);
}

static int fresh(void **state)
{
    (void)state;
    set_file("fails", false);
    set_file("runs", false);
    return 0;
}

static int make_folder(void **state)
{
    (void)state;
    test_folder_make(folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    return test_folder_remove(folder);
}

#define TEST(name) cmocka_unit_test_setup(name, fresh)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_answer_is_kept_until_it_is_refused),
        TEST(a_failure_is_told_and_not_kept),
        TEST(those_that_wait_share_one_run),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
