#include "gateway/push/mirrored_push.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/pattern.h"
#include "tests/support/queue_test.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* One mirror to two repositories of a registry. */
struct bench {
    struct settings settings;
    struct mirror_setting mirror;
    struct mirror_target_setting targets[2];
    struct descriptor manifest;
};

static void bench_init(struct bench *bench, const char *host)
{
    *bench = (struct bench){.manifest = {.media_type = "a/b", .size = 12}};
    bench->manifest.digest = digest_of(DIGEST_SHA256, "x", 1);
    bench->targets[0].target = xasprintf("%s/one/*", host);
    bench->targets[1].target = xasprintf("%s/two/*", host);
    bench->targets[0].required = true;
    bench->mirror =
        (struct mirror_setting){.match = "team/*", .targets = bench->targets, .target_count = 2};
    bench->settings.mirrors = &bench->mirror;
    bench->settings.mirror_count = 1;
}

static void bench_deinit(struct bench *bench)
{
    free(bench->targets[0].target);
    free(bench->targets[1].target);
}

static struct push planned(struct bench *bench, const char *repository, const char *tag)
{
    struct error err = ERROR_INIT;
    struct push push;
    if (mirrored_push_plan(&bench->settings, repository, &tag, tag[0] ? 1 : 0, &bench->manifest,
                           &push, &err) != ERR_OK)
        fail_msg("%s", err.text);
    return push;
}

/* ---- plans ---- */

static void what_a_route_says(void **state)
{
    (void)state;
    struct bench bench;
    bench_init(&bench, "r.example.com");
    static const char *const names[] = {"r.example.com/one/app:1", "r.example.com/two/app:1"};
    for (int stored = 0; stored < 2; stored++) {
        bench.mirror.acknowledge = stored ? SETTING_ACKNOWLEDGE_STORED : SETTING_ACKNOWLEDGE_PUSHED;
        struct push push = planned(&bench, "team/app", "1");
        assert_string_equal(push.id, "");
        assert_true(digest_equal(&push.manifest.digest, &bench.manifest.digest));
        assert_int_equal(push.manifest.size, 12);
        assert_int_equal(push.referrer_count, 0);
        assert_int_equal(push.target_count, 2);
        for (size_t i = 0; i < 2; i++) {
            char text[REFERENCE_TEXT_MAX];
            assert_string_equal(reference_text(&push.targets[i].reference, text), names[i]);
            assert_int_equal(push.targets[i].stored, stored);
            assert_int_equal(push.targets[i].optional, i == 1);
            assert_int_equal(push.targets[i].state, PUSH_QUEUED);
        }
        push_deinit(&push);
    }
    bench_deinit(&bench);
}

static void what_no_pattern_matches_goes_nowhere(void **state)
{
    (void)state;
    struct bench bench;
    bench_init(&bench, "r.example.com");
    struct push push = planned(&bench, "other/app", "1");
    assert_int_equal(push.target_count, 0);
    push_deinit(&push);
    /* Without any mirror a name may name its upstream, which is waited for. */
    bench.settings.mirror_count = 0;
    push = planned(&bench, "r.example.com/app", "1");
    assert_int_equal(push.target_count, 1);
    assert_string_equal(push.targets[0].reference.path, "app");
    assert_string_equal(push.targets[0].reference.tag, "1");
    assert_false(push.targets[0].optional || push.targets[0].stored);
    push_deinit(&push);
    bench_deinit(&bench);
}

static void without_a_tag_it_goes_under_its_digest(void **state)
{
    (void)state;
    struct bench bench;
    bench_init(&bench, "r.example.com");
    struct push push = planned(&bench, "team/app", "");
    assert_int_equal(push.target_count, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_string_equal(push.targets[i].reference.tag, "");
        assert_true(digest_equal(&push.targets[i].reference.digest, &bench.manifest.digest));
    }
    push_deinit(&push);
    bench_deinit(&bench);
}

