/* Queues with limits, groups, keys, times and pauses; cancelling, holding; and all of it at once.
 */
#include "base/cancel.h"
#include "base/clock.h"
#include "base/executor.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

#define DEADLINE_MS 20000
#define IDLE_MS 20

static struct executor *executor_of(unsigned threads, int64_t idle_ms)
{
    struct executor *executor = NULL;
    struct error err = ERROR_INIT;
    const struct executor_options options = {.threads_max = threads, .idle_ms = idle_ms};
    if (executor_new(&options, &executor, &err) != ERR_OK)
        fail_msg("%s", err.text);
    return executor;
}

/* A work that notes when it ran, and may be made to wait. */
struct probe {
    struct work work;
    struct scene *scene;
    char name;
    bool blocks;
};

struct scene {
    struct executor *executor;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    char log[256]; /* names in the order of their beginning */
    unsigned running;
    unsigned most;
    unsigned ended;
    bool open; /* what blocks may go on */
};

static void scene_init(struct scene *scene, unsigned threads, int64_t idle_ms)
{
    *scene = (struct scene){.executor = executor_of(threads, idle_ms)};
    pthread_mutex_init(&scene->lock, NULL);
    clock_cond_init(&scene->changed);
}

static void scene_deinit(struct scene *scene)
{
    executor_free(scene->executor);
    pthread_cond_destroy(&scene->changed);
    pthread_mutex_destroy(&scene->lock);
}

static void run_probe(struct work *work)
{
    struct probe *probe = (struct probe *)work;
    struct scene *scene = probe->scene;
    pthread_mutex_lock(&scene->lock);
    scene->log[strlen(scene->log)] = probe->name;
    if (++scene->running > scene->most)
        scene->most = scene->running;
    pthread_cond_broadcast(&scene->changed);
    while (probe->blocks && !scene->open)
        pthread_cond_wait(&scene->changed, &scene->lock);
    scene->running--;
    scene->ended++;
    pthread_cond_broadcast(&scene->changed);
    pthread_mutex_unlock(&scene->lock);
}

static struct probe probe_of(struct scene *scene, char name, bool blocks)
{
    return (struct probe){
        .work = {.run = run_probe}, .scene = scene, .name = name, .blocks = blocks};
}

static void wait_until(struct scene *scene, unsigned running, unsigned ended)
{
    struct timespec until = clock_deadline(DEADLINE_MS);
    int rc = 0;
    pthread_mutex_lock(&scene->lock);
    while ((scene->running < running || scene->ended < ended) && rc == 0)
        rc = pthread_cond_timedwait(&scene->changed, &scene->lock, &until);
    pthread_mutex_unlock(&scene->lock);
    assert_int_equal(rc, 0);
}

/* It ends, and so many have begun thereafter. */
static void let_one_go(struct probe *probe, size_t begun)
{
    struct scene *scene = probe->scene;
    struct timespec until = clock_deadline(DEADLINE_MS);
    int rc = 0;
    pthread_mutex_lock(&scene->lock);
    probe->blocks = false;
    pthread_cond_broadcast(&scene->changed);
    while (strlen(scene->log) < begun && rc == 0)
        rc = pthread_cond_timedwait(&scene->changed, &scene->lock, &until);
    pthread_mutex_unlock(&scene->lock);
    assert_int_equal(rc, 0);
}

static void let_go(struct scene *scene)
{
    pthread_mutex_lock(&scene->lock);
    scene->open = true;
    pthread_cond_broadcast(&scene->changed);
    pthread_mutex_unlock(&scene->lock);
}

static void test_a_queue_has_its_limit_and_its_order(void **state)
{
    (void)state;
    for (unsigned limit = 1; limit <= 3; limit++) {
        struct scene scene;
        scene_init(&scene, 8, IDLE_MS);
        struct work_queue *queue = work_queue_new(scene.executor, NULL, limit);
        struct probe probes[5];
        assert_true(work_queue_has_place(queue));
        for (int i = 0; i < 5; i++) {
            probes[i] = probe_of(&scene, (char)('a' + i), true);
            work_submit(queue, &probes[i].work);
            if (limit == 1 && i == 0)
                wait_until(&scene, 1, 0);
        }
        wait_until(&scene, limit, 0);
        assert_int_equal(work_queue_waiting(queue), 5 - limit);
        assert_false(work_queue_has_place(queue));
        let_go(&scene);
        wait_until(&scene, 0, 5);
        assert_int_equal(scene.most, limit);
        if (limit == 1)
            assert_string_equal(scene.log, "abcde");
        work_queue_free(queue);
        scene_deinit(&scene);
    }
}

