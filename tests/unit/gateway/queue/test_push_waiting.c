/*
 * Pushes that somebody waits for, and those that overtake them.
 */
#include "gateway/queue/push_queue.h"

#include "tests/support/queue_bench.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define UPLOADS "/v2/team/app/blobs/uploads/"

/* ---- pushes that somebody waits for ---- */

static void a_push_without_targets_ends_at_once(void **state)
{
    struct queue_bench *bench = *state;
    struct waiting_push none, stored;
    queue_bench_await(bench, &none, 0, "");
    queue_bench_run(bench, &none);
    assert_true(waiting_push_ended(&none));
    waiting_push_deinit(&none);
    /* All of its targets are pushed after the answer, by push_queue_start(). */
    queue_bench_await(bench, &stored, 0, "team/app:one team/app:two");
    for (size_t i = 0; i < 2; i++)
        stored.push.targets[i].stored = true;
    queue_bench_run(bench, &stored);
    assert_true(waiting_push_ended(&stored));
    assert_int_equal(stored.push.targets[0].state, PUSH_QUEUED);
    waiting_push_deinit(&stored);
    assert_int_equal(http_double_count(bench->test->http, "PUT "), 0);
}

/* Its targets may be of both kinds. */
static void who_waits_does_not_wait_for_stored_targets(void **state)
{
    struct queue_bench *bench = *state;
    struct waiting_push waiting;
    queue_bench_await(bench, &waiting, 0, "team/app:one other/app:two");
    waiting.push.targets[0].stored = true;
    queue_test_accept(bench->test, &waiting.push);
    queue_bench_hold_put(bench, "one");
    push_queue_start(bench->test->queue, &waiting.push);
    queue_bench_until_puts(bench, "team/app", "one", 1);
    queue_bench_run(bench, &waiting);
    waiting_push_wait(&waiting);
    assert_int_equal(waiting.push.targets[0].state, PUSH_QUEUED);
    assert_int_equal(waiting.push.targets[1].state, PUSH_PUSHED);
    queue_bench_expect_records(bench, 1, 1);
    queue_bench_release(bench);
    queue_bench_expect_done(bench);
    assert_int_equal(queue_bench_puts(bench, "other/app", "two"), 1);
    waiting_push_deinit(&waiting);
}

static void count_begun(void *self, const struct progress_event *event)
{
    if (event->id == NULL && strstr(event->status, "The push refers to"))
        atomic_fetch_add((atomic_uint *)self, 1);
}

static void tags_of_one_repository_go_one_after_another(void **state)
{
    struct queue_bench *bench = *state;
    struct waiting_push waiting;
    atomic_uint begun = 0;
    const struct progress progress = {.emit = count_begun, .self = &begun};
    queue_bench_await(bench, &waiting, 0,
                      "team/app:one other/app:four team/app:two team/app:three");
    waiting.progress = &progress;
    queue_bench_hold_put(bench, "one");
    queue_bench_run(bench, &waiting);
    queue_bench_until_puts(bench, "team/app", "one", 1);
    queue_bench_until_puts(bench, "other/app", "four", 1);
    queue_bench_settle(bench);
    assert_int_equal(atomic_load(&begun), 2);
    assert_int_equal(queue_bench_puts(bench, "team/app", "two"), 0);
    assert_int_equal(queue_bench_puts(bench, "team/app", "three"), 0);
    queue_bench_release(bench);
    queue_bench_expect_end(&waiting, ERR_OK);
    assert_int_equal(atomic_load(&begun), 4);
    struct http_double *http = bench->test->http;
    assert_true(http_double_position(http, "PUT /v2/team/app/manifests/two") <
                http_double_position(http, "PUT /v2/team/app/manifests/three"));
    queue_bench_expect_done(bench);
}

/* A failure is no reason to leave the others out. */
static void each_target_ends_by_itself(void **state)
{
    struct queue_bench *bench = *state;
    struct waiting_push waiting;
    queue_bench_await(bench, &waiting, 0, "team/app:one team/app:two");
    queue_bench_answer_puts(bench, "one", 1000, 403);
    queue_bench_run(bench, &waiting);
    waiting_push_wait(&waiting);
    assert_int_equal(waiting.push.targets[0].state, PUSH_FAILED);
    assert_int_equal(waiting.push.targets[0].error.code, ERR_DENIED);
    assert_int_equal(waiting.push.targets[1].state, PUSH_PUSHED);
    waiting_push_deinit(&waiting);
}

static void two_of_one_tag_go_in_their_order(void **state)
{
    struct queue_bench *bench = *state;
    struct waiting_push first, second;
    queue_bench_await(bench, &first, 0, "team/app:one");
    queue_bench_await(bench, &second, 1, "team/app:one");
    queue_bench_hold_put(bench, "one");
    queue_bench_run(bench, &first);
    queue_bench_until_puts(bench, "team/app", "one", 1);
    queue_bench_run(bench, &second);
    queue_bench_settle(bench);
    assert_int_equal(queue_bench_puts(bench, "team/app", "one"), 1);
    queue_bench_release(bench);
    queue_bench_expect_end(&first, ERR_OK);
    queue_bench_expect_end(&second, ERR_OK);
    assert_int_equal(queue_bench_puts(bench, "team/app", "one"), 2);
    assert_true(queue_bench_is_there(bench, "one", 1));
}

