/*
 * Open targets whose name has left the configuration, at the next start and after it has come back.
 */
#include "gateway/queue/push_queue.h"

#include "base/clock.h"
#include "base/mem.h"
#include "gateway/queue/push_targets.h"
#include "tests/support/queue_bench.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static int set_up(void **state)
{
    static const char *const names[] = {"far", NULL};
    queue_bench_set_up(state);
    struct queue_bench *bench = *state;
    queue_bench_configure(bench, names);
    return 0;
}

static void start_again(struct queue_bench *bench, bool known)
{
    queue_test_close(bench->test);
    bench->test->settings.mirror_count = known;
    queue_test_open(bench->test);
    queue_test_idle(bench->test);
}

static struct push_retried retry(struct queue_bench *bench, const char *id)
{
    const struct push_retry wanted = {.id = id};
    return queue_test_retry(bench->test, &wanted);
}

/* A promise that the last process has not begun. `name` "": a client named its target. */
static void promise(struct queue_bench *bench, size_t image, const char *target, const char *name,
                    char id[PUSH_ID_MAX])
{
    struct push push = queue_test_push(bench->test, &bench->images[image].manifest, target, true);
    strcpy(push.targets[0].name, name);
    push.targets[0].deadline_s = 1; /* long over */
    queue_test_accept(bench->test, &push);
    strcpy(id, push.id);
    push_deinit(&push);
}

static enum push_state state_of(struct queue_bench *bench, const char *id)
{
    return queue_test_state(bench->test, id, 0);
}

static void nothing_happens_until_the_name_is_back(void **state)
{
    struct queue_bench *bench = *state;
    char far[PUSH_ID_MAX];
    char named[PUSH_ID_MAX];
    promise(bench, 0, "team/app:one", "far", far);
    promise(bench, 0, "team/app:two", "", named);
    start_again(bench, false);
    assert_int_equal(state_of(bench, far), PUSH_ORPHANED);
    assert_int_equal(state_of(bench, named), PUSH_PUSHED);
    push_queue_expire(bench->test->queue, (uint64_t)clock_wall_s());
    start_again(bench, false);
    assert_int_equal(state_of(bench, far), PUSH_ORPHANED);
    assert_int_equal(queue_bench_puts(bench, "team/app", "one"), 0);
    start_again(bench, true);
    assert_int_equal(state_of(bench, far), PUSH_PUSHED);
    assert_int_equal(queue_bench_puts(bench, "team/app", "one"), 1);
}

/* As above, while the queue runs; what is paused meanwhile is an orphan as well. */
static void a_reload_is_as_a_restart(void **state)
{
    struct queue_bench *bench = *state;
    struct error err = ERROR_INIT;
    char far[PUSH_ID_MAX];
    char later[PUSH_ID_MAX];
    struct target_view view;
    promise(bench, 0, "team/app:one", "far", far);
    start_again(bench, false);
    bench->test->settings.mirror_count = 1;
    push_queue_changed(bench->test->queue);
    queue_test_idle(bench->test);
    assert_int_equal(state_of(bench, far), PUSH_PUSHED);
    assert_int_equal(push_queue_pause(bench->test->queue, "far", true, &view, &err), ERR_OK);
    promise(bench, 1, "team/app:two", "far", later);
    push_queue_take(bench->test->queue, later);
    bench->test->settings.mirror_count = 0;
    push_queue_changed(bench->test->queue);
    assert_int_equal(state_of(bench, later), PUSH_ORPHANED);
    assert_int_equal(push_queue_pause(bench->test->queue, "far", false, &view, &err), ERR_OK);
    queue_test_idle(bench->test);
    assert_int_equal(queue_bench_puts(bench, "team/app", "two"), 0);
    bench->test->settings.mirror_count = 1;
    push_queue_changed(bench->test->queue);
    queue_test_idle(bench->test);
    assert_int_equal(state_of(bench, later), PUSH_PUSHED);
}

/* Its name means another registry by now. */
static void another_host_of_the_name_does_not_get_it(void **state)
{
    struct queue_bench *bench = *state;
    char far[PUSH_ID_MAX];
    promise(bench, 0, "team/app:one", "far", far);
    free(bench->targets[0].target);
    bench->targets[0].target = xstrdup("r.example.com/team/*");
    start_again(bench, true);
    assert_int_equal(state_of(bench, far), PUSH_ORPHANED);
    assert_int_equal(queue_bench_puts(bench, "team/app", "one"), 0);
}

static void it_is_dropped_or_sent_by_its_id(void **state)
{
    struct queue_bench *bench = *state;
    char dropped[PUSH_ID_MAX];
    char sent[PUSH_ID_MAX];
    promise(bench, 0, "team/app:one", "far", dropped);
    promise(bench, 1, "team/app:two", "far", sent);
    start_again(bench, false);
    assert_true(push_queue_cancel(bench->test->queue, dropped, 1));
    assert_false(push_queue_cancel(bench->test->queue, dropped, 1));
    assert_int_equal(state_of(bench, dropped), PUSH_CANCELLED);
    queue_bench_answer_puts(bench, "manifests/two", 1, 403);
    assert_int_equal(retry(bench, sent).retried, 1);
    queue_test_idle(bench->test);
    assert_int_equal(state_of(bench, sent), PUSH_REFUSED);
    assert_int_equal(retry(bench, sent).retried, 1);
    start_again(bench, false); /* somebody named it: it is no orphan any more */
    assert_int_equal(state_of(bench, sent), PUSH_PUSHED);
    assert_int_equal(queue_bench_puts(bench, "team/app", "one"), 0);
}

/* An orphan has no tag: what goes on is not superseded by it, and supersedes it when it is sent. */
static void it_supersedes_nothing(void **state)
{
    struct queue_bench *bench = *state;
    char older[PUSH_ID_MAX];
    char far[PUSH_ID_MAX];
    char younger[PUSH_ID_MAX];
    promise(bench, 0, "team/app:one", "", older);
    promise(bench, 1, "team/app:one", "far", far);
    start_again(bench, false);
    assert_int_equal(state_of(bench, older), PUSH_PUSHED);
    assert_int_equal(state_of(bench, far), PUSH_ORPHANED);
    promise(bench, 0, "team/app:one", "", younger);
    start_again(bench, false);
    assert_int_equal(state_of(bench, younger), PUSH_PUSHED);
    struct push_retried done = retry(bench, far);
    assert_int_equal(done.retried, 0);
    assert_int_equal(done.superseded, 1);
    assert_int_equal(state_of(bench, far), PUSH_ORPHANED);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, queue_bench_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nothing_happens_until_the_name_is_back),
        TEST(a_reload_is_as_a_restart),
        TEST(another_host_of_the_name_does_not_get_it),
        TEST(it_is_dropped_or_sent_by_its_id),
        TEST(it_supersedes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
