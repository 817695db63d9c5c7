#include "base/mem.h"
#include "tests/support/upload_test.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* --- resuming --- */

static void half_a_patch_is_not_sent_again(void **state)
{
    struct upload_fixture *fixture = *state;
    fixture->selector = UPLOAD_METHOD_PATCH;
    fixture->fake->faults[0] = (struct upload_fault){
        .method = "PATCH", .times = 1, .effect = true, .half = true, .drop = true};
    upload_test_must(fixture);
    assert_int_equal(fixture->fake->sessions, 1);
    assert_int_equal(fixture->fake->received, SIZE + SIZE - SIZE / 2);
    assert_string_equal(fixture->fake->ranges_seen, "50000-100000 ");
    assert_int_equal(fixture->sent, SIZE);
}

static void half_a_put_is_not_sent_again(void **state)
{
    struct upload_fixture *fixture = *state;
    fixture->fake->faults[0] = (struct upload_fault){
        .method = "PUT", .times = 1, .effect = true, .half = true, .status = 502};
    upload_test_must(fixture);
    assert_int_equal(fixture->fake->sessions, 1);
    assert_string_equal(fixture->fake->ranges_seen, "50000-100000 ");
}

static void a_session_lost_at_half_is_replaced(void **state)
{
    struct upload_fixture *fixture = *state;
    fixture->selector = UPLOAD_METHOD_CHUNKED;
    fixture->chunk_bytes = 30000;
    fixture->fake->faults[0] = (struct upload_fault){.method = "PATCH",
                                                     .skip = 2,
                                                     .times = 1,
                                                     .forget = true,
                                                     .status = 404,
                                                     .code = "BLOB_UPLOAD_UNKNOWN"};
    upload_test_must(fixture);
    assert_int_equal(fixture->fake->sessions, 2);
    assert_int_equal(upload_test_requests(fixture, "HEAD"), 1);
    assert_int_equal(fixture->fake->received, 90000 + SIZE);
}

static void a_session_that_is_always_lost_ends_it(void **state)
{
    struct upload_fixture *fixture = *state;
    struct error err = ERROR_INIT;
    fixture->selector = UPLOAD_METHOD_PATCH;
    fixture->fake->faults[0] = (struct upload_fault){.method = "PATCH",
                                                     .times = 99,
                                                     .forget = true,
                                                     .status = 404,
                                                     .code = "BLOB_UPLOAD_UNKNOWN"};
    assert_int_equal(upload_test(fixture, &err), ERR_UPLOAD_UNKNOWN);
    assert_int_equal(fixture->fake->sessions, 3);
}

static void ranges_of_any_form(void **state)
{
    static const struct {
        enum range_form form;
        const char *seen;
    } cases[] = {
        {RANGE_PLAIN, "0-59999 60000-100000 "},   {RANGE_BYTES, "0-59999 60000-100000 "},
        {RANGE_ABSENT, "0-59999 60000-100000 "},  {RANGE_EMPTY, "0-59999 60000-100000 "},
        {RANGE_LAST, "0-59999 60000-100000 "},    {RANGE_FIRST, "0-59999 60000-100000 "},
        {RANGE_FURTHER, "0-59999 60000-100000 "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct upload_fixture *fixture = *state;
        fixture->selector = UPLOAD_METHOD_CHUNKED;
        fixture->chunk_bytes = 60000;
        fixture->fake->ranges = cases[i].form;
        upload_test_must(fixture);
        size_t size = strlen(cases[i].seen);
        assert_true(strncmp(fixture->fake->ranges_seen, cases[i].seen, size) == 0);
        upload_test_teardown(state);
        upload_test_setup(state);
    }
}

/* A Range that is the truth: our count is wrong, which the digest shows. Where the way is free,
 * another one is found. */
static void a_count_that_is_wrong(void **state)
{
    struct upload_fixture *fixture = *state;
    struct error err = ERROR_INIT;
    fixture->fake->ranges = RANGE_HALF;
    fixture->selector = UPLOAD_METHOD_CHUNKED;
    fixture->chunk_bytes = 60000;
    assert_int_equal(upload_test(fixture, &err), ERR_REGISTRY_UNSUPPORTED);
    assert_non_null(strstr(err.text, "after 100001 bytes"));
    assert_non_null(strstr(err.text, "a Range of "));

    upload_test_restart(fixture);
    fixture->selector = UPLOAD_METHOD_AUTO;
    fixture->fake->put_status = 405;
    upload_test_must(fixture); /* one POST is left */
}

static void ranges_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        long long bytes; /* -1: not understood */
    } cases[] = {
        {"0-99", 100},
        {"bytes=0-99", 100},
        {"bytes 0-99", 100},
        {"0--1", 0},
        {"bytes=0--1", 0},
        {"0-0", 0},
        {"0-1", 2},
        {NULL, -1},
        {"", -1},
        {"1-5", -1},
        {"0-", -1},
        {"0-9x", -1},
        {"0--2", -1},
        {"bytes", -1},
        {"0-+5", -1},
        {"0-99/100", -1},
        {"0-9223372036854775807999", -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t bytes = 77;
        bool good = upload_range_parse(cases[i].text, &bytes);
        assert_int_equal(good, cases[i].bytes >= 0);
        assert_int_equal(bytes, good ? (uint64_t)cases[i].bytes : 77);
    }
}

