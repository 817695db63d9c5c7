/*
 * Looking at pushes, cancelling them, trying them again, and what is remembered of them.
 */
#include "gateway/queue/push_queue.h"

#include "base/clock.h"
#include "base/mem.h"
#include "tests/support/queue_test.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct bench {
    struct queue_test *test;
    struct made_image images[3];
};

static int set_up(void **state)
{
    struct bench *bench = xcalloc(1, sizeof *bench);
    bench->test = queue_test_new();
    for (size_t i = 0; i < 3; i++) {
        const char letters[] = {(char)('a' + i), 'z', '\0'};
        bench->images[i] = push_test_image(bench->test->push, letters, 1000);
    }
    *state = bench;
    return 0;
}

static int tear_down(void **state)
{
    struct bench *bench = *state;
    queue_test_free(bench->test);
    free(bench);
    return 0;
}

static void rule(struct bench *bench, const char *part, int times, int status, bool hold)
{
    fake_registry_rule(bench->test->registry, (struct fake_rule){.method = "PUT",
                                                                 .part = part,
                                                                 .times = times,
                                                                 .status = status,
                                                                 .effect = status == 0,
                                                                 .hold = hold});
}

static size_t puts_of(struct bench *bench, const char *tag)
{
    autofree char *wanted = xasprintf("PUT /v2/team/app/manifests/%s", tag);
    return http_double_count(bench->test->http, wanted);
}

/* Its id, owned by the caller's array. */
static void store(struct bench *bench, size_t image, const char *targets, char id[PUSH_ID_MAX])
{
    strcpy(id, queue_test_store(bench->test, &bench->images[image].manifest, targets));
}

static enum push_state recorded(struct bench *bench, const char *id, size_t target)
{
    return queue_test_state(bench->test, id, target);
}

static bool cancel(struct bench *bench, const char *id)
{
    return push_queue_cancel(bench->test->queue, id, 2);
}

static struct push_retried retry(struct bench *bench, const struct push_retry *wanted)
{
    struct error err = ERROR_INIT;
    struct push_retried done;
    if (push_queue_retry(bench->test->queue, wanted, &done, &err) != ERR_OK)
        fail_msg("%s", err.text);
    return done;
}

/* ---- looking ---- */

static enum push_state look(struct bench *bench, const char *id)
{
    struct error err = ERROR_INIT;
    struct push push;
    bool found = false;
    assert_int_equal(pushes_get(bench->test->runtime.store, id, &push, &found, &err), ERR_OK);
    push_queue_look(bench->test->queue, &push);
    enum push_state state = push.targets[0].state;
    push_deinit(&push);
    return state;
}

static void what_runs_and_what_waits_is_told_apart(void **state)
{
    struct bench *bench = *state;
    char first[PUSH_ID_MAX];
    char second[PUSH_ID_MAX];
    rule(bench, "one", 1, 0, true);
    store(bench, 0, "team/app:one", first);
    QUEUE_TEST_UNTIL(puts_of(bench, "one") == 1);
    store(bench, 1, "team/app:two", second);
    assert_int_equal(look(bench, first), PUSH_RUNNING);
    assert_int_equal(look(bench, second), PUSH_QUEUED);
    fake_registry_release(bench->test->registry);
    queue_test_idle(bench->test);
    assert_int_equal(look(bench, first), PUSH_PUSHED);
    assert_int_equal(look(bench, second), PUSH_PUSHED);
}

struct watcher {
    struct push_watch watch;
    struct push_queue *queue;
    atomic_uint seen; /* a bit for each state */
    atomic_bool told_closed;
    atomic_bool over;
};

static bool watcher_look(struct push_watch *watch, bool closed)
{
    struct watcher *watcher = (struct watcher *)((char *)watch - offsetof(struct watcher, watch));
    struct error err = ERROR_INIT;
    struct push push;
    bool found = false;
    assert_int_equal(push_queue_find(watcher->queue, watch->id, &push, &found, &err), ERR_OK);
    assert_true(found);
    enum push_state state = push.targets[0].state;
    push_deinit(&push);
    atomic_fetch_or(&watcher->seen, 1U << state);
    atomic_store(&watcher->told_closed, closed);
    return !closed && !push_state_is_final(state);
}

