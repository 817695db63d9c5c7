#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* cmocka has a macro of that name. */
#undef fail

#include "base/mem.h"
#include "gateway/server/guard.h"
#include "tests/support/http_daemon.h"

#include <string.h>

#define ANYWHERE "0.0.0.0:5000"
#define LOOPBACK "127.0.0.1:5000"

struct scene {
    const struct settings *settings;
    bool documents;
};

/* "sender body" as codes on the wire. */
static void answer(void *self, const struct request *request, struct reply *reply)
{
    const struct scene *scene = self;
    struct error sender = ERROR_INIT;
    struct error body = ERROR_INIT;
    guard_sender(scene->settings, request, &sender);
    guard_body(request, scene->documents, "a/b", &body);
    char *text = xasprintf("[%s %s] %s %s", error_name(sender.code), error_name(body.code),
                           sender.text, body.text);
    reply_bytes(reply, text, strlen(text));
}

static void ask(const struct scene *scene, const char *method, const char *headers,
                struct buf *text)
{
    struct http_daemon daemon = {.answer = answer, .self = (void *)(uintptr_t)scene};
    autofree char *request =
        xasprintf("%s / HTTP/1.1\r\nConnection: close\r\n%s\r\n", method, headers);
    print_message("%s %s\n%s", scene->settings->listen, method, headers);
    http_daemon_start(&daemon);
    http_daemon_ask(&daemon, request, text);
    http_daemon_stop(&daemon);
}

static void check(const struct settings *settings, const char *method, const char *headers,
                  const char *expected)
{
    const struct scene scene = {.settings = settings};
    autobuf struct buf text = BUF_INIT(100000);
    ask(&scene, method, headers, &text);
    assert_non_null(strstr(buf_cstr(&text), expected));
}

static char *listed[] = {"slipway.example.com", "fd00::1"};
static const struct settings on_loopback = {.listen = LOOPBACK};
static const struct settings on_loopback_named = {.listen = LOOPBACK, .hosts = {listed, 2}};
static const struct settings everywhere = {.listen = ANYWHERE};
static const struct settings everywhere_named = {.listen = ANYWHERE, .hosts = {listed, 2}};

static void check_host(const char *host, const char *loopback, const char *loopback_named,
                       const char *any, const char *any_named)
{
    autofree char *header = xasprintf("Host: %s\r\n", host);
    check(&on_loopback, "GET", header, loopback);
    check(&on_loopback_named, "GET", header, loopback_named);
    check(&everywhere, "GET", header, any);
    check(&everywhere_named, "GET", header, any_named);
}

#define YES "[OK "
#define NO "[DENIED "

static void a_host_is_the_gateways_own(void **state)
{
    (void)state;
    static const char *const always[] = {"localhost",     "LocalHost:5000",    "localhost.",
                                         "a.localhost:1", "127.0.0.1:80",      "127.9.8.7",
                                         "[::1]:5000",    "[::ffff:127.0.0.1]"};
    for (size_t i = 0; i < sizeof always / sizeof always[0]; i++)
        check_host(always[i], YES, YES, YES, YES);
    static const char *const addresses[] = {"10.1.2.3:5000", "0.0.0.0", "[fd00::2]", "192.0.2.1"};
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++)
        check_host(addresses[i], NO, NO, YES, YES);
    check_host("[fd00::1]:5000", NO, YES, YES, YES);
    check_host("slipway.example.com", NO, YES, YES, YES);
    check_host("SLIPWAY.example.com.:443", NO, YES, YES, YES);
    static const char *const names[] = {"evil.example:5000", "localhost.evil.example",
                                        "127.0.0.1.nip.example", "xslipway.example.com",
                                        "localhosts"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        check_host(names[i], NO, NO, YES, NO);
    static const char *const none[] = {"", "a@localhost", "localhost:99999", "local host", "[::1"};
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
        check_host(none[i], NO, NO, NO, NO);
}

static void without_a_host_it_is_no_browser(void **state)
{
    (void)state;
    check(&on_loopback, "GET", "", YES);
    check(&on_loopback, "POST", "", YES);
}

