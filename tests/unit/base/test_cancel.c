#include "base/cancel.h"

#include "base/clock.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void nothing_is_cancelled_at_first(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct cancel cancel;
    cancel_init(&cancel);
    assert_false(cancel_requested(&cancel));
    assert_int_equal(cancel_check(&cancel, &err), ERR_OK);
    assert_int_equal(err.code, ERR_OK);
    assert_false(cancel_wait(&cancel, 0));
    cancel_request(&cancel);
    cancel_request(&cancel);
    assert_true(cancel_requested(&cancel));
    assert_int_equal(cancel_check(&cancel, &err), ERR_CANCELLED);
    assert_true(cancel_wait(&cancel, 60000));
    cancel_deinit(&cancel);
}

static void a_wait_ends_when_its_time_is_over(void **state)
{
    (void)state;
    struct cancel cancel;
    cancel_init(&cancel);
    int64_t start = clock_ms();
    assert_false(cancel_wait(&cancel, 30));
    /* The clock counts whole milliseconds. */
    assert_true(clock_ms() - start >= 29);
    cancel_deinit(&cancel);
}

struct waiter {
    pthread_t thread;
    struct cancel *cancel;
    bool woken;
};

static void *wait_a_minute(void *arg)
{
    struct waiter *waiter = arg;
    waiter->woken = cancel_wait(waiter->cancel, 60000);
    return NULL;
}

static void every_waiter_wakes(void **state)
{
    (void)state;
    struct cancel cancel;
    struct waiter waiters[4];
    cancel_init(&cancel);
    int64_t start = clock_ms();
    for (size_t i = 0; i < 4; i++) {
        waiters[i] = (struct waiter){.cancel = &cancel};
        assert_int_equal(pthread_create(&waiters[i].thread, NULL, wait_a_minute, &waiters[i]), 0);
    }
    cancel_request(&cancel);
    for (size_t i = 0; i < 4; i++) {
        pthread_join(waiters[i].thread, NULL);
        assert_true(waiters[i].woken);
    }
    assert_true(clock_ms() - start < 30000);
    cancel_deinit(&cancel);
}

/* --- children --- */

static void a_child_is_requested_with_its_parent(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct cancel parent, child, grandchild;
    cancel_init(&parent);
    cancel_init_child(&child, &parent, "the child ends");
    cancel_init_child(&grandchild, &child, "the grandchild ends");
    assert_false(cancel_requested(&grandchild));
    cancel_request(&parent);
    assert_true(cancel_requested(&child) && cancel_requested(&grandchild));
    assert_true(cancel_wait(&grandchild, 60000));
    assert_int_equal(cancel_check(&grandchild, &err), ERR_CANCELLED);
    assert_string_equal(err.text, "cancelled");
    cancel_deinit(&grandchild);
    cancel_deinit(&child);
    cancel_deinit(&parent);
}

static void a_child_is_requested_alone(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct cancel parent, child, sibling, orphan;
    cancel_init(&parent);
    cancel_init_child(&child, &parent, "the child ends");
    cancel_init_child(&sibling, &parent, "the sibling ends");
    cancel_init_child(&orphan, NULL, "the orphan ends");
    cancel_request(&child);
    cancel_request(&orphan);
    assert_false(cancel_requested(&parent) || cancel_requested(&sibling));
    assert_int_equal(cancel_check(&child, &err), ERR_CANCELLED);
    assert_string_equal(err.text, "the child ends");
    error_clear(&err);
    assert_int_equal(cancel_check(&orphan, &err), ERR_CANCELLED);
    assert_string_equal(err.text, "the orphan ends");

    /* The request of the parent is what is said from then on. */
    error_clear(&err);
    cancel_request(&parent);
    assert_int_equal(cancel_check(&child, &err), ERR_CANCELLED);
    assert_string_equal(err.text, "cancelled");
    cancel_deinit(&orphan);
    cancel_deinit(&sibling);
    cancel_deinit(&child);
    cancel_deinit(&parent);
}

static void a_child_may_come_late_and_go_early(void **state)
{
    (void)state;
    struct cancel parent, gone, late;
    cancel_init(&parent);
    cancel_init_child(&gone, &parent, "gone");
    cancel_deinit(&gone);
    memset(&gone, 0xff, sizeof gone);
    cancel_request(&parent);
    cancel_init_child(&late, &parent, "late");
    assert_true(cancel_requested(&late));
    cancel_deinit(&late);
    cancel_deinit(&parent);
}

