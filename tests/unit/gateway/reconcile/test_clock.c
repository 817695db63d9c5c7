/*
 * Which image a tag should be is told by what came last, also where the clock was set back between
 * the two.
 */
#include "gateway/reconcile/sweeps.h"
#include "store/batch.h"
#include "store/repositories.h"
#include "tests/support/queue_bench.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define WAIT_MS 20000

int64_t __real_clock_wall_s(void);
int64_t __real_clock_wall_ms(void);
int64_t __wrap_clock_wall_s(void);
int64_t __wrap_clock_wall_ms(void);

static _Atomic int64_t ahead_s;

int64_t __wrap_clock_wall_s(void)
{
    return __real_clock_wall_s() + atomic_load(&ahead_s);
}

int64_t __wrap_clock_wall_ms(void)
{
    return __real_clock_wall_ms() + 1000 * atomic_load(&ahead_s);
}

static void put_at_front(struct queue_bench *bench, size_t image)
{
    struct error err = ERROR_INIT;
    const struct descriptor *manifest = &bench->images[image].manifest;
    struct manifest_entry entry = {
        .repository = "team/app",
        .tag = "one",
        .manifest = {.digest = manifest->digest, .size = manifest->size}};
    snprintf(entry.manifest.media_type, sizeof entry.manifest.media_type, "%s",
             manifest->media_type);
    struct batch *batch = batch_begin(bench->test->runtime.store, BATCH_DURABLE);
    batch_put_manifest(batch, &entry);
    if (batch_commit(batch, &err) != ERR_OK)
        fail_msg("%s", err.text);
}

static void push_to_mirror(struct queue_bench *bench, size_t image)
{
    struct push push = queue_bench_promise(bench, image, "team/app:one", "front");
    queue_bench_start(bench, &push);
    queue_test_idle(bench->test);
    assert_true(queue_bench_is_there(bench, "one", image));
}

static void reconcile(struct queue_bench *bench)
{
    struct error err = ERROR_INIT;
    struct sweeps *sweeps = sweeps_new(&bench->test->runtime, bench->test->queue);
    const struct sweep_order order = {.kind = SWEEP_RECONCILE, .target = "front"};
    assert_int_equal(sweeps_start(sweeps, &order, &err), ERR_OK);
    assert_true(sweeps_wait(sweeps, WAIT_MS));
    queue_test_idle(bench->test);
    sweeps_close(sweeps);
    sweeps_free(sweeps);
}

/* Whatever the clock says meanwhile. */
static void what_came_last_stays(struct queue_bench *bench, int64_t first_ahead_s,
                                 int64_t then_ahead_s)
{
    static const char *const names[] = {"front", NULL};
    queue_bench_configure(bench, names);
    queue_test_close(bench->test);
    queue_test_open(bench->test);
    atomic_store(&ahead_s, first_ahead_s);
    put_at_front(bench, 0);
    push_to_mirror(bench, 0);
    atomic_store(&ahead_s, then_ahead_s);
    push_to_mirror(bench, 1);
    reconcile(bench);
    assert_true(queue_bench_is_there(bench, "one", 1));
    put_at_front(bench, 2);
    reconcile(bench);
    assert_true(queue_bench_is_there(bench, "one", 2));
    atomic_store(&ahead_s, 0);
}

static void with_a_clock_that_is_right(void **state)
{
    what_came_last_stays(*state, 0, 0);
}

static void with_a_clock_that_is_set_back(void **state)
{
    what_came_last_stays(*state, 60, 0);
}

static void with_a_clock_that_is_set_forward(void **state)
{
    what_came_last_stays(*state, 0, 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        QUEUE_BENCH_TEST(with_a_clock_that_is_right),
        QUEUE_BENCH_TEST(with_a_clock_that_is_set_back),
        QUEUE_BENCH_TEST(with_a_clock_that_is_set_forward),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
