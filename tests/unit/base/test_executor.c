/*
 * Queues with limits, groups, keys, times and pauses; cancelling and holding.
 */
#include "base/executor.h"

#include "base/cancel.h"
#include "base/clock.h"
#include "tests/support/work_scene.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_a_queue_has_its_limit_and_its_order(void **state)
{
    (void)state;
    for (unsigned limit = 1; limit <= 3; limit++) {
        struct work_scene scene;
        work_scene_init(&scene, 8, WORK_SCENE_IDLE_MS);
        struct work_queue *queue = work_queue_new(scene.executor, NULL, limit);
        struct work_probe probes[5];
        assert_true(work_queue_has_place(queue));
        for (int i = 0; i < 5; i++) {
            probes[i] = work_probe_of(&scene, (char)('a' + i), true);
            work_submit(queue, &probes[i].work);
            if (limit == 1 && i == 0)
                work_scene_wait(&scene, 1, 0);
        }
        work_scene_wait(&scene, limit, 0);
        assert_int_equal(work_queue_waiting(queue), 5 - limit);
        assert_false(work_queue_has_place(queue));
        work_scene_let_go(&scene);
        work_scene_wait(&scene, 0, 5);
        assert_int_equal(scene.most, limit);
        if (limit == 1)
            assert_string_equal(scene.log, "abcde");
        work_queue_free(queue);
        work_scene_deinit(&scene);
    }
}

static void test_a_limit_may_change(void **state)
{
    (void)state;
    struct work_scene scene;
    work_scene_init(&scene, 8, WORK_SCENE_IDLE_MS);
    struct work_queue *queue = work_queue_new(scene.executor, NULL, 1);
    struct work_probe probes[4];
    for (int i = 0; i < 4; i++) {
        probes[i] = work_probe_of(&scene, (char)('a' + i), true);
        work_submit(queue, &probes[i].work);
    }
    work_scene_wait(&scene, 1, 0);
    work_queue_set_limit(queue, 3);
    work_scene_wait(&scene, 3, 0);
    assert_int_equal(work_queue_waiting(queue), 1);
    work_scene_let_go(&scene);
    work_scene_wait(&scene, 0, 4);
    work_queue_free(queue);
    work_scene_deinit(&scene);
}

/* One queue holds the whole group but for one place: that goes to each queue of which nothing runs
 * before a second one of any. */
static void test_a_group_is_fair(void **state)
{
    (void)state;
    struct work_scene scene;
    work_scene_init(&scene, 8, WORK_SCENE_IDLE_MS);
    struct work_group *group = work_group_new(scene.executor, 3);
    struct work_queue *queues[3];
    struct work_probe probes[3][4];
    for (int q = 0; q < 3; q++)
        queues[q] = work_queue_new(scene.executor, group, 4);
    for (int q = 0; q < 3; q++)
        for (int i = 0; i < 4; i++) {
            probes[q][i] = work_probe_of(&scene, (char)('a' + q), true);
            work_submit(queues[q], &probes[q][i].work);
            if (q == 0 && i == 1)
                work_scene_wait(&scene, 2, 0);
            if (q == 0 && i == 2) /* the group is full */
                work_scene_wait(&scene, 3, 0);
        }
    assert_string_equal(scene.log, "aaa");
    assert_false(work_queue_has_place(queues[1]));
    work_probe_let_go(&probes[0][0], 4);
    work_probe_let_go(&probes[0][1], 5);
    assert_string_equal(scene.log, "aaabc");
    work_scene_let_go(&scene);
    work_scene_wait(&scene, 0, 12);
    assert_true(scene.most <= 3);
    for (int q = 0; q < 3; q++)
        work_queue_free(queues[q]);
    work_group_free(group);
    work_scene_deinit(&scene);
}