static void without_a_cancel_nothing_is_requested(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    assert_false(cancel_requested(NULL));
    assert_int_equal(cancel_check(NULL, &err), ERR_OK);
}

/* --- watches --- */

struct watcher {
    struct cancel *cancel;
    struct cancel_watch watch;
    unsigned calls;
    bool unwatches;
};

static void note_call(void *self)
{
    struct watcher *watcher = self;
    watcher->calls++;
    assert_true(cancel_requested(watcher->cancel));
    if (watcher->unwatches)
        cancel_unwatch(watcher->cancel, &watcher->watch);
}

static void watcher_init(struct watcher *watcher, struct cancel *cancel)
{
    *watcher = (struct watcher){.cancel = cancel, .watch = {.call = note_call, .self = watcher}};
}

static void a_child_is_requested_before_a_watch_is_called(void **state)
{
    (void)state;
    struct cancel parent, child, grandchild;
    struct watcher watcher;
    cancel_init(&parent);
    watcher_init(&watcher, &grandchild);
    assert_true(cancel_watch(&parent, &watcher.watch));
    cancel_init_child(&child, &parent, "the child ends");
    cancel_init_child(&grandchild, &child, "the grandchild ends");
    cancel_request(&parent);
    assert_int_equal(watcher.calls, 1);
    cancel_deinit(&grandchild);
    cancel_deinit(&child);
    cancel_deinit(&parent);
}

static void watches_are_called_once(void **state)
{
    (void)state;
    struct cancel cancel;
    struct watcher watchers[4];
    cancel_init(&cancel);
    for (size_t i = 0; i < 4; i++) {
        watcher_init(&watchers[i], &cancel);
        assert_true(cancel_watch(&cancel, &watchers[i].watch));
    }
    watchers[1].unwatches = true;
    cancel_unwatch(&cancel, &watchers[2].watch);
    cancel_unwatch(&cancel, &watchers[2].watch);
    cancel_request(&cancel);
    cancel_request(&cancel);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(watchers[i].calls, i != 2);
        cancel_unwatch(&cancel, &watchers[i].watch);
    }
    cancel_deinit(&cancel);
}

static void a_watch_after_the_request_is_not_registered(void **state)
{
    (void)state;
    struct cancel cancel;
    struct watcher watcher;
    cancel_init(&cancel);
    watcher_init(&watcher, &cancel);
    cancel_request(&cancel);
    assert_false(cancel_watch(&cancel, &watcher.watch));
    cancel_request(&cancel);
    cancel_unwatch(&cancel, &watcher.watch);
    assert_int_equal(watcher.calls, 0);
    cancel_deinit(&cancel);
}

static void a_watch_of_a_child_hears_of_the_parent(void **state)
{
    (void)state;
    struct cancel parent, child;
    struct watcher watcher;
    cancel_init(&parent);
    cancel_init_child(&child, &parent, "the child ends");
    watcher_init(&watcher, &child);
    assert_true(cancel_watch(&child, &watcher.watch));
    cancel_request(&parent);
    cancel_request(&child);
    assert_int_equal(watcher.calls, 1);
    cancel_deinit(&child);
    cancel_deinit(&parent);
}

/* A call that takes its time, and what waits for its end. */
struct slow_call {
    struct cancel cancel;
    struct cancel_watch watch;
    struct cancel begun, go; /* used as signals */
    atomic_bool ended;
    atomic_bool unwatched;
};

static void take_time(void *self)
{
    struct slow_call *slow = self;
    cancel_request(&slow->begun);
    cancel_wait(&slow->go, 60000);
    atomic_store(&slow->ended, true);
}

static void *request(void *arg)
{
    struct slow_call *slow = arg;
    cancel_request(&slow->cancel);
    return NULL;
}

static void *unwatch(void *arg)
{
    struct slow_call *slow = arg;
    cancel_unwatch(&slow->cancel, &slow->watch);
    assert_true(atomic_load(&slow->ended));
    atomic_store(&slow->unwatched, true);
    return NULL;
}

