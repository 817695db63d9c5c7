#include "upstream/auth/token_fetch.h"

#include "base/mem.h"
#include "tests/support/http_double.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* A token server that has moved, or is busy; what it is at /token says the test. */
struct fixture {
    struct http_double *server;
    struct transport *transport;
    int status;
    char location[128];
    int64_t busy; /* how often it asked for patience */
};

static void handle(void *self, const struct double_request *request, struct double_answer *answer)
{
    const struct fixture *fixture = self;
    if (strcmp(request->path, "/auth/token") == 0) {
        bool known = request->authorization[0] || strstr(request->body, "refresh_token=r");
        answer->status = known ? 200 : 401;
        snprintf(answer->body, sizeof answer->body, "{\"token\":\"%s\"}", request->method);
        return;
    }
    answer->status = fixture->status;
    if (fixture->location[0])
        snprintf(answer->headers, sizeof answer->headers, "Location: %s\r\n", fixture->location);
}

static int setup(void **state)
{
    struct fixture *fixture = xcalloc(1, sizeof *fixture);
    const struct transport_options options = {.host = "r", .user_agent = "test"};
    fixture->server = http_double_start(handle, fixture);
    fixture->transport = transport_new(&options);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    transport_free(fixture->transport);
    http_double_stop(fixture->server);
    free(fixture);
    return 0;
}

static void on_busy(void *self, const struct http_response *response)
{
    struct fixture *fixture = self;
    assert_non_null(response);
    fixture->busy++;
}

static enum errc fetch(struct fixture *fixture, const struct registry_credentials *credentials,
                       struct token *token, struct error *err)
{
    autofree char *realm =
        xasprintf("http://127.0.0.1:%u/token", http_double_port(fixture->server));
    autourl struct url endpoint = {0};
    assert_int_equal(url_parse(realm, &endpoint, err), ERR_OK);
    const struct token_request request = {
        .connection = transport_lease(fixture->transport),
        .endpoint = &endpoint,
        .endpoint_private = true,
        .host = "r",
        .realm = realm,
        .service = "s",
        .scope = "repository:a:pull",
        .credentials = credentials,
        .busy = on_busy,
        .self = fixture,
    };
    enum errc code = token_fetch(&request, token, err);
    transport_return(request.connection);
    return code;
}

static const struct registry_credentials password = {.username = "ci", .password = "s3cret"};
static const struct registry_credentials identity = {.identity_token = "r"};

static void redirects_within_the_origin_are_followed(void **state)
{
    struct fixture *fixture = *state;
    static const int statuses[] = {301, 302, 303, 307, 308};
    static const char *const locations[] = {"/auth/token?x", "auth/token"};
    for (size_t i = 0; i < 2 * sizeof statuses / sizeof statuses[0]; i++) {
        struct token token = {0};
        struct error err = ERROR_INIT;
        fixture->status = statuses[i / 2];
        snprintf(fixture->location, sizeof fixture->location, "%s", locations[i % 2]);
        if (fetch(fixture, &password, &token, &err) != ERR_OK)
            fail_msg("%d: %s", fixture->status, err.text);
        assert_string_equal(token.text, "GET");
        secret_free(token.text);
    }
    assert_int_equal(fixture->busy, 0);
}

/* With an identity token it is a POST, and stays one; 303 asks for a GET. */
static void so_are_those_of_a_post(void **state)
{
    struct fixture *fixture = *state;
    snprintf(fixture->location, sizeof fixture->location, "/auth/token");
    for (int status = 302; status <= 308; status += status == 303 ? 4 : 1) {
        struct token token = {0};
        struct error err = ERROR_INIT;
        fixture->status = status;
        if (fetch(fixture, &identity, &token, &err) != ERR_OK)
            fail_msg("%d: %s", status, err.text);
        assert_string_equal(token.text, status == 303 ? "GET" : "POST");
        secret_free(token.text);
    }
}

static void others_are_not(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        const char *location;
        enum errc want;
        const char *says;
    } cases[] = {
        {"http://127.0.0.2/auth/token", ERR_ADDRESS_REFUSED, "127.0.0.2"},
        {"http://127.0.0.1:1/auth/token", ERR_ADDRESS_REFUSED, "another server"},
        {"https://127.0.0.1/auth/token", ERR_ADDRESS_REFUSED, "another server"},
        {"gopher://x/", ERR_REGISTRY_ANSWER, "neither http nor https"},
        {"/token", ERR_ADDRESS_REFUSED, "more than 5 redirects"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct token token = {0};
        struct error err = ERROR_INIT;
        fixture->status = 307;
        snprintf(fixture->location, sizeof fixture->location, "%s", cases[i].location);
        assert_int_equal(fetch(fixture, &password, &token, &err), cases[i].want);
        if (strstr(err.text, cases[i].says) == NULL)
            fail_msg("%s: %s", cases[i].location, err.text);
    }
}

static void one_that_is_busy_is_told_of(void **state)
{
    struct fixture *fixture = *state;
    static const int statuses[] = {429, 503, 500};
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        struct token token = {0};
        struct error err = ERROR_INIT;
        fixture->status = statuses[i];
        assert_true(error_retriable(fetch(fixture, &password, &token, &err)));
    }
    assert_int_equal(fixture->busy, 2);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(redirects_within_the_origin_are_followed),
        TEST(so_are_those_of_a_post),
        TEST(others_are_not),
        TEST(one_that_is_busy_is_told_of),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
