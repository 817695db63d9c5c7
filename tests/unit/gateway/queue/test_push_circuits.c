/*
 * Registries that are away: which pushes wait, for how long, and who asks for all of them. Where
 * nothing may happen, another push is made and waited for: the queue had its time.
 */
#include "gateway/queue/push_queue.h"

#include "base/clock.h"
#include "base/mem.h"
#include "tests/support/queue_bench.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* ---- what waits ---- */

static void what_is_away_is_tried_again(void **state)
{
    struct queue_bench *bench = *state;
    queue_bench_answer_puts(bench, "one", 10, 503);
    const char *id = queue_bench_store(bench, 0, "team/app:one team/app:two");
    queue_bench_expect_done(bench);
    assert_int_equal(queue_bench_puts(bench, "team/app", "one"), 11);
    assert_int_equal(queue_bench_puts(bench, "team/app", "two"), 1);
    assert_int_equal(queue_test_state(bench->test, id, 0), PUSH_PUSHED);
}

static void what_waits_says_for_what(void **state)
{
    struct queue_bench *bench = *state;
    struct error err = ERROR_INIT;
    struct push push;
    bool found = false;
    uint64_t before_s = (uint64_t)clock_wall_s();
    const char *id = queue_bench_park(bench, 0, "team/app", "one");
    assert_int_equal(pushes_get(bench->test->runtime.store, id, &push, &found, &err), ERR_OK);
    const struct push_target *target = &push.targets[0];
    assert_int_equal(target->error.status, 503);
    assert_int_equal(target->tries, 1);
    assert_in_range(target->next_s, before_s + 240, (uint64_t)clock_wall_s() + 361);
    push_deinit(&push);
}

static void what_waits_goes_on_at_the_next_start(void **state)
{
    struct queue_bench *bench = *state;
    queue_bench_park(bench, 0, "team/app", "one");
    queue_bench_settle(bench);
    queue_test_close(bench->test);
    queue_bench_expect_records(bench, 1, 1);
    assert_int_equal(queue_bench_puts(bench, "team/app", "one"), 5);
    queue_bench_open_again(bench);
    queue_bench_expect_done(bench);
    assert_int_equal(queue_bench_puts(bench, "team/app", "one"), 6);
}

/* Of all that wait for a registry one is tried, and the others when that one got through. */
static void one_probe_is_made_for_all_that_wait(void **state)
{
    enum { MANY = 20 };
    struct queue_bench *bench = *state;
    bench->test->registry_setting.retry_wait_ms = 300;
    bench->test->settings.limits.pushes_per_registry = 1;
    queue_bench_answer_puts(bench, "tag", 15, 503);
    for (unsigned i = 0; i < MANY; i++) {
        autofree char *target = xasprintf("app%u:tag%u", i, i);
        queue_bench_store(bench, i % QUEUE_BENCH_IMAGES, target);
    }
    queue_bench_expect_done(bench);
    /* Three openings of the circuit, each after five attempts; without it each push would have
     * taken its five. */
    size_t greetings = http_double_count(bench->test->http, "GET /v2/");
    assert_in_range(greetings, 1, MANY + 3);
    for (unsigned i = 0; i < MANY; i++) {
        autofree char *tag = xasprintf("tag%u", i);
        assert_true(queue_bench_is_there(bench, tag, i % QUEUE_BENCH_IMAGES));
    }
}

static void a_deadline_ends_what_waits(void **state)
{
    struct queue_bench *bench = *state;
    queue_bench_answer_puts(bench, "one", 1000, 503);
    struct push push = queue_bench_accepted(bench, 0, "team/app:one");
    char id[PUSH_ID_MAX];
    strcpy(id, push.id);
    push.targets[0].deadline_s = 1;
    queue_bench_start(bench, &push);
    queue_bench_expect_done(bench);
    assert_int_equal(queue_test_state(bench->test, id, 0), PUSH_EXPIRED);
    assert_int_equal(queue_bench_puts(bench, "team/app", "one"), 5);
}

/* ---- circuits ---- */

/* Who waits for his push has just been answered: nobody has to wait for a probe. */
static void a_success_of_who_waits_ends_the_wait(void **state)
{
    struct queue_bench *bench = *state;
    struct waiting_push other;
    queue_bench_park(bench, 0, "team/app", "one");
    queue_bench_store(bench, 1, "other/app:two");
    queue_bench_settle(bench);
    assert_int_equal(queue_bench_puts(bench, "other/app", "two"), 0);
    queue_bench_await(bench, &other, 2, "third/app:three");
    queue_bench_run(bench, &other);
    queue_bench_expect_end(&other, ERR_OK);
    queue_bench_expect_done(bench);
    assert_true(queue_bench_is_there(bench, "one", 0));
    assert_true(queue_bench_is_there(bench, "two", 1));
}

