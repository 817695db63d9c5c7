#include "upstream/client/back_off.h"

#include "base/cancel.h"
#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define BASE_MS 40
#define LIMIT 5
#define SMALL_LIMIT 16
#define DEADLINE_MS 20000

/* A registry's queues, and works that stay in them until they are let go. */
struct scene {
    struct executor *executor;
    struct work_queue *transfers;
    struct work_queue *small;
    struct work_queue *requests;
    struct back_off back_off;
    struct cancel pause; /* never requested: to wait a little */
};

struct probe {
    struct work work;
    atomic_bool runs;
    int64_t began_ms;
};

static void set_up(struct scene *scene, unsigned limit)
{
    const struct executor_options options = {.threads_max = 8};
    struct error err = ERROR_INIT;
    if (executor_new(&options, &scene->executor, &err) != ERR_OK)
        fail_msg("%s", err.text);
    scene->transfers = work_queue_new(scene->executor, NULL, limit);
    scene->small = work_queue_new(scene->executor, NULL, SMALL_LIMIT);
    scene->requests = work_queue_new(scene->executor, NULL, limit);
    back_off_init(&scene->back_off, "r.example.com",
                  (struct bounded_queue){.queue = scene->transfers, .limit = limit},
                  (struct bounded_queue){.queue = scene->small, .limit = SMALL_LIMIT},
                  scene->requests, BASE_MS);
    cancel_init(&scene->pause);
}

static void tear_down(struct scene *scene)
{
    work_queue_free(scene->transfers);
    work_queue_free(scene->small);
    work_queue_free(scene->requests);
    back_off_deinit(&scene->back_off);
    executor_free(scene->executor);
    cancel_deinit(&scene->pause);
}

static void hold(struct work *work)
{
    struct probe *probe = (struct probe *)work;
    work_hold(work);
    probe->began_ms = clock_ms();
    atomic_store(&probe->runs, true);
}

static void enter(struct work_queue *queue, struct probe *probe)
{
    *probe = (struct probe){.work.run = hold};
    work_submit(queue, &probe->work);
}

static bool is_in(struct scene *scene, const struct probe *probe, bool want)
{
    int64_t until_ms = clock_ms() + (want ? DEADLINE_MS : 30);
    while (!atomic_load(&probe->runs) && clock_ms() < until_ms)
        cancel_wait(&scene->pause, 1);
    return atomic_load(&probe->runs);
}

static void leave(struct probe *probe)
{
    atomic_store(&probe->runs, false);
    work_release(&probe->work);
}

/* So many are let in at once, and one that is let in when one leaves. */
static void expect_allowed(struct scene *scene, unsigned allowed)
{
    struct probe probes[LIMIT + 1];
    assert_int_equal(back_off_allowed(&scene->back_off), allowed);
    for (unsigned i = 0; i <= allowed; i++)
        enter(scene->transfers, &probes[i]);
    for (unsigned i = 0; i < allowed; i++)
        assert_true(is_in(scene, &probes[i], true));
    assert_false(is_in(scene, &probes[allowed], false));
    leave(&probes[0]);
    assert_true(is_in(scene, &probes[allowed], true));
    for (unsigned i = 1; i <= allowed; i++)
        leave(&probes[i]);
}

static void wait_open(struct scene *scene)
{
    cancel_wait(&scene->pause, back_off_left_ms(&scene->back_off) + 1);
    assert_int_equal(back_off_left_ms(&scene->back_off), 0);
}

static void the_limit_is_that_of_the_queue(void **state)
{
    (void)state;
    struct scene scene;
    set_up(&scene, 2);
    expect_allowed(&scene, 2);
    back_off_succeeded(&scene.back_off);
    expect_allowed(&scene, 2);
    tear_down(&scene);
}

static void nothing_begins_in_the_time_asked_for(void **state)
{
    (void)state;
    struct scene scene;
    struct probe under_way, transfer, small, request;
    set_up(&scene, LIMIT);
    assert_int_equal(back_off_left_ms(&scene.back_off), 0);
    enter(scene.transfers, &under_way);
    assert_true(is_in(&scene, &under_way, true));
    int64_t start_ms = clock_ms();
    back_off_refused(&scene.back_off, 300);
    assert_in_range(back_off_left_ms(&scene.back_off), 1, 300);
    assert_false(work_queue_has_place(scene.transfers));
    enter(scene.transfers, &transfer);
    enter(scene.small, &small);
    enter(scene.requests, &request);
    leave(&under_way); /* what runs goes on, and makes no room for others */
    assert_true(is_in(&scene, &transfer, true));
    assert_true(is_in(&scene, &small, true));
    assert_true(is_in(&scene, &request, true));
    assert_in_range(small.began_ms - start_ms, 299, 5000);
    assert_in_range(transfer.began_ms - start_ms, 299, 5000);
    assert_in_range(request.began_ms - start_ms, 299, 5000);
    assert_int_equal(back_off_left_ms(&scene.back_off), 0);
    leave(&transfer);
    leave(&small);
    leave(&request);
    tear_down(&scene);
}