/* --- where it is sent --- */

static void every_location_is_followed(void **state)
{
    for (int form = LOCATION_RELATIVE; form <= LOCATION_AMPERSAND; form++) {
        struct upload_fixture *fixture = *state;
        fixture->fake->locations = (enum location_form)form;
        fixture->selector = UPLOAD_METHOD_CHUNKED;
        fixture->chunk_bytes = 30000;
        upload_test_must(fixture);
        assert_int_equal(fixture->fake->refused, 0);
        upload_test_teardown(state);
        upload_test_setup(state);
    }
}

/* As the rules of url_follow() want it: https stays https, and a public registry leads to no
 * private address. */
static void a_location_that_must_not_be_followed(void **state)
{
    static const char *const locations[] = {
        "https://127.0.0.1/v2/x", "https://localhost:5000/x",       "https://[::1]/x",
        "https://192.168.1.1/x",  "https://169.254.169.254/latest", "http://r.example.com/v2",
        "//10.0.0.1/x",
    };
    struct upload_fixture *fixture = *state;
    static const struct registry_credentials nobody;
    struct error err = ERROR_INIT;
    struct registry_host *host = NULL;
    upload_test_host(fixture);
    assert_int_equal(registries_host(fixture->registries, "r.example.com", &host, &err), ERR_OK);
    struct repository repository;
    struct registry_client client;
    repository_init(&repository, &host->endpoints[0], "team/app", &nobody);
    registry_client_open(&client, &repository, NULL);
    autourl struct url url = {0};
    assert_int_equal(registry_client_url(&client, "blobs/uploads/", &url, &err), ERR_OK);
    for (size_t i = 0; i < sizeof locations / sizeof locations[0]; i++) {
        autoresponse struct http_response response = HTTP_RESPONSE_INIT;
        struct upload_session session = {0};
        autofree char *line = xasprintf("Location: %s", locations[i]);
        buf_append(&response.headers, line, strlen(line) + 1);
        error_clear(&err);
        assert_int_equal(upload_session_begin(&client, &url, &response, &session, &err),
                         ERR_ADDRESS_REFUSED);
        assert_false(upload_session_is_open(&session));
    }
    registry_client_close(&client);
    repository_deinit(&repository);
}

static void bodies_sent_elsewhere_carry_no_authorization(void **state)
{
    struct upload_fixture *fixture = *state;
    struct upload_double *fake = fixture->fake;
    struct upload_double *other = upload_double_start();
    struct error err = ERROR_INIT;
    autofree char *origin = xasprintf("http://%s", other->host);
    fake->bearer = true;
    fake->redirect = origin;
    other->sessions = 1; /* the session that the URL names */
    other->state = 1;
    assert_int_equal(upload_test(fixture, &err), ERR_OK);
    assert_int_equal(other->blob_size, SIZE);
    assert_int_equal(other->authorized, 0);
    assert_true(fake->authorized >= 2); /* the POST and the PUT that was sent on */
    upload_double_stop(other);
}

static void a_redirect_to_a_stranger_is_refused(void **state)
{
    struct upload_fixture *fixture = *state;
    struct error err = ERROR_INIT;
    fixture->fake->redirect = "ftp://127.0.0.1";
    assert_int_equal(upload_test(fixture, &err), ERR_REGISTRY_ANSWER);
    assert_int_equal(fixture->fake->commits, 0);
}

/* --- tokens, stalls, cancels --- */

