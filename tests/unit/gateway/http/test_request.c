#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* cmocka has a macro of that name. */
#undef fail

#include "base/mem.h"
#include "tests/support/http_daemon.h"

#include <string.h>

#define TYPE "application/x-ndjson"

/* What the functions say of a request, as text. */
static void answer(void *self, const struct request *request, struct reply *reply)
{
    (void)self;
    struct error err = ERROR_INIT;
    bool known = true;
    uint64_t length = 77;
    const char *header = request_header(request, "x-some");
    enum errc rc = request_length(request, &known, &length, &err);
    char id[REQUEST_ID_MAX];
    request_id_choose(request, id);
    char *text = xasprintf("some=%s accepts=%d length=%s known=%d %llu id=%s.",
                           header ? header : "(none)", request_accepts(request, TYPE),
                           error_name(rc), known, (unsigned long long)length, id);
    reply_bytes(reply, text, strlen(text));
}

static void ask(const char *headers, struct buf *text)
{
    struct http_daemon daemon = {.answer = answer};
    autofree char *request =
        xasprintf("POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s\r\n", headers);
    print_message("%s", headers);
    http_daemon_start(&daemon);
    http_daemon_ask(&daemon, request, text);
    http_daemon_stop(&daemon);
}

static void check(const char *headers, const char *expected)
{
    autobuf struct buf text = BUF_INIT(100000);
    ask(headers, &text);
    const char *body = strstr(buf_cstr(&text), "\r\n\r\n");
    assert_non_null(body);
    assert_non_null(strstr(body, expected));
}

static void headers_are_found_in_any_case(void **state)
{
    (void)state;
    check("", "some=(none) ");
    check("X-Some: abc\r\n", "some=abc ");
    check("X-SOME:  a b \r\n", "some=a b");
}

static void a_length_is_known_when_it_is_there(void **state)
{
    (void)state;
    check("", "length=OK known=0 77");
    check("Content-Length: 0\r\n", "length=OK known=1 0");
    check("Transfer-Encoding: chunked\r\n\r\n0\r\n", "length=OK known=0 77");
}

static void accept_names_a_type_or_not(void **state)
{
    (void)state;
    static const struct {
        const char *headers;
        bool accepts;
    } rows[] = {
        {"", false},
        {"Accept: " TYPE "\r\n", true},
        {"Accept: APPLICATION/X-NDJSON\r\n", true},
        {"Accept: " TYPE "; q=0.5\r\n", true},
        {"Accept: " TYPE ";q=0\r\n", false},
        {"Accept: " TYPE "; q=0.000\r\n", false},
        {"Accept: text/html, " TYPE "\r\n", true},
        {"Accept: text/html,, ,\t" TYPE "\r\n", true},
        {"Accept: text/html\r\nAccept: " TYPE "\r\n", true},
        {"Accept: " TYPE "2\r\n", false},
        {"Accept: application/x-nd\r\n", false},
        {"Accept: */*\r\n", false},
        {"Accept: ,\r\n", false},
        {"Accept: text/html;a=" TYPE "\r\n", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        check(rows[i].headers, rows[i].accepts ? "accepts=1" : "accepts=0");
}

static void an_id_is_the_clients_if_it_can_be_shown(void **state)
{
    (void)state;
    char most[REQUEST_ID_MAX + 1] = "";
    memset(most, 'm', REQUEST_ID_MAX - 1);
    autofree char *header = xasprintf("X-Request-Id: %s\r\n", most);
    autofree char *expected = xasprintf("id=%s.", most);
    check("X-Request-Id: 0\r\n", "id=0.");
    check("x-request-id: aZ!#$%&()*+,-./:;<=>?@[]^_{|}~\r\n", "id=aZ!#$%&()*+,-./:;<=>?@[]^_{|}~.");
    check(header, expected);
}

static void else_an_id_is_made(void **state)
{
    (void)state;
    char over[REQUEST_ID_MAX + 1] = "";
    memset(over, 'm', REQUEST_ID_MAX);
    autofree char *header = xasprintf("X-Request-Id: %s\r\n", over);
    const char *const rows[] = {
        "",
        header,
        "X-Request-Id:\r\n",
        "X-Request-Id: a b\r\n",
        "X-Request-Id: a\"b\r\n",
        "X-Request-Id: a'b\r\n",
        "X-Request-Id: a`b\r\n",
        "X-Request-Id: a\\b\r\n",
        "X-Request-Id: a\x1b[31m\r\n",
        "X-Request-Id: \xc3\xa4\r\n",
        "X-Request-Id: a\tb\r\n",
        "X-Request-Id: \x7f\r\n",
    };
    char last[17] = "";
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        autobuf struct buf text = BUF_INIT(100000);
        ask(rows[i], &text);
        const char *id = strstr(buf_cstr(&text), " id=");
        assert_non_null(id);
        assert_int_equal(strspn(id + 4, "0123456789abcdef"), 16);
        assert_string_equal(id + 20, ".");
        assert_memory_not_equal(last, id + 4, 16);
        memcpy(last, id + 4, 16);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers_are_found_in_any_case),
        cmocka_unit_test(a_length_is_known_when_it_is_there),
        cmocka_unit_test(accept_names_a_type_or_not),
        cmocka_unit_test(an_id_is_the_clients_if_it_can_be_shown),
        cmocka_unit_test(else_an_id_is_made),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
