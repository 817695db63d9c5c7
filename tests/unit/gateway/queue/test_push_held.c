/*
 * Pushes of what has been held all along: they give way to whatever else goes to their tag.
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

static struct push accepted(struct bench *bench, size_t image, const char *target)
{
    struct push push = queue_test_push(bench->test, &bench->images[image].manifest, target, true);
    queue_test_accept(bench->test, &push);
    return push;
}

static void expect(struct bench *bench, struct push *push, enum push_state state)
{
    queue_test_idle(bench->test);
    assert_int_equal(queue_test_state(bench->test, push->id, 0), state);
    push_deinit(push);
}

static void expect_there(struct bench *bench, size_t image)
{
    char text[DIGEST_TEXT_MAX];
    autofree char *there = fake_registry_value(bench->test->registry, "manifests/one");
    assert_string_equal(there, digest_text(&bench->images[image].manifest.digest, text));
}

/* Its records were mended, and no queue had it: it goes once, however often it is named. */
static void what_was_mended_goes_on(void **state)
{
    struct bench *bench = *state;
    struct push mended = accepted(bench, 0, "team/app:one");
    rule(bench, "manifests/one", 1, 0, true);
    push_queue_take(bench->test->queue, mended.id);
    push_queue_take(bench->test->queue, mended.id);
    fake_registry_release(bench->test->registry);
    expect(bench, &mended, PUSH_PUSHED);
    push_queue_take(bench->test->queue, mended.id);
    push_queue_take(bench->test->queue, "nobody");
    queue_test_idle(bench->test);
    assert_int_equal(puts_of(bench, "one"), 1);
}

static void alone_it_is_pushed(void **state)
{
    struct bench *bench = *state;
    struct push held = accepted(bench, 0, "team/app:one");
    assert_false(push_queue_is_busy(bench->test->queue, &held.targets[0].reference));
    push_queue_start_held(bench->test->queue, &held, held.id);
    expect(bench, &held, PUSH_PUSHED);
    expect_there(bench, 0);
}

/* One that runs, however old it is. */
static void what_is_under_way_goes_before_it(void **state)
{
    struct bench *bench = *state;
    rule(bench, "one", 1, 0, true);
    struct push running = accepted(bench, 1, "team/app:one");
    push_queue_start(bench->test->queue, &running);
    QUEUE_TEST_UNTIL(puts_of(bench, "one") == 1);
    struct push held = accepted(bench, 0, "team/app:one");
    assert_true(push_queue_is_busy(bench->test->queue, &held.targets[0].reference));
    push_queue_start_held(bench->test->queue, &held, held.id);
    assert_int_equal(queue_test_state(bench->test, held.id, 0), PUSH_SUPERSEDED);
    fake_registry_release(bench->test->registry);
    expect(bench, &held, PUSH_SUPERSEDED);
    expect(bench, &running, PUSH_PUSHED);
    expect_there(bench, 1);
}

/* Between the look at the tag and now. */
static void what_has_ended_since_counts(void **state)
{
    struct bench *bench = *state;
    struct push before = accepted(bench, 0, "team/app:two");
    struct push since = accepted(bench, 1, "team/app:one");
    push_queue_start(bench->test->queue, &since);
    queue_test_idle(bench->test);
    struct push held = accepted(bench, 0, "team/app:one");
    push_queue_start_held(bench->test->queue, &held, before.id);
    expect(bench, &held, PUSH_SUPERSEDED);
    held = accepted(bench, 0, "team/app:one");
    push_queue_start_held(bench->test->queue, &held, held.id); /* that is known of it */
    expect(bench, &held, PUSH_PUSHED);
    push_deinit(&since);
    push_queue_start(bench->test->queue, &before);
    expect(bench, &before, PUSH_PUSHED);
}

/* A push that was accepted before it and comes after it, which are moments. */
static void an_older_one_that_comes_later_goes_before_it(void **state)
{
    struct bench *bench = *state;
    rule(bench, "two", 1, 0, true);
    struct push blocking = accepted(bench, 2, "team/app:two");
    push_queue_start(bench->test->queue, &blocking);
    QUEUE_TEST_UNTIL(puts_of(bench, "two") == 1);
    struct push older = accepted(bench, 1, "team/app:one");
    struct push held = accepted(bench, 0, "team/app:one");
    push_queue_start_held(bench->test->queue, &held, held.id);
    push_queue_start(bench->test->queue, &older);
    fake_registry_release(bench->test->registry);
    expect(bench, &held, PUSH_SUPERSEDED);
    expect(bench, &older, PUSH_PUSHED);
    expect(bench, &blocking, PUSH_PUSHED);
    expect_there(bench, 1);
}

/* Also when it runs already. */
static void an_older_one_follows_it(void **state)
{
    struct bench *bench = *state;
    rule(bench, "one", 1, 0, true);
    struct push older = accepted(bench, 1, "team/app:one");
    struct push held = accepted(bench, 0, "team/app:one");
    push_queue_start_held(bench->test->queue, &held, held.id);
    QUEUE_TEST_UNTIL(puts_of(bench, "one") == 1);
    push_queue_start(bench->test->queue, &older);
    fake_registry_release(bench->test->registry);
    expect(bench, &held, PUSH_PUSHED);
    expect(bench, &older, PUSH_PUSHED);
    expect_there(bench, 1);
}

/* The same of one that a client waits for. */
static void who_waits_goes_before_it(void **state)
{
    struct bench *bench = *state;
    struct waiting_push waiting;
    rule(bench, "two", 1, 0, true);
    struct push blocking = accepted(bench, 2, "team/app:two");
    push_queue_start(bench->test->queue, &blocking);
    QUEUE_TEST_UNTIL(puts_of(bench, "two") == 1);
    waiting_push_init(&waiting, bench->test, &bench->images[1].manifest, "team/app:one");
    struct push held = accepted(bench, 0, "team/app:one");
    push_queue_start_held(bench->test->queue, &held, held.id);
    waiting_push_run(&waiting, bench->test);
    waiting_push_wait(&waiting);
    assert_int_equal(waiting.push.targets[0].state, PUSH_PUSHED);
    fake_registry_release(bench->test->registry);
    expect(bench, &held, PUSH_SUPERSEDED);
    expect(bench, &blocking, PUSH_PUSHED);
    expect_there(bench, 1);
    waiting_push_deinit(&waiting);
}

static void a_registry_that_is_away_is_known(void **state)
{
    struct bench *bench = *state;
    struct error why = ERROR_INIT;
    bench->test->registry_setting.retry_wait_ms = 600000;
    assert_false(push_queue_is_away(bench->test->queue, bench->test->host, &why));
    rule(bench, "one", 5, 503, false);
    struct push push = accepted(bench, 0, "team/app:one");
    push_queue_start(bench->test->queue, &push);
    QUEUE_TEST_UNTIL(queue_test_state(bench->test, push.id, 0) == PUSH_WAITING);
    assert_true(push_queue_is_away(bench->test->queue, bench->test->host, &why));
    assert_int_equal(why.code, ERR_REGISTRY_FAULT);
    push_deinit(&push);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_was_mended_goes_on),
        TEST(alone_it_is_pushed),
        TEST(what_is_under_way_goes_before_it),
        TEST(what_has_ended_since_counts),
        TEST(an_older_one_that_comes_later_goes_before_it),
        TEST(an_older_one_follows_it),
        TEST(who_waits_goes_before_it),
        TEST(a_registry_that_is_away_is_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