/* By the time of their acceptance, as long as the younger one has not begun. */
static void the_order_is_not_that_of_their_coming(void **state)
{
    struct queue_bench *bench = *state;
    struct waiting_push first, second;
    queue_bench_hold_put(bench, "one");
    queue_bench_store(bench, 2, "team/app:one");
    queue_bench_until_puts(bench, "team/app", "one", 1);
    queue_bench_await(bench, &first, 0, "team/app:one");
    queue_bench_await(bench, &second, 1, "team/app:one");
    queue_bench_run(bench, &second);
    queue_bench_run(bench, &first);
    queue_bench_release(bench);
    queue_bench_expect_overtaken(bench, &first, 0);
    queue_bench_expect_end(&second, ERR_OK);
    assert_int_equal(queue_bench_puts(bench, "team/app", "one"), 2);
    assert_true(queue_bench_is_there(bench, "one", 1));
}

static void tags_in_any_order_do_not_lock_each_other(void **state)
{
    struct queue_bench *bench = *state;
    struct waiting_push first, second;
    queue_bench_await(bench, &first, 0, "team/app:one team/app:two");
    queue_bench_await(bench, &second, 1, "team/app:two team/app:one");
    queue_bench_hold_put(bench, "one");
    queue_bench_run(bench, &first);
    queue_bench_until_puts(bench, "team/app", "one", 1);
    queue_bench_run(bench, &second);
    queue_bench_settle(bench);
    assert_int_equal(queue_bench_puts(bench, "team/app", "two"), 0);
    queue_bench_release(bench);
    waiting_push_wait(&first);
    assert_int_equal(first.push.targets[0].state, PUSH_PUSHED);
    assert_int_equal(first.push.targets[1].state, PUSH_SUPERSEDED);
    waiting_push_deinit(&first);
    queue_bench_expect_end(&second, ERR_OK);
    assert_true(queue_bench_is_there(bench, "one", 1));
    assert_true(queue_bench_is_there(bench, "two", 1));
}

/* ---- overtaken ---- */

/* The next PUT of a blob is done, and its answer held. */
static void hold_blob(struct queue_bench *bench)
{
    fake_registry_rule(
        bench->test->registry,
        (struct fake_rule){
            .method = "PUT", .part = UPLOADS, .times = 1, .effect = true, .hold = true});
}

static void until_blob(struct queue_bench *bench)
{
    QUEUE_TEST_UNTIL(http_double_count(bench->test->http, "PUT " UPLOADS) > 0);
}

static void who_waits_is_overtaken_by_who_waits(void **state)
{
    struct queue_bench *bench = *state;
    struct waiting_push older, younger;
    queue_bench_await(bench, &older, 0, "team/app:one");
    hold_blob(bench);
    queue_bench_run(bench, &older);
    until_blob(bench);
    queue_bench_await(bench, &younger, 1, "team/app:one");
    queue_bench_run(bench, &younger);
    queue_bench_release(bench);
    queue_bench_expect_overtaken(bench, &older, 0);
    queue_bench_expect_end(&younger, ERR_OK);
    queue_bench_expect_done(bench);
    assert_int_equal(queue_bench_puts(bench, "team/app", "one"), 1);
    assert_true(queue_bench_is_there(bench, "one", 1));
}

static void who_waits_is_overtaken_by_a_promise(void **state)
{
    struct queue_bench *bench = *state;
    struct waiting_push older;
    queue_bench_await(bench, &older, 0, "team/app:one");
    hold_blob(bench);
    queue_bench_run(bench, &older);
    until_blob(bench);
    queue_bench_store(bench, 1, "team/app:one");
    queue_bench_release(bench);
    queue_bench_expect_overtaken(bench, &older, 0);
    queue_bench_expect_done(bench);
    assert_int_equal(queue_bench_puts(bench, "team/app", "one"), 1);
    assert_true(queue_bench_is_there(bench, "one", 1));
}

/* Accepted first, and run when a younger one is there already. */
static void who_comes_late_goes_under_its_digest(void **state)
{
    struct queue_bench *bench = *state;
    struct waiting_push older, younger;
    queue_bench_await(bench, &older, 0, "team/app:one");
    queue_bench_await(bench, &younger, 1, "team/app:one");
    queue_bench_run(bench, &younger);
    queue_bench_expect_end(&younger, ERR_OK);
    queue_bench_run(bench, &older);
    queue_bench_expect_overtaken(bench, &older, 0);
    assert_true(queue_bench_is_there(bench, "one", 1));
}

