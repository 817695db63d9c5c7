#include "net/http_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* cmocka has a macro of that name. */
#undef fail

/* "ci:pa ss=word", whose Basic form ends with padding. */
#define BASIC "Y2k6cGEgc3M9d29yZA=="

static void expect(const char *authorization, const char *other, const char *from,
                   const char *wanted)
{
    struct http_secrets secrets = {.count = 0};
    char text[200];
    http_secrets_add(&secrets, authorization, other);
    http_text(&secrets, from, strlen(from), text, sizeof text);
    assert_string_equal(text, wanted);
    http_secrets_deinit(&secrets);
}

static void secrets_are_struck_out(void **state)
{
    (void)state;
    expect(NULL, NULL, "all stays", "all stays");
    expect("Basic " BASIC, NULL, "no Basic " BASIC "!", "no Basic ***==!");
    expect("basic " BASIC, NULL, "ci:pa ss=word", "ci:***");
    expect("Basic " BASIC, NULL, "Y2k6cGEgc3M9d29yZA%3D%3D", "***%3D%3D");
    expect("Bearer abc.def", NULL, "{abc.def}abc.def", "{***}***");
    expect("Bearer abc.def", NULL, "abc.de", "abc.de");
    expect("abc.def", NULL, "x abc.def", "x ***");
    expect("Bearer abc.def", "refresh", "refresh abc.def", "*** ***");
    expect("Bearer abcd", "abcdef", "abcdef abcd", "*** ***");
    expect("Bearer abcd", NULL, "abcd", "***");
    expect("Bearer abc", NULL, "abc", "abc");
    expect("Bearer", NULL, "Bearer", "***");
    expect("Basic !", NULL, "!", "!");
}

static void one_that_was_cut_is_struck_out(void **state)
{
    (void)state;
    expect("Bearer 0123456789abcdef", NULL, "t=0123456789a", "t=***");
    expect("Bearer 0123456789abcdef", NULL, "t=01234567", "t=***");
    expect("Bearer 0123456789abcdef", NULL, "t=0123456", "t=0123456");
    expect("Bearer 0123456789abcdef", NULL, "t=0123456789a b", "t=0123456789a b");
}

static void it_is_one_line_that_fits(void **state)
{
    (void)state;
    expect(NULL, NULL, " \r\n a\t\x1b b \n", "a b");
    struct http_secrets secrets = {.count = 0};
    http_secrets_add(&secrets, "Bearer secret", NULL);
    for (size_t capacity = 1; capacity < 24; capacity++) {
        char text[25];
        memset(text, 'x', sizeof text);
        http_text(&secrets, "a secret and a secret more", 26, text, capacity);
        assert_true(strlen(text) < capacity);
        assert_null(strstr(text, "sec"));
        assert_int_equal(text[capacity], 'x');
    }
    http_secrets_deinit(&secrets);
}

static void among_our_words_short_ones_stay(void **state)
{
    (void)state;
    struct http_secrets secrets = {.count = 0};
    struct error err = ERROR_INIT;
    http_secrets_add(&secrets, "Bearer long-secret", "https");
    fail(&err, ERR_CONNECT, 0, "https://r/long-secret is refused");
    http_text_clean(&secrets, &err);
    assert_string_equal(err.text, "https://r/*** is refused");
    http_secrets_deinit(&secrets);
}

static void they_gather(void **state)
{
    (void)state;
    struct http_secrets first = {.count = 0};
    struct http_secrets all = {.count = 0};
    char token[32];
    char text[64] = "token-00-number";
    http_secrets_add(&first, "Bearer token-00-number", "password");
    http_secrets_add(&first, "Bearer token-00-number", "password");
    assert_int_equal(first.count, 2);
    http_secrets_add_all(&all, &first);
    for (int i = 1; i < 40; i++) {
        snprintf(token, sizeof token, "Bearer token-%02d-number", i);
        http_secrets_add(&all, token, NULL);
        assert_in_range(all.count, 3, HTTP_SECRETS_MAX);
    }
    http_text_strike(&all, text, sizeof text);
    assert_string_equal(text, "***");
    strcpy(text, "password token-39-number token-20-number");
    http_text_strike(&all, text, sizeof text);
    assert_string_equal(text, "*** *** token-20-number");
    http_secrets_deinit(&all);
    http_secrets_deinit(&first);
}

static void those_of_urls_are_struck(void **state)
{
    (void)state;
    static const struct {
        const char *proxy, *url, *said, *text;
    } cases[] = {
        {"http://u:p%40ssword@h:1", NULL, "dTpwQHNzd29yZA== p@ssword", "***== ***"},
        {"u:password@h:1", NULL, "the password", "the ***"},
        {"http://h:1", NULL, "u:p", "u:p"},
        {NULL, "http://h/p?a=b&sig=0123456789abcdef%3D#x", "0123456789abcdef= a", "***= a"},
        {NULL, "http://h/p?sig=0123456789abcde", "0123456789abcde", "0123456789abcde"},
        {NULL, "http://h/p?digest=sha256:0123456789abcdef", "sha256:0123456789abcdef",
         "sha256:0123456789abcdef"},
        {NULL, "http://h/p?0123456789abcdef", "0123456789abcdef", "0123456789abcdef"},
        {NULL, "http://h/p?", "p", "p"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct http_secrets secrets = {.count = 0};
        char text[100];
        if (cases[i].proxy)
            http_secrets_add_proxy(&secrets, cases[i].proxy);
        if (cases[i].url)
            http_secrets_add_query(&secrets, cases[i].url);
        http_text(&secrets, cases[i].said, strlen(cases[i].said), text, sizeof text);
        assert_string_equal(text, cases[i].text);
        http_secrets_deinit(&secrets);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(those_of_urls_are_struck),
        cmocka_unit_test(secrets_are_struck_out),
        cmocka_unit_test(one_that_was_cut_is_struck_out),
        cmocka_unit_test(it_is_one_line_that_fits),
        cmocka_unit_test(among_our_words_short_ones_stay),
        cmocka_unit_test(they_gather),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
