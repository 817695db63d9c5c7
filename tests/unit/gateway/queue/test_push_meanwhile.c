/*
 * What is asked for while an entry comes, ends, or is written: done on the thread that does that,
 * in the very moment.
 */
#include "gateway/queue/push_queue.h"

#include "base/mem.h"
#include "gateway/queue/push_targets.h"
#include "store/pushes.h"
#include "tests/support/queue_bench.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum errc __real_pushes_change(struct store *store, const struct push_change *changes, size_t count,
                               bool durable, struct error *err);
enum errc __wrap_pushes_change(struct store *store, const struct push_change *changes, size_t count,
                               bool durable, struct error *err);

enum errc __real_pushes_get(struct store *store, const char *id, struct push *out, bool *found,
                            struct error *err);
enum errc __wrap_pushes_get(struct store *store, const char *id, struct push *out, bool *found,
                            struct error *err);

enum moment {
    BEFORE_WRITE,   /* a record is about to become `written` */
    AFTER_ORPHANED, /* a record has become an orphan's */
    BEFORE_READ,    /* a record is about to be read */
    AT_END,         /* a target has ended, and its entry has not left */
    MOMENTS
};

/* What this thread does when it comes to it, once; NULL: nothing. */
static _Thread_local void (*moments[MOMENTS])(struct queue_bench *bench);
static struct queue_bench *moments_bench;
static enum push_state written;

/* What they are about, and what came of it. */
static char the_id[PUSH_ID_MAX];
static size_t counted;

static void reach(enum moment moment)
{
    void (*run)(struct queue_bench * bench) = moments[moment];
    moments[moment] = NULL;
    if (run)
        run(moments_bench);
}

enum errc __wrap_pushes_change(struct store *store, const struct push_change *changes, size_t count,
                               bool durable, struct error *err)
{
    enum push_state state = changes[0].target->state;
    if (state == written)
        reach(BEFORE_WRITE);
    enum errc code = __real_pushes_change(store, changes, count, durable, err);
    if (state == PUSH_ORPHANED)
        reach(AFTER_ORPHANED);
    return code;
}

enum errc __wrap_pushes_get(struct store *store, const char *id, struct push *out, bool *found,
                            struct error *err)
{
    reach(BEFORE_READ);
    return __real_pushes_get(store, id, out, found, err);
}

static void on_ended(void *self, const struct digest *manifest, const struct push_target *target)
{
    (void)self;
    (void)manifest;
    (void)target;
    reach(AT_END);
}

static int set_up(void **state)
{
    static const char *const names[] = {"far", NULL};
    queue_bench_set_up(state);
    struct queue_bench *bench = *state;
    queue_bench_configure(bench, names);
    queue_test_close(bench->test);
    queue_test_open(bench->test);
    push_queue_listen(bench->test->queue, on_ended, NULL);
    memset(moments, 0, sizeof moments);
    moments_bench = bench;
    return 0;
}

static void set_paused(struct queue_bench *bench, const char *name, bool paused)
{
    struct error err = ERROR_INIT;
    struct target_view view;
    assert_int_equal(push_queue_pause(bench->test->queue, name, paused, &view, &err), ERR_OK);
}

static enum push_state state_of(struct queue_bench *bench, const char *id)
{
    return queue_test_state(bench->test, id, 0);
}

static struct push_retried retry(struct queue_bench *bench, const char *id, enum push_state state)
{
    const struct push_retry wanted = {.id = id, .state = state};
    return queue_test_retry(bench->test, &wanted);
}

/* `name` "": a client named its target. */
static void promise(struct queue_bench *bench, size_t image, const char *name, char id[PUSH_ID_MAX])
{
    struct push push = queue_bench_promise(bench, image, "team/app:one", name);
    strcpy(id, push.id);
    queue_bench_start(bench, &push);
}

/* It has been paused since somebody knew its target. */
static void park(struct queue_bench *bench, const char *name, char id[PUSH_ID_MAX])
{
    struct waiting_push first;
    queue_bench_await(bench, &first, 1, "team/app:first");
    queue_bench_run(bench, &first);
    queue_bench_expect_end(&first, ERR_OK);
    set_paused(bench, name[0] ? name : bench->other, true);
    promise(bench, 0, name, id);
    assert_int_equal(queue_test_look(bench->test, id).state, PUSH_WAITING);
}

/* ---- it ends ---- */

static void retry_it(struct queue_bench *bench)
{
    counted = retry(bench, the_id, 0).retried;
}