static void a_change_has_the_gateways_origin(void **state)
{
    (void)state;
    static const struct {
        const char *headers;
        const char *expected;
    } rows[] = {
        {"Host: localhost:5000\r\n", YES},
        {"Host: localhost:5000\r\nOrigin: http://localhost:5000\r\n", YES},
        {"Host: localhost:5000\r\nOrigin: HTTPS://LOCALHOST:5000\r\n", YES},
        {"Host: localhost\r\nOrigin: https://localhost\r\n", YES},
        {"Host: localhost\r\nOrigin: http://localhost:80\r\n", YES},
        {"Host: localhost\r\nOrigin: http://localhost:8080\r\n", NO},
        {"Host: localhost:5000\r\nOrigin: http://localhost\r\n", NO},
        {"Host: localhost:5000\r\nOrigin: http://localhost:1\r\n", NO},
        {"Host: 127.0.0.1:5000\r\nOrigin: http://localhost:5000\r\n", NO},
        {"Host: localhost:5000\r\nOrigin: http://slipway.example.com\r\n", YES},
        {"Host: localhost:5000\r\nOrigin: https://slipway.example.com:8443\r\n", YES},
        {"Host: localhost:5000\r\nOrigin: null\r\n", NO},
        {"Host: localhost:5000\r\nOrigin:\r\n", NO},
        {"Host: localhost:5000\r\nOrigin: file://\r\n", NO},
        {"Host: localhost:5000\r\nOrigin: http://evil.example\r\n", NO},
        {"Host: localhost:5000\r\nOrigin: http://localhost:5000@evil.example\r\n", NO},
        {"Host: localhost:5000\r\nOrigin: http://localhost:5000/\r\n", NO},
        {"Host: localhost:5000\r\nOrigin: http://localhost:5000 http://evil.example\r\n", NO},
        {"Host: localhost:5000\r\nOrigin: http://localhost:5000\r\nOrigin: null\r\n", NO},
        {"Origin: http://evil.example\r\n", NO},
        {"Host: localhost\r\nSec-Fetch-Site: same-origin\r\n", YES},
        {"Host: localhost\r\nSec-Fetch-Site: none\r\n", YES},
        {"Host: localhost\r\nSec-Fetch-Site: same-site\r\n", NO},
        {"Host: localhost\r\nSec-Fetch-Site: cross-site\r\n", NO},
        {"Host: localhost\r\nSec-Fetch-Site: whatever\r\n", NO},
    };
    static const char *const changes[] = {"POST", "PUT", "PATCH", "DELETE"};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        check(&on_loopback_named, changes[i % 4], rows[i].headers, rows[i].expected);
        check(&on_loopback_named, i % 2 ? "GET" : "HEAD", rows[i].headers, i % 2 ? YES : "");
    }
}

static void check_body(bool documents, const char *headers, const char *expected)
{
    const struct scene scene = {.settings = &on_loopback, .documents = documents};
    autobuf struct buf text = BUF_INIT(100000);
    ask(&scene, "POST", headers, &text);
    assert_non_null(strstr(buf_cstr(&text), expected));
}

static void a_body_is_no_form(void **state)
{
    (void)state;
    static const char *const forms[] = {
        "Content-Type: text/plain\r\n", "Content-Type: TEXT/PLAIN;charset=UTF-8\r\n",
        "Content-Type: multipart/form-data; boundary=x\r\n", "Content-Type:  multipart/mixed\r\n",
        "Content-Type: application/json\r\nContent-Type: text/plain\r\n"};
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        check_body(false, forms[i], " UNSUPPORTED_MEDIA_TYPE]");
        check_body(true, forms[i], " UNSUPPORTED_MEDIA_TYPE]");
    }
    check_body(true, "Content-Type: text/plain\r\n", "Content-Type: a/b");
    static const char *const encoded = "Content-Type: application/x-www-form-urlencoded\r\n";
    check_body(false, encoded, " OK]");
    check_body(true, encoded, " UNSUPPORTED_MEDIA_TYPE]");
    static const char *const others[] = {"", "Content-Type: application/x-tar\r\n",
                                         "Content-Type: text/plainer\r\n", "Content-Type:\r\n",
                                         "Content-Type: application/json\r\n"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        check_body(true, others[i], " OK]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_host_is_the_gateways_own),
        cmocka_unit_test(without_a_host_it_is_no_browser),
        cmocka_unit_test(a_change_has_the_gateways_origin),
        cmocka_unit_test(a_body_is_no_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