/* A pause is no reason to wait for what was given up. */
static void a_work_is_taken_back_in_a_pause(void **state)
{
    (void)state;
    struct scene scene;
    struct probe probe;
    set_up(&scene, LIMIT);
    back_off_refused(&scene.back_off, 60000);
    enter(scene.requests, &probe);
    assert_true(work_cancel(scene.requests, &probe.work));
    tear_down(&scene);
}

static void it_halves_and_grows_back_one_by_one(void **state)
{
    (void)state;
    struct scene scene;
    set_up(&scene, LIMIT);
    expect_allowed(&scene, 5);
    static const unsigned halved[] = {2, 1, 1};
    static const unsigned small_halved[] = {8, 4, 2};
    for (size_t i = 0; i < 3; i++) {
        back_off_refused(&scene.back_off, 0);
        wait_open(&scene);
        expect_allowed(&scene, halved[i]);
        assert_int_equal(back_off_allowed_small(&scene.back_off), small_halved[i]);
    }
    static const unsigned grown[] = {2, 3, 4, 5, 5};
    for (size_t i = 0; i < 5; i++) {
        back_off_succeeded(&scene.back_off);
        expect_allowed(&scene, grown[i]);
        assert_int_equal(back_off_allowed_small(&scene.back_off), 3 + i);
    }
    tear_down(&scene);
}

static void answers_to_what_was_under_way_count_once(void **state)
{
    (void)state;
    struct scene scene;
    set_up(&scene, 8);
    struct back_off *back_off = &scene.back_off;
    back_off_refused(back_off, 60000);
    for (int i = 0; i < 5; i++)
        back_off_refused(back_off, -1);
    assert_int_equal(back_off_allowed(back_off), 4);
    assert_in_range(back_off_left_ms(back_off), 50000, 60000);
    back_off_refused(back_off, 1000); /* never shorter than what was asked for before */
    assert_in_range(back_off_left_ms(back_off), 50000, 60000);
    back_off_refused(back_off, 90000);
    assert_in_range(back_off_left_ms(back_off), 80000, 90000);
    assert_int_equal(back_off_allowed(back_off), 4);
    tear_down(&scene);
}

static void it_grows_where_no_time_is_named(void **state)
{
    (void)state;
    struct scene scene;
    set_up(&scene, LIMIT);
    for (int refusals = 1; refusals <= 3; refusals++) {
        back_off_refused(&scene.back_off, -1);
        assert_in_range(back_off_left_ms(&scene.back_off), BASE_MS * refusals - 30,
                        BASE_MS * refusals);
        wait_open(&scene);
    }
    back_off_succeeded(&scene.back_off);
    back_off_refused(&scene.back_off, -1);
    assert_in_range(back_off_left_ms(&scene.back_off), 1, BASE_MS);
    tear_down(&scene);
}

static void the_first_failure_after_a_success_is_told(void **state)
{
    (void)state;
    struct scene scene;
    set_up(&scene, LIMIT);
    for (int i = 0; i < 2; i++) {
        assert_true(back_off_first_failure(&scene.back_off));
        assert_false(back_off_first_failure(&scene.back_off));
        back_off_succeeded(&scene.back_off);
    }
    tear_down(&scene);
}

/* A host without an executor has no queues (upstream/client/registry_host.h). */
static void the_longest_and_without_queues(void **state)
{
    (void)state;
    struct back_off back_off;
    back_off_init(&back_off, "r.example.com", (struct bounded_queue){.limit = 5},
                  (struct bounded_queue){.limit = 5}, NULL, BACK_OFF_GROWN_MAX_MS * 3);
    back_off_refused(&back_off, -1);
    assert_in_range(back_off_left_ms(&back_off), BACK_OFF_GROWN_MAX_MS - 1000,
                    BACK_OFF_GROWN_MAX_MS);
    back_off_refused(&back_off, INT64_MAX / 2);
    assert_in_range(back_off_left_ms(&back_off), BACK_OFF_ASKED_MAX_MS - 1000,
                    BACK_OFF_ASKED_MAX_MS);
    back_off_succeeded(&back_off);
    assert_int_equal(back_off_allowed(&back_off), 3);
    back_off_deinit(&back_off);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_limit_is_that_of_the_queue),
        cmocka_unit_test(nothing_begins_in_the_time_asked_for),
        cmocka_unit_test(a_work_is_taken_back_in_a_pause),
        cmocka_unit_test(it_halves_and_grows_back_one_by_one),
        cmocka_unit_test(answers_to_what_was_under_way_count_once),
        cmocka_unit_test(it_grows_where_no_time_is_named),
        cmocka_unit_test(the_longest_and_without_queues),
        cmocka_unit_test(the_first_failure_after_a_success_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
