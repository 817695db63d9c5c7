/*
 * Looking at pushes, cancelling them, trying them again, and what is remembered of them.
 */
#include "gateway/queue/push_queue.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "gateway/access/audit.h"
#include "tests/support/queue_bench.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* Its id, owned by the caller's array. */
static void store(struct queue_bench *bench, size_t image, const char *targets,
                  char id[PUSH_ID_MAX])
{
    strcpy(id, queue_bench_store(bench, image, targets));
}

static bool cancel(struct queue_bench *bench, const char *id)
{
    return push_queue_cancel(bench->test->queue, id, 2);
}

/* ---- looking ---- */

static void what_runs_and_what_waits_is_told_apart(void **state)
{
    struct queue_bench *bench = *state;
    char first[PUSH_ID_MAX];
    char second[PUSH_ID_MAX];
    queue_bench_hold_put(bench, "one");
    store(bench, 0, "team/app:one", first);
    QUEUE_TEST_UNTIL(queue_bench_puts(bench, "team/app", "one") == 1);
    store(bench, 1, "team/app:two", second);
    assert_int_equal(queue_test_look(bench->test, first).state, PUSH_RUNNING);
    assert_int_equal(queue_test_look(bench->test, second).state, PUSH_QUEUED);
    fake_registry_release(bench->test->registry);
    queue_test_idle(bench->test);
    assert_int_equal(queue_test_look(bench->test, first).state, PUSH_PUSHED);
    assert_int_equal(queue_test_look(bench->test, second).state, PUSH_PUSHED);
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

static void begin_watch(struct watcher *watcher, struct queue_bench *bench, const char *id)
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
    struct queue_bench *bench = *state;
    struct watcher watchers[2];
    struct waiting_push waiting;
    char id[PUSH_ID_MAX];
    queue_bench_hold_put(bench, "one");
    queue_bench_hold_put(bench, "two");
    store(bench, 0, "team/app:one", id);
    waiting_push_init(&waiting, bench->test, &bench->images[1].manifest, "team/app:two");
    waiting_push_run(&waiting, bench->test);
    begin_watch(&watchers[0], bench, id);
    begin_watch(&watchers[1], bench, waiting.push.id);
    for (size_t i = 0; i < 2; i++)
        QUEUE_TEST_UNTIL(saw(&watchers[i], PUSH_RUNNING));
    QUEUE_TEST_UNTIL(queue_bench_puts(bench, "team/app", "one") == 1 &&
                     queue_bench_puts(bench, "team/app", "two") == 1);
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
    struct queue_bench *bench = *state;
    struct watcher watcher;
    char id[PUSH_ID_MAX];
    queue_bench_wait_long(bench);
    queue_bench_answer_puts(bench, "one", 5, 503);
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
    struct queue_bench *bench = *state;
    struct waiting_push waiting;
    struct push *pushes = NULL;
    queue_bench_hold_put(bench, "one");
    waiting_push_init(&waiting, bench->test, &bench->images[0].manifest,
                      "team/app:one other/app:two");
    waiting_push_run(&waiting, bench->test);
    QUEUE_TEST_UNTIL(queue_bench_puts(bench, "team/app", "one") == 1);
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
    assert_int_equal(queue_test_state(bench->test, waiting.push.id, 0), PUSH_PUSHED);
    assert_int_equal(queue_test_state(bench->test, waiting.push.id, 1), PUSH_PUSHED);
    waiting_push_deinit(&waiting);
}

/* The end of a queue does not lose what has just ended. */
static void what_has_just_ended_is_recorded_at_the_end(void **state)
{
    struct queue_bench *bench = *state;
    struct waiting_push waiting;
    waiting_push_init(&waiting, bench->test, &bench->images[0].manifest, "team/app:one");
    waiting_push_run(&waiting, bench->test);
    waiting_push_wait(&waiting);
    queue_test_close(bench->test);
    assert_int_equal(queue_test_state(bench->test, waiting.push.id, 0), PUSH_PUSHED);
    queue_test_open(bench->test);
    waiting_push_deinit(&waiting);
}

/* ---- cancelling ---- */

