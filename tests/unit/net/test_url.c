#include "net/url.h"

#include "base/mem.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct url parsed(const char *text)
{
    struct url url = {0};
    struct error err = ERROR_INIT;
    if (url_parse(text, &url, &err) != ERR_OK)
        fail_msg("%s: %s", text, err.text);
    return url;
}

static void expect_refused(const char *text)
{
    struct url url = {0};
    struct error err = ERROR_INIT;
    assert_int_equal(url_parse(text, &url, &err), ERR_REGISTRY_ANSWER);
    assert_null(url.text);
}

static void test_parts(void **state)
{
    (void)state;
    autourl struct url plain = parsed("http://R.example.com/v2");
    assert_false(plain.tls);
    assert_string_equal(plain.host, "r.example.com");
    assert_int_equal(plain.port, 80);
    autourl struct url tls = parsed("https://[::1]:5000/a?b=c#d");
    assert_true(tls.tls);
    assert_string_equal(tls.host, "::1");
    assert_int_equal(tls.port, 5000);
    assert_string_equal(tls.text, "https://[::1]:5000/a?b=c");
    autourl struct url standard = parsed("https://r.example.com");
    assert_int_equal(standard.port, 443);
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "r.example.com",
        "/v2/",
        "ftp://r.example.com/",
        "http://",
        "https://u:p@r.example/",
        "file:///etc",
        "https://r.example.com:99999/",
        "https://r.example.com/a b",
        "https://r.example.com/\r\nX: y",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        expect_refused(bad[i]);
}

static char *url_of_size(size_t size)
{
    char *text = xmalloc(size + 1);
    memset(text, 'a', size);
    text[size] = '\0';
    memcpy(text, "https://r.example.com/", strlen("https://r.example.com/"));
    return text;
}

static void test_length_limit(void **state)
{
    (void)state;
    for (size_t size = URL_MAX - 1; size <= URL_MAX; size++) {
        autofree char *text = url_of_size(size);
        autourl struct url url = parsed(text);
        assert_int_equal(strlen(url.text), size);
    }
    autofree char *text = url_of_size(URL_MAX + 1);
    expect_refused(text);
}

static void expect_follow(const char *from, const char *location, const char *want)
{
    autourl struct url base = parsed(from);
    autourl struct url to = {0};
    struct error err = ERROR_INIT;
    if (url_follow(&base, location, false, &to, &err) != ERR_OK)
        fail_msg("%s: %s", location, err.text);
    assert_string_equal(to.text, want);
}

static void test_locations(void **state)
{
    (void)state;
    const char *from = "https://r.example.com/v2/a/blobs/uploads/?mount=x";
    expect_follow(from, "/v2/a/blobs/uploads/1?_state=a%2Bb%3D&x",
                  "https://r.example.com/v2/a/blobs/uploads/1?_state=a%2Bb%3D&x");
    expect_follow(from, "1?q=/..//", "https://r.example.com/v2/a/blobs/uploads/1?q=/..//");
    expect_follow(from, "https://storage.example.net:8443/x?sig=1%2f2",
                  "https://storage.example.net:8443/x?sig=1%2f2");
    expect_follow(from, "//other.example.com/x", "https://other.example.com/x");
    expect_follow("http://r.example.com/", "https://r.example.com/x", "https://r.example.com/x");
}

static enum errc follow(const char *from, const char *location, bool from_private)
{
    autourl struct url base = parsed(from);
    autourl struct url to = {0};
    struct error err = ERROR_INIT;
    enum errc code = url_follow(&base, location, from_private, &to, &err);
    assert_true(code == ERR_OK || to.text == NULL);
    return code;
}