/* Its record says that it was cancelled; it is not to begin anew without an entry. */
static void a_retry_of_what_ends_is_not_lost(void **state)
{
    struct queue_bench *bench = *state;
    park(bench, "", the_id);
    moments[AT_END] = retry_it;
    counted = 9;
    assert_true(push_queue_cancel(bench->test->queue, the_id, 1));
    assert_null(moments[AT_END]);
    assert_int_equal(counted, 0);
    assert_int_equal(state_of(bench, the_id), PUSH_CANCELLED);
    assert_int_equal(retry(bench, the_id, 0).retried, 1);
    set_paused(bench, bench->other, false);
    queue_test_idle(bench->test);
    assert_int_equal(state_of(bench, the_id), PUSH_PUSHED);
}

/* Two who retry it: the second finds the entry of the first. */
static void one_of_two_retries_counts(void **state)
{
    struct queue_bench *bench = *state;
    park(bench, "", the_id);
    assert_true(push_queue_cancel(bench->test->queue, the_id, 1));
    set_paused(bench, bench->other, false);
    written = PUSH_QUEUED;
    moments[BEFORE_WRITE] = retry_it;
    counted = 9;
    assert_int_equal(retry(bench, the_id, 0).retried, 1);
    assert_int_equal(counted, 0);
    queue_test_idle(bench->test);
    assert_int_equal(state_of(bench, the_id), PUSH_PUSHED);
    assert_int_equal(queue_bench_puts(bench, "team/app", "one"), 1);
}

/* ---- it comes ---- */

static void cancel_it(struct queue_bench *bench)
{
    assert_true(push_queue_cancel(bench->test->queue, the_id, 1));
}

/* While the older one that it supersedes is written. */
static void what_is_cancelled_as_it_comes_ends(void **state)
{
    struct queue_bench *bench = *state;
    char older[PUSH_ID_MAX];
    park(bench, "", older);
    struct push push = queue_bench_accepted(bench, 2, "team/app:one");
    strcpy(the_id, push.id);
    moments[AT_END] = cancel_it;
    queue_bench_start(bench, &push);
    assert_int_equal(state_of(bench, older), PUSH_SUPERSEDED);
    assert_int_equal(state_of(bench, the_id), PUSH_CANCELLED);
    assert_false(push_queue_cancel(bench->test->queue, the_id, 1));
}

/* ---- its name goes and comes ---- */

static void bring_back(struct queue_bench *bench)
{
    bench->test->settings.mirror_count = 1;
    push_queue_changed(bench->test->queue);
}

static void a_name_that_is_back_as_it_is_orphaned(void **state)
{
    struct queue_bench *bench = *state;
    char id[PUSH_ID_MAX];
    park(bench, "far", id);
    written = PUSH_ORPHANED;
    moments[BEFORE_WRITE] = bring_back;
    bench->test->settings.mirror_count = 0;
    push_queue_changed(bench->test->queue);
    assert_int_equal(queue_test_look(bench->test, id).state, PUSH_WAITING);
    set_paused(bench, "far", false);
    queue_test_idle(bench->test);
    assert_int_equal(state_of(bench, id), PUSH_PUSHED);
}

static void back_and_away(struct queue_bench *bench)
{
    bring_back(bench);
    bench->test->settings.mirror_count = 0;
    push_queue_changed(bench->test->queue);
}

/* Twice while its entry ends: what has adopted it meanwhile is not to be left without one. */
static void a_name_that_is_back_and_away_as_it_is_orphaned(void **state)
{
    struct queue_bench *bench = *state;
    char id[PUSH_ID_MAX];
    park(bench, "far", id);
    moments[AFTER_ORPHANED] = back_and_away;
    bench->test->settings.mirror_count = 0;
    push_queue_changed(bench->test->queue);
    assert_null(moments[AFTER_ORPHANED]);
    assert_int_equal(state_of(bench, id), PUSH_ORPHANED);
    bring_back(bench);
    set_paused(bench, "far", false);
    queue_test_idle(bench->test);
    assert_int_equal(state_of(bench, id), PUSH_PUSHED);
}

/* The retry has reserved its entry, and has not looked again. */
static void a_name_that_is_back_as_it_is_retried(void **state)
{
    struct queue_bench *bench = *state;
    char id[PUSH_ID_MAX];
    park(bench, "far", id);
    bench->test->settings.mirror_count = 0;
    push_queue_changed(bench->test->queue);
    assert_int_equal(state_of(bench, id), PUSH_ORPHANED);
    moments[BEFORE_READ] = bring_back;
    retry(bench, id, 0);
    assert_null(moments[BEFORE_READ]);
    set_paused(bench, "far", false);
    queue_test_idle(bench->test);
    assert_int_equal(state_of(bench, id), PUSH_PUSHED);
}

