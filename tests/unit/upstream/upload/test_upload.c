#include "base/mem.h"
#include "tests/support/upload_test.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* --- ways --- */

static void one_put_is_the_first_way(void **state)
{
    struct upload_fixture *fixture = *state;
    upload_test_must(fixture);
    assert_int_equal(upload_test_requests(fixture, "POST"), 1);
    assert_int_equal(upload_test_requests(fixture, "PUT"), 1);
    assert_int_equal(upload_test_requests(fixture, "PATCH") + upload_test_requests(fixture, "HEAD"),
                     0);
    assert_int_equal(fixture->fake->received, SIZE);
    assert_int_equal(fixture->sent, SIZE);
}

/* The double hashes as the POST of the session said, and refuses another digest. */
static void the_algorithm_is_said_in_the_beginning(void **state)
{
    struct upload_fixture *fixture = *state;
    fixture->digest = digest_of(DIGEST_SHA512, fixture->data, SIZE);
    upload_test_must(fixture);
    fixture->fake->put_status = 405;
    upload_test_must(fixture);
    assert_int_equal(fixture->fake->commits, 2);
    assert_int_equal(upload_test_requests(fixture, "PATCH"), 1);
}

static void a_kept_session_is_used(void **state)
{
    struct upload_fixture *fixture = *state;
    struct error err = ERROR_INIT;
    struct unfinished_upload kept = {.begun = false};
    upload_test_open(fixture, &kept);
    assert_int_equal(upload_test_run(fixture, &kept, NULL, &err), ERR_OK);
    assert_int_equal(fixture->fake->sessions, 1);
    assert_int_equal(fixture->fake->commits, 1);
}

/* Each refusal of a PUT with a body leads to PATCH; the next one begins there, after a restart too.
 */
static void patch_where_put_is_refused(void **state)
{
    static const int statuses[] = {404, 405, 501, 400, 422, 500};
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        struct upload_fixture *fixture = *state;
        fixture->fake->put_status = statuses[i];
        upload_test_must(fixture);
        assert_int_equal(fixture->fake->refused, 1);
        assert_int_equal(upload_test_requests(fixture, "PATCH"), 1);
        assert_int_equal(fixture->sent, SIZE);
        assert_string_equal(fixture->fake->ranges_seen, "");

        fixture->fake->refused = 0;
        upload_test_must(fixture);
        upload_test_restart(fixture);
        upload_test_must(fixture);
        assert_int_equal(fixture->fake->refused, 0);
        assert_int_equal(upload_test_requests(fixture, "PATCH"), 3);
        upload_test_teardown(state);
        upload_test_setup(state);
    }
}

static void chunks_where_one_patch_is_refused(void **state)
{
    struct upload_fixture *fixture = *state;
    fixture->fake->put_status = 405;
    fixture->chunk_bytes = 40000;
    fixture->fake->faults[0] = (struct upload_fault){.method = "PATCH", .times = 1, .status = 416};
    upload_test_must(fixture);
    assert_string_equal(fixture->fake->ranges_seen, "0-39999 40000-79999 80000-100000 ");
    fixture->fake->refused = 0;
    upload_test_must(fixture);
    assert_int_equal(fixture->fake->refused, 0);
}

static void one_post_is_the_last_way(void **state)
{
    struct upload_fixture *fixture = *state;
    fixture->fake->put_status = 405;
    fixture->fake->patch_status = 405;
    upload_test_must(fixture);
    assert_int_equal(fixture->fake->refused, 3);
    upload_test_restart(fixture);
    upload_test_must(fixture);
    assert_int_equal(fixture->fake->refused, 0);
    assert_int_equal(fixture->fake->received, SIZE);
    assert_int_equal(fixture->fake->state, 0);
}

static void no_way_is_left(void **state)
{
    struct upload_fixture *fixture = *state;
    struct error err = ERROR_INIT;
    fixture->fake->put_status = 405;
    fixture->fake->patch_status = 501;
    fixture->fake->post_status = 202;
    assert_int_equal(upload_test(fixture, &err), ERR_REGISTRY_UNSUPPORTED);
    assert_int_equal(err.status, 405);
    assert_non_null(strstr(err.text, "PUT "));
    assert_int_equal(fixture->fake->state, 0); /* no session is left either */
    struct capabilities capabilities;
    bool found = false;
    assert_int_equal(
        capabilities_get(fixture->store, fixture->fake->host, &found, &capabilities, &err), ERR_OK);
    assert_false(found);
}