static void test_rules(void **state)
{
    (void)state;
    const char *from = "https://r.example.com/v2/";
    assert_int_equal(follow(from, "http://r.example.com/x", false), ERR_ADDRESS_REFUSED);
    assert_int_equal(follow(from, "http://r.example.com/x", true), ERR_ADDRESS_REFUSED);
    assert_int_equal(follow(from, "https://127.0.0.1/x", false), ERR_ADDRESS_REFUSED);
    assert_int_equal(follow(from, "https://LOCALHOST:1/x", false), ERR_ADDRESS_REFUSED);
    assert_int_equal(follow(from, "https://[::1]/x", false), ERR_ADDRESS_REFUSED);
    assert_int_equal(follow(from, "https://[::ffff:10.0.0.1]/x", false), ERR_ADDRESS_REFUSED);
    assert_int_equal(follow(from, "https://169.254.169.254/x", false), ERR_ADDRESS_REFUSED);
    assert_int_equal(follow(from, "https://10.1.2.3/x", true), ERR_OK);
    assert_int_equal(follow(from, "https://8.8.8.8/x", false), ERR_OK);
    /* The same host on another port is no other host. */
    assert_int_equal(follow("http://127.0.0.1:5000/", "http://127.0.0.1:5001/x", false), ERR_OK);
    assert_int_equal(follow(from, "https://u:p@r.example.com/x", false), ERR_REGISTRY_ANSWER);
    assert_int_equal(follow(from, "gopher://r.example.com/x", false), ERR_REGISTRY_ANSWER);
}

static void test_origin(void **state)
{
    (void)state;
    autourl struct url a = parsed("https://r.example.com/x");
    autourl struct url same = parsed("https://R.example.com:443/y?z");
    autourl struct url port = parsed("https://r.example.com:444/x");
    autourl struct url scheme = parsed("http://r.example.com:443/x");
    autourl struct url host = parsed("https://s.example.com/x");
    assert_true(url_same_origin(&a, &same));
    assert_false(url_same_origin(&a, &port));
    assert_false(url_same_origin(&a, &scheme));
    assert_false(url_same_origin(&a, &host));
}

static void expect_query(const char *text, const char *want)
{
    autourl struct url url = parsed(text);
    autofree char *got = url_with_query(&url, "digest", "sha256:0a+");
    assert_string_equal(got, want);
}

static void test_query(void **state)
{
    (void)state;
    expect_query("http://r/x", "http://r/x?digest=sha256%3A0a%2B");
    expect_query("http://r/x?", "http://r/x?digest=sha256%3A0a%2B");
    expect_query("http://r/x?a=%2B", "http://r/x?a=%2B&digest=sha256%3A0a%2B");
    expect_query("http://r/x?a&", "http://r/x?a&digest=sha256%3A0a%2B");
}

static void expect_shown(const char *text, const char *want)
{
    char shown[URL_SHOWN_MAX];
    assert_string_equal(url_shown(text, shown), want);
}

static void test_shown(void **state)
{
    (void)state;
    expect_shown("https://u:p@r.example.com:5000/x?sig=s#f", "https://r.example.com:5000/x");
    expect_shown("https://u:p@ss@r/x", "https://r/x");
    expect_shown("https://r?u@v", "https://r");
    expect_shown("https://u:p/w@r/x", "https://r/x");
    expect_shown("https://u:p?w#@r/x", "https://r/x");
    expect_shown("https://u:my pass@r/x", "https://r/x");
    expect_shown("https:/u:p@r/x", "https:/r/x");
    expect_shown("//u:p@r/x", "//r/x");
    expect_shown("a?next=https://u:p@r/x", "a");
    expect_shown("https://r/a@b", "https://r/a@b");
    expect_shown("/v2/?secret", "/v2/");
    expect_shown("a\r\nb", "a??b");
    autofree char *text = url_of_size(5000);
    char shown[URL_SHOWN_MAX];
    assert_int_equal(strlen(url_shown(text, shown)), URL_SHOWN_MAX - 1);
    assert_string_equal(shown + URL_SHOWN_MAX - 4, "...");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts),        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_length_limit), cmocka_unit_test(test_locations),
        cmocka_unit_test(test_rules),        cmocka_unit_test(test_origin),
        cmocka_unit_test(test_query),        cmocka_unit_test(test_shown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
