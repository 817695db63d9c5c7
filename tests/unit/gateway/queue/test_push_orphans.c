/*
 * Open targets whose name has left the configuration, at the next start and after it has come back.
 */
#include "gateway/queue/push_queue.h"

#include "base/clock.h"
#include "base/mem.h"
#include "tests/support/queue_test.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct bench {
    struct queue_test *test;
    struct made_image images[2];
    struct mirror_target_setting target; /* "far" */
    struct mirror_setting mirror;
};

static int set_up(void **state)
{
    struct bench *bench = xcalloc(1, sizeof *bench);
    bench->test = queue_test_new();
    bench->images[0] = push_test_image(bench->test->push, "ab", 1000);
    bench->images[1] = push_test_image(bench->test->push, "cd", 1000);
    bench->target.label = xstrdup("far");
    bench->target.target = xasprintf("%s/team/*", bench->test->host);
    bench->mirror = (struct mirror_setting){
        .match = xstrdup("team/*"), .targets = &bench->target, .target_count = 1};
    *state = bench;
    return 0;
}

static int tear_down(void **state)
{
    struct bench *bench = *state;
    queue_test_free(bench->test);
    free(bench->target.label);
    free(bench->target.target);
    free(bench->mirror.match);
    free(bench);
    return 0;
}

static void configure(struct bench *bench, bool known)
{
    bench->test->settings.mirrors = &bench->mirror;
    bench->test->settings.mirror_count = known ? 1 : 0;
}

static void start_again(struct bench *bench, bool known)
{
    queue_test_close(bench->test);
    configure(bench, known);
    queue_test_open(bench->test);
    queue_test_idle(bench->test);
}

/* A promise that the last process has not begun. `name` "": a client named its target. */
static void promise(struct bench *bench, size_t image, const char *target, const char *name,
                    char id[PUSH_ID_MAX])
{
    struct push push = queue_test_push(bench->test, &bench->images[image].manifest, target, true);
    strcpy(push.targets[0].name, name);
    push.targets[0].deadline_s = 1; /* long over */
    queue_test_accept(bench->test, &push);
    strcpy(id, push.id);
    push_deinit(&push);
}

static enum push_state state_of(struct bench *bench, const char *id)
{
    return queue_test_state(bench->test, id, 0);
}

static size_t puts_of(struct bench *bench, const char *tag)
{
    autofree char *wanted = xasprintf("PUT /v2/team/app/manifests/%s", tag);
    return http_double_count(bench->test->http, wanted);
}

static struct push_retried retry(struct bench *bench, const char *id)
{
    struct error err = ERROR_INIT;
    struct push_retried done;
    const struct push_retry wanted = {.id = id};
    if (push_queue_retry(bench->test->queue, &wanted, &done, &err) != ERR_OK)
        fail_msg("%s", err.text);
    return done;
}

static void nothing_happens_until_the_name_is_back(void **state)
{
    struct bench *bench = *state;
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
    assert_int_equal(puts_of(bench, "one"), 0);
    start_again(bench, true);
    assert_int_equal(state_of(bench, far), PUSH_PUSHED);
    assert_int_equal(puts_of(bench, "one"), 1);
}

/* Its name means another registry by now. */
static void another_host_of_the_name_does_not_get_it(void **state)
{
    struct bench *bench = *state;
    char far[PUSH_ID_MAX];
    promise(bench, 0, "team/app:one", "far", far);
    free(bench->target.target);
    bench->target.target = xstrdup("r.example.com/team/*");
    start_again(bench, true);
    assert_int_equal(state_of(bench, far), PUSH_ORPHANED);
    assert_int_equal(puts_of(bench, "one"), 0);
}

static void it_is_dropped_or_sent_by_its_id(void **state)
{
    struct bench *bench = *state;
    char dropped[PUSH_ID_MAX];
    char sent[PUSH_ID_MAX];
    promise(bench, 0, "team/app:one", "far", dropped);
    promise(bench, 1, "team/app:two", "far", sent);
    start_again(bench, false);
    assert_true(push_queue_cancel(bench->test->queue, dropped, 1));
    assert_false(push_queue_cancel(bench->test->queue, dropped, 1));
    assert_int_equal(state_of(bench, dropped), PUSH_CANCELLED);
    fake_registry_rule(
        bench->test->registry,
        (struct fake_rule){.method = "PUT", .part = "manifests/two", .times = 1, .status = 403});
    assert_int_equal(retry(bench, sent).retried, 1);
    queue_test_idle(bench->test);
    assert_int_equal(state_of(bench, sent), PUSH_REFUSED);
    assert_int_equal(retry(bench, sent).retried, 1);
    start_again(bench, false); /* somebody named it: it is no orphan any more */
    assert_int_equal(state_of(bench, sent), PUSH_PUSHED);
    assert_int_equal(puts_of(bench, "one"), 0);
}

/* An orphan has no tag: what goes on is not superseded by it, and supersedes it when it is sent. */
static void it_supersedes_nothing(void **state)
{
    struct bench *bench = *state;
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nothing_happens_until_the_name_is_back),
        TEST(another_host_of_the_name_does_not_get_it),
        TEST(it_is_dropped_or_sent_by_its_id),
        TEST(it_supersedes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