static void test_a_key_is_an_order_over_queues(void **state)
{
    (void)state;
    struct work_scene scene;
    work_scene_init(&scene, 8, WORK_SCENE_IDLE_MS);
    struct work_queue *queues[2] = {work_queue_new(scene.executor, NULL, 8),
                                    work_queue_new(scene.executor, NULL, 8)};
    struct work_probe probes[6];
    for (int i = 0; i < 6; i++) {
        probes[i] = work_probe_of(&scene, (char)('a' + i), true);
        probes[i].work.key = i == 5 ? "other" : "same";
        work_submit(queues[i % 2], &probes[i].work);
    }
    work_scene_wait(&scene, 2, 0); /* a and f */
    assert_int_equal(work_queue_waiting(queues[0]) + work_queue_waiting(queues[1]), 0);
    assert_true(work_cancel(queues[0], &probes[2].work));
    assert_false(work_cancel(queues[0], &probes[2].work));
    work_scene_let_go(&scene);
    work_scene_wait(&scene, 0, 5);
    char order[8] = "";
    for (const char *at = scene.log; *at; at++)
        if (*at != 'f')
            order[strlen(order)] = *at;
    assert_string_equal(order, "abde");
    work_queue_free(queues[0]);
    work_queue_free(queues[1]);
    work_scene_deinit(&scene);
}

static void test_times_and_pauses(void **state)
{
    (void)state;
    struct work_scene scene;
    work_scene_init(&scene, 4, WORK_SCENE_IDLE_MS);
    struct work_queue *queue = work_queue_new(scene.executor, NULL, 1);
    struct work_probe late = work_probe_of(&scene, 'l', false);
    struct work_probe soon = work_probe_of(&scene, 's', false);
    struct work_probe never = work_probe_of(&scene, 'n', false);
    struct work_probe past = work_probe_of(&scene, 'p', false);
    int64_t now_ms = clock_ms();
    work_submit_at(queue, &late.work, now_ms + 120);
    work_submit_at(queue, &never.work, now_ms + 60000);
    work_submit_at(queue, &soon.work, now_ms + 40);
    work_submit_at(queue, &past.work, now_ms - 1);
    work_scene_wait(&scene, 0, 3);
    assert_string_equal(scene.log, "psl");
    assert_true(clock_ms() - now_ms >= 120);
    assert_true(work_cancel(queue, &never.work));

    now_ms = clock_ms();
    work_queue_pause(queue, now_ms + 80);
    work_queue_pause(queue, now_ms + 10); /* earlier: changes nothing */
    assert_false(work_queue_has_place(queue));
    work_submit(queue, &soon.work);
    work_scene_wait(&scene, 0, 4);
    assert_true(clock_ms() - now_ms >= 80);
    work_queue_pause(queue, clock_ms() + 60000);
    work_queue_free(queue);
    work_scene_deinit(&scene);
}

static void test_what_has_not_begun_can_be_cancelled(void **state)
{
    (void)state;
    struct work_scene scene;
    work_scene_init(&scene, 4, WORK_SCENE_IDLE_MS);
    struct work_queue *queue = work_queue_new(scene.executor, NULL, 1);
    struct work_probe first = work_probe_of(&scene, 'f', true);
    struct work_probe second = work_probe_of(&scene, 's', true);
    assert_false(work_cancel(queue, &second.work));
    work_submit(queue, &first.work);
    work_scene_wait(&scene, 1, 0);
    work_submit(queue, &second.work);
    assert_false(work_cancel(queue, &first.work));
    assert_true(work_cancel(queue, &second.work));
    work_scene_let_go(&scene);
    work_scene_wait(&scene, 0, 1);
    work_submit(queue, &second.work); /* it may be submitted again */
    work_scene_wait(&scene, 0, 2);
    work_queue_free(queue);
    work_scene_deinit(&scene);
}

/* ---- a work that goes on without a thread ---- */

struct held {
    struct work work;
    struct work_scene *scene;
    bool release_itself;
};

static void run_held(struct work *work)
{
    struct held *held = (struct held *)work;
    struct work_scene *scene = held->scene;
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
        struct work_scene scene;
        work_scene_init(&scene, 4, WORK_SCENE_IDLE_MS);
        struct work_queue *queue = work_queue_new(scene.executor, NULL, 1);
        struct work_queue *other = work_queue_new(scene.executor, NULL, 1);
        struct held held = {.work = {.run = run_held, .key = "k"},
                            .scene = &scene,
                            .release_itself = release_itself == 1};
        struct work_probe place = work_probe_of(&scene, 'p', false);
        struct work_probe key = work_probe_of(&scene, 'k', false);
        key.work.key = "k";
        work_submit(queue, &held.work);
        work_scene_wait(&scene, 0, 1);
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
        work_scene_wait(&scene, 0, 3);
        work_queue_free(queue);
        work_queue_free(other);
        work_scene_deinit(&scene);
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
