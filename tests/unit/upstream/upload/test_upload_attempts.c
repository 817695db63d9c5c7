/* What one attempt at an upload leaves, and where the next one goes on. */
#include "base/mem.h"
#include "tests/support/upload_test.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define HALF (SIZE / 2)

/* A body breaks off at its half, and for a moment nothing answers: not even the question how far it
 * got. One attempt is over with that. */
static void break_off(struct upload_fixture *fixture, const char *method)
{
    fixture->fake->faults[0] = (struct upload_fault){.method = method,
                                                     .times = 1,
                                                     .with_body = true,
                                                     .effect = true,
                                                     .half = true,
                                                     .drop = true};
    fixture->fake->faults[1] = (struct upload_fault){.method = "HEAD", .times = 1, .status = 503};
}

static void expect_broken(struct upload_fixture *fixture, struct unfinished_upload *unfinished)
{
    struct error err = ERROR_INIT;
    assert_int_equal(upload_test_run(fixture, unfinished, NULL, &err), ERR_CONNECTION_LOST);
    assert_true(unfinished->begun);
    assert_int_not_equal(fixture->fake->state, 0);
}

static void must_finish(struct upload_fixture *fixture, struct unfinished_upload *unfinished)
{
    struct error err = ERROR_INIT;
    if (upload_test_run(fixture, unfinished, NULL, &err) != ERR_OK)
        fail_msg("%s: %s", error_name(err.code), err.text);
    assert_false(unfinished->begun);
    upload_test_arrived(fixture);
    assert_int_equal(fixture->sent, SIZE);
}