static void what_waits_is_cancelled_at_once(void **state)
{
    struct queue_bench *bench = *state;
    char id[PUSH_ID_MAX];
    queue_bench_wait_long(bench);
    queue_bench_answer_puts(bench, "one", 5, 503);
    store(bench, 0, "team/app:one", id);
    QUEUE_TEST_UNTIL(queue_test_look(bench->test, id).state == PUSH_WAITING);
    assert_true(cancel(bench, id));
    QUEUE_TEST_UNTIL(queue_test_state(bench->test, id, 0) == PUSH_CANCELLED);
    assert_false(cancel(bench, id));
    queue_test_close(bench->test);
    queue_test_open(bench->test);
    queue_test_idle(bench->test);
    assert_int_equal(queue_bench_puts(bench, "team/app", "one"), 5);
}

/* As blobs of registry clients leave. */
static void send_early(struct queue_bench *bench, const struct digest *layer)
{
    struct descriptor blob = {.digest = *layer, .size = 1000};
    struct reference target = {.path = "team/app"};
    strcpy(target.host, bench->test->host);
    early_upload(bench->test->runtime.early, &target, &blob, "");
}

/* Also with that of a blob that left before its manifest. */
static void what_runs_is_cancelled_with_its_session(void **state)
{
    struct queue_bench *bench = *state;
    char id[PUSH_ID_MAX];
    fake_registry_rule(bench->test->registry,
                       (struct fake_rule){.method = "PUT",
                                          .part = "/v2/team/app/blobs/uploads/",
                                          .times = 9,
                                          .status = 500,
                                          .hold = true});
    send_early(bench, &bench->images[0].layers[0]);
    store(bench, 0, "team/app:one", id);
    QUEUE_TEST_UNTIL(http_double_count(bench->test->http, "PUT /v2/team/app/blobs/uploads/") > 0);
    int64_t since_ms = clock_ms();
    assert_true(cancel(bench, id));
    QUEUE_TEST_UNTIL(queue_test_state(bench->test, id, 0) == PUSH_CANCELLED);
    assert_in_range(clock_ms() - since_ms, 0, 10000);
    fake_registry_release(bench->test->registry);
    queue_test_idle(bench->test);
    size_t opened = http_double_count(bench->test->http, "POST /v2/team/app/blobs/uploads/");
    assert_int_equal(
        http_double_await(bench->test->http, "DELETE /v2/team/app/blobs/uploads/", opened), opened);
    assert_int_equal(queue_bench_puts(bench, "team/app", "one"), 0);
}

static void who_waits_is_told_who_cancelled(void **state)
{
    struct queue_bench *bench = *state;
    struct waiting_push waiting;
    queue_bench_hold_put(bench, "one");
    waiting_push_init(&waiting, bench->test, &bench->images[0].manifest, "team/app:one");
    waiting_push_run(&waiting, bench->test);
    QUEUE_TEST_UNTIL(queue_bench_puts(bench, "team/app", "one") == 1);
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
    struct queue_bench *bench = *state;
    char id[PUSH_ID_MAX];
    queue_bench_answer_puts(bench, "one", 1, 403);
    store(bench, 0, "team/app:one team/app:two", id);
    queue_test_idle(bench->test);
    assert_int_equal(queue_test_state(bench->test, id, 0), PUSH_REFUSED);
    const struct push_retry by_id = {.id = id};
    assert_int_equal(queue_test_retry(bench->test, &by_id).retried, 1);
    queue_test_idle(bench->test);
    assert_int_equal(queue_test_state(bench->test, id, 0), PUSH_PUSHED);
    assert_int_equal(queue_bench_puts(bench, "team/app", "one"), 2);
    assert_int_equal(queue_bench_puts(bench, "team/app", "two"), 1);
    assert_int_equal(queue_test_retry(bench->test, &by_id).retried, 0);
}