static void a_name_that_leads_to_no_repository_is_refused(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct bench bench;
    struct push push = {.id = "untouched"};
    bench_init(&bench, "r.example.com");
    free(bench.targets[1].target);
    bench.targets[1].target = xstrdup("r.example.com/*/*");
    const char *tag = "1";
    assert_int_equal(
        mirrored_push_plan(&bench.settings, "team/app", &tag, 1, &bench.manifest, &push, &err),
        ERR_REFERENCE_INVALID);
    assert_string_equal(push.id, "untouched");
    bench_deinit(&bench);
}

/* ---- judgements ---- */

static struct push two_ended(struct bench *bench)
{
    bench_init(bench, "r.example.com");
    bench->targets[1].required = true;
    struct push push = planned(bench, "team/app", "1");
    push.targets[0].state = push.targets[1].state = PUSH_PUSHED;
    return push;
}

static void refuse(struct push_target *target, const char *reason)
{
    target->state = PUSH_FAILED;
    target->error = (struct error){.code = ERR_DENIED, .status = 403};
    snprintf(target->error.text, sizeof target->error.text, "%s", reason);
}

static void expect(const struct push *push, enum errc code, int status, const char *text)
{
    struct error err = ERROR_INIT;
    assert_int_equal(mirrored_push_judge(push, &err), code);
    assert_int_equal(err.code, code);
    assert_int_equal(err.status, status);
    assert_string_equal(err.text, text);
}

static void what_is_pushed_or_waits_is_well(void **state)
{
    (void)state;
    struct bench bench;
    struct push push = two_ended(&bench);
    expect(&push, ERR_OK, 0, "");
    push.targets[1].state = PUSH_QUEUED;
    expect(&push, ERR_OK, 0, "");
    push_deinit(&push);
    bench_deinit(&bench);
}

#define OURS " (to the gateway's login there, not yours)"

static void a_failure_names_target_status_and_reason(void **state)
{
    (void)state;
    struct bench bench;
    struct push push = two_ended(&bench);
    refuse(&push.targets[1], "not today");
    expect(&push, ERR_DENIED, 403, "r.example.com/two/app:1: status 403: not today" OURS);
    /* Of a registry that did not answer there is no status. */
    push.targets[1].error.status = 0;
    push.targets[1].error.code = ERR_CONNECT;
    expect(&push, ERR_CONNECT, 0, "r.example.com/two/app:1: not today");
    push_deinit(&push);
    bench_deinit(&bench);
}

static void further_failures_are_counted(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct bench bench;
    struct push push = two_ended(&bench);
    refuse(&push.targets[0], "first");
    refuse(&push.targets[1], "second");
    expect(&push, ERR_DENIED, 403,
           "r.example.com/one/app:1: status 403: first" OURS "; 1 more target failed");
    /* The first that is required, not the first. */
    push.targets[0].optional = true;
    expect(&push, ERR_DENIED, 403,
           "r.example.com/two/app:1: status 403: second" OURS "; 1 more target failed");
    struct reference third = push.targets[0].reference;
    strcpy(third.tag, "3");
    assert_int_equal(push_add_target(&push, &third, true, false, &err), ERR_OK);
    refuse(&push.targets[2], "third");
    expect(&push, ERR_DENIED, 403,
           "r.example.com/two/app:1: status 403: second" OURS "; 2 more targets failed");
    push_deinit(&push);
    bench_deinit(&bench);
}

static void optional_targets_may_fail(void **state)
{
    (void)state;
    struct bench bench;
    struct push push = two_ended(&bench);
    for (size_t i = 0; i < 2; i++) {
        refuse(&push.targets[i], "not today");
        push.targets[i].optional = true;
    }
    expect(&push, ERR_OK, 0, "");
    push_deinit(&push);
    bench_deinit(&bench);
}

/* ---- blobs before their manifest ---- */

