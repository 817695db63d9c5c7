/*
 * What a push makes of the answers of registries as they are: refusals, faults, and what is not
 * said as the specification has it.
 */
#include "tests/support/push_test.h"

#include "base/clock.h"
#include "base/mem.h"
#include "tests/support/fake_registry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LAYER_BYTES 5000
#define UPLOADS "/v2/team/app/blobs/uploads/"

static enum errc push_with_rules(struct push_test *test, struct fake_registry *fake,
                                 const char *letters, const struct fake_rule *rules, size_t count)
{
    for (size_t i = 0; i < count; i++)
        fake_registry_rule(fake, rules[i]);
    struct made_image image = push_test_image(test, letters, LAYER_BYTES);
    return push_test_push(test, &image.manifest, fake_registry_host(fake));
}

struct scripted {
    const char *name;
    struct fake_rule rule;
    enum errc want;
    int status;      /* of the error */
    bool taken_back; /* the session was given up with DELETE */
};

#define ALWAYS 1000
#define OTHER_DIGEST "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static const struct scripted scripts[] = {
    {"HEAD 403", {"HEAD", "/blobs/", ALWAYS, .status = 403}, ERR_OK, 0, false},
    {"HEAD 405", {"HEAD", "/blobs/", ALWAYS, .status = 405}, ERR_OK, 0, false},
    {"HEAD 400", {"HEAD", "/blobs/", ALWAYS, .status = 400}, ERR_OK, 0, false},
    {"HEAD 406", {"HEAD", "/blobs/", ALWAYS, .status = 406}, ERR_OK, 0, false},
    {"HEAD 410", {"HEAD", "/blobs/", ALWAYS, .status = 410}, ERR_OK, 0, false},
    {"HEAD 500", {"HEAD", "/blobs/", ALWAYS, .status = 500}, ERR_OK, 0, false},
    {"HEAD 429", {"HEAD", "/blobs/", ALWAYS, .status = 429}, ERR_TOO_MANY_REQUESTS, 429, false},
    {"HEAD of another blob",
     {"HEAD", "/blobs/", 1, .status = 200,
      .headers = "Docker-Content-Digest: " OTHER_DIGEST "\r\n"},
     ERR_OK,
     0,
     false},
    {"HEAD 429 four times", {"HEAD", "/blobs/", 4, .status = 429}, ERR_OK, 0, false},
    {"HEAD lost twice", {"HEAD", "/blobs/", 2, .drop = true}, ERR_OK, 0, false},
    {"POST 500 twice", {"POST", UPLOADS, 2, .status = 500}, ERR_OK, 0, false},
    {"PUT 503 four times",
     {"PUT", UPLOADS, 4, .status = 503, .headers = "Retry-After: 0\r\n"},
     ERR_OK,
     0,
     true},
    {"POST 403", {"POST", UPLOADS, ALWAYS, .status = 403}, ERR_DENIED, 403, false},
    {"POST without Location",
     {"POST", UPLOADS, ALWAYS, .status = 202, .headers = "X: y\r\n"},
     ERR_REGISTRY_ANSWER,
     202,
     false},
    {"POST leading to ftp",
     {"POST", UPLOADS, ALWAYS, .status = 202, .headers = "Location: ftp://x/\r\n"},
     ERR_REGISTRY_ANSWER,
     0,
     false},
    {"NAME_UNKNOWN",
     {"POST", UPLOADS, ALWAYS, .status = 404,
      .body = "{\"errors\":[{\"code\":\"NAME_UNKNOWN\",\"message\":\"create it first\"}]}"},
     ERR_NAME_UNKNOWN,
     404,
     false},
    {"PUT 202", {"PUT", UPLOADS, ALWAYS, .effect = true, .status = 202}, ERR_OK, 0, false},
    {"PUT 204", {"PUT", UPLOADS, ALWAYS, .effect = true, .status = 204}, ERR_OK, 0, false},
    {"PUT stored, 500", {"PUT", UPLOADS, ALWAYS, .effect = true, .status = 500}, ERR_OK, 0, false},
    {"PUT stored, 404", {"PUT", UPLOADS, ALWAYS, .effect = true, .status = 404}, ERR_OK, 0, false},
    {"PUT stored, answer lost",
     {"PUT", UPLOADS, 1, .effect = true, .drop = true},
     ERR_OK,
     0,
     false},
    {"PUT 500", {"PUT", UPLOADS, ALWAYS, .status = 500}, ERR_REGISTRY_FAULT, 500, true},
    {"PUT 413", {"PUT", UPLOADS, ALWAYS, .status = 413}, ERR_REGISTRY_UNSUPPORTED, 413, true},
    {"PUT lost", {"PUT", UPLOADS, ALWAYS, .drop = true}, ERR_CONNECTION_LOST, 0, true},
    {"PUT names another digest",
     {"PUT", UPLOADS, ALWAYS, .status = 201,
      .headers = "Docker-Content-Digest: "
                 "sha256:0000000000000000000000000000000000000000000000000000000000000000\r\n"},
     ERR_PUSHED_DIGEST,
     0,
     true},
    {"manifest without digest",
     {"PUT", "/manifests/", 1, .effect = true, .headers = "X: y\r\n"},
     ERR_OK,
     0,
     false},
    {"manifest stored, 500",
     {"PUT", "/manifests/", 1, .effect = true, .status = 500},
     ERR_OK,
     0,
     false},
    {"manifest stored, answer lost",
     {"PUT", "/manifests/", 1, .effect = true, .drop = true},
     ERR_OK,
     0,
     false},
    {"manifest refused",
     {"PUT", "/manifests/", 2, .status = 400,
      .body = "{\"errors\":[{\"code\":\"MANIFEST_INVALID\"}]}"},
     ERR_MANIFEST_REFUSED,
     400,
     false},
    {"manifest refused once",
     {"PUT", "/manifests/", 1, .status = 400,
      .body = "{\"errors\":[{\"code\":\"MANIFEST_INVALID\"}]}"},
     ERR_OK,
     0,
     false},
    {"media type refused once",
     {"PUT", "/manifests/", 1, .status = 415},
     ERR_REGISTRY_UNSUPPORTED,
     415,
     false},
    {"blob not there yet",
     {"PUT", "/manifests/", 4, .status = 404,
      .body = "{\"errors\":[{\"code\":\"MANIFEST_BLOB_UNKNOWN\"}]}"},
     ERR_OK,
     0,
     false},
    {"blob never there",
     {"PUT", "/manifests/", 5, .status = 404,
      .body = "{\"errors\":[{\"code\":\"MANIFEST_BLOB_UNKNOWN\"}]}"},
     ERR_BLOB_NOT_THERE,
     404,
     false},
    {"manifest garbled once",
     {"PUT", "/manifests/", 1, .status = 400,
      .body = "{\"errors\":[{\"code\":\"DIGEST_INVALID\"}]}"},
     ERR_OK,
     0,
     false},
    {"manifest 503 twice", {"PUT", "/manifests/", 2, .status = 503}, ERR_OK, 0, false},
    {"manifest conflict",
     {"PUT", "/manifests/", 1, .status = 409},
     ERR_REGISTRY_REFUSED,
     409,
     false},
    {"manifest of another digest",
     {"PUT", "/manifests/", 1, .status = 201,
      .headers = "Docker-Content-Digest: "
                 "sha256:0000000000000000000000000000000000000000000000000000000000000000\r\n"},
     ERR_PUSHED_DIGEST,
     0,
     false},
    {"manifest accepted and not there",
     {"PUT", "/manifests/", 1, .status = 201, .headers = "X: y\r\n"},
     ERR_PUSHED_DIGEST,
     0,
     false},
    {"/v2/ is a page",
     {"GET", "/v2/", 1, .status = 200, .headers = "Content-Type: text/html\r\n",
      .body = "<html><title>Welcome</title></html>"},
     ERR_NOT_A_REGISTRY,
     200,
     false},
    {"/v2/ 404",
     {"GET", "/v2/", 1, .status = 404, .body = "not found"},
     ERR_NOT_A_REGISTRY,
     404,
     false},
    {"/v2/ 503 once", {"GET", "/v2/", 1, .status = 503}, ERR_OK, 0, false},
    {"/v2/ 503", {"GET", "/v2/", ALWAYS, .status = 503}, ERR_REGISTRY_FAULT, 503, false},
    {"/v2/ 429 twice", {"GET", "/v2/", 2, .status = 429}, ERR_OK, 0, false},
    {"/v2/ 401 without a challenge",
     {"GET", "/v2/", 1, .status = 401, .body = "no"},
     ERR_NOT_A_REGISTRY,
     401,
     false},
    {"/v2/ redirected for ever",
     {"GET", "/", ALWAYS, .status = 301, .headers = "Location: /v2/\r\n"},
     ERR_ADDRESS_REFUSED,
     0,
     false},
    {"POST 425", {"POST", UPLOADS, 1, .status = 425}, ERR_OK, 0, false},
    {"POST 429 until yesterday",
     {"POST", UPLOADS, 1, .status = 429, .headers = "Retry-After: -86400\r\n"},
     ERR_OK,
     0,
     false},
    {"manifest 425", {"PUT", "/manifests/", 1, .status = 425}, ERR_OK, 0, false},
};