static void the_next_attempt_sends_the_other_half(void **state)
{
    static const struct {
        enum upload_method way;
        const char *method;
    } cases[] = {{UPLOAD_METHOD_AUTO, "PUT"}, {UPLOAD_METHOD_PATCH, "PATCH"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct upload_fixture *fixture = *state;
        struct unfinished_upload unfinished = {.begun = false};
        fixture->selector = cases[i].way;
        break_off(fixture, cases[i].method);
        expect_broken(fixture, &unfinished);
        must_finish(fixture, &unfinished);
        assert_int_equal(fixture->fake->sessions, 1);
        assert_int_equal(fixture->fake->received, SIZE + SIZE - HALF);
        assert_string_equal(fixture->fake->ranges_seen, "50000-100000 ");
        upload_test_teardown(state);
        upload_test_setup(state);
    }
}

/* Every trouble in the middle of the chunks that may pass leaves what was acknowledged. */
static void trouble_that_may_pass_keeps_the_session(void **state)
{
    static const struct {
        struct upload_fault trouble;
        bool asked; /* how far it got, within the attempt: that fails, too */
    } cases[] = {
        {{.method = "PATCH", .skip = 2, .times = 1, .status = 429}, false},
        {{.method = "PATCH", .skip = 2, .times = 1, .status = 408}, false},
        {{.method = "PATCH", .skip = 2, .times = 1, .status = 503}, true},
        {{.method = "PATCH", .skip = 2, .times = 1, .drop = true}, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct upload_fixture *fixture = *state;
        struct unfinished_upload unfinished = {.begun = false};
        struct error err = ERROR_INIT;
        fixture->selector = UPLOAD_METHOD_CHUNKED;
        fixture->chunk_bytes = 30000;
        fixture->fake->faults[0] = cases[i].trouble;
        fixture->fake->faults[1] =
            (struct upload_fault){.method = "GET", .times = cases[i].asked, .status = 503};
        assert_int_not_equal(upload_test_run(fixture, &unfinished, NULL, &err), ERR_OK);
        assert_int_equal(err.status, cases[i].trouble.status);
        assert_true(error_retriable(err.code));
        assert_true(unfinished.begun);
        assert_int_equal(unfinished.session.offset, 60000);
        must_finish(fixture, &unfinished);
        assert_int_equal(fixture->fake->sessions, 1);
        assert_int_equal(fixture->fake->received, SIZE + 30000); /* one chunk was refused */
        upload_test_teardown(state);
        upload_test_setup(state);
    }
}

/* What says something against the session or its bytes is no place to go on from. */
static void other_trouble_does_not(void **state)
{
    static const struct {
        int status;
        const char *code;
    } cases[] = {{400, "DIGEST_INVALID"}, {403, "DENIED"}, {401, "UNAUTHORIZED"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct upload_fixture *fixture = *state;
        struct unfinished_upload unfinished = {.begun = false};
        struct error err = ERROR_INIT;
        fixture->selector = UPLOAD_METHOD_PATCH;
        fixture->fake->faults[0] = (struct upload_fault){
            .method = "PUT", .times = 2, .status = cases[i].status, .code = cases[i].code};
        assert_int_not_equal(upload_test_run(fixture, &unfinished, NULL, &err), ERR_OK);
        assert_int_equal(err.status, cases[i].status);
        assert_false(unfinished.begun);
        assert_int_equal(upload_test_requests(fixture, "DELETE"), 1);
        assert_int_equal(fixture->fake->state, 0);
        upload_test_teardown(state);
        upload_test_setup(state);
    }
}

static void a_session_gone_between_attempts_is_replaced(void **state)
{
    static const int answers[] = {0, 400, 403, 404,
                                  410}; /* to the question; 0: as the double does */
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        struct upload_fixture *fixture = *state;
        struct unfinished_upload unfinished = {.begun = false};
        break_off(fixture, "PUT");
        expect_broken(fixture, &unfinished);
        fixture->fake->faults[2] =
            (struct upload_fault){.method = "GET", .times = answers[i] != 0, .status = answers[i]};
        if (answers[i] == 0)
            fixture->fake->state = 0;
        must_finish(fixture, &unfinished);
        assert_int_equal(fixture->fake->sessions, 2);
        assert_int_equal(fixture->fake->received, 2 * SIZE);
        assert_int_equal(upload_test_requests(fixture, "GET"), 1);
        upload_test_teardown(state);
        upload_test_setup(state);
    }
}

/* The commit arrived, its answer and that to the question did not. */
static void a_blob_that_arrived_is_not_sent_again(void **state)
{
    struct upload_fixture *fixture = *state;
    struct unfinished_upload unfinished = {.begun = false};
    struct error err = ERROR_INIT;
    fixture->fake->faults[0] =
        (struct upload_fault){.method = "PUT", .times = 1, .effect = true, .drop = true};
    fixture->fake->faults[1] = (struct upload_fault){.method = "HEAD", .times = 1, .status = 500};
    assert_int_equal(upload_test_run(fixture, &unfinished, NULL, &err), ERR_CONNECTION_LOST);
    must_finish(fixture, &unfinished);
    assert_int_equal(fixture->fake->received, SIZE);
    assert_int_equal(fixture->fake->commits, 1);
    assert_int_equal(upload_test_requests(fixture, "PUT"), 1);
}

/* Somebody else brought it: the half session is of no use any more. */
static void a_blob_that_came_otherwise_ends_the_session(void **state)
{
    struct upload_fixture *fixture = *state;
    struct unfinished_upload unfinished = {.begun = false};
    break_off(fixture, "PUT");
    expect_broken(fixture, &unfinished);
    fixture->fake->blob = memcpy(xmalloc(SIZE), fixture->data, SIZE);
    fixture->fake->blob_size = SIZE;
    struct error err = ERROR_INIT;
    assert_int_equal(upload_test_run(fixture, &unfinished, NULL, &err), ERR_OK);
    assert_false(unfinished.begun);
    assert_int_equal(fixture->fake->received, SIZE);
    assert_int_equal(upload_test_requests(fixture, "DELETE"), 1);
    assert_int_equal(fixture->fake->state, 0);
}

/* PUT is refused, PATCH breaks off: the next attempt does not begin with PUT again, which would
 * cost the session. */
static void the_way_is_kept_with_the_session(void **state)
{
    struct upload_fixture *fixture = *state;
    struct unfinished_upload unfinished = {.begun = false};
    fixture->fake->put_status = 405;
    break_off(fixture, "PATCH");
    expect_broken(fixture, &unfinished);
    assert_int_equal(fixture->fake->refused, 1);
    size_t received = fixture->fake->received;
    must_finish(fixture, &unfinished);
    assert_int_equal(fixture->fake->refused, 1);
    assert_int_equal(fixture->fake->received - received, SIZE - HALF);
    assert_int_equal(fixture->fake->sessions, 2); /* one before the way was known */
}

/* The way that is left turns out not to work any more: another one, from the first byte. */
static void the_way_is_refused_when_it_goes_on(void **state)
{
    struct upload_fixture *fixture = *state;
    struct unfinished_upload unfinished = {.begun = false};
    break_off(fixture, "PUT");
    expect_broken(fixture, &unfinished);
    fixture->fake->put_status = 405;
    must_finish(fixture, &unfinished);
    assert_int_equal(upload_test_requests(fixture, "DELETE"), 1);
    assert_int_equal(upload_test_requests(fixture, "PATCH"), 1);
    assert_int_equal(fixture->fake->sessions, 2);
}

/* One question that fails costs one attempt, not the bytes. */
static void questions_that_fail_cost_no_bytes(void **state)
{
    struct upload_fixture *fixture = *state;
    struct unfinished_upload unfinished = {.begun = false};
    struct error err = ERROR_INIT;
    break_off(fixture, "PUT");
    expect_broken(fixture, &unfinished);
    fixture->fake->faults[1].times =
        1; /* of a registry that knows no HEAD: the session says more */
    fixture->fake->faults[2] = (struct upload_fault){.method = "GET", .times = 1, .status = 429};
    assert_int_equal(upload_test_run(fixture, &unfinished, NULL, &err), ERR_TOO_MANY_REQUESTS);
    assert_true(unfinished.begun);
    must_finish(fixture, &unfinished);
    assert_int_equal(fixture->fake->received, SIZE + SIZE - HALF);
}

static void giving_up_takes_the_session_back(void **state)
{
    struct upload_fixture *fixture = *state;
    struct unfinished_upload unfinished = {.begun = false};
    break_off(fixture, "PUT");
    expect_broken(fixture, &unfinished);
    upload_test_give_up(fixture, &unfinished);
    assert_int_equal(upload_test_requests(fixture, "DELETE"), 1);
    assert_int_equal(fixture->fake->state, 0);
    upload_test_give_up(fixture, &unfinished); /* nothing is left to take back */
    assert_int_equal(upload_test_requests(fixture, "DELETE"), 1);
}

static void cancelling_takes_it_back_at_once(void **state)
{
    struct upload_fixture *fixture = *state;
    struct unfinished_upload unfinished = {.begun = false};
    struct error err = ERROR_INIT;
    struct cancel cancel;
    break_off(fixture, "PUT");
    expect_broken(fixture, &unfinished);
    cancel_init(&cancel);
    cancel_request(&cancel);
    assert_int_equal(upload_test_run(fixture, &unfinished, &cancel, &err), ERR_CANCELLED);
    upload_test_give_up(fixture, &unfinished);
    assert_int_equal(fixture->fake->state, 0);
    cancel_deinit(&cancel);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, upload_test_setup, upload_test_teardown)
    const struct CMUnitTest tests[] = {
        TEST(the_next_attempt_sends_the_other_half),
        TEST(trouble_that_may_pass_keeps_the_session),
        TEST(other_trouble_does_not),
        TEST(a_session_gone_between_attempts_is_replaced),
        TEST(a_blob_that_arrived_is_not_sent_again),
        TEST(a_blob_that_came_otherwise_ends_the_session),
        TEST(the_way_is_kept_with_the_session),
        TEST(the_way_is_refused_when_it_goes_on),
        TEST(questions_that_fail_cost_no_bytes),
        TEST(giving_up_takes_the_session_back),
        TEST(cancelling_takes_it_back_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
