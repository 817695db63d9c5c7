/*
 * Targets whose tags are left as they are where somebody else has moved them.
 */
#include "gateway/queue/push_queue.h"

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
    bench->target.on_drift = SETTING_DRIFT_LEAVE;
    bench->mirror = (struct mirror_setting){
        .match = xstrdup("team/*"), .targets = &bench->target, .target_count = 1};
    bench->test->settings.mirrors = &bench->mirror;
    bench->test->settings.mirror_count = 1;
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

/* Whoever does not ask slipway. */
static const char *const elsewhere =
    "sha256:0000000000000000000000000000000000000000000000000000000000000001";

static void move(struct bench *bench, const char *digest)
{
    fake_registry_put(bench->test->registry, "manifests/one", digest);
}

static void expect_there(struct bench *bench, const struct digest *digest)
{
    char text[DIGEST_TEXT_MAX];
    autofree char *there = fake_registry_value(bench->test->registry, "manifests/one");
    assert_string_equal(there, digest_text(digest, text));
}

/* A promise, pushed to its end. */
static void promise(struct bench *bench, size_t image, const char *name, char id[PUSH_ID_MAX])
{
    struct push push =
        queue_test_push(bench->test, &bench->images[image].manifest, "team/app:one", true);
    strcpy(push.targets[0].name, name);
    queue_test_accept(bench->test, &push);
    strcpy(id, push.id);
    push_queue_start(bench->test->queue, &push);
    queue_test_idle(bench->test);
    push_deinit(&push);
}

static struct push_target result_of(struct bench *bench, const char *id)
{
    struct error err = ERROR_INIT;
    struct push push;
    bool found = false;
    assert_int_equal(pushes_get(bench->test->runtime.store, id, &push, &found, &err), ERR_OK);
    struct push_target target = push.targets[0];
    push_deinit(&push);
    return target;
}

static void expect_drifted(struct bench *bench, const char *id, const char *found)
{
    char text[DIGEST_TEXT_MAX];
    struct push_target target = result_of(bench, id);
    assert_int_equal(target.state, PUSH_DRIFTED);
    assert_int_equal(target.error.code, ERR_TAG_DRIFTED);
    assert_string_equal(digest_text(&target.was, text), found);
    assert_non_null(strstr(target.error.text, found));
}

static void retry(struct bench *bench, const char *id)
{
    struct error err = ERROR_INIT;
    struct push_retried done;
    const struct push_retry wanted = {.id = id};
    assert_int_equal(push_queue_retry(bench->test->queue, &wanted, &done, &err), ERR_OK);
    assert_int_equal(done.retried, 1);
    queue_test_idle(bench->test);
}

static void what_slipway_put_there_is_moved_on(void **state)
{
    struct bench *bench = *state;
    char id[PUSH_ID_MAX];
    promise(bench, 0, "far", id);
    assert_int_equal(result_of(bench, id).state, PUSH_PUSHED);
    assert_int_equal(result_of(bench, id).was.algorithm, DIGEST_NONE);
    promise(bench, 1, "far", id);
    struct push_target moved = result_of(bench, id);
    assert_int_equal(moved.state, PUSH_PUSHED);
    assert_false(moved.converged);
    assert_true(digest_equal(&moved.was, &bench->images[0].manifest.digest));
    promise(bench, 1, "far", id);
    assert_true(result_of(bench, id).converged);
}

static void what_somebody_else_put_there_is_left(void **state)
{
    struct bench *bench = *state;
    char first[PUSH_ID_MAX];
    char second[PUSH_ID_MAX];
    move(bench, elsewhere);
    promise(bench, 0, "far", first); /* a tag that slipway has never put */
    expect_drifted(bench, first, elsewhere);
    promise(bench, 0, "", second);
    promise(bench, 1, "far", second);
    assert_int_equal(result_of(bench, second).state, PUSH_PUSHED);
    move(bench, elsewhere);
    queue_test_close(bench->test); /* whatever the queue itself remembers */
    queue_test_open(bench->test);
    promise(bench, 0, "far", second);
    expect_drifted(bench, second, elsewhere);
}

/* Back to what slipway put there before is a move of somebody else, too. */
static void a_rollback_is_left(void **state)
{
    struct bench *bench = *state;
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
    struct bench *bench = *state;
    char id[PUSH_ID_MAX];
    move(bench, elsewhere);
    promise(bench, 0, "far", id);
    move(bench, later);
    retry(bench, id);
    expect_drifted(bench, id, later);
    retry(bench, id);
    assert_int_equal(result_of(bench, id).state, PUSH_PUSHED);
    expect_there(bench, &bench->images[0].manifest.digest);
}

/* What is not known of the tag is known of its repository: from before the policy, say. */
static void what_was_pushed_before_the_policy_is_moved_on(void **state)
{
    struct bench *bench = *state;
    char id[PUSH_ID_MAX];
    bench->target.on_drift = SETTING_DRIFT_OVERWRITE;
    promise(bench, 0, "far", id);
    bench->target.on_drift = SETTING_DRIFT_LEAVE;
    promise(bench, 1, "far", id);
    assert_int_equal(result_of(bench, id).state, PUSH_PUSHED);
    expect_there(bench, &bench->images[1].manifest.digest);
}

static void others_overwrite_without_asking(void **state)
{
    struct bench *bench = *state;
    char id[PUSH_ID_MAX];
    move(bench, elsewhere);
    promise(bench, 0, "", id);
    assert_int_equal(result_of(bench, id).state, PUSH_PUSHED);
    assert_int_equal(http_double_count(bench->test->http, "HEAD /v2/team/app/manifests/one"), 0);
}

/* A registry that does not say what the tag is gets no tag, and is asked again. */
static void no_answer_is_no_permission(void **state)
{
    struct bench *bench = *state;
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