static void a_configured_way_is_the_only_one(void **state)
{
    static const struct {
        enum upload_method way;
        const char *method;
        int put, patch, post;
    } cases[] = {
        {UPLOAD_METHOD_PUT, "PUT", 405, 0, 0},
        {UPLOAD_METHOD_PATCH, "PATCH", 0, 405, 0},
        {UPLOAD_METHOD_CHUNKED, "PATCH", 0, 405, 0},
        {UPLOAD_METHOD_POST, "POST", 0, 0, 405},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct upload_fixture *fixture = *state;
        struct error err = ERROR_INIT;
        fixture->selector = cases[i].way;
        upload_test_must(fixture);
        assert_int_equal(fixture->fake->refused, 0);
        assert_int_equal(upload_test_requests(fixture, cases[i].method), 1);

        fixture->fake->put_status = cases[i].put;
        fixture->fake->patch_status = cases[i].patch;
        fixture->fake->post_status = cases[i].post;
        fixture->fake->commits = 0;
        assert_int_equal(upload_test(fixture, &err), ERR_REGISTRY_UNSUPPORTED);
        assert_int_equal(fixture->fake->refused, 1);
        assert_int_equal(fixture->fake->commits, 0);
        upload_test_teardown(state);
        upload_test_setup(state);
    }
}

static void a_transient_error_changes_nothing(void **state)
{
    static const int statuses[] = {500, 502, 503, 429, 403};
    struct upload_fixture *fixture = *state;
    upload_test_must(fixture);
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        struct error err = ERROR_INIT;
        upload_double_forget(fixture->fake);
        fixture->fake->faults[0] = (struct upload_fault){
            .method = "PUT", .times = 1, .with_body = true, .status = statuses[i]};
        assert_int_not_equal(upload_test(fixture, &err), ERR_OK);
        assert_int_equal(err.status, statuses[i]);
        assert_int_equal(upload_test_requests(fixture, "PATCH"), 0);
        upload_test_must(fixture);
    }
    assert_int_equal(upload_test_requests(fixture, "PATCH"), 0);
}

/* What looks like trouble with the bytes says nothing of a way that has worked, also where an
 * upload began before that was known. */
static void a_known_way_is_not_given_up_for_bytes(void **state)
{
    static const int statuses[] = {400, 422, 500};
    struct upload_fixture *fixture = *state;
    upload_test_must(fixture);
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        struct error err = ERROR_INIT;
        struct unfinished_upload unfinished = {.begun = true, .choice = {.way = UPLOAD_METHOD_PUT}};
        upload_double_forget(fixture->fake);
        fixture->fake->faults[0] = (struct upload_fault){
            .method = "PUT", .times = 1, .with_body = true, .status = statuses[i]};
        assert_int_not_equal(upload_test_run(fixture, &unfinished, NULL, &err), ERR_OK);
        assert_int_equal(err.status, statuses[i]);
        upload_test_give_up(fixture, &unfinished);
    }
    assert_int_equal(upload_test_requests(fixture, "PATCH"), 0);
}

/* Another attempt does not begin with what looked unknown. */
static void what_is_not_known_is_tried_once(void **state)
{
    struct upload_fixture *fixture = *state;
    struct error err = ERROR_INIT;
    fixture->fake->put_status = 400;
    fixture->fake->faults[0] = (struct upload_fault){
        .method = "PUT", .skip = 1, .times = 2, .status = 400, .code = "DIGEST_INVALID"};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(upload_test(fixture, &err), ERR_REGISTRY_FAULT);
        error_clear(&err);
    }
    upload_test_must(fixture);
    assert_int_equal(upload_test_requests(fixture, "PUT"), 4); /* one of them with the body */
    assert_int_equal(upload_test_requests(fixture, "PATCH"), 3);
}

static void what_is_configured_is_known(void **state)
{
    struct upload_fixture *fixture = *state;
    fixture->selector = UPLOAD_METHOD_PUT;
    fixture->fake->faults[0] =
        (struct upload_fault){.method = "PUT", .times = 1, .status = 404, .forget = true};
    upload_test_must(fixture);
    assert_int_equal(fixture->fake->sessions, 2);
}

/* A way that has worked is not given up for a single 404. */
static void a_404_of_a_known_way_is_a_mood(void **state)
{
    struct upload_fixture *fixture = *state;
    upload_test_must(fixture);
    upload_double_forget(fixture->fake);
    fixture->fake->faults[0] =
        (struct upload_fault){.method = "PUT", .times = 1, .status = 404, .forget = true};
    upload_test_must(fixture);
    assert_int_equal(upload_test_requests(fixture, "PATCH"), 0);
    assert_int_equal(fixture->fake->sessions, 3);
}

/* --- sizes --- */

static void the_body_limit_is_found_once(void **state)
{
    struct upload_fixture *fixture = *state;
    fixture->fake->body_limit = 50000;
    fixture->chunk_bytes = 50000;
    upload_test_must(fixture);
    assert_int_equal(fixture->fake->refused, 1);
    assert_string_equal(fixture->fake->ranges_seen, "0-49999 50000-99999 100000-100000 ");
    upload_test_restart(fixture);
    upload_test_must(fixture);
    assert_int_equal(fixture->fake->refused, 0);
    assert_int_equal(fixture->fake->received, SIZE);
}

/* One byte over the limit is refused, the limit itself is not. */
static void the_limit_is_inclusive(void **state)
{
    struct upload_fixture *fixture = *state;
    fixture->fake->body_limit = SIZE;
    upload_test_must(fixture);
    assert_int_equal(fixture->fake->refused, 0);
    fixture->fake->body_limit = SIZE - 1;
    fixture->chunk_bytes = SIZE - 1;
    upload_test_restart(fixture);
    upload_test_must(fixture);
    assert_int_equal(fixture->fake->refused, 1);
}

