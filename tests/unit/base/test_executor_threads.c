/*
 * The threads of an executor: few are enough, idle ones end, and nothing is left by them; and all
 * that an executor does at once.
 */
#include "base/executor.h"

#include "base/cancel.h"
#include "base/clock.h"
#include "base/mem.h"
#include "tests/support/work_scene.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

/* Works wait for the threads that there are; nothing fails where no more can be made. */
static void test_few_threads_are_enough(void **state)
{
    (void)state;
    struct work_scene scene;
    work_scene_init(&scene, 1, WORK_SCENE_IDLE_MS);
    struct work_queue *queue = work_queue_new(scene.executor, NULL, 64);
    struct work_probe probes[100];
    for (int i = 0; i < 100; i++) {
        probes[i] = work_probe_of(&scene, 'x', false);
        work_submit(queue, &probes[i].work);
    }
    work_scene_wait(&scene, 0, 100);
    assert_int_equal(executor_threads(scene.executor), 1);
    work_queue_free(queue);
    work_scene_deinit(&scene);
}

/* Submit a work every `every_ms`, none for 0, until a single thread is left. */
static void wait_for_the_last(struct work_scene *scene, struct work_queue *queue, int every_ms)
{
    int64_t until_ms = clock_ms() + WORK_SCENE_MS;
    struct cancel pause;
    cancel_init(&pause);
    unsigned ended = scene->ended;
    while (executor_threads(scene->executor) > 1 && clock_ms() < until_ms) {
        struct work_probe probe = work_probe_of(scene, '\0', false);
        cancel_wait(&pause, every_ms ? every_ms : 5);
        if (every_ms) {
            work_submit(queue, &probe.work);
            work_scene_wait(scene, 0, ++ended);
        }
    }
    cancel_deinit(&pause);
    assert_int_equal(executor_threads(scene->executor), 1);
}

static void idle_threads_end(int64_t idle_ms, int every_ms)
{
    struct work_scene scene;
    work_scene_init(&scene, 16, idle_ms);
    struct work_queue *queue = work_queue_new(scene.executor, NULL, 16);
    struct work_probe probes[16];
    for (int i = 0; i < 16; i++) {
        probes[i] = work_probe_of(&scene, 'x', true);
        work_submit(queue, &probes[i].work);
    }
    work_scene_wait(&scene, 16, 0);
    assert_int_equal(executor_threads(scene.executor), 16);
    work_scene_let_go(&scene);
    work_scene_wait(&scene, 0, 16);
    wait_for_the_last(&scene, queue, every_ms);
    work_queue_free(queue);
    work_scene_deinit(&scene);
}

static void test_idle_threads_end(void **state)
{
    (void)state;
    idle_threads_end(WORK_SCENE_IDLE_MS, 0);
}

/* A little work keeps one thread, not each that takes its turn. */
static void test_idle_threads_end_beside_a_trickle(void **state)
{
    (void)state;
    idle_threads_end(200, 10);
}

static pthread_key_t kept_key;
static atomic_uint given_back;

static void give_back_slowly(void *value)
{
    (void)value;
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    atomic_fetch_add(&given_back, 1);
}

static void run_keeping(struct work *work)
{
    static char kept;
    pthread_setspecific(kept_key, &kept);
    work_probe_run(work);
}

/* What a library keeps for a thread is given back before the executor is gone: after it, the
 * process may end, and the library with it. */
static void test_threads_end_to_their_end(void **state)
{
    (void)state;
    enum { THREADS = 4 };
    struct work_scene scene;
    work_scene_init(&scene, THREADS, WORK_SCENE_IDLE_MS);
    assert_int_equal(pthread_key_create(&kept_key, give_back_slowly), 0);
    atomic_store(&given_back, 0);
    struct work_queue *queue = work_queue_new(scene.executor, NULL, THREADS);
    struct work_probe probes[THREADS];
    for (int i = 0; i < THREADS; i++) {
        probes[i] = work_probe_of(&scene, 'x', true);
        probes[i].work.run = run_keeping;
        work_submit(queue, &probes[i].work);
    }
    work_scene_wait(&scene, THREADS, 0);
    work_scene_let_go(&scene);
    work_scene_wait(&scene, 0, THREADS);
    work_queue_free(queue);
    work_scene_deinit(&scene);
    assert_int_equal(atomic_load(&given_back), THREADS);
    pthread_key_delete(kept_key);
}

/* What comes in the moment in which the only idle thread ends is done all the same. */
static void test_nothing_is_left_by_a_thread_that_ends(void **state)
{
    (void)state;
    enum { ROUNDS = 1500 };
    struct work_scene scene;
    const struct executor_options options = {.threads_max = 2, .idle_ms = 1};
    struct error err = ERROR_INIT;
    work_scene_init(&scene, 1, WORK_SCENE_IDLE_MS);
    executor_free(scene.executor);
    assert_int_equal(executor_new(&options, &scene.executor, &err), ERR_OK);
    struct work_queue *queue = work_queue_new(scene.executor, NULL, 2);
    struct work_probe busy = work_probe_of(&scene, 'x', true);
    work_submit(queue, &busy.work);
    work_scene_wait(&scene, 1, 0);
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct timespec pause = {.tv_nsec = 900000 + 1000 * (long)(round * 7 % 400)};
        struct work_probe probe = work_probe_of(&scene, '\0', false);
        work_submit(queue, &probe.work);
        work_scene_wait(&scene, 1, round + 1);
        nanosleep(&pause, NULL);
    }
    work_scene_let_go(&scene);
    work_scene_wait(&scene, 0, ROUNDS + 1);
    work_queue_free(queue);
    work_scene_deinit(&scene);
}