static void test_a_limit_may_change(void **state)
{
    (void)state;
    struct scene scene;
    scene_init(&scene, 8, IDLE_MS);
    struct work_queue *queue = work_queue_new(scene.executor, NULL, 1);
    struct probe probes[4];
    for (int i = 0; i < 4; i++) {
        probes[i] = probe_of(&scene, (char)('a' + i), true);
        work_submit(queue, &probes[i].work);
    }
    wait_until(&scene, 1, 0);
    work_queue_set_limit(queue, 3);
    wait_until(&scene, 3, 0);
    assert_int_equal(work_queue_waiting(queue), 1);
    let_go(&scene);
    wait_until(&scene, 0, 4);
    work_queue_free(queue);
    scene_deinit(&scene);
}

/* One queue holds the whole group but for one place: that goes to each queue of which nothing runs
 * before a second one of any. */
static void test_a_group_is_fair(void **state)
{
    (void)state;
    struct scene scene;
    scene_init(&scene, 8, IDLE_MS);
    struct work_group *group = work_group_new(scene.executor, 3);
    struct work_queue *queues[3];
    struct probe probes[3][4];
    for (int q = 0; q < 3; q++)
        queues[q] = work_queue_new(scene.executor, group, 4);
    for (int q = 0; q < 3; q++)
        for (int i = 0; i < 4; i++) {
            probes[q][i] = probe_of(&scene, (char)('a' + q), true);
            work_submit(queues[q], &probes[q][i].work);
            if (q == 0 && i == 1)
                wait_until(&scene, 2, 0);
            if (q == 0 && i == 2) /* the group is full */
                wait_until(&scene, 3, 0);
        }
    assert_string_equal(scene.log, "aaa");
    assert_false(work_queue_has_place(queues[1]));
    let_one_go(&probes[0][0], 4);
    let_one_go(&probes[0][1], 5);
    assert_string_equal(scene.log, "aaabc");
    let_go(&scene);
    wait_until(&scene, 0, 12);
    assert_true(scene.most <= 3);
    for (int q = 0; q < 3; q++)
        work_queue_free(queues[q]);
    work_group_free(group);
    scene_deinit(&scene);
}

static void test_a_key_is_an_order_over_queues(void **state)
{
    (void)state;
    struct scene scene;
    scene_init(&scene, 8, IDLE_MS);
    struct work_queue *queues[2] = {work_queue_new(scene.executor, NULL, 8),
                                    work_queue_new(scene.executor, NULL, 8)};
    struct probe probes[6];
    for (int i = 0; i < 6; i++) {
        probes[i] = probe_of(&scene, (char)('a' + i), true);
        probes[i].work.key = i == 5 ? "other" : "same";
        work_submit(queues[i % 2], &probes[i].work);
    }
    wait_until(&scene, 2, 0); /* a and f */
    assert_int_equal(work_queue_waiting(queues[0]) + work_queue_waiting(queues[1]), 0);
    assert_true(work_cancel(queues[0], &probes[2].work));
    assert_false(work_cancel(queues[0], &probes[2].work));
    let_go(&scene);
    wait_until(&scene, 0, 5);
    char order[8] = "";
    for (const char *at = scene.log; *at; at++)
        if (*at != 'f')
            order[strlen(order)] = *at;
    assert_string_equal(order, "abde");
    work_queue_free(queues[0]);
    work_queue_free(queues[1]);
    scene_deinit(&scene);
}

static void test_times_and_pauses(void **state)
{
    (void)state;
    struct scene scene;
    scene_init(&scene, 4, IDLE_MS);
    struct work_queue *queue = work_queue_new(scene.executor, NULL, 1);
    struct probe late = probe_of(&scene, 'l', false);
    struct probe soon = probe_of(&scene, 's', false);
    struct probe never = probe_of(&scene, 'n', false);
    struct probe past = probe_of(&scene, 'p', false);
    int64_t now_ms = clock_ms();
    work_submit_at(queue, &late.work, now_ms + 120);
    work_submit_at(queue, &never.work, now_ms + 60000);
    work_submit_at(queue, &soon.work, now_ms + 40);
    work_submit_at(queue, &past.work, now_ms - 1);
    wait_until(&scene, 0, 3);
    assert_string_equal(scene.log, "psl");
    assert_true(clock_ms() - now_ms >= 120);
    assert_true(work_cancel(queue, &never.work));

    now_ms = clock_ms();
    work_queue_pause(queue, now_ms + 80);
    work_queue_pause(queue, now_ms + 10); /* earlier: changes nothing */
    assert_false(work_queue_has_place(queue));
    work_submit(queue, &soon.work);
    wait_until(&scene, 0, 4);
    assert_true(clock_ms() - now_ms >= 80);
    work_queue_pause(queue, clock_ms() + 60000);
    work_queue_free(queue);
    scene_deinit(&scene);
}