static void a_token_that_ends_in_the_middle_is_replaced(void **state)
{
    struct upload_fixture *fixture = *state;
    fixture->fake->bearer = true;
    fixture->selector = UPLOAD_METHOD_CHUNKED;
    fixture->chunk_bytes = 30000;
    upload_test_must(fixture);
    assert_int_equal(fixture->fake->tokens, 1);
    assert_int_equal(fixture->fake->received, SIZE);

    /* The first token is taken back: what begins the next upload finds that out, not a body. */
    fixture->fake->revoked = 1;
    fixture->fake->received = 0;
    upload_test_must(fixture);
    assert_int_equal(fixture->fake->tokens, 2);
    assert_int_equal(fixture->fake->received, SIZE);
}

static void a_401_in_the_middle_is_answered(void **state)
{
    struct upload_fixture *fixture = *state;
    fixture->fake->bearer = true;
    fixture->selector = UPLOAD_METHOD_CHUNKED;
    fixture->chunk_bytes = 30000;
    fixture->fake->faults[0] =
        (struct upload_fault){.method = "PATCH", .skip = 1, .times = 1, .revoke = true};
    upload_test_must(fixture);
    assert_int_equal(fixture->fake->tokens, 2);
    assert_int_equal(fixture->fake->sessions, 1);
    assert_int_equal(fixture->fake->commits, 1);
    assert_int_equal(fixture->fake->received, SIZE + 30000);
}

/* Half a minute has to be left for what has a body; a life that is said is believed, also one below
 * the minute that is assumed. */
static void a_body_gets_a_token_that_lasts(void **state)
{
    static const struct {
        int life_s;
        unsigned tokens; /* for the POST, four PATCHes and the PUT */
    } cases[] = {{0, 1}, {-1, 1}, {300, 1}, {59, 1}, {29, 6}, {3, 6}, {1, 6}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct upload_fixture *fixture = *state;
        fixture->fake->bearer = true;
        fixture->fake->token_life_s = cases[i].life_s;
        fixture->selector = UPLOAD_METHOD_CHUNKED;
        fixture->chunk_bytes = 30000;
        upload_test_must(fixture);
        assert_int_equal(fixture->fake->tokens, cases[i].tokens);
        assert_int_equal(fixture->fake->received, SIZE);
        upload_test_teardown(state);
        upload_test_setup(state);
    }
}

/* No answer comes to the whole blob: it is asked for, not sent again, and the session is taken
 * back.
 */
static void an_answer_that_does_not_come_is_given_up(void **state)
{
    struct upload_fixture *fixture = *state;
    struct error err = ERROR_INIT;
    fixture->times.commit_ms = 500;
    http_double_stall(fixture->fake->http, "PUT");
    assert_int_equal(upload_test(fixture, &err), ERR_NO_ANSWER);
    assert_int_equal(upload_test_requests(fixture, "PUT"), 1);
    assert_int_equal(upload_test_requests(fixture, "HEAD"), 1);
    assert_int_equal(upload_test_requests(fixture, "DELETE"), 1);
    http_double_stall(fixture->fake->http, NULL);
    upload_test_must(fixture);
}

static void a_cancelled_upload_is_taken_back(void **state)
{
    struct upload_fixture *fixture = *state;
    struct error err = ERROR_INIT;
    struct cancel cancel;
    cancel_init(&cancel);
    cancel_request(&cancel);
    assert_int_equal(upload_test_run(fixture, NULL, &cancel, &err), ERR_CANCELLED);
    assert_int_equal(fixture->fake->commits, 0);
    assert_int_equal(fixture->fake->state, 0);
    cancel_deinit(&cancel);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, upload_test_setup, upload_test_teardown)
    const struct CMUnitTest tests[] = {
        TEST(half_a_patch_is_not_sent_again),
        TEST(half_a_put_is_not_sent_again),
        TEST(a_session_lost_at_half_is_replaced),
        TEST(a_session_that_is_always_lost_ends_it),
        TEST(ranges_of_any_form),
        TEST(a_count_that_is_wrong),
        TEST(ranges_are_read),
        TEST(every_location_is_followed),
        TEST(a_location_that_must_not_be_followed),
        TEST(bodies_sent_elsewhere_carry_no_authorization),
        TEST(a_redirect_to_a_stranger_is_refused),
        TEST(a_token_that_ends_in_the_middle_is_replaced),
        TEST(a_401_in_the_middle_is_answered),
        TEST(a_body_gets_a_token_that_lasts),
        TEST(an_answer_that_does_not_come_is_given_up),
        TEST(a_cancelled_upload_is_taken_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