static void a_chunk_is_not_shorter_than_the_registry_wants(void **state)
{
    struct upload_fixture *fixture = *state;
    fixture->selector = UPLOAD_METHOD_CHUNKED;
    fixture->chunk_bytes = 10000;
    fixture->fake->chunk_least = "60000";
    upload_test_must(fixture);
    assert_string_equal(fixture->fake->ranges_seen, "0-59999 60000-100000 ");
}

static void a_limit_below_the_shortest_chunk_is_an_error(void **state)
{
    struct upload_fixture *fixture = *state;
    struct error err = ERROR_INIT;
    fixture->chunk_bytes = 50000;
    fixture->fake->body_limit = 55000;
    fixture->fake->chunk_least = "60000";
    assert_int_equal(upload_test(fixture, &err), ERR_REGISTRY_UNSUPPORTED);
    assert_int_equal(err.status, 413);
    assert_int_equal(fixture->fake->state, 0);
}

/* --- lost answers --- */

static void a_lost_answer_to_a_commit_is_asked_for(void **state)
{
    static const struct upload_fault ends[] = {
        {.method = "PUT", .times = 1, .effect = true, .drop = true},
        {.method = "PUT", .times = 1, .effect = true, .status = 404},
        {.method = "PUT", .times = 1, .effect = true, .status = 404, .code = "BLOB_UPLOAD_UNKNOWN"},
        {.method = "PUT", .times = 1, .effect = true, .status = 500},
        {.method = "PUT", .times = 1, .effect = true, .status = 504},
    };
    static const enum upload_method ways[] = {UPLOAD_METHOD_PUT, UPLOAD_METHOD_PATCH,
                                              UPLOAD_METHOD_AUTO};
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
        for (size_t way = 0; way < sizeof ways / sizeof ways[0]; way++) {
            struct upload_fixture *fixture = *state;
            fixture->selector = ways[way];
            fixture->fake->faults[0] = ends[i];
            upload_test_must(fixture);
            assert_int_equal(fixture->fake->received, SIZE);
            assert_int_equal(fixture->fake->commits, 1);
            assert_int_equal(upload_test_requests(fixture, "HEAD"), 1);
            upload_test_teardown(state);
            upload_test_setup(state);
        }
}

static void what_did_not_arrive_is_sent_again(void **state)
{
    struct upload_fixture *fixture = *state;
    fixture->fake->faults[0] = (struct upload_fault){.method = "PUT", .times = 1, .drop = true};
    upload_test_must(fixture);
    assert_int_equal(upload_test_requests(fixture, "HEAD"), 1);
    assert_int_equal(upload_test_requests(fixture, "PUT"), 2);
    assert_int_equal(fixture->fake->sessions, 1);

    upload_double_forget(fixture->fake);
    fixture->fake->faults[0] = (struct upload_fault){.method = "PUT", .times = 9, .drop = true};
    struct error err = ERROR_INIT;
    assert_int_equal(upload_test(fixture, &err), ERR_CONNECTION_LOST);
    assert_int_equal(fixture->fake->faults[0].times, 7); /* twice, then it is time to wait */
    assert_int_equal(fixture->fake->state, 0);
}

/* Only the commit is repeated when all the bytes are there. */
static void a_commit_alone_is_repeated(void **state)
{
    struct upload_fixture *fixture = *state;
    fixture->selector = UPLOAD_METHOD_PATCH;
    fixture->fake->faults[0] = (struct upload_fault){.method = "PUT", .times = 1, .drop = true};
    upload_test_must(fixture);
    assert_int_equal(fixture->fake->received, SIZE);
    assert_int_equal(upload_test_requests(fixture, "PATCH"), 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, upload_test_setup, upload_test_teardown)
    const struct CMUnitTest tests[] = {
        TEST(one_put_is_the_first_way),
        TEST(the_algorithm_is_said_in_the_beginning),
        TEST(a_kept_session_is_used),
        TEST(patch_where_put_is_refused),
        TEST(chunks_where_one_patch_is_refused),
        TEST(one_post_is_the_last_way),
        TEST(no_way_is_left),
        TEST(a_configured_way_is_the_only_one),
        TEST(a_transient_error_changes_nothing),
        TEST(a_known_way_is_not_given_up_for_bytes),
        TEST(what_is_not_known_is_tried_once),
        TEST(what_is_configured_is_known),
        TEST(a_404_of_a_known_way_is_a_mood),
        TEST(the_body_limit_is_found_once),
        TEST(the_limit_is_inclusive),
        TEST(a_chunk_is_not_shorter_than_the_registry_wants),
        TEST(a_limit_below_the_shortest_chunk_is_an_error),
        TEST(a_lost_answer_to_a_commit_is_asked_for),
        TEST(what_did_not_arrive_is_sent_again),
        TEST(a_commit_alone_is_repeated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
