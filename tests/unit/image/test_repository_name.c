#include "image/repository_name.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static enum errc check(const char *name)
{
    struct error err = ERROR_INIT;
    return repository_name_check(name, strlen(name), &err);
}

static void names(void **state)
{
    (void)state;
    static const char *const good[] = {
        "app", "team/app", "localhost:5000/app", "[::1]:5000/app", "r.io/a", "a-b/c__d",
    };
    static const char *const bad[] = {
        "",     "/team/app", "team/app/",    "team//app",      "team/../app",
        "Team", "team/App",  "team:1/app:1", "localhost:5000", "te%6dam",
        "a b",  ".",         "a..b",
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        if (check(good[i]) != ERR_OK)
            fail_msg("%s is refused", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (check(bad[i]) != ERR_NAME_INVALID)
            fail_msg("%s is taken", bad[i]);
}

static void names_have_255_bytes_at_most(void **state)
{
    (void)state;
    char text[REPOSITORY_NAME_MAX + 2];
    memset(text, 'a', sizeof text);
    for (size_t size = REPOSITORY_NAME_MAX - 1; size <= REPOSITORY_NAME_MAX + 1; size++) {
        struct error err = ERROR_INIT;
        assert_int_equal(repository_name_check(text, size, &err),
                         size <= REPOSITORY_NAME_MAX ? ERR_OK : ERR_NAME_INVALID);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(names_have_255_bytes_at_most),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
