/*
 * Targets whose tags are left as they are where somebody else has moved them, or in any case.
 */
#include "gateway/queue/push_queue.h"

#include "base/mem.h"
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
    bench->targets[0].on_drift = SETTING_DRIFT_LEAVE;
    return 0;
}

/* Whoever does not ask slipway. */
static const char *const elsewhere =
    "sha256:0000000000000000000000000000000000000000000000000000000000000001";

static void move(struct queue_bench *bench, const char *digest)
{
    fake_registry_put(bench->test->registry, "manifests/one", digest);
}

/* A promise, pushed to its end. */
static void promise(struct queue_bench *bench, size_t image, const char *name, char id[PUSH_ID_MAX])
{
    struct push push = queue_bench_promise(bench, image, "team/app:one", name);
    strcpy(id, push.id);
    queue_bench_start(bench, &push);
    queue_test_idle(bench->test);
}

static void expect_drifted(struct queue_bench *bench, const char *id, const char *found)
{
    char text[DIGEST_TEXT_MAX];
    struct push_target target = queue_test_target(bench->test, id, 0);
    assert_int_equal(target.state, PUSH_DRIFTED);
    assert_int_equal(target.error.code, ERR_TAG_DRIFTED);
    assert_string_equal(digest_text(&target.was, text), found);
    assert_non_null(strstr(target.error.text, found));
}

static void retry(struct queue_bench *bench, const char *id)
{
    const struct push_retry wanted = {.id = id};
    assert_int_equal(queue_test_retry(bench->test, &wanted).retried, 1);
    queue_test_idle(bench->test);
}

static void what_slipway_put_there_is_moved_on(void **state)
{
    struct queue_bench *bench = *state;
    char id[PUSH_ID_MAX];
    promise(bench, 0, "far", id);
    assert_int_equal(queue_test_target(bench->test, id, 0).state, PUSH_PUSHED);
    assert_int_equal(queue_test_target(bench->test, id, 0).was.algorithm, DIGEST_NONE);
    promise(bench, 1, "far", id);
    struct push_target moved = queue_test_target(bench->test, id, 0);
    assert_int_equal(moved.state, PUSH_PUSHED);
    assert_false(moved.converged);
    assert_true(digest_equal(&moved.was, &bench->images[0].manifest.digest));
    promise(bench, 1, "far", id);
    assert_true(queue_test_target(bench->test, id, 0).converged);
}

static void what_somebody_else_put_there_is_left(void **state)
{
    struct queue_bench *bench = *state;
    char first[PUSH_ID_MAX];
    char second[PUSH_ID_MAX];
    move(bench, elsewhere);
    promise(bench, 0, "far", first); /* a tag that slipway has never put */
    expect_drifted(bench, first, elsewhere);
    promise(bench, 0, "", second);
    promise(bench, 1, "far", second);
    assert_int_equal(queue_test_target(bench->test, second, 0).state, PUSH_PUSHED);
    move(bench, elsewhere);
    queue_test_close(bench->test); /* whatever the queue itself remembers */
    queue_test_open(bench->test);
    promise(bench, 0, "far", second);
    expect_drifted(bench, second, elsewhere);
}

/* Back to what slipway put there before is a move of somebody else, too. */
static void a_rollback_is_left(void **state)
{
    struct queue_bench *bench = *state;
    char text[DIGEST_TEXT_MAX];
    char id[PUSH_ID_MAX];
    promise(bench, 0, "far", id);
    promise(bench, 1, "far", id);
    move(bench, digest_text(&bench->images[0].manifest.digest, text));
    promise(bench, 1, "far", id);
    expect_drifted(bench, id, text);
}

/* Who tries again overwrites what was found, and nothing else. */
static void somebody_may_overwrite_what_was_found(void **state)
{
    static const char later[] =
        "sha256:0000000000000000000000000000000000000000000000000000000000000002";
    struct queue_bench *bench = *state;
    char id[PUSH_ID_MAX];
    move(bench, elsewhere);
    promise(bench, 0, "far", id);
    move(bench, later);
    retry(bench, id);
    expect_drifted(bench, id, later);
    retry(bench, id);
    assert_int_equal(queue_test_target(bench->test, id, 0).state, PUSH_PUSHED);
    assert_true(queue_bench_is_there(bench, "one", 0));
}

/* What is not known of the tag is known of its repository: from before the policy, say. */
static void what_was_pushed_before_the_policy_is_moved_on(void **state)
{
    struct queue_bench *bench = *state;
    char id[PUSH_ID_MAX];
    bench->targets[0].on_drift = SETTING_DRIFT_OVERWRITE;
    promise(bench, 0, "far", id);
    bench->targets[0].on_drift = SETTING_DRIFT_LEAVE;
    promise(bench, 1, "far", id);
    assert_int_equal(queue_test_target(bench->test, id, 0).state, PUSH_PUSHED);
    assert_true(queue_bench_is_there(bench, "one", 1));
}