static void a_blob_leaves_for_every_target(void **state)
{
    (void)state;
    struct bench bench;
    struct queue_test *test = queue_test_new();
    struct made_image image = push_test_image(test->push, "a", 1000);
    bench_init(&bench, test->host);
    test->settings.mirrors = &bench.mirror;
    test->settings.mirror_count = 1;
    mirrored_push_early(&test->runtime, "team/app", &image.layers[0], 1000, "", NULL, NULL);
    char digest[DIGEST_TEXT_MAX];
    /* One of them is asked for the blob; the other may be told to take it from there. */
    QUEUE_TEST_UNTIL(http_double_count(test->http, "HEAD /v2/one/app/blobs/") +
                     http_double_count(test->http, "POST /v2/one/app/blobs/uploads/"));
    QUEUE_TEST_UNTIL(http_double_count(test->http, "HEAD /v2/two/app/blobs/") +
                     http_double_count(test->http, "POST /v2/two/app/blobs/uploads/"));
    QUEUE_TEST_UNTIL(fake_registry_has(test->registry, digest_text(&image.layers[0], digest)));
    queue_test_free(test);
    bench_deinit(&bench);
}

static void a_blob_that_was_taken_out_leaves_no_more(void **state)
{
    (void)state;
    struct bench bench;
    struct queue_test *test = queue_test_new();
    struct made_image image = push_test_image(test->push, "a", 1000);
    bench_init(&bench, test->host);
    test->settings.mirrors = &bench.mirror;
    test->settings.mirror_count = 1;
    http_double_stall(test->http, "PUT");
    mirrored_push_early(&test->runtime, "team/app", &image.layers[0], 1000, "", NULL, NULL);
    QUEUE_TEST_UNTIL(http_double_count(test->http, "PUT") == 1);
    mirrored_push_early_end(&test->runtime, "other/app", &image.layers[0]);
    mirrored_push_early_end(&test->runtime, "team/app", &image.layers[0]);
    early_uploads_close(test->runtime.early);
    /* The other target's may have begun before its end: then it is ended, too. Nobody waits for
     * that. */
    size_t sessions = http_double_count(test->http, "POST /v2/");
    assert_true(http_double_count(test->http, "PUT") <= sessions);
    assert_int_equal(http_double_await(test->http, "DELETE /v2/", sessions), sessions);
    queue_test_free(test);
    bench_deinit(&bench);
}

static void a_blob_without_targets_stays(void **state)
{
    (void)state;
    struct bench bench;
    struct queue_test *test = queue_test_new();
    struct made_image image = push_test_image(test->push, "a", 1000);
    bench_init(&bench, test->host);
    test->settings.mirrors = &bench.mirror;
    test->settings.mirror_count = 1;
    mirrored_push_early(&test->runtime, "other/app", &image.layers[0], 1000, "", NULL, NULL);
    free(bench.targets[0].target);
    bench.targets[0].target = xstrdup("r.example.com/*/*"); /* leads to no repository */
    mirrored_push_early(&test->runtime, "team/app", &image.layers[0], 1000, "", NULL, NULL);
    early_uploads_close(test->runtime.early);
    assert_int_equal(http_double_count(test->http, ""), 0);
    queue_test_free(test);
    bench_deinit(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_route_says),
        cmocka_unit_test(what_no_pattern_matches_goes_nowhere),
        cmocka_unit_test(without_a_tag_it_goes_under_its_digest),
        cmocka_unit_test(a_name_that_leads_to_no_repository_is_refused),
        cmocka_unit_test(what_is_pushed_or_waits_is_well),
        cmocka_unit_test(a_failure_names_target_status_and_reason),
        cmocka_unit_test(further_failures_are_counted),
        cmocka_unit_test(optional_targets_may_fail),
        cmocka_unit_test(a_blob_leaves_for_every_target),
        cmocka_unit_test(a_blob_that_was_taken_out_leaves_no_more),
        cmocka_unit_test(a_blob_without_targets_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