/* What fails leaves the tag to the older one that has not begun to put it. */
static void who_failed_overtakes_nobody(void **state)
{
    struct queue_bench *bench = *state;
    struct waiting_push older, younger;
    queue_bench_await(bench, &older, 0, "team/app:one");
    queue_bench_await(bench, &younger, 1, "team/app:one");
    queue_bench_answer_puts(bench, "one", 1, 403);
    queue_bench_run(bench, &younger);
    queue_bench_expect_end(&younger, ERR_DENIED);
    queue_bench_run(bench, &older);
    queue_bench_expect_end(&older, ERR_OK);
    assert_true(queue_bench_is_there(bench, "one", 0));
}

static void a_promise_that_runs_is_overtaken(void **state)
{
    struct queue_bench *bench = *state;
    char older[PUSH_ID_MAX];
    hold_blob(bench);
    strcpy(older, queue_bench_store(bench, 0, "team/app:one"));
    until_blob(bench);
    queue_bench_store(bench, 1, "team/app:one");
    queue_bench_release(bench);
    queue_bench_expect_done(bench);
    assert_int_equal(queue_test_state(bench->test, older, 0), PUSH_SUPERSEDED);
    assert_int_equal(queue_bench_puts_by_digest(bench, 0), 1);
    assert_int_equal(queue_bench_puts(bench, "team/app", "one"), 1);
    assert_true(queue_bench_is_there(bench, "one", 1));
}

/* It leaves the tag to who waits, and takes it up where that fails. */
static void a_promise_lets_who_waits_go_first(void **state)
{
    struct queue_bench *bench = *state;
    struct waiting_push younger;
    char older[PUSH_ID_MAX];
    hold_blob(bench);
    strcpy(older, queue_bench_store(bench, 0, "team/app:one"));
    until_blob(bench);
    queue_bench_answer_puts(bench, "one", 1, 403);
    queue_bench_await(bench, &younger, 1, "team/app:one");
    queue_bench_run(bench, &younger);
    queue_bench_release(bench);
    queue_bench_expect_end(&younger, ERR_DENIED);
    queue_bench_expect_done(bench);
    assert_int_equal(queue_test_state(bench->test, older, 0), PUSH_PUSHED);
    assert_int_equal(queue_bench_puts(bench, "team/app", "one"), 2);
    assert_true(queue_bench_is_there(bench, "one", 0));
}

/* A failure of a promise does not make who waits for the same tag wait for its next try. */
static void who_waits_does_not_wait_for_the_circuit(void **state)
{
    struct queue_bench *bench = *state;
    struct waiting_push younger;
    char older[PUSH_ID_MAX];
    queue_bench_wait_long(bench);
    fake_registry_rule(
        bench->test->registry,
        (struct fake_rule){
            .method = "PUT", .part = "one", .times = 5, .status = 503, .hold = true});
    strcpy(older, queue_bench_store(bench, 0, "team/app:one"));
    queue_bench_until_puts(bench, "team/app", "one", 1);
    queue_bench_await(bench, &younger, 1, "team/app:one");
    queue_bench_run(bench, &younger);
    queue_bench_release(bench);
    queue_bench_expect_end(&younger, ERR_OK);
    queue_bench_expect_done(bench);
    assert_int_equal(queue_test_state(bench->test, older, 0), PUSH_SUPERSEDED);
}

static void fifty_that_wait_are_one_put(void **state)
{
    struct queue_bench *bench = *state;
    queue_bench_park(bench, 0, "other/app", "parked");
    for (size_t i = 0; i < 50; i++)
        queue_bench_store(bench, i % 3, "team/app:one");
    queue_bench_expect_records(bench, 2, 2);
    queue_test_close(bench->test);
    queue_bench_open_again(bench);
    queue_bench_expect_done(bench);
    assert_int_equal(queue_bench_puts(bench, "team/app", "one"), 1);
    assert_true(queue_bench_is_there(bench, "one", 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        QUEUE_BENCH_TEST(a_push_without_targets_ends_at_once),
        QUEUE_BENCH_TEST(who_waits_does_not_wait_for_stored_targets),
        QUEUE_BENCH_TEST(tags_of_one_repository_go_one_after_another),
        QUEUE_BENCH_TEST(each_target_ends_by_itself),
        QUEUE_BENCH_TEST(two_of_one_tag_go_in_their_order),
        QUEUE_BENCH_TEST(the_order_is_not_that_of_their_coming),
        QUEUE_BENCH_TEST(tags_in_any_order_do_not_lock_each_other),
        QUEUE_BENCH_TEST(who_waits_is_overtaken_by_who_waits),
        QUEUE_BENCH_TEST(who_waits_is_overtaken_by_a_promise),
        QUEUE_BENCH_TEST(who_comes_late_goes_under_its_digest),
        QUEUE_BENCH_TEST(who_failed_overtakes_nobody),
        QUEUE_BENCH_TEST(a_promise_that_runs_is_overtaken),
        QUEUE_BENCH_TEST(a_promise_lets_who_waits_go_first),
        QUEUE_BENCH_TEST(who_waits_does_not_wait_for_the_circuit),
        QUEUE_BENCH_TEST(fifty_that_wait_are_one_put),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