static void watcher_over(struct push_watch *watch)
{
    struct watcher *watcher = (struct watcher *)((char *)watch - offsetof(struct watcher, watch));
    atomic_store(&watcher->over, true);
}

static void begin_watch(struct watcher *watcher, struct bench *bench, const char *id)
{
    *watcher =
        (struct watcher){.watch = {.rest_ms = 3600000, .look = watcher_look, .over = watcher_over},
                         .queue = bench->test->queue};
    strcpy(watcher->watch.id, id);
    assert_true(push_queue_watch(bench->test->queue, &watcher->watch));
}

static bool saw(struct watcher *watcher, enum push_state state)
{
    return atomic_load(&watcher->seen) & (1U << state);
}

/* Of one that is recorded, and of one that a client waits for. */
static void a_watch_sees_each_change(void **state)
{
    struct bench *bench = *state;
    struct watcher watchers[2];
    struct waiting_push waiting;
    char id[PUSH_ID_MAX];
    rule(bench, "one", 1, 0, true);
    rule(bench, "two", 1, 0, true);
    store(bench, 0, "team/app:one", id);
    waiting_push_init(&waiting, bench->test, &bench->images[1].manifest, "team/app:two");
    waiting_push_run(&waiting, bench->test);
    begin_watch(&watchers[0], bench, id);
    begin_watch(&watchers[1], bench, waiting.push.id);
    for (size_t i = 0; i < 2; i++)
        QUEUE_TEST_UNTIL(saw(&watchers[i], PUSH_RUNNING));
    QUEUE_TEST_UNTIL(puts_of(bench, "one") == 1 && puts_of(bench, "two") == 1);
    fake_registry_release(bench->test->registry);
    for (size_t i = 0; i < 2; i++) {
        QUEUE_TEST_UNTIL(atomic_load(&watchers[i].over));
        assert_true(saw(&watchers[i], PUSH_PUSHED));
    }
    waiting_push_wait(&waiting);
    waiting_push_deinit(&waiting);
    queue_test_idle(bench->test);
    push_queue_watch_wake(bench->test->queue, &watchers[0].watch);
}

static void the_end_of_the_queue_ends_watches(void **state)
{
    struct bench *bench = *state;
    struct watcher watcher;
    char id[PUSH_ID_MAX];
    bench->test->registry_setting.retry_wait_ms = 600000;
    rule(bench, "one", 5, 503, false);
    store(bench, 0, "team/app:one", id);
    begin_watch(&watcher, bench, id);
    QUEUE_TEST_UNTIL(saw(&watcher, PUSH_WAITING));
    queue_test_close(bench->test);
    assert_true(atomic_load(&watcher.over) && atomic_load(&watcher.told_closed));
    queue_test_open(bench->test);
}

/* Those that clients wait for, until the store has them. */
static void who_waits_is_listed_then_recorded(void **state)
{
    struct bench *bench = *state;
    struct waiting_push waiting;
    struct push *pushes = NULL;
    rule(bench, "one", 1, 0, true);
    waiting_push_init(&waiting, bench->test, &bench->images[0].manifest,
                      "team/app:one other/app:two");
    waiting_push_run(&waiting, bench->test);
    QUEUE_TEST_UNTIL(puts_of(bench, "one") == 1);
    assert_int_equal(push_queue_unrecorded(bench->test->queue, &pushes), 1);
    assert_string_equal(pushes[0].id, waiting.push.id);
    assert_int_equal(pushes[0].targets[0].state, PUSH_RUNNING);
    push_deinit(&pushes[0]);
    free(pushes);
    fake_registry_release(bench->test->registry);
    waiting_push_wait(&waiting);
    queue_test_idle(bench->test);
    assert_int_equal(push_queue_unrecorded(bench->test->queue, &pushes), 0);
    free(pushes);
    assert_int_equal(recorded(bench, waiting.push.id, 0), PUSH_PUSHED);
    assert_int_equal(recorded(bench, waiting.push.id, 1), PUSH_PUSHED);
    waiting_push_deinit(&waiting);
}