static void what_is_cancelled_as_its_name_is_back_ends(void **state)
{
    struct queue_bench *bench = *state;
    park(bench, "far", the_id);
    bench->test->settings.mirror_count = 0;
    push_queue_changed(bench->test->queue);
    written = PUSH_QUEUED;
    moments[BEFORE_WRITE] = cancel_it;
    bring_back(bench);
    assert_null(moments[BEFORE_WRITE]);
    set_paused(bench, "far", false);
    queue_test_idle(bench->test);
    assert_int_equal(state_of(bench, the_id), PUSH_CANCELLED);
}

static bool watched_is_open(struct push_watch *watch, bool closed)
{
    struct error err = ERROR_INIT;
    struct push push;
    bool found = false;
    assert_int_equal(push_queue_find(watch->queue, watch->id, &push, &found, &err), ERR_OK);
    bool open = found && !push_state_is_final(push.targets[0].state);
    if (found)
        push_deinit(&push);
    return open && !closed;
}

static atomic_size_t watches_over;

static void watch_is_over(struct push_watch *watch)
{
    (void)watch;
    atomic_fetch_add(&watches_over, 1);
}

static void begin_watch(struct queue_bench *bench, struct push_watch *watch, const char *id)
{
    *watch =
        (struct push_watch){.rest_ms = 3600000, .look = watched_is_open, .over = watch_is_over};
    strcpy(watch->id, id);
    assert_true(push_queue_watch(bench->test->queue, watch));
    queue_bench_settle(bench);
}

/* A younger image went there meanwhile; who watches the older one hears of it. */
static void an_orphan_that_was_overtaken_stays_behind(void **state)
{
    struct queue_bench *bench = *state;
    struct push_watch watch;
    char older[PUSH_ID_MAX];
    char younger[PUSH_ID_MAX];
    atomic_store(&watches_over, 0);
    park(bench, "far", older);
    bench->test->settings.mirror_count = 0;
    push_queue_changed(bench->test->queue);
    assert_int_equal(state_of(bench, older), PUSH_ORPHANED);
    promise(bench, 2, "", younger);
    queue_test_idle(bench->test);
    assert_int_equal(state_of(bench, younger), PUSH_PUSHED);
    queue_test_close(bench->test); /* whatever the queue itself remembers */
    queue_test_open(bench->test);
    begin_watch(bench, &watch, older);
    bring_back(bench);
    assert_int_equal(state_of(bench, older), PUSH_SUPERSEDED);
    QUEUE_TEST_UNTIL(atomic_load(&watches_over) == 1);
    queue_test_idle(bench->test);
    assert_true(queue_bench_is_there(bench, "one", 2));
}

static void who_watches_an_orphan_hears_of_its_end(void **state)
{
    struct queue_bench *bench = *state;
    struct push_watch watch;
    char id[PUSH_ID_MAX];
    atomic_store(&watches_over, 0);
    park(bench, "far", id);
    bench->test->settings.mirror_count = 0;
    push_queue_changed(bench->test->queue);
    begin_watch(bench, &watch, id);
    assert_true(push_queue_cancel(bench->test->queue, id, 1));
    QUEUE_TEST_UNTIL(atomic_load(&watches_over) == 1);
}

/* ---- it waits ---- */

/* Its record says that it is queued: its gate has kept it before its first run. */
static void what_is_shown_as_waiting_is_retried_as_such(void **state)
{
    struct queue_bench *bench = *state;
    char id[PUSH_ID_MAX];
    queue_bench_park(bench, 0, "team/app", "one");
    strcpy(id, queue_bench_store(bench, 1, "team/other:two"));
    QUEUE_TEST_UNTIL(queue_test_look(bench->test, id).state == PUSH_WAITING);
    assert_int_equal(state_of(bench, id), PUSH_QUEUED);
    assert_int_equal(retry(bench, id, PUSH_WAITING).retried, 1);
    queue_test_idle(bench->test);
    assert_int_equal(state_of(bench, id), PUSH_PUSHED);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, queue_bench_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_name_that_is_back_and_away_as_it_is_orphaned),
        TEST(a_name_that_is_back_as_it_is_retried),
        TEST(what_is_cancelled_as_its_name_is_back_ends),
        TEST(a_retry_of_what_ends_is_not_lost),
        TEST(one_of_two_retries_counts),
        TEST(what_is_cancelled_as_it_comes_ends),
        TEST(a_name_that_is_back_as_it_is_orphaned),
        TEST(an_orphan_that_was_overtaken_stays_behind),
        TEST(who_watches_an_orphan_hears_of_its_end),
        TEST(what_is_shown_as_waiting_is_retried_as_such),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