/* What a client has waited for in vain goes on without it. */
static void who_waited_in_vain_is_tried_again(void **state)
{
    struct queue_bench *bench = *state;
    struct waiting_push waiting;
    queue_bench_answer_puts(bench, "one", 1, 403);
    waiting_push_init(&waiting, bench->test, &bench->images[0].manifest, "team/app:one");
    waiting_push_run(&waiting, bench->test);
    waiting_push_wait(&waiting);
    queue_test_idle(bench->test);
    assert_int_equal(queue_test_state(bench->test, waiting.push.id, 0), PUSH_FAILED);
    const struct push_retry failed = {.state = PUSH_FAILED};
    assert_int_equal(queue_test_retry(bench->test, &failed).retried, 1);
    queue_test_idle(bench->test);
    assert_int_equal(queue_test_state(bench->test, waiting.push.id, 0), PUSH_PUSHED);
    waiting_push_deinit(&waiting);
}

static void a_younger_push_keeps_its_tag(void **state)
{
    struct queue_bench *bench = *state;
    char refused[PUSH_ID_MAX];
    char younger[PUSH_ID_MAX];
    queue_bench_answer_puts(bench, "one", 1, 403);
    store(bench, 0, "team/app:one", refused);
    queue_test_idle(bench->test);
    store(bench, 1, "team/app:one", younger);
    queue_test_idle(bench->test);
    queue_test_close(bench->test); /* whatever the queue itself remembers */
    queue_test_open(bench->test);
    const struct push_retry all = {.state = PUSH_REFUSED};
    struct push_retried done = queue_test_retry(bench->test, &all);
    assert_int_equal(done.retried, 0);
    assert_int_equal(done.superseded, 1);
    queue_test_idle(bench->test);
    assert_int_equal(queue_bench_puts(bench, "team/app", "one"), 2);
}

static void what_waits_goes_at_once(void **state)
{
    struct queue_bench *bench = *state;
    char id[PUSH_ID_MAX];
    queue_bench_wait_long(bench);
    queue_bench_answer_puts(bench, "one", 5, 503);
    store(bench, 0, "team/app:one", id);
    QUEUE_TEST_UNTIL(queue_test_look(bench->test, id).state == PUSH_WAITING);
    const struct push_retry elsewhere = {.target = "other:r.example.com"};
    const struct push_retry here = {.target = bench->other, .state = PUSH_WAITING};
    assert_int_equal(queue_test_retry(bench->test, &elsewhere).retried, 0);
    /* Its record says that it waits a moment before it does. */
    QUEUE_TEST_UNTIL(queue_test_retry(bench->test, &here).retried == 1);
    queue_test_idle(bench->test);
    assert_int_equal(queue_test_state(bench->test, id, 0), PUSH_PUSHED);
}

/* ---- the end of their time ---- */

static void what_waits_ends_with_its_time(void **state)
{
    struct queue_bench *bench = *state;
    char id[PUSH_ID_MAX];
    queue_bench_wait_long(bench);
    queue_bench_answer_puts(bench, "one", 5, 503);
    struct push push =
        queue_test_push(bench->test, &bench->images[0].manifest, "team/app:one", true);
    push.targets[0].deadline_s = (uint64_t)clock_wall_s() + 1000;
    queue_test_accept(bench->test, &push);
    strcpy(id, push.id);
    push_queue_start(bench->test->queue, &push);
    QUEUE_TEST_UNTIL(queue_test_look(bench->test, id).state == PUSH_WAITING);
    push_queue_expire(bench->test->queue, push.targets[0].deadline_s - 1);
    assert_int_equal(queue_test_state(bench->test, id, 0), PUSH_WAITING);
    QUEUE_TEST_UNTIL((push_queue_expire(bench->test->queue, push.targets[0].deadline_s),
                      queue_test_state(bench->test, id, 0) == PUSH_EXPIRED));
    push_deinit(&push);
}

/* ---- the audit stream ---- */

static const struct push_by ann = {.kind = "user", .name = "ann"};

/* Accepted and, with the queue there, started. */
static void store_of_ann(struct queue_bench *bench, const char *target, char id[PUSH_ID_MAX])
{
    struct push push = queue_test_push(bench->test, &bench->images[0].manifest, target, true);
    push.by = ann;
    queue_test_accept(bench->test, &push);
    strcpy(id, push.id);
    if (bench->test->queue)
        push_queue_start(bench->test->queue, &push);
    push_deinit(&push);
}

