/*
 * What comes in the last millisecond of an open circuit: the clock goes on between two looks at it.
 */
#include "gateway/queue/push_queue_internal.h"
#include "tests/support/queue_bench.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define OPEN_MS 500

int64_t __real_clock_ms(void);
int64_t __wrap_clock_ms(void);

/* On this thread the next look sees the millisecond before `until_ms`, those after it that one. */
static _Thread_local unsigned looks;
static _Thread_local int64_t until_ms;

int64_t __wrap_clock_ms(void)
{
    int64_t now_ms = __real_clock_ms();
    if (until_ms == 0)
        return now_ms;
    int64_t wanted_ms = looks++ == 0 ? until_ms - 1 : until_ms;
    while (now_ms < wanted_ms)
        now_ms = __real_clock_ms();
    return now_ms;
}

static int64_t open_until_ms(struct queue_bench *bench)
{
    struct push_queue *queue = bench->test->queue;
    pthread_mutex_lock(&queue->lock);
    int64_t open_ms = queue->hosts->gate.circuit.until_ms;
    pthread_mutex_unlock(&queue->lock);
    return open_ms;
}

static void what_comes_as_a_circuit_ends_is_let_go(void **state)
{
    struct queue_bench *bench = *state;
    struct waiting_push waiting;
    bench->test->registry_setting.retry_wait_ms = OPEN_MS;
    queue_bench_answer_puts(bench, "one", 5, 503);
    queue_bench_await(bench, &waiting, 0, "team/app:one");
    queue_bench_run(bench, &waiting);
    queue_bench_expect_end(&waiting, ERR_REGISTRY_FAULT);
    struct push push = queue_bench_accepted(bench, 1, "other/app:two");
    until_ms = open_until_ms(bench);
    queue_bench_start(bench, &push);
    until_ms = 0;
    assert_true(looks > 0);
    queue_bench_until_puts(bench, "other/app", "two", 1);
    queue_bench_expect_done(bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        QUEUE_BENCH_TEST(what_comes_as_a_circuit_ends_is_let_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