/* ---- everything at once ---- */

#define STORM_QUEUES 5
#define STORM_WORKS 64 /* of each thread that submits */
#define STORM_THREADS 4
#define STORM_KEYS 7

struct storm {
    struct executor *executor;
    struct work_group *group;
    struct work_queue *queues[STORM_QUEUES];
    atomic_uint running[STORM_QUEUES];
    atomic_uint keyed[STORM_KEYS];
    atomic_ulong done;
    atomic_ulong wrong;
    unsigned long items; /* of each thread */
};

struct storm_work {
    struct work work;
    struct storm *storm;
    unsigned queue;
    int key;
    bool holds;
    atomic_bool busy;
    char name[8];
};

static const unsigned storm_limits[STORM_QUEUES] = {1, 2, 3, 4, 8};

static unsigned next_random(unsigned *seed)
{
    *seed = *seed * 1103515245u + 12345u;
    return *seed >> 16;
}

static void storm_end(struct storm_work *item)
{
    struct storm *storm = item->storm;
    if (item->key >= 0)
        atomic_fetch_sub(&storm->keyed[item->key], 1);
    atomic_fetch_sub(&storm->running[item->queue], 1);
    atomic_fetch_add(&storm->done, 1);
}

static void run_storm(struct work *work)
{
    struct storm_work *item = (struct storm_work *)work;
    struct storm *storm = item->storm;
    unsigned now = atomic_fetch_add(&storm->running[item->queue], 1) + 1;
    bool wrong = now > storm_limits[item->queue];
    if (item->key >= 0)
        wrong |= atomic_fetch_add(&storm->keyed[item->key], 1) > 0;
    if (wrong)
        atomic_fetch_add(&storm->wrong, 1);
    storm_end(item);
    if (item->holds) {
        work_hold(work);
        work_release(work);
    }
    atomic_store(&item->busy, false);
}

static void storm_submit(struct storm *storm, struct storm_work *item, unsigned *seed)
{
    unsigned dice = next_random(seed);
    item->queue = dice % STORM_QUEUES;
    item->key = dice % 3 == 0 ? (int)(next_random(seed) % STORM_KEYS) : -1;
    item->holds = dice % 11 == 0;
    snprintf(item->name, sizeof item->name, "k%d", item->key);
    item->work.key = item->key >= 0 ? item->name : NULL;
    atomic_store(&item->busy, true);
    if (dice % 17 == 0)
        work_submit_at(storm->queues[item->queue], &item->work, clock_ms() + (int64_t)(dice % 3));
    else
        work_submit(storm->queues[item->queue], &item->work);
    if (dice % 5 == 0 && work_cancel(storm->queues[item->queue], &item->work)) {
        atomic_fetch_add(&storm->done, 1);
        atomic_store(&item->busy, false);
    }
    if (dice % 997 == 0)
        work_queue_pause(storm->queues[dice % STORM_QUEUES], clock_ms() + 1);
}

static void *raise_storm(void *arg)
{
    struct storm *storm = arg;
    unsigned seed = (unsigned)(uintptr_t)&seed;
    struct storm_work *items = xcalloc(STORM_WORKS, sizeof *items);
    for (size_t i = 0; i < STORM_WORKS; i++)
        items[i] = (struct storm_work){.work = {.run = run_storm}, .storm = storm};
    for (unsigned long made = 0; made < storm->items;)
        for (size_t i = 0; i < STORM_WORKS && made < storm->items; i++)
            if (!atomic_load(&items[i].busy)) {
                storm_submit(storm, &items[i], &seed);
                made++;
            }
    for (size_t i = 0; i < STORM_WORKS; i++)
        while (atomic_load(&items[i].busy))
            sched_yield();
    /* The last run() may still be about to return: queues are freed before the items. */
    return items;
}

/* SLIPWAY_STORM: how many works; the executor is made and ended anew for each tenth of them. */
static void test_a_storm(void **state)
{
    (void)state;
    const char *asked = getenv("SLIPWAY_STORM");
    unsigned long all = asked ? strtoul(asked, NULL, 10) : 100000;
    for (int round = 0; round < 10; round++) {
        struct storm storm = {.executor = work_scene_executor(6, WORK_SCENE_IDLE_MS),
                              .items = all / 10 / STORM_THREADS};
        void *items[STORM_THREADS];
        pthread_t threads[STORM_THREADS];
        storm.group = work_group_new(storm.executor, 5);
        for (int i = 0; i < STORM_QUEUES; i++)
            storm.queues[i] =
                work_queue_new(storm.executor, i % 2 ? storm.group : NULL, storm_limits[i]);
        for (int i = 0; i < STORM_THREADS; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, raise_storm, &storm), 0);
        for (int i = 0; i < STORM_THREADS; i++)
            pthread_join(threads[i], &items[i]);
        assert_int_equal(atomic_load(&storm.done), storm.items * STORM_THREADS);
        assert_int_equal(atomic_load(&storm.wrong), 0);
        for (int i = 0; i < STORM_QUEUES; i++)
            work_queue_free(storm.queues[i]);
        work_group_free(storm.group);
        executor_free(storm.executor);
        for (int i = 0; i < STORM_THREADS; i++)
            free(items[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_few_threads_are_enough),
        cmocka_unit_test(test_idle_threads_end),
        cmocka_unit_test(test_idle_threads_end_beside_a_trickle),
        cmocka_unit_test(test_threads_end_to_their_end),
        cmocka_unit_test(test_nothing_is_left_by_a_thread_that_ends),
        cmocka_unit_test(test_a_storm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
