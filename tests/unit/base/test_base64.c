#include "base/base64.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void what_is_encoded(void **state)
{
    (void)state;
    static const struct {
        const char *plain, *padded, *url;
    } table[] = {
        {"", "", ""},
        {"a", "YQ==", "YQ"},
        {"ab", "YWI=", "YWI"},
        {"abc", "YWJj", "YWJj"},
        {"\373\377\277", "+/+/", "-_-_"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        autofree char *padded = base64_encode(table[i].plain, strlen(table[i].plain));
        autofree char *url = base64url_encode(table[i].plain, strlen(table[i].plain));
        assert_string_equal(padded, table[i].padded);
        assert_string_equal(url, table[i].url);
    }
}

static void base64_is_strict(void **state)
{
    (void)state;
    static const char *const good[][2] = {
        {"", ""},        {"YQ==", "a"},        {"YWI=", "ab"},
        {"YWJj", "abc"}, {"YWJjZA==", "abcd"}, {"+/+/", "\373\377\277"},
        {"YQAA", "a"},   {"YQA=", "a"},
    };
    static const char *const bad[] = {
        "Y",        "YQ",        "YQ=",  "====", "YR==",    "YWJ=",  "A===",   "Y=Q=",
        "YQ==YQ==", "YWJj\nYWJ", "YW-_", "AGEA", "YW\303j", " YQ==", "YQ==\n", "YWJjYWI=\n\n\n\n",
        "YWJj====", "YQ= ="};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        autofree char *text = NULL;
        assert_true(base64_decode_text(good[i][0], &text));
        assert_string_equal(text, good[i][1]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char *text = NULL;
        if (base64_decode_text(bad[i], &text))
            fail_msg("%s was taken", bad[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_encoded),
        cmocka_unit_test(base64_is_strict),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