/* The end of a queue does not lose what has just ended. */
static void what_has_just_ended_is_recorded_at_the_end(void **state)
{
    struct bench *bench = *state;
    struct waiting_push waiting;
    waiting_push_init(&waiting, bench->test, &bench->images[0].manifest, "team/app:one");
    waiting_push_run(&waiting, bench->test);
    waiting_push_wait(&waiting);
    queue_test_close(bench->test);
    assert_int_equal(recorded(bench, waiting.push.id, 0), PUSH_PUSHED);
    queue_test_open(bench->test);
    waiting_push_deinit(&waiting);
}

/* ---- cancelling ---- */

static void what_waits_is_cancelled_at_once(void **state)
{
    struct bench *bench = *state;
    char id[PUSH_ID_MAX];
    bench->test->registry_setting.retry_wait_ms = 600000;
    rule(bench, "one", 5, 503, false);
    store(bench, 0, "team/app:one", id);
    QUEUE_TEST_UNTIL(look(bench, id) == PUSH_WAITING);
    assert_true(cancel(bench, id));
    QUEUE_TEST_UNTIL(recorded(bench, id, 0) == PUSH_CANCELLED);
    assert_false(cancel(bench, id));
    queue_test_close(bench->test);
    queue_test_open(bench->test);
    queue_test_idle(bench->test);
    assert_int_equal(puts_of(bench, "one"), 5);
}

static void what_runs_is_cancelled_with_its_session(void **state)
{
    struct bench *bench = *state;
    char id[PUSH_ID_MAX];
    rule(bench, "/v2/team/app/blobs/uploads/", 9, 500, true);
    store(bench, 0, "team/app:one", id);
    QUEUE_TEST_UNTIL(http_double_count(bench->test->http, "PUT /v2/team/app/blobs/uploads/") > 0);
    int64_t since_ms = clock_ms();
    assert_true(cancel(bench, id));
    QUEUE_TEST_UNTIL(recorded(bench, id, 0) == PUSH_CANCELLED);
    assert_in_range(clock_ms() - since_ms, 0, 10000);
    fake_registry_release(bench->test->registry);
    queue_test_idle(bench->test);
    size_t opened = http_double_count(bench->test->http, "POST /v2/team/app/blobs/uploads/");
    assert_int_equal(
        http_double_await(bench->test->http, "DELETE /v2/team/app/blobs/uploads/", opened), opened);
    assert_int_equal(puts_of(bench, "one"), 0);
}

static void who_waits_is_told_who_cancelled(void **state)
{
    struct bench *bench = *state;
    struct waiting_push waiting;
    rule(bench, "one", 1, 0, true);
    waiting_push_init(&waiting, bench->test, &bench->images[0].manifest, "team/app:one");
    waiting_push_run(&waiting, bench->test);
    QUEUE_TEST_UNTIL(puts_of(bench, "one") == 1);
    assert_true(cancel(bench, waiting.push.id));
    waiting_push_wait(&waiting);
    assert_int_equal(waiting.push.targets[0].state, PUSH_CANCELLED);
    assert_non_null(strstr(waiting.push.targets[0].error.text, "by its id"));
    fake_registry_release(bench->test->registry);
    queue_test_idle(bench->test);
    waiting_push_deinit(&waiting);
}

/* ---- trying again ---- */

static void a_refused_target_begins_anew(void **state)
{
    struct bench *bench = *state;
    char id[PUSH_ID_MAX];
    rule(bench, "one", 1, 403, false);
    store(bench, 0, "team/app:one team/app:two", id);
    queue_test_idle(bench->test);
    assert_int_equal(recorded(bench, id, 0), PUSH_REFUSED);
    const struct push_retry by_id = {.id = id};
    assert_int_equal(retry(bench, &by_id).retried, 1);
    queue_test_idle(bench->test);
    assert_int_equal(recorded(bench, id, 0), PUSH_PUSHED);
    assert_int_equal(puts_of(bench, "one"), 2);
    assert_int_equal(puts_of(bench, "two"), 1);
    assert_int_equal(retry(bench, &by_id).retried, 0);
}

