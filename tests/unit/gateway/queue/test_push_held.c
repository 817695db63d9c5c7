/*
 * Pushes of what has been held all along: they give way to whatever else goes to their tag.
 */
#include "gateway/queue/push_queue.h"

#include "base/clock.h"
#include "base/mem.h"
#include "tests/support/queue_bench.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void expect(struct queue_bench *bench, struct push *push, enum push_state state)
{
    queue_test_idle(bench->test);
    assert_int_equal(queue_test_state(bench->test, push->id, 0), state);
    push_deinit(push);
}

/* Its records were mended, and no queue had it: it goes once, however often it is named. */
static void what_was_mended_goes_on(void **state)
{
    struct queue_bench *bench = *state;
    struct push mended = queue_bench_accepted(bench, 0, "team/app:one");
    queue_bench_hold_put(bench, "manifests/one");
    push_queue_take(bench->test->queue, mended.id);
    push_queue_take(bench->test->queue, mended.id);
    fake_registry_release(bench->test->registry);
    expect(bench, &mended, PUSH_PUSHED);
    push_queue_take(bench->test->queue, mended.id);
    push_queue_take(bench->test->queue, "nobody");
    queue_test_idle(bench->test);
    assert_int_equal(queue_bench_puts(bench, "team/app", "one"), 1);
}

static void alone_it_is_pushed(void **state)
{
    struct queue_bench *bench = *state;
    struct push held = queue_bench_accepted(bench, 0, "team/app:one");
    assert_false(push_queue_is_busy(bench->test->queue, &held.targets[0].reference));
    push_queue_start_held(bench->test->queue, &held, held.id);
    expect(bench, &held, PUSH_PUSHED);
    assert_true(queue_bench_is_there(bench, "one", 0));
}

/* One that runs, however old it is. */
static void what_is_under_way_goes_before_it(void **state)
{
    struct queue_bench *bench = *state;
    queue_bench_hold_put(bench, "one");
    struct push running = queue_bench_accepted(bench, 1, "team/app:one");
    push_queue_start(bench->test->queue, &running);
    QUEUE_TEST_UNTIL(queue_bench_puts(bench, "team/app", "one") == 1);
    struct push held = queue_bench_accepted(bench, 0, "team/app:one");
    assert_true(push_queue_is_busy(bench->test->queue, &held.targets[0].reference));
    push_queue_start_held(bench->test->queue, &held, held.id);
    assert_int_equal(queue_test_state(bench->test, held.id, 0), PUSH_SUPERSEDED);
    fake_registry_release(bench->test->registry);
    expect(bench, &held, PUSH_SUPERSEDED);
    expect(bench, &running, PUSH_PUSHED);
    assert_true(queue_bench_is_there(bench, "one", 1));
}

/* Between the look at the tag and now. */
static void what_has_ended_since_counts(void **state)
{
    struct queue_bench *bench = *state;
    struct push before = queue_bench_accepted(bench, 0, "team/app:two");
    struct push since = queue_bench_accepted(bench, 1, "team/app:one");
    push_queue_start(bench->test->queue, &since);
    queue_test_idle(bench->test);
    struct push held = queue_bench_accepted(bench, 0, "team/app:one");
    push_queue_start_held(bench->test->queue, &held, before.id);
    expect(bench, &held, PUSH_SUPERSEDED);
    held = queue_bench_accepted(bench, 0, "team/app:one");
    push_queue_start_held(bench->test->queue, &held, held.id); /* that is known of it */
    expect(bench, &held, PUSH_PUSHED);
    push_deinit(&since);
    push_queue_start(bench->test->queue, &before);
    expect(bench, &before, PUSH_PUSHED);
}

