#include "net/proxy.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static struct url parsed(const char *text)
{
    struct url url = {0};
    struct error err = ERROR_INIT;
    if (url_parse(text, &url, &err) != ERR_OK)
        fail_msg("%s: %s", text, err.text);
    return url;
}

static void exceptions(void **state)
{
    (void)state;
    static const struct {
        const char *list;
        const char *url;
        bool excepted;
    } table[] = {
        {"*", "https://r.example.com/", true},
        {"", "https://r.example.com/", false},
        {"example.com", "https://example.com/", true},
        {"example.com", "https://r.example.com/", true},
        {"Example.COM", "https://R.example.com./", true},
        {"example.com", "https://notexample.com/", false},
        {".example.com", "https://r.example.com/", true},
        {".example.com", "https://example.com/", false},
        {"*.example.com", "https://a.r.example.com/", true},
        {"*.example.com", "https://example.com/", false},
        {"other, .example.com", "https://r.example.com/", true},
        {"other\t.example.com", "https://r.example.com/", true},
        {",,r.example.com,", "https://r.example.com/", true},
        {"r.example.com:5000", "https://r.example.com:5000/", true},
        {"r.example.com:5000", "https://r.example.com/", false},
        {".example.com:443", "https://r.example.com/", true},
        {"10.0.0.0/8", "http://10.1.2.3/", true},
        {"10.0.0.0/8", "http://11.1.2.3/", false},
        {"10.0.0.0/9", "http://10.128.0.1/", false},
        {"192.168.1.0/30", "http://192.168.1.3/", true},
        {"192.168.1.0/30", "http://192.168.1.4/", false},
        {"0.0.0.0/0", "http://8.8.8.8/", true},
        {"10.0.0.0/33", "http://10.0.0.0/", false},
        {"10.0.0.0/", "http://10.0.0.0/", false},
        {"10.0.0.0/8x", "http://10.0.0.0/", false},
        {"/8", "http://10.0.0.0/", false},
        {"10.0.0.0/8", "http://r.example.com/", false},
        {"10.1.2.3", "http://10.1.2.3:5000/", true},
        {"10.1.2.3:5000", "http://10.1.2.3:5000/", true},
        {"10.1.2.3:5001", "http://10.1.2.3:5000/", false},
        {"1.2.3", "http://10.1.2.3/", false},
        {"fd00::/8", "http://[fd12::1]/", true},
        {"fd00::/8", "http://[fe12::1]/", false},
        {"fd12::1", "http://[FD12:0::1]/", true},
        {"[fd12::1]:80", "http://[fd12::1]/", true},
        {"[fd12::1]:81", "http://[fd12::1]/", false},
        {"example.com/8", "http://example.com/", false},
        {".", "http://example.com/", false},
        {"*.", "http://example.com/", false},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        autourl struct url url = parsed(table[i].url);
        if (proxy_excepts(table[i].list, &url) != table[i].excepted)
            fail_msg("%s: %s", table[i].list, table[i].url);
    }
}

static void clear(void)
{
    static const char *const variables[] = {"http_proxy", "https_proxy", "all_proxy",
                                            "no_proxy",   "HTTP_PROXY",  "HTTPS_PROXY",
                                            "ALL_PROXY",  "NO_PROXY",    "REQUEST_METHOD"};
    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++)
        unsetenv(variables[i]);
}

static void expect(const char *text, const char *want)
{
    autourl struct url url = parsed(text);
    autofree char *proxy = proxy_for(&url);
    if (want == NULL)
        assert_null(proxy);
    else
        assert_string_equal(proxy, want);
}

static void variables(void **state)
{
    (void)state;
    clear();
    expect("https://r.example.com/", NULL);
    setenv("all_proxy", "http://all", 1);
    expect("https://r.example.com/", "http://all");
    setenv("https_proxy", "http://lower", 1);
    expect("https://r.example.com/", "http://lower");
    expect("http://r.example.com/", "http://all");
    setenv("HTTPS_PROXY", "http://u:p@upper:3128", 1);
    expect("https://r.example.com/", "http://u:p@upper:3128");
    setenv("HTTPS_PROXY", "", 1);
    expect("https://r.example.com/", "http://lower");
    setenv("HTTP_PROXY", "plain:1", 1);
    expect("http://r.example.com/", "plain:1");
    setenv("REQUEST_METHOD", "GET", 1);
    expect("http://r.example.com/", "http://all");
    expect("https://127.1/", NULL);
    expect("http://a.localhost/", NULL);
    setenv("no_proxy", "example.com", 1);
    expect("https://r.example.com/", NULL);
    setenv("NO_PROXY", "other", 1);
    expect("https://r.example.com/", "http://lower");
    clear();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exceptions),
        cmocka_unit_test(variables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