/* He has tried five times, and need not be followed by each of the others. */
static void a_failure_of_who_waits_opens_the_circuit(void **state)
{
    struct queue_bench *bench = *state;
    struct waiting_push waiting;
    bench->test->registry_setting.retry_wait_ms =
        3000000; /* of the circuit: upstream has its own */
    queue_bench_answer_puts(bench, "one", 5, 503);
    queue_bench_await(bench, &waiting, 0, "team/app:one");
    queue_bench_run(bench, &waiting);
    queue_bench_expect_end(&waiting, ERR_REGISTRY_FAULT);
    queue_bench_store(bench, 1, "other/app:two");
    queue_bench_settle(bench);
    assert_int_equal(queue_bench_puts(bench, "other/app", "two"), 0);
    queue_bench_expect_records(bench, 1, 1);
}

static void a_refusal_of_who_waits_opens_nothing(void **state)
{
    struct queue_bench *bench = *state;
    struct waiting_push waiting;
    queue_bench_wait_long(bench);
    queue_bench_answer_puts(bench, "one", 1, 403);
    queue_bench_await(bench, &waiting, 0, "team/app:one");
    queue_bench_run(bench, &waiting);
    queue_bench_expect_end(&waiting, ERR_DENIED);
    queue_bench_store(bench, 1, "other/app:two");
    queue_bench_expect_done(bench);
}

/* A 403 is the repository's, and final, unless GET /v2/ is refused, too. */
static void who_is_let_in_nowhere_waits(void **state)
{
    struct queue_bench *bench = *state;
    queue_bench_store(bench, 0, "team/app:one");
    queue_bench_expect_done(bench);
    queue_bench_answer_puts(bench, "two", 1, 403);
    fake_registry_rule(
        bench->test->registry,
        (struct fake_rule){.method = "GET", .part = "/v2/", .times = 1, .status = 403});
    const char *id = queue_bench_store(bench, 1, "team/app:two");
    queue_bench_expect_done(bench);
    assert_int_equal(queue_test_state(bench->test, id, 0), PUSH_PUSHED);
    assert_int_equal(queue_bench_puts(bench, "team/app", "two"), 2);
}

static size_t probes(struct queue_bench *bench)
{
    return http_double_count(bench->test->http, "GET /v2/");
}

/* While it is away one of all that wait asks, and nothing but GET /v2/. */
static void one_probe_asks_for_all(void **state)
{
    struct queue_bench *bench = *state;
    bench->test->registry_setting.retry_wait_ms = 50;
    queue_bench_answer_puts(bench, "one", 5, 503);
    const char *id = queue_bench_store(bench, 0, "team/app:one");
    QUEUE_TEST_UNTIL(queue_test_state(bench->test, id, 0) == PUSH_WAITING);
    fake_registry_rule(
        bench->test->registry,
        (struct fake_rule){.method = "GET", .part = "/v2/", .times = 4, .status = 503});
    size_t before = probes(bench);
    for (int i = 0; i < 8; i++) {
        autofree char *target = xasprintf("app%d/app:t%d", i, i);
        queue_bench_store(bench, 1, target);
    }
    queue_bench_expect_done(bench);
    /* four in vain, the one that is answered, and at most the three of the ramp 2, 4 */
    assert_in_range(probes(bench) - before, 5, 8);
    assert_int_equal(queue_bench_puts(bench, "app7/app", "t7"), 1);
    assert_true(queue_bench_is_there(bench, "one", 0));
}

/* As long as a registry asks for, whatever the delay. */
static void a_registry_is_left_alone_as_it_asks(void **state)
{
    struct queue_bench *bench = *state;
    bench->test->registry_setting.retry_wait_ms = 1;
    fake_registry_rule(bench->test->registry,
                       (struct fake_rule){.method = "GET",
                                          .part = "/v2/",
                                          .times = 1,
                                          .status = 503,
                                          .headers = "Retry-After: 300\r\n"});
    uint64_t before_s = (uint64_t)clock_wall_s();
    const char *id = queue_bench_store(bench, 0, "team/app:one");
    QUEUE_TEST_UNTIL(queue_test_state(bench->test, id, 0) == PUSH_WAITING);
    struct error err = ERROR_INIT;
    struct push push;
    bool found = false;
    assert_int_equal(pushes_get(bench->test->runtime.store, id, &push, &found, &err), ERR_OK);
    assert_in_range(push.targets[0].next_s, before_s + 290, (uint64_t)clock_wall_s() + 301);
    push_deinit(&push);
    assert_int_equal(probes(bench), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        QUEUE_BENCH_TEST(what_is_away_is_tried_again),
        QUEUE_BENCH_TEST(what_waits_says_for_what),
        QUEUE_BENCH_TEST(what_waits_goes_on_at_the_next_start),
        QUEUE_BENCH_TEST(one_probe_is_made_for_all_that_wait),
        QUEUE_BENCH_TEST(a_deadline_ends_what_waits),
        QUEUE_BENCH_TEST(a_success_of_who_waits_ends_the_wait),
        QUEUE_BENCH_TEST(a_failure_of_who_waits_opens_the_circuit),
        QUEUE_BENCH_TEST(a_refusal_of_who_waits_opens_nothing),
        QUEUE_BENCH_TEST(who_is_let_in_nowhere_waits),
        QUEUE_BENCH_TEST(one_probe_asks_for_all),
        QUEUE_BENCH_TEST(a_registry_is_left_alone_as_it_asks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