/* Of which there is no second attempt. */
static const struct scripted finals[] = {
    {"POST 400 and a page",
     {"POST", UPLOADS, ALWAYS, .status = 400, .body = "<html><title>Bad Request</title></html>"},
     ERR_REGISTRY_REFUSED,
     400,
     false},
    {"POST 451", {"POST", UPLOADS, ALWAYS, .status = 451}, ERR_REGISTRY_REFUSED, 451, false},
    {"POST 302",
     {"POST", UPLOADS, ALWAYS, .status = 302, .headers = "Location: /login\r\n"},
     ERR_ADDRESS_REFUSED,
     302,
     false},
    {"POST 308 in circles",
     {"POST", UPLOADS, ALWAYS, .status = 308, .headers = "Location: ?again\r\n"},
     ERR_ADDRESS_REFUSED,
     0,
     false},
    {"PUT NAME_UNKNOWN",
     {"PUT", UPLOADS, ALWAYS, .status = 404, .body = "{\"errors\":[{\"code\":\"NAME_UNKNOWN\"}]}"},
     ERR_NAME_UNKNOWN,
     404,
     true},
    {"/v2/ wants another scheme",
     {"GET", "/v2/", 1, .status = 401, .headers = "WWW-Authenticate: Negotiate\r\n"},
     ERR_UNAUTHORIZED,
     401,
     false},
};

