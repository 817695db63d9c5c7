#include "upstream/auth/answer.h"

#include "base/mem.h"
#include "upstream/auth/verdict.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct http_response made(int status, const char *header, const char *body)
{
    struct http_response response = HTTP_RESPONSE_INIT;
    response.body.limit_bytes = ANSWER_LIMIT_BYTES;
    response.status = status;
    if (header)
        buf_append(&response.headers, header, strlen(header) + 1);
    buf_text(&response.body, body);
    return response;
}

static struct error failed(int status, const char *header, const char *body)
{
    autoresponse struct http_response response = made(status, header, body);
    autourl struct url url = {0};
    struct error err = ERROR_INIT;
    assert_int_equal(url_parse("https://r.example.com/v2/x?_state=secret", &url, &err), ERR_OK);
    const struct question question = {.what = ASKED_COMMIT, .method = "PUT"};
    enum errc code = verdict_fail(&question, &url, &response, &err);
    assert_int_equal(code, err.code);
    assert_int_equal(err.status, status);
    assert_non_null(strstr(err.text, "PUT https://r.example.com/v2/x: status"));
    assert_null(strstr(err.text, "secret"));
    return err;
}

static void expect_said(const char *header, const char *body, const char *said)
{
    struct error err = failed(400, header, body);
    const char *end = strstr(err.text, "status 400");
    assert_non_null(end);
    assert_string_equal(end, said);
}

static void test_documents(void **state)
{
    (void)state;
    expect_said(NULL, "{\"errors\":[{\"code\":\"A\",\"message\":\"b\",\"detail\":\"c\"}]}",
                "status 400: A: b: c");
    expect_said(NULL, "{\"errors\":[{\"code\":\"A\",\"message\":\"b\",\"detail\":{\"x\":1}}]}",
                "status 400: A: b");
    expect_said(NULL, "{\"errors\":[\"as a string\"]}", "status 400: as a string");
    expect_said(NULL, "{\"errors\":\"alone\"}", "status 400: alone");
    expect_said(NULL, "{\"errors\":[]}", "status 400");
    expect_said(NULL, "{\"errors\":[7]}", "status 400");
    expect_said(NULL, "{\"message\":\"m\"}", "status 400: m");
    expect_said(NULL, "{\"details\":\"d\"}", "status 400: d");
    expect_said(NULL, "{\"error\":\"e\"}", "status 400: e");
    expect_said("Content-Type: text/plain", "slow\tdown,\n\nplease\n",
                "status 400: slow down, please");
    expect_said(NULL, "<html><title> Bad\n Gateway </title><p>x</html>", "status 400: Bad Gateway");
    expect_said("content-type: text/html; charset=utf-8", "no <b>title</b> here",
                "status 400: no title here");
    expect_said(NULL, "{\"errors\":[{\"code\":\"A\",\"mess",
                "status 400: {\"errors\":[{\"code\":\"A\",\"mess");
    expect_said(NULL, "", "status 400");
}

static void test_long_documents_are_cut(void **state)
{
    (void)state;
    char body[ANSWER_LIMIT_BYTES + 1];
    memset(body, 'x', ANSWER_LIMIT_BYTES);
    body[ANSWER_LIMIT_BYTES] = '\0';
    struct error err = failed(500, NULL, body);
    assert_true(strlen(err.text) < 500);
    body[0] = '<';
    failed(500, "Content-Type: text/html", body);
}

static void test_registry_is_recognised(void **state)
{
    (void)state;
    struct answer answer;
    autoresponse struct http_response marked =
        made(404, "docker-distribution-api-version: registry/2.0", "");
    answer_read(&marked, &answer);
    assert_true(answer.registry);
    autoresponse struct http_response errors = made(404, NULL, "{\"errors\":[]}");
    answer_read(&errors, &answer);
    assert_true(answer.registry);
    autoresponse struct http_response page = made(200, "Content-Type: text/html", "<h1>hi</h1>");
    answer_read(&page, &answer);
    assert_false(answer.registry);
    assert_string_equal(answer.message, "hi");
}

static void expect_advice(const struct registry_credentials *credentials, const char *who,
                          bool login)
{
    struct error err = ERROR_INIT;
    (fail)(&err, ERR_UNAUTHORIZED, 0, "GET x: status 401");
    err.status = 401;
    answer_explain_credentials("r.example.com", credentials, &err);
    assert_int_equal(err.code, ERR_UNAUTHORIZED);
    assert_int_equal(err.status, 401);
    assert_non_null(strstr(err.text, who));
    assert_int_equal(strstr(err.text, "docker login r.example.com") != NULL, login);
    assert_non_null(strstr(err.text, "slipway"));
    assert_null(strstr(err.text, "s3cret"));
}

static void test_advice(void **state)
{
    (void)state;
    char user[] = "ci", secret[] = "s3cret", file[] = "password_file, /etc/slipway/ci.password";
    const struct registry_credentials none = {0};
    const struct registry_credentials basic = {
        .username = user, .password = secret, .origin = file};
    const struct registry_credentials token = {.registry_token = secret};
    expect_advice(&none, "none are known", true);
    expect_advice(&basic, "user \"ci\"", false);
    expect_advice(&basic, file, false);
    expect_advice(&token, "own token", false);
    /* Where it may be about something else, the reason comes first. */
    struct error err = ERROR_INIT;
    (fail)(&err, ERR_DENIED, 0, "PUT x: status 403: DENIED: no pushes on Mondays");
    err.status = 403;
    answer_mention_credentials("r.example.com", &err);
    assert_int_equal(err.code, ERR_DENIED);
    assert_int_equal(err.status, 403);
    assert_int_equal(strncmp(err.text, "PUT x: status 403: DENIED: no pushes on Mondays (", 49), 0);
    assert_non_null(strstr(err.text, "docker login r.example.com"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_documents),
        cmocka_unit_test(test_long_documents_are_cut),
        cmocka_unit_test(test_registry_is_recognised),
        cmocka_unit_test(test_advice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