static void others_overwrite_without_asking(void **state)
{
    struct queue_bench *bench = *state;
    char id[PUSH_ID_MAX];
    move(bench, elsewhere);
    promise(bench, 0, "", id);
    assert_int_equal(queue_test_target(bench->test, id, 0).state, PUSH_PUSHED);
    assert_int_equal(http_double_count(bench->test->http, "HEAD /v2/team/app/manifests/one"), 0);
}

/* A registry that does not say what the tag is gets no tag, and is asked again. */
static void no_answer_is_no_permission(void **state)
{
    struct queue_bench *bench = *state;
    char id[PUSH_ID_MAX];
    move(bench, elsewhere);
    const char *const methods[] = {"HEAD", "GET"};
    for (size_t i = 0; i < 2; i++)
        fake_registry_rule(bench->test->registry, (struct fake_rule){.method = methods[i],
                                                                     .part = "manifests/one",
                                                                     .times = 1,
                                                                     .status = 503});
    promise(bench, 0, "far", id);
    expect_drifted(bench, id, elsewhere);
    assert_int_equal(http_double_count(bench->test->http, "PUT /v2/team/app/manifests/one"), 0);
}

/* ---- tags that no push moves ---- */

static size_t times_put(const struct queue_bench *bench)
{
    return http_double_count(bench->test->http, "PUT /v2/team/app/manifests/one");
}

static void expect_refused(struct queue_bench *bench, const char *id)
{
    char text[DIGEST_TEXT_MAX];
    struct push_target target = queue_test_target(bench->test, id, 0);
    assert_int_equal(target.state, PUSH_REFUSED);
    assert_int_equal(target.error.code, ERR_TAG_IMMUTABLE);
    assert_non_null(
        strstr(target.error.text, digest_text(&bench->images[0].manifest.digest, text)));
}

/* Put once; then the same is there already, and another is refused, however often it is tried. */
static void expect_kept(struct queue_bench *bench, unsigned puts_of_same)
{
    char id[PUSH_ID_MAX];
    promise(bench, 0, "far", id);
    assert_int_equal(queue_test_target(bench->test, id, 0).state, PUSH_PUSHED);
    assert_false(queue_test_target(bench->test, id, 0).converged);
    promise(bench, 0, "far", id);
    assert_int_equal(queue_test_target(bench->test, id, 0).state, PUSH_PUSHED);
    assert_true(queue_test_target(bench->test, id, 0).converged);
    promise(bench, 1, "far", id);
    expect_refused(bench, id);
    retry(bench, id);
    expect_refused(bench, id);
    assert_int_equal(times_put(bench), 1 + puts_of_same);
    assert_true(queue_bench_is_there(bench, "one", 0));
}

static void a_target_may_never_move_a_tag(void **state)
{
    struct queue_bench *bench = *state;
    bench->targets[0].move = SETTING_MOVE_NEVER;
    expect_kept(bench, 0);
}

static void a_target_may_put_the_same_again(void **state)
{
    struct queue_bench *bench = *state;
    bench->targets[0].move = SETTING_MOVE_SAME_DIGEST;
    expect_kept(bench, 1);
}

static void immutable_tags_are_kept_and_others_move(void **state)
{
    static char immutable[] = "o*";
    static char other[] = "v*";
    char *patterns[] = {other, immutable};
    struct queue_bench *bench = *state;
    char id[PUSH_ID_MAX];
    bench->targets[0].on_drift = SETTING_DRIFT_OVERWRITE;
    bench->targets[0].immutable = (struct setting_list){.items = patterns, .count = 2};
    expect_kept(bench, 0);
    bench->targets[0].immutable.count = 1;
    promise(bench, 1, "far", id);
    assert_int_equal(queue_test_target(bench->test, id, 0).state, PUSH_PUSHED);
    assert_true(queue_bench_is_there(bench, "one", 1));
    bench->targets[0].immutable = (struct setting_list){.count = 0};
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, queue_bench_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_slipway_put_there_is_moved_on),
        TEST(what_somebody_else_put_there_is_left),
        TEST(a_rollback_is_left),
        TEST(somebody_may_overwrite_what_was_found),
        TEST(what_was_pushed_before_the_policy_is_moved_on),
        TEST(others_overwrite_without_asking),
        TEST(no_answer_is_no_permission),
        TEST(a_target_may_never_move_a_tag),
        TEST(a_target_may_put_the_same_again),
        TEST(immutable_tags_are_kept_and_others_move),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