/* A proxy that takes plain http refuses in its own name. */
static void test_an_answer_may_be_the_proxys(void **state)
{
    (void)state;
    static const struct {
        struct fake_rule rule;
        bool proxys;
    } cases[] = {
        {{"GET", "/v2/", ALWAYS, .status = 403, .body = "<title>Access Denied</title>"}, true},
        {{"GET", "/v2/", ALWAYS, .status = 403, .body = "{\"errors\":[{\"code\":\"DENIED\"}]}"},
         false},
        {{"GET", "/v2/", ALWAYS, .status = 403,
          .headers = "Docker-Distribution-Api-Version: registry/2.0\r\n"},
         false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct push_test *test = push_test_new(NULL);
        struct fake_registry *fake = fake_registry_start(FAKE_OPEN);
        struct made_image image = push_test_image(test, "a", LAYER_BYTES);
        autofree char *proxy = xasprintf("http://%s", fake_registry_host(fake));
        fake_registry_rule(fake, cases[i].rule);
        fake_registry_rule(fake, (struct fake_rule){"POST", "", ALWAYS, .status = 403,
                                                    .headers = cases[i].rule.headers,
                                                    .body = cases[i].rule.body});
        setenv("http_proxy", proxy, 1);
        enum errc code = push_test_push(test, &image.manifest, "registry.invalid:5000");
        unsetenv("http_proxy");
        assert_int_equal(code, ERR_DENIED);
        const char *text = test->result.error.text;
        bool named = strstr(text, "the answer of the proxy http://127.0.0.1:") != NULL;
        if (named != cases[i].proxys || (strstr(text, "docker login") == NULL) != named)
            fail_msg("%zu: %s", i, text);
        fake_registry_stop(fake);
        push_test_free(test);
    }
}

static void run_script(const struct scripted *script, bool once)
{
    struct push_test *test = push_test_new(NULL);
    struct fake_registry *fake = fake_registry_start(FAKE_OPEN);
    enum errc code = push_with_rules(test, fake, "a", &script->rule, 1);
    if (code != script->want || test->result.error.status != script->status)
        fail_msg("%s: %s, status %d: %s", script->name, error_name(code), test->result.error.status,
                 test->result.error.text);
    /* Whoever shows an error names its target. */
    if (strncmp(test->result.error.text, "127.0.0.1", 9) == 0)
        fail_msg("%s: %s", script->name, test->result.error.text);
    if (once && test->result.attempts != 1)
        fail_msg("%s: %u attempts", script->name, test->result.attempts);
    bool taken_back = http_double_count(fake_registry_http(fake), "DELETE") > 0;
    if (taken_back != script->taken_back)
        fail_msg("%s: DELETE %s", script->name, taken_back ? "sent" : "missing");
    fake_registry_stop(fake);
    push_test_free(test);
}

static void test_scripts(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof scripts / sizeof scripts[0]; i++)
        run_script(&scripts[i], false);
    for (size_t i = 0; i < sizeof finals / sizeof finals[0]; i++)
        run_script(&finals[i], true);
}