static void unwatch_waits_for_a_call(void **state)
{
    (void)state;
    struct slow_call slow = {.watch = {.call = take_time, .self = &slow}};
    pthread_t threads[2];
    cancel_init(&slow.cancel);
    cancel_init(&slow.begun);
    cancel_init(&slow.go);
    assert_true(cancel_watch(&slow.cancel, &slow.watch));
    pthread_create(&threads[0], NULL, request, &slow);
    assert_true(cancel_wait(&slow.begun, 60000));
    pthread_create(&threads[1], NULL, unwatch, &slow);
    cancel_wait(&slow.go, 50);
    assert_false(atomic_load(&slow.unwatched));
    /* A wait does not wait for it, and other watches can be made and refused meanwhile. */
    assert_true(cancel_wait(&slow.cancel, 60000));
    struct watcher late;
    watcher_init(&late, &slow.cancel);
    assert_false(cancel_watch(&slow.cancel, &late.watch));
    cancel_request(&slow.go);
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    assert_true(atomic_load(&slow.unwatched));
    cancel_deinit(&slow.go);
    cancel_deinit(&slow.begun);
    cancel_deinit(&slow.cancel);
}

/* Children and watches that come and go while their parent is requested; the sanitizers look. */
static void *come_and_go(void *arg)
{
    struct cancel *parent = arg;
    for (bool last = false; !last;) {
        struct cancel child;
        struct watcher watcher;
        last = cancel_requested(parent);
        cancel_init_child(&child, parent, "the child ends");
        watcher_init(&watcher, &child);
        bool watches = cancel_watch(&child, &watcher.watch);
        assert_true(watches || cancel_requested(&child));
        cancel_unwatch(&child, &watcher.watch);
        assert_true(watcher.calls == 0 || (watches && watcher.calls == 1));
        cancel_deinit(&child);
    }
    return NULL;
}

static void children_come_and_go_meanwhile(void **state)
{
    (void)state;
    for (int round = 0; round < 20; round++) {
        struct cancel parent;
        pthread_t threads[4];
        cancel_init(&parent);
        for (size_t i = 0; i < 4; i++)
            pthread_create(&threads[i], NULL, come_and_go, &parent);
        cancel_wait(&parent, 5);
        cancel_request(&parent);
        for (size_t i = 0; i < 4; i++)
            pthread_join(threads[i], NULL);
        cancel_deinit(&parent);
    }
}

/* --- the clock that they wait by --- */

static void deadlines_carry_over_the_second(void **state)
{
    (void)state;
    for (int64_t ms = 0; ms <= 3000; ms += 250) {
        int64_t before = clock_ms();
        struct timespec at = clock_deadline(ms);
        int64_t after = clock_ms();
        assert_in_range(at.tv_nsec, 0, 999999999);
        int64_t deadline = (int64_t)at.tv_sec * 1000 + at.tv_nsec / 1000000;
        assert_true(deadline >= before + ms && deadline <= after + ms);
    }
}

static void times_are_written_by_rfc_3339(void **state)
{
    (void)state;
    char text[CLOCK_TEXT_MAX];
    assert_int_equal(strlen(clock_text(text)), strlen("2024-01-02T03:04:05.678Z"));
    assert_int_equal(text[10], 'T');
    assert_int_equal(text[19], '.');
    assert_int_equal(text[23], 'Z');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_cancelled_at_first),
        cmocka_unit_test(a_wait_ends_when_its_time_is_over),
        cmocka_unit_test(every_waiter_wakes),
        cmocka_unit_test(a_child_is_requested_with_its_parent),
        cmocka_unit_test(a_child_is_requested_alone),
        cmocka_unit_test(a_child_may_come_late_and_go_early),
        cmocka_unit_test(without_a_cancel_nothing_is_requested),
        cmocka_unit_test(a_child_is_requested_before_a_watch_is_called),
        cmocka_unit_test(watches_are_called_once),
        cmocka_unit_test(a_watch_after_the_request_is_not_registered),
        cmocka_unit_test(a_watch_of_a_child_hears_of_the_parent),
        cmocka_unit_test(unwatch_waits_for_a_call),
        cmocka_unit_test(children_come_and_go_meanwhile),
        cmocka_unit_test(deadlines_carry_over_the_second),
        cmocka_unit_test(times_are_written_by_rfc_3339),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