/* The line of the push's only end. */
static void expect_end(const char *text, const char *id, const char *outcome, const char *state)
{
    autofree char *of_push = xasprintf("\"push\":\"%s\"", id);
    autofree char *end = xasprintf("\"outcome\":\"%s\"", outcome);
    autofree char *in_state = xasprintf("\"state\":\"%s\"}]}\n", state);
    const char *at = strstr(text, of_push);
    assert_non_null(at);
    assert_null(strstr(at + 1, of_push));
    while (at > text && at[-1] != '\n')
        at--;
    autofree char *line = xstrndup(at, strcspn(at, "\n") + 1);
    assert_non_null(strstr(line, "\"action\":\"target.end\""));
    assert_non_null(strstr(line, "\"actor\":{\"kind\":\"user\",\"id\":\"ann\"}"));
    assert_non_null(strstr(line, end));
    assert_non_null(strstr(line, in_state));
}

/* Whether it ends at a start, in its turn, before a client that waits, or because somebody says so.
 */
static void each_end_says_who_asked(void **state)
{
    struct queue_bench *bench = *state;
    struct error err = ERROR_INIT;
    struct waiting_push waiting;
    char ids[3][PUSH_ID_MAX];
    char path[] = "/tmp/slipway-audit-XXXXXX";
    autofree char *text = NULL;
    size_t size = 0;
    close(mkstemp(path));
    assert_int_equal(audit_open(path, NULL, &bench->test->runtime.audit, &err), ERR_OK);
    queue_test_close(bench->test);
    store_of_ann(bench, "team/app:one", ids[0]);
    store_of_ann(bench, "team/app:one", ids[1]);
    queue_test_open(bench->test);
    waiting_push_init(&waiting, bench->test, &bench->images[1].manifest, "team/app:two");
    waiting.push.by = ann;
    waiting_push_run(&waiting, bench->test);
    waiting_push_wait(&waiting);
    queue_test_idle(bench->test);
    bench->test->registry_setting.retry_wait_ms = 600000;
    queue_bench_answer_puts(bench, "late", 5, 503);
    store_of_ann(bench, "team/app:late", ids[2]);
    QUEUE_TEST_UNTIL(queue_test_look(bench->test, ids[2]).state == PUSH_WAITING);
    assert_true(cancel(bench, ids[2]));
    queue_test_idle(bench->test);
    audit_close(bench->test->runtime.audit);
    bench->test->runtime.audit = NULL;
    assert_int_equal(file_read_all(path, (size_t)1 << 20, &text, &size, &err), ERR_OK);
    unlink(path);
    expect_end(text, ids[0], "success", "superseded");
    expect_end(text, ids[1], "success", "pushed");
    expect_end(text, waiting.push.id, "success", "pushed");
    expect_end(text, ids[2], "failure", "cancelled");
    waiting_push_deinit(&waiting);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        QUEUE_BENCH_TEST(what_runs_and_what_waits_is_told_apart),
        QUEUE_BENCH_TEST(a_watch_sees_each_change),
        QUEUE_BENCH_TEST(the_end_of_the_queue_ends_watches),
        QUEUE_BENCH_TEST(who_waits_is_listed_then_recorded),
        QUEUE_BENCH_TEST(what_has_just_ended_is_recorded_at_the_end),
        QUEUE_BENCH_TEST(what_waits_is_cancelled_at_once),
        QUEUE_BENCH_TEST(what_runs_is_cancelled_with_its_session),
        QUEUE_BENCH_TEST(who_waits_is_told_who_cancelled),
        QUEUE_BENCH_TEST(a_refused_target_begins_anew),
        QUEUE_BENCH_TEST(who_waited_in_vain_is_tried_again),
        QUEUE_BENCH_TEST(a_younger_push_keeps_its_tag),
        QUEUE_BENCH_TEST(what_waits_goes_at_once),
        QUEUE_BENCH_TEST(what_waits_ends_with_its_time),
        QUEUE_BENCH_TEST(each_end_says_who_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