static void test_what_has_not_begun_can_be_cancelled(void **state)
{
    (void)state;
    struct scene scene;
    scene_init(&scene, 4, IDLE_MS);
    struct work_queue *queue = work_queue_new(scene.executor, NULL, 1);
    struct probe first = probe_of(&scene, 'f', true);
    struct probe second = probe_of(&scene, 's', true);
    assert_false(work_cancel(queue, &second.work));
    work_submit(queue, &first.work);
    wait_until(&scene, 1, 0);
    work_submit(queue, &second.work);
    assert_false(work_cancel(queue, &first.work));
    assert_true(work_cancel(queue, &second.work));
    let_go(&scene);
    wait_until(&scene, 0, 1);
    work_submit(queue, &second.work); /* it may be submitted again */
    wait_until(&scene, 0, 2);
    work_queue_free(queue);
    scene_deinit(&scene);
}

/* ---- a work that goes on without a thread ---- */

struct held {
    struct work work;
    struct scene *scene;
    bool release_itself;
};

static void run_held(struct work *work)
{
    struct held *held = (struct held *)work;
    struct scene *scene = held->scene;
    work_hold(work);
    if (held->release_itself)
        work_release(work);
    pthread_mutex_lock(&scene->lock);
    scene->ended++;
    pthread_cond_broadcast(&scene->changed);
    pthread_mutex_unlock(&scene->lock);
}

static void test_what_is_held_keeps_its_place_and_its_key(void **state)
{
    (void)state;
    for (int release_itself = 0; release_itself <= 1; release_itself++) {
        struct scene scene;
        scene_init(&scene, 4, IDLE_MS);
        struct work_queue *queue = work_queue_new(scene.executor, NULL, 1);
        struct work_queue *other = work_queue_new(scene.executor, NULL, 1);
        struct held held = {.work = {.run = run_held, .key = "k"},
                            .scene = &scene,
                            .release_itself = release_itself == 1};
        struct probe place = probe_of(&scene, 'p', false);
        struct probe key = probe_of(&scene, 'k', false);
        key.work.key = "k";
        work_submit(queue, &held.work);
        wait_until(&scene, 0, 1);
        work_submit(queue, &place.work);
        work_submit(other, &key.work);
        if (release_itself == 0) {
            struct cancel pause;
            cancel_init(&pause);
            cancel_wait(&pause, 30);
            cancel_deinit(&pause);
            assert_string_equal(scene.log, "");
            work_release(&held.work);
        }
        wait_until(&scene, 0, 3);
        work_queue_free(queue);
        work_queue_free(other);
        scene_deinit(&scene);
    }
}

/* Works wait for the threads that there are; nothing fails where no more can be made. */
static void test_few_threads_are_enough(void **state)
{
    (void)state;
    struct scene scene;
    scene_init(&scene, 1, IDLE_MS);
    struct work_queue *queue = work_queue_new(scene.executor, NULL, 64);
    struct probe probes[100];
    for (int i = 0; i < 100; i++) {
        probes[i] = probe_of(&scene, 'x', false);
        work_submit(queue, &probes[i].work);
    }
    wait_until(&scene, 0, 100);
    assert_int_equal(executor_threads(scene.executor), 1);
    work_queue_free(queue);
    scene_deinit(&scene);
}

/* Submit a work every `every_ms`, none for 0, until a single thread is left. */
static void wait_for_the_last(struct scene *scene, struct work_queue *queue, int every_ms)
{
    int64_t until_ms = clock_ms() + DEADLINE_MS;
    struct cancel pause;
    cancel_init(&pause);
    unsigned ended = scene->ended;
    while (executor_threads(scene->executor) > 1 && clock_ms() < until_ms) {
        struct probe probe = probe_of(scene, '\0', false);
        cancel_wait(&pause, every_ms ? every_ms : 5);
        if (every_ms) {
            work_submit(queue, &probe.work);
            wait_until(scene, 0, ++ended);
        }
    }
    cancel_deinit(&pause);
    assert_int_equal(executor_threads(scene->executor), 1);
}