static void test_attempts_are_counted(void **state)
{
    (void)state;
    struct push_test *test = push_test_new(NULL);
    struct fake_registry *fake = fake_registry_start(FAKE_OPEN);
    const struct fake_rule fault = {"POST", UPLOADS, 2, .status = 500};
    struct made_image image = push_test_image(test, "a", LAYER_BYTES);
    char digest[DIGEST_TEXT_MAX];
    fake_registry_put(fake, digest_text(&image.config, digest), "1");
    push_test_expect(test, push_with_rules(test, fake, "a", &fault, 1), ERR_OK);
    assert_int_equal(test->result.attempts, 3);
    push_test_expect_layers(test, 0, 1, 0);
    assert_non_null(strstr(test->events, " Retrying in 1 second\n"));
    assert_null(strstr(test->events, "Image push failed"));
    assert_int_equal(http_double_count(fake_registry_http(fake), "POST " UPLOADS), 2 + 1);
    fake_registry_stop(fake);
    push_test_free(test);
}

static void test_asked_to_wait(void **state)
{
    (void)state;
    struct push_test *test = push_test_new(NULL);
    struct fake_registry *fake = fake_registry_start(FAKE_OPEN);
    const struct fake_rule busy = {
        "POST", UPLOADS, 1, .status = 429, .headers = "Retry-After: 1\r\n", .body = "slow down"};
    int64_t start_ms = clock_ms();
    push_test_expect(test, push_with_rules(test, fake, "abcdefgh", &busy, 1), ERR_OK);
    assert_in_range(clock_ms() - start_ms, 1000, 20000);
    assert_int_equal(test->result.attempts, 2);
    /* Of those that came later nobody asked meanwhile. */
    assert_int_equal(http_double_count(fake_registry_http(fake), "POST " UPLOADS), 9 + 1);
    fake_registry_stop(fake);
    push_test_free(test);
}

static void test_immutable_tag_with_the_same_content(void **state)
{
    (void)state;
    struct push_test *test = push_test_new(NULL);
    struct fake_registry *fake = fake_registry_start(FAKE_OPEN);
    struct made_image image = push_test_image(test, "a", LAYER_BYTES);
    const char *host = fake_registry_host(fake);
    push_test_expect(test, push_test_push(test, &image.manifest, host), ERR_OK);
    fake_registry_rule(fake, (struct fake_rule){"PUT", "/manifests/", ALWAYS, .status = 409});
    push_test_expect(test, push_test_push(test, &image.manifest, host), ERR_OK);
    struct made_image other = push_test_image(test, "b", LAYER_BYTES);
    push_test_expect(test, push_test_push(test, &other.manifest, host), ERR_REGISTRY_REFUSED);
    fake_registry_stop(fake);
    push_test_free(test);
}

static void test_one_failed_layer_stops_the_others(void **state)
{
    (void)state;
    struct push_test *test = push_test_new(NULL);
    struct fake_registry *fake = fake_registry_start(FAKE_OPEN);
    const struct fake_rule refuse = {"POST", UPLOADS, ALWAYS, .status = 403};
    static const char layers[] = "abcdefghijklmnopqrstuvwxyz{|}~";
    push_test_expect(test, push_with_rules(test, fake, layers, &refuse, 1), ERR_DENIED);
    /* Those under way may each have asked, which are sixteen; those waiting never begin. */
    assert_in_range(http_double_count(fake_registry_http(fake), "POST"), 1, 16);
    assert_int_equal(http_double_count(fake_registry_http(fake), "PUT"), 0);
    fake_registry_stop(fake);
    push_test_free(test);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scripts),
        cmocka_unit_test(test_an_answer_may_be_the_proxys),
        cmocka_unit_test(test_attempts_are_counted),
        cmocka_unit_test(test_asked_to_wait),
        cmocka_unit_test(test_immutable_tag_with_the_same_content),
        cmocka_unit_test(test_one_failed_layer_stops_the_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
