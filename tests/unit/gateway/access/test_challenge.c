#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* cmocka has a macro of that name. */
#undef fail

#include "base/mem.h"
#include "gateway/access/challenge.h"
#include "gateway/access/credentials_sent.h"
#include "gateway/http/query.h"

#include <string.h>

static void expect_origin(const char *host, const char *forwarded_host, const char *proto,
                          bool https, const char *wanted)
{
    autofree char *origin =
        challenge_origin_of(host, forwarded_host, proto, https, "gateway.example.com:5000");
    assert_string_equal(origin, wanted);
}

static void the_realm_is_as_the_client_reached_us(void **state)
{
    (void)state;
    expect_origin("r.example.com", NULL, NULL, false, "http://r.example.com");
    expect_origin("R.example.com:5000", NULL, NULL, true, "https://r.example.com:5000");
    expect_origin("[2001:db8::1]:5000", NULL, NULL, false, "http://[2001:db8::1]:5000");
    expect_origin("192.0.2.1:80", NULL, NULL, false, "http://192.0.2.1:80");
    expect_origin("localhost:5000", NULL, NULL, false, "http://localhost:5000");
    /* What crane refuses. */
    expect_origin("127.0.0.1:5000", NULL, NULL, false, "http://localhost:5000");
    expect_origin("[::1]:5000", NULL, NULL, false, "http://localhost:5000");
    expect_origin("127.1", NULL, NULL, false, "http://localhost");
    /* A proxy. */
    expect_origin("10.0.0.1:5000", "r.example.com", "https", false, "https://r.example.com");
    expect_origin("10.0.0.1:5000", "a.example.com, b.example.com", "HTTPS", false,
                  "https://a.example.com");
    expect_origin("r.example.com", NULL, "https", false, "https://r.example.com");
    expect_origin("r.example.com", NULL, "http", true, "http://r.example.com");
    expect_origin("r.example.com", "", "gopher", true, "https://r.example.com");
    expect_origin("r.example.com", "x\",y=\"", NULL, false, "http://r.example.com");
    /* No host, and none that is one. */
    expect_origin(NULL, NULL, NULL, false, "http://gateway.example.com:5000");
    expect_origin("a\"b", NULL, NULL, true, "https://gateway.example.com:5000");
    autofree char *nothing = challenge_origin_of(NULL, NULL, NULL, false, "");
    assert_string_equal(nothing, "http://localhost");
}

static void expect_text(const char *service, const char *scope, enum challenge_error error,
                        const char *wanted)
{
    autofree char *text = challenge_text("https://r", service, scope, error);
    assert_string_equal(text, wanted);
}

#define REALM "Bearer realm=\"https://r/token\",service=\"s\""

static void a_challenge_has_one_form(void **state)
{
    (void)state;
    expect_text("s", NULL, CHALLENGE_NO_TOKEN, REALM);
    expect_text("s", "repository:a/b:pull,push", CHALLENGE_NO_TOKEN,
                REALM ",scope=\"repository:a/b:pull,push\"");
    expect_text("s", "repository:a:pull,push", CHALLENGE_INSUFFICIENT_SCOPE,
                REALM ",scope=\"repository:a:pull,push\",error=\"insufficient_scope\"");
    expect_text("s", NULL, CHALLENGE_INVALID_TOKEN, REALM ",error=\"invalid_token\"");
    expect_text("s", "a\",b=\"c\r\nX: \x80\\", CHALLENGE_NO_TOKEN,
                REALM ",scope=\"a?,b=?c??X: ??\"");
    autofree char *longer = xcalloc(1, 2 * CHALLENGE_PART_MAX);
    memset(longer, 'x', 2 * CHALLENGE_PART_MAX - 1);
    autofree char *text = challenge_text("http://r", longer, longer, CHALLENGE_NO_TOKEN);
    assert_true(strlen(text) < 2 * CHALLENGE_PART_MAX + 100);
    assert_int_equal(text[strlen(text) - 1], '"');
}

/* NAME SECRET of what is taken. */
static void expect_credentials(const char *value, enum credentials_kind kind, const char *name,
                               const char *secret)
{
    struct error err = ERROR_INIT;
    struct credentials_sent sent = {.kind = CREDENTIALS_NONE};
    enum errc code = credentials_sent_parse(value, &sent, &err);
    assert_int_equal(code, kind == CREDENTIALS_NONE ? ERR_UNAUTHENTICATED : ERR_OK);
    assert_int_equal(sent.kind, kind);
    if (name)
        assert_string_equal(sent.name, name);
    if (secret)
        assert_string_equal(sent.secret, secret);
    credentials_sent_deinit(&sent);
    assert_null(sent.secret);
}

static void credentials_are_read(void **state)
{
    (void)state;
    expect_credentials("Basic YW5uOnNlY3JldA==", CREDENTIALS_BASIC, "ann", "secret");
    expect_credentials("basic  YW5uOmE6Yg==", CREDENTIALS_BASIC, "ann", "a:b");
    expect_credentials("Basic Og==", CREDENTIALS_BASIC, "", "");
    expect_credentials("BEARER a.b.c", CREDENTIALS_BEARER, NULL, "a.b.c");
    expect_credentials("Basic YW5u", CREDENTIALS_NONE, NULL, NULL); /* no colon */
    expect_credentials("Basic YW5uOg", CREDENTIALS_NONE, NULL, NULL);
    expect_credentials("Basic YQA6YQ==", CREDENTIALS_NONE, NULL, NULL); /* a NUL */
    expect_credentials("Basic", CREDENTIALS_NONE, NULL, NULL);
    expect_credentials("Bearer ", CREDENTIALS_NONE, NULL, NULL);
    expect_credentials("Bearertoken", CREDENTIALS_NONE, NULL, NULL);
    expect_credentials("Digest username=\"ann\"", CREDENTIALS_NONE, NULL, NULL);
    expect_credentials("", CREDENTIALS_NONE, NULL, NULL);
}

static void a_plus_in_a_form_is_a_space(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct query form;
    assert_int_equal(form_parse("scope=a+b%2Bc&password=p%26%3D+&empty=&+=x", &form, &err), ERR_OK);
    assert_int_equal(form.count, 4);
    assert_string_equal(query_value(&form, "scope", NULL), "a b+c");
    assert_string_equal(query_value(&form, "password", NULL), "p&= ");
    assert_string_equal(query_value(&form, "empty", NULL), "");
    assert_string_equal(query_value(&form, " ", NULL), "x");
    query_deinit(&form);
    assert_int_equal(form_parse("password=secret%zz", &form, &err), ERR_BAD_REQUEST);
    assert_null(strstr(err.text, "secret"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_realm_is_as_the_client_reached_us),
        cmocka_unit_test(a_challenge_has_one_form),
        cmocka_unit_test(credentials_are_read),
        cmocka_unit_test(a_plus_in_a_form_is_a_space),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