static void idle_threads_end(int64_t idle_ms, int every_ms)
{
    struct scene scene;
    scene_init(&scene, 16, idle_ms);
    struct work_queue *queue = work_queue_new(scene.executor, NULL, 16);
    struct probe probes[16];
    for (int i = 0; i < 16; i++) {
        probes[i] = probe_of(&scene, 'x', true);
        work_submit(queue, &probes[i].work);
    }
    wait_until(&scene, 16, 0);
    assert_int_equal(executor_threads(scene.executor), 16);
    let_go(&scene);
    wait_until(&scene, 0, 16);
    wait_for_the_last(&scene, queue, every_ms);
    work_queue_free(queue);
    scene_deinit(&scene);
}

static void test_idle_threads_end(void **state)
{
    (void)state;
    idle_threads_end(IDLE_MS, 0);
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
    run_probe(work);
}

/* What a library keeps for a thread is given back before the executor is gone: after it, the
 * process may end, and the library with it. */
static void test_threads_end_to_their_end(void **state)
{
    (void)state;
    enum { THREADS = 4 };
    struct scene scene;
    scene_init(&scene, THREADS, IDLE_MS);
    assert_int_equal(pthread_key_create(&kept_key, give_back_slowly), 0);
    atomic_store(&given_back, 0);
    struct work_queue *queue = work_queue_new(scene.executor, NULL, THREADS);
    struct probe probes[THREADS];
    for (int i = 0; i < THREADS; i++) {
        probes[i] = probe_of(&scene, 'x', true);
        probes[i].work.run = run_keeping;
        work_submit(queue, &probes[i].work);
    }
    wait_until(&scene, THREADS, 0);
    let_go(&scene);
    wait_until(&scene, 0, THREADS);
    work_queue_free(queue);
    scene_deinit(&scene);
    assert_int_equal(atomic_load(&given_back), THREADS);
    pthread_key_delete(kept_key);
}

/* What comes in the moment in which the only idle thread ends is done all the same. */
static void test_nothing_is_left_by_a_thread_that_ends(void **state)
{
    (void)state;
    enum { ROUNDS = 1500 };
    struct scene scene;
    const struct executor_options options = {.threads_max = 2, .idle_ms = 1};
    struct error err = ERROR_INIT;
    scene_init(&scene, 1, IDLE_MS);
    executor_free(scene.executor);
    assert_int_equal(executor_new(&options, &scene.executor, &err), ERR_OK);
    struct work_queue *queue = work_queue_new(scene.executor, NULL, 2);
    struct probe busy = probe_of(&scene, 'x', true);
    work_submit(queue, &busy.work);
    wait_until(&scene, 1, 0);
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct timespec pause = {.tv_nsec = 900000 + 1000 * (long)(round * 7 % 400)};
        struct probe probe = probe_of(&scene, '\0', false);
        work_submit(queue, &probe.work);
        wait_until(&scene, 1, round + 1);
        nanosleep(&pause, NULL);
    }
    let_go(&scene);
    wait_until(&scene, 0, ROUNDS + 1);
    work_queue_free(queue);
    scene_deinit(&scene);
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
        struct storm storm = {.executor = executor_of(6, IDLE_MS),
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
        cmocka_unit_test(test_a_queue_has_its_limit_and_its_order),
        cmocka_unit_test(test_a_limit_may_change),
        cmocka_unit_test(test_a_group_is_fair),
        cmocka_unit_test(test_a_key_is_an_order_over_queues),
        cmocka_unit_test(test_times_and_pauses),
        cmocka_unit_test(test_what_has_not_begun_can_be_cancelled),
        cmocka_unit_test(test_what_is_held_keeps_its_place_and_its_key),
        cmocka_unit_test(test_few_threads_are_enough),
        cmocka_unit_test(test_idle_threads_end),
        cmocka_unit_test(test_idle_threads_end_beside_a_trickle),
        cmocka_unit_test(test_threads_end_to_their_end),
        cmocka_unit_test(test_nothing_is_left_by_a_thread_that_ends),
        cmocka_unit_test(test_a_storm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