/* What a client has waited for in vain goes on without it. */
static void who_waited_in_vain_is_tried_again(void **state)
{
    struct bench *bench = *state;
    struct waiting_push waiting;
    rule(bench, "one", 1, 403, false);
    waiting_push_init(&waiting, bench->test, &bench->images[0].manifest, "team/app:one");
    waiting_push_run(&waiting, bench->test);
    waiting_push_wait(&waiting);
    queue_test_idle(bench->test);
    assert_int_equal(recorded(bench, waiting.push.id, 0), PUSH_FAILED);
    const struct push_retry failed = {.state = PUSH_FAILED};
    assert_int_equal(retry(bench, &failed).retried, 1);
    queue_test_idle(bench->test);
    assert_int_equal(recorded(bench, waiting.push.id, 0), PUSH_PUSHED);
    waiting_push_deinit(&waiting);
}

static void a_younger_push_keeps_its_tag(void **state)
{
    struct bench *bench = *state;
    char refused[PUSH_ID_MAX];
    char younger[PUSH_ID_MAX];
    rule(bench, "one", 1, 403, false);
    store(bench, 0, "team/app:one", refused);
    queue_test_idle(bench->test);
    store(bench, 1, "team/app:one", younger);
    queue_test_idle(bench->test);
    queue_test_close(bench->test); /* whatever the queue itself remembers */
    queue_test_open(bench->test);
    const struct push_retry all = {.state = PUSH_REFUSED};
    struct push_retried done = retry(bench, &all);
    assert_int_equal(done.retried, 0);
    assert_int_equal(done.superseded, 1);
    queue_test_idle(bench->test);
    assert_int_equal(puts_of(bench, "one"), 2);
}

static void what_waits_goes_at_once(void **state)
{
    struct bench *bench = *state;
    char id[PUSH_ID_MAX];
    bench->test->registry_setting.retry_wait_ms = 600000;
    rule(bench, "one", 5, 503, false);
    store(bench, 0, "team/app:one", id);
    QUEUE_TEST_UNTIL(look(bench, id) == PUSH_WAITING);
    autofree char *name = xasprintf("other:%s", bench->test->host);
    const struct push_retry elsewhere = {.target = "other:r.example.com"};
    const struct push_retry here = {.target = name, .state = PUSH_WAITING};
    assert_int_equal(retry(bench, &elsewhere).retried, 0);
    /* Its record says that it waits a moment before it does. */
    QUEUE_TEST_UNTIL(retry(bench, &here).retried == 1);
    queue_test_idle(bench->test);
    assert_int_equal(recorded(bench, id, 0), PUSH_PUSHED);
}

/* ---- the end of their time ---- */

static void what_waits_ends_with_its_time(void **state)
{
    struct bench *bench = *state;
    char id[PUSH_ID_MAX];
    bench->test->registry_setting.retry_wait_ms = 600000;
    rule(bench, "one", 5, 503, false);
    struct push push =
        queue_test_push(bench->test, &bench->images[0].manifest, "team/app:one", true);
    push.targets[0].deadline_s = (uint64_t)clock_wall_s() + 1000;
    queue_test_accept(bench->test, &push);
    strcpy(id, push.id);
    push_queue_start(bench->test->queue, &push);
    QUEUE_TEST_UNTIL(look(bench, id) == PUSH_WAITING);
    push_queue_expire(bench->test->queue, push.targets[0].deadline_s - 1);
    assert_int_equal(recorded(bench, id, 0), PUSH_WAITING);
    QUEUE_TEST_UNTIL((push_queue_expire(bench->test->queue, push.targets[0].deadline_s),
                      recorded(bench, id, 0) == PUSH_EXPIRED));
    push_deinit(&push);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_runs_and_what_waits_is_told_apart),
        TEST(a_watch_sees_each_change),
        TEST(the_end_of_the_queue_ends_watches),
        TEST(who_waits_is_listed_then_recorded),
        TEST(what_has_just_ended_is_recorded_at_the_end),
        TEST(what_waits_is_cancelled_at_once),
        TEST(what_runs_is_cancelled_with_its_session),
        TEST(who_waits_is_told_who_cancelled),
        TEST(a_refused_target_begins_anew),
        TEST(who_waited_in_vain_is_tried_again),
        TEST(a_younger_push_keeps_its_tag),
        TEST(what_waits_goes_at_once),
        TEST(what_waits_ends_with_its_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
