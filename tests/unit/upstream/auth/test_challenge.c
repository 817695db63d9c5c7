#include "upstream/auth/challenge.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct challenge_list list;

static int forget(void **state)
{
    (void)state;
    memset(&list, 0, sizeof list);
    return 0;
}

static void test_bearer(void **state)
{
    (void)state;
    assert_true(challenge_parse("Bearer realm=\"https://auth.example.com/token\","
                                "service=\"r.example.com\",scope=\"repository:a/b:pull,push\","
                                "error=\"insufficient_scope\"",
                                &list));
    assert_int_equal(list.count, 1);
    assert_int_equal(list.items[0].scheme, AUTH_BEARER);
    assert_string_equal(list.items[0].realm, "https://auth.example.com/token");
    assert_string_equal(list.items[0].service, "r.example.com");
    assert_string_equal(list.items[0].scope, "repository:a/b:pull,push");
    assert_string_equal(list.items[0].error, "insufficient_scope");
}

static void test_several_in_one_field(void **state)
{
    (void)state;
    assert_true(challenge_parse("Negotiate, Basic realm=\"a, Bearer realm=b\" , "
                                "NTLM YWJj==, BEARER  ReAlM = tok , charset=\"x\"",
                                &list));
    assert_int_equal(list.count, 4);
    assert_int_equal(list.items[0].scheme, AUTH_OTHER);
    assert_int_equal(list.items[1].scheme, AUTH_BASIC);
    assert_string_equal(list.items[1].realm, "a, Bearer realm=b");
    assert_string_equal(list.items[2].name, "NTLM");
    assert_int_equal(list.items[3].scheme, AUTH_BEARER);
    assert_string_equal(list.items[3].realm, "tok");
    assert_ptr_equal(challenge_choose(&list), &list.items[3]);
}

static void test_several_fields(void **state)
{
    (void)state;
    assert_true(challenge_parse("Basic realm=\"x\"", &list));
    assert_true(challenge_parse("Digest realm=\"y\", nonce=\"z\"", &list));
    assert_int_equal(list.count, 2);
    assert_ptr_equal(challenge_choose(&list), &list.items[0]);
}

static void test_escapes(void **state)
{
    (void)state;
    assert_true(challenge_parse("Basic realm=\"a\\\"b\\\\c\\d\"", &list));
    assert_string_equal(list.items[0].realm, "a\"b\\cd");
}

static void test_empty(void **state)
{
    (void)state;
    assert_true(challenge_parse("", &list));
    assert_true(challenge_parse(" , ,\t", &list));
    assert_int_equal(list.count, 0);
    assert_null(challenge_choose(&list));
    assert_true(challenge_parse("Bearer", &list));
    assert_int_equal(list.count, 1);
    /* Without a realm there is nowhere to go. */
    assert_null(challenge_choose(&list));
}

static void test_malformed(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "Basic realm=\"open",
        "Basic realm=\"open\\",
        "Basic a=b, realm=",
        "Basic realm=\"a\" x",
        "=",
        "\"quoted\"",
        "Basic a=b;c=d",
        "Basic realm=\"a\"\"b\"",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        forget(NULL);
        if (challenge_parse(bad[i], &list))
            fail_msg("accepted: %s", bad[i]);
    }
}

static void test_what_came_before_is_kept(void **state)
{
    (void)state;
    assert_false(challenge_parse("Basic realm=\"a\", Bearer realm=\"open", &list));
    assert_int_equal(list.count, 1);
    assert_string_equal(list.items[0].realm, "a");
}

static void test_count_limit(void **state)
{
    (void)state;
    char field[512] = "";
    for (int i = 0; i < CHALLENGES_MAX - 1; i++)
        strcat(field, "Basic realm=x, ");
    assert_true(challenge_parse(field, &list));
    assert_true(challenge_parse("Bearer realm=y", &list));
    assert_int_equal(list.count, CHALLENGES_MAX);
    assert_false(challenge_parse("Bearer realm=z", &list));
    assert_int_equal(list.count, CHALLENGES_MAX);
}

static size_t kept_with_realm(size_t size)
{
    autofree char *field = xcalloc(1, size + 32);
    strcpy(field, "Bearer realm=\"");
    memset(field + strlen(field), 'r', size);
    strcat(field, "\"");
    forget(NULL);
    assert_true(challenge_parse(field, &list));
    return list.count;
}

static void test_member_limit(void **state)
{
    (void)state;
    size_t most = sizeof list.items[0].realm - 1;
    assert_int_equal(kept_with_realm(most - 1), 1);
    assert_int_equal(kept_with_realm(most), 1);
    assert_int_equal(strlen(list.items[0].realm), most);
    assert_int_equal(kept_with_realm(most + 1), 0);
    assert_int_equal(kept_with_realm(60000), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_bearer, forget),
        cmocka_unit_test_setup(test_several_in_one_field, forget),
        cmocka_unit_test_setup(test_several_fields, forget),
        cmocka_unit_test_setup(test_escapes, forget),
        cmocka_unit_test_setup(test_empty, forget),
        cmocka_unit_test_setup(test_malformed, forget),
        cmocka_unit_test_setup(test_what_came_before_is_kept, forget),
        cmocka_unit_test_setup(test_count_limit, forget),
        cmocka_unit_test_setup(test_member_limit, forget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