/* A push that was accepted before it and comes after it, which are moments. */
static void an_older_one_that_comes_later_goes_before_it(void **state)
{
    struct queue_bench *bench = *state;
    queue_bench_hold_put(bench, "two");
    struct push blocking = queue_bench_accepted(bench, 2, "team/app:two");
    push_queue_start(bench->test->queue, &blocking);
    QUEUE_TEST_UNTIL(queue_bench_puts(bench, "team/app", "two") == 1);
    struct push older = queue_bench_accepted(bench, 1, "team/app:one");
    struct push held = queue_bench_accepted(bench, 0, "team/app:one");
    push_queue_start_held(bench->test->queue, &held, held.id);
    push_queue_start(bench->test->queue, &older);
    fake_registry_release(bench->test->registry);
    expect(bench, &held, PUSH_SUPERSEDED);
    expect(bench, &older, PUSH_PUSHED);
    expect(bench, &blocking, PUSH_PUSHED);
    assert_true(queue_bench_is_there(bench, "one", 1));
}

/* Also when it runs already. */
static void an_older_one_follows_it(void **state)
{
    struct queue_bench *bench = *state;
    queue_bench_hold_put(bench, "one");
    struct push older = queue_bench_accepted(bench, 1, "team/app:one");
    struct push held = queue_bench_accepted(bench, 0, "team/app:one");
    push_queue_start_held(bench->test->queue, &held, held.id);
    QUEUE_TEST_UNTIL(queue_bench_puts(bench, "team/app", "one") == 1);
    push_queue_start(bench->test->queue, &older);
    fake_registry_release(bench->test->registry);
    expect(bench, &held, PUSH_PUSHED);
    expect(bench, &older, PUSH_PUSHED);
    assert_true(queue_bench_is_there(bench, "one", 1));
}

/* The same of one that a client waits for. */
static void who_waits_goes_before_it(void **state)
{
    struct queue_bench *bench = *state;
    struct waiting_push waiting;
    queue_bench_hold_put(bench, "two");
    struct push blocking = queue_bench_accepted(bench, 2, "team/app:two");
    push_queue_start(bench->test->queue, &blocking);
    QUEUE_TEST_UNTIL(queue_bench_puts(bench, "team/app", "two") == 1);
    waiting_push_init(&waiting, bench->test, &bench->images[1].manifest, "team/app:one");
    struct push held = queue_bench_accepted(bench, 0, "team/app:one");
    push_queue_start_held(bench->test->queue, &held, held.id);
    waiting_push_run(&waiting, bench->test);
    waiting_push_wait(&waiting);
    assert_int_equal(waiting.push.targets[0].state, PUSH_PUSHED);
    fake_registry_release(bench->test->registry);
    expect(bench, &held, PUSH_SUPERSEDED);
    expect(bench, &blocking, PUSH_PUSHED);
    assert_true(queue_bench_is_there(bench, "one", 1));
    waiting_push_deinit(&waiting);
}

static void a_registry_that_is_away_is_known(void **state)
{
    struct queue_bench *bench = *state;
    struct error why = ERROR_INIT;
    queue_bench_wait_long(bench);
    assert_false(push_queue_is_away(bench->test->queue, bench->test->host, &why));
    queue_bench_answer_puts(bench, "one", 5, 503);
    struct push push = queue_bench_accepted(bench, 0, "team/app:one");
    push_queue_start(bench->test->queue, &push);
    QUEUE_TEST_UNTIL(queue_test_state(bench->test, push.id, 0) == PUSH_WAITING);
    assert_true(push_queue_is_away(bench->test->queue, bench->test->host, &why));
    assert_int_equal(why.code, ERR_REGISTRY_FAULT);
    push_deinit(&push);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        QUEUE_BENCH_TEST(what_was_mended_goes_on),
        QUEUE_BENCH_TEST(alone_it_is_pushed),
        QUEUE_BENCH_TEST(what_is_under_way_goes_before_it),
        QUEUE_BENCH_TEST(what_has_ended_since_counts),
        QUEUE_BENCH_TEST(an_older_one_that_comes_later_goes_before_it),
        QUEUE_BENCH_TEST(an_older_one_follows_it),
        QUEUE_BENCH_TEST(who_waits_goes_before_it),
        QUEUE_BENCH_TEST(a_registry_that_is_away_is_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
