/*
 * What the push queue does with a push and its record, from its acceptance to the end of the queue,
 * against a registry double that is held where a test needs to look.
 */
#include "gateway/queue/push_queue.h"

#include "base/clock.h"
#include "base/lock.h"
#include "base/mem.h"
#include "store/local/internal.h"
#include "tests/support/queue_bench.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define UPLOADS "/v2/team/app/blobs/uploads/"

/* ---- records ---- */

static void targets_are_pushed_and_their_record_goes(void **state)
{
    struct queue_bench *bench = *state;
    struct push push = queue_bench_accepted(bench, 0, "one/app:one two/app:two");
    queue_bench_expect_records(bench, 1, 2);
    queue_bench_start(bench, &push);
    queue_bench_expect_done(bench);
    assert_int_equal(queue_bench_puts(bench, "one/app", "one"), 1);
    assert_int_equal(queue_bench_puts(bench, "two/app", "two"), 1);
}

static void a_record_says_what_has_ended(void **state)
{
    struct queue_bench *bench = *state;
    size_t waiting = 0;
    queue_bench_hold_put(bench, "one");
    queue_bench_store(bench, 0, "team/app:one other/app:two other/app:three");
    QUEUE_TEST_UNTIL(queue_test_records(bench->test, &waiting) == 1 && waiting == 1);
    assert_int_equal(queue_bench_puts(bench, "other/app", "two"), 1);
    assert_int_equal(queue_bench_puts(bench, "other/app", "three"), 1);
    assert_false(push_queue_wait(bench->test->queue, 10));
    queue_bench_release(bench);
    queue_bench_expect_done(bench);
}

/* Nothing is written any more, until it is mended. */
static void break_store(struct queue_bench *bench, bool breaks)
{
    struct fault *fault = &bench->test->runtime.store->fault;
    autolock pthread_mutex_t *held = lock_take(&fault->lock);
    fault->state = breaks ? FAULT_STAYS : FAULT_NONE;
    /* Not of the disk's: a write that fails with one of those would break it once more. */
    fault->why = (struct error){.code = ERR_STORE, .text = "broken by the test"};
}

/* What others are told of its first target. */
static enum push_state shown(struct queue_bench *bench, const char *id)
{
    struct error err = ERROR_INIT;
    struct push push;
    bool found = false;
    assert_int_equal(push_queue_find(bench->test->queue, id, &push, &found, &err), ERR_OK);
    assert_true(found);
    enum push_state state = push.targets[0].state;
    push_deinit(&push);
    return state;
}

/* A push whose end the store does not take. Returns its id. */
static const char *end_unwritten(struct queue_bench *bench, const char *tag)
{
    autofree char *target = xasprintf("team/app:%s", tag);
    queue_bench_hold_put(bench, tag);
    const char *id = queue_bench_store(bench, 0, target);
    queue_bench_until_puts(bench, "team/app", tag, 1);
    break_store(bench, true);
    queue_bench_release(bench);
    QUEUE_TEST_UNTIL(shown(bench, id) == PUSH_PUSHED);
    assert_false(push_state_is_final(queue_test_state(bench->test, id, 0)));
    return id;
}

static void an_end_that_is_not_written_is_not_lost(void **state)
{
    struct queue_bench *bench = *state;
    const char *id = end_unwritten(bench, "one");
    break_store(bench, false);
    QUEUE_TEST_UNTIL(queue_test_state(bench->test, id, 0) == PUSH_PUSHED);
    id = end_unwritten(bench, "two");
    break_store(bench, false);
    queue_test_close(bench->test);
    assert_int_equal(queue_test_state(bench->test, id, 0), PUSH_PUSHED);
    queue_test_open(bench->test);
    queue_bench_expect_done(bench);
    assert_int_equal(
        queue_bench_puts(bench, "team/app", "one") + queue_bench_puts(bench, "team/app", "two"), 2);
}

/* Else the next start would push the older one, and its tag would go back. */
static void a_younger_end_is_not_written_first(void **state)
{
    struct queue_bench *bench = *state;
    end_unwritten(bench, "one");
    break_store(bench, false);
    const char *id = queue_bench_store(bench, 1, "team/app:one");
    QUEUE_TEST_UNTIL(shown(bench, id) == PUSH_PUSHED);
    QUEUE_TEST_UNTIL(queue_test_state(bench->test, id, 0) == PUSH_PUSHED);
    queue_bench_expect_records(bench, 0, 0);
    queue_bench_expect_done(bench);
    assert_true(queue_bench_is_there(bench, "one", 1));
}

static bool is_recorded(struct queue_bench *bench, const char *id)
{
    struct error err = ERROR_INIT;
    struct push push;
    bool found = false;
    assert_int_equal(pushes_get(bench->test->runtime.store, id, &push, &found, &err), ERR_OK);
    if (found)
        push_deinit(&push);
    return found;
}

static void what_was_waited_for_is_in_the_history_later(void **state)
{
    struct queue_bench *bench = *state;
    struct writer *writer = bench->test->runtime.store->writer;
    struct waiting_push waiting;
    char id[PUSH_ID_MAX];
    queue_bench_await(bench, &waiting, 0, "team/app:one");
    memcpy(id, waiting.push.id, sizeof id);
    break_store(bench, true);
    queue_bench_run(bench, &waiting);
    queue_bench_expect_end(&waiting, ERR_OK);
    uint64_t before = writer_counts(writer).accepted;
    QUEUE_TEST_UNTIL(writer_counts(writer).accepted > before);
    assert_int_equal(shown(bench, id), PUSH_PUSHED);
    assert_false(is_recorded(bench, id));
    break_store(bench, false);
    QUEUE_TEST_UNTIL(is_recorded(bench, id));
    queue_bench_expect_done(bench);
}

static void a_start_goes_on_with_what_is_recorded(void **state)
{
    struct queue_bench *bench = *state;
    const char *const targets[] = {"team/app:one", "team/app:one", "team/app:two"};
    for (size_t i = 0; i < 3; i++) {
        struct push push = queue_bench_accepted(bench, i, targets[i]);
        push_deinit(&push);
    }
    queue_bench_expect_records(bench, 3, 3);
    queue_test_close(bench->test);
    queue_test_open(bench->test);
    queue_bench_expect_done(bench);
    /* At most the one under way when the younger came, and the younger. */
    assert_in_range(queue_bench_puts(bench, "team/app", "one"), 1, 2);
    assert_true(queue_bench_is_there(bench, "one", 1));
    assert_true(queue_bench_is_there(bench, "two", 2));
}

static void ended_targets_are_not_pushed_again(void **state)
{
    struct queue_bench *bench = *state;
    struct error err = ERROR_INIT;
    for (int all = 0; all < 2; all++) {
        struct push push =
            queue_bench_accepted(bench, 0, "team/app:one team/app:two team/app:three");
        push.targets[0].state = PUSH_PUSHED;
        push.targets[1].state = all ? PUSH_SUPERSEDED : PUSH_QUEUED;
        push.targets[2].state = PUSH_FAILED;
        assert_int_equal(pushes_put(bench->test->runtime.store, &push, true, &err), ERR_OK);
        queue_bench_start(bench, &push);
        queue_bench_expect_done(bench);
        assert_int_equal(queue_bench_puts(bench, "team/app", "one"), 0);
        assert_int_equal(queue_bench_puts(bench, "team/app", "two"), 1);
        assert_int_equal(queue_bench_puts(bench, "team/app", "three"), 0);
    }
}

static void a_refusal_ends_a_target(void **state)
{
    struct queue_bench *bench = *state;
    queue_bench_answer_puts(bench, "one", 1000, 403);
    const char *id = queue_bench_store(bench, 0, "team/app:one team/app:two");
    queue_bench_expect_done(bench);
    assert_false(queue_bench_is_there(bench, "one", 0));
    assert_true(queue_bench_is_there(bench, "two", 0));
    assert_int_equal(queue_test_state(bench->test, id, 0), PUSH_REFUSED);
    assert_int_equal(queue_test_state(bench->test, id, 1), PUSH_PUSHED);
}

/* What came of a push stays, with all of its targets. */
static void the_record_says_what_came_of_it(void **state)
{
    struct queue_bench *bench = *state;
    struct error err = ERROR_INIT;
    struct push push;
    bool found = false;
    queue_bench_answer_puts(bench, "one", 1000, 403);
    uint64_t before_s = (uint64_t)clock_wall_s();
    const char *id = queue_bench_store(bench, 0, "team/app:one team/app:two");
    queue_bench_expect_done(bench);
    assert_int_equal(pushes_get(bench->test->runtime.store, id, &push, &found, &err), ERR_OK);
    assert_true(found && push.target_count == 2);
    const struct push_target *refused = &push.targets[0];
    const struct push_target *pushed = &push.targets[1];
    assert_int_equal(refused->error.code, ERR_DENIED);
    assert_int_equal(refused->error.status, 403);
    assert_int_equal(refused->tries, 1);
    assert_true(digest_equal(&pushed->digest, &bench->images[0].manifest.digest));
    assert_true(pushed->size == bench->images[0].manifest.size);
    assert_string_equal(pushed->media_type, bench->images[0].manifest.media_type);
    for (size_t i = 0; i < 2; i++) {
        assert_in_range(push.targets[i].first_s, before_s, push.targets[i].ended_s);
        assert_in_range(push.targets[i].ended_s, before_s, (uint64_t)clock_wall_s());
        assert_int_equal(push.targets[i].next_s, 0);
    }
    push_deinit(&push);
}

/* What many records of one tag cost at a start: changes of the store, not one for each of them. */
static void records_of_one_tag_are_superseded_together(void **state)
{
    enum { MANY = 40 };
    struct queue_bench *bench = *state;
    struct writer *writer = bench->test->push->store->writer;
    size_t waiting = 0;
    for (unsigned i = 0; i < MANY; i++) {
        struct push push =
            queue_bench_accepted(bench, i % QUEUE_BENCH_IMAGES, "team/app:one team/app:two");
        push_deinit(&push);
    }
    struct push last = queue_bench_accepted(bench, 0, "team/app:two");
    push_deinit(&last);
    queue_test_close(bench->test);
    uint64_t before = writer_counts(writer).changes;
    queue_test_open(bench->test);
    queue_test_idle(bench->test);
    assert_int_equal(queue_bench_puts(bench, "team/app", "one"), 1);
    assert_int_equal(queue_bench_puts(bench, "team/app", "two"), 1);
    assert_int_equal(queue_test_records(bench->test, &waiting), 0);
    assert_true(writer_counts(writer).changes - before < MANY / 2);
}

/* Each brings what another need not have, also when they come from the last process. */
static void lists_of_referrers_are_kept_at_a_start(void **state)
{
    enum { MANY = 3 };
    struct queue_bench *bench = *state;
    size_t waiting = 0;
    const char tag[] = "sha256-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    autofree char *target = xasprintf("team/app:%s", tag);
    for (unsigned i = 0; i < MANY; i++) {
        struct push push = queue_bench_accepted(bench, i % QUEUE_BENCH_IMAGES, target);
        push_deinit(&push);
    }
    queue_test_close(bench->test);
    queue_test_open(bench->test);
    queue_test_idle(bench->test);
    assert_int_equal(queue_bench_puts(bench, "team/app", tag), MANY);
    assert_int_equal(queue_test_records(bench->test, &waiting), 0);
}

/* ---- the end ---- */

/* What runs is broken off, and nothing of it is lost. */
static void closing_keeps_the_records(void **state)
{
    struct queue_bench *bench = *state;
    fake_registry_rule(
        bench->test->registry,
        (struct fake_rule){.method = "GET", .part = "/v2/", .times = 1000, .hold = true});
    queue_bench_store(bench, 0, "one/app:one two/app:two");
    QUEUE_TEST_UNTIL(http_double_count(bench->test->http, "GET /v2/") > 0);
    queue_test_close(bench->test);
    queue_bench_expect_records(bench, 1, 2);
    queue_bench_release(bench);
    queue_test_open(bench->test);
    queue_bench_expect_done(bench);
    assert_true(queue_bench_is_there(bench, "one", 0));
    assert_true(queue_bench_is_there(bench, "two", 0));
}

static void what_waits_is_not_begun_by_closing(void **state)
{
    struct queue_bench *bench = *state;
    bench->test->settings.limits.pushes_per_registry = 2;
    queue_bench_wait_long(bench);
    queue_bench_hold_put(bench, "one");
    queue_bench_store(bench, 0, "team/app:one");
    queue_bench_until_puts(bench, "team/app", "one", 1);
    queue_bench_park(bench, 3, "other/app", "parked");
    queue_bench_store(bench, 1, "team/app:one");
    queue_bench_store(bench, 2, "team/app:two");
    queue_bench_expect_records(bench, 4, 4);
    queue_test_close(bench->test);
    /* What is broken off gives way to the younger one. */
    queue_bench_expect_records(bench, 3, 3);
    assert_int_equal(queue_bench_puts(bench, "team/app", "one"), 1);
    assert_int_equal(queue_bench_puts(bench, "team/app", "two"), 0);
    assert_int_equal(queue_bench_puts(bench, "other/app", "parked"), 5);
    queue_bench_release(bench);
    queue_bench_open_again(bench);
    queue_bench_expect_done(bench);
    assert_true(queue_bench_is_there(bench, "one", 1));
    assert_true(queue_bench_is_there(bench, "two", 2));
    assert_true(queue_bench_is_there(bench, "parked", 3));
}

static void nothing_starts_after_the_end(void **state)
{
    struct queue_bench *bench = *state;
    push_queue_close(bench->test->queue);
    queue_bench_store(bench, 0, "team/app:one");
    queue_bench_store(bench, 1, "team/app:one");
    queue_bench_store(bench, 2, "team/app:two");
    /* What is superseded is not worth a start. */
    queue_bench_expect_records(bench, 2, 2);
    queue_test_close(bench->test);
    queue_bench_expect_records(bench, 2, 2);
    assert_int_equal(http_double_count(bench->test->http, "PUT "), 0);
}

/* Its client gets an answer, and ends it by its own cancel. */
static void who_waits_is_served_after_the_end(void **state)
{
    struct queue_bench *bench = *state;
    struct waiting_push before, after;
    queue_bench_await(bench, &before, 0, "team/app:one");
    queue_bench_await(bench, &after, 1, "team/app:two");
    queue_bench_hold_put(bench, "one");
    queue_bench_run(bench, &before);
    queue_bench_until_puts(bench, "team/app", "one", 1);
    queue_bench_store(bench, 2, "team/app:one");
    push_queue_close(bench->test->queue);
    queue_bench_run(bench, &after);
    queue_bench_expect_end(&after, ERR_OK);
    assert_false(push_queue_wait(bench->test->queue, 10));
    queue_bench_release(bench);
    queue_bench_expect_end(&before, ERR_OK);
    queue_test_close(bench->test);
    queue_bench_expect_records(bench, 1, 1);
    assert_true(queue_bench_is_there(bench, "one", 0));
}

static void a_cancelled_push_lets_the_others_go_on(void **state)
{
    struct queue_bench *bench = *state;
    struct waiting_push waiting;
    queue_bench_await(bench, &waiting, 0, "team/app:one");
    queue_bench_hold_put(bench, "one");
    queue_bench_run(bench, &waiting);
    queue_bench_until_puts(bench, "team/app", "one", 1);
    queue_bench_store(bench, 1, "team/app:one");
    cancel_request(&waiting.cancel);
    queue_bench_expect_end(&waiting, ERR_CANCELLED);
    queue_bench_expect_done(bench);
    assert_true(queue_bench_is_there(bench, "one", 1));
}

/* ---- limits.push_time ---- */

/* What runs and what waits behind it end, and the registry keeps no session; what is pushed after
 * the answer has another clock. */
static void who_waits_does_not_wait_for_ever(void **state)
{
    struct queue_bench *bench = *state;
    struct waiting_push first;
    struct waiting_push second;
    struct fake_rule blob = {.method = "PUT", .part = UPLOADS, .times = 2, .status = 500};
    blob.hold = true;
    fake_registry_rule(bench->test->registry, blob);
    queue_bench_hold_put(bench, "two");
    bench->test->settings.limits.push_ms = 3000;
    queue_bench_store(bench, 0, "other/app:two");
    queue_bench_until_puts(bench, "other/app", "two", 1);
    queue_bench_await(bench, &first, 1, "team/app:one");
    queue_bench_await(bench, &second, 2, "team/app:one");
    queue_bench_run(bench, &first);
    queue_bench_run(bench, &second);
    queue_bench_expect_end(&first, ERR_PUSH_TIME);
    queue_bench_expect_end(&second, ERR_PUSH_TIME);
    size_t opened = http_double_count(bench->test->http, "POST " UPLOADS);
    assert_true(opened > 0);
    assert_int_equal(http_double_await(bench->test->http, "DELETE " UPLOADS, opened), opened);
    queue_bench_expect_records(bench, 1, 1);
    queue_bench_release(bench);
    queue_bench_expect_done(bench);
    assert_true(queue_bench_is_there(bench, "two", 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        QUEUE_BENCH_TEST(targets_are_pushed_and_their_record_goes),
        QUEUE_BENCH_TEST(a_record_says_what_has_ended),
        QUEUE_BENCH_TEST(an_end_that_is_not_written_is_not_lost),
        QUEUE_BENCH_TEST(a_younger_end_is_not_written_first),
        QUEUE_BENCH_TEST(what_was_waited_for_is_in_the_history_later),
        QUEUE_BENCH_TEST(a_start_goes_on_with_what_is_recorded),
        QUEUE_BENCH_TEST(ended_targets_are_not_pushed_again),
        QUEUE_BENCH_TEST(a_refusal_ends_a_target),
        QUEUE_BENCH_TEST(the_record_says_what_came_of_it),
        QUEUE_BENCH_TEST(closing_keeps_the_records),
        QUEUE_BENCH_TEST(what_waits_is_not_begun_by_closing),
        QUEUE_BENCH_TEST(nothing_starts_after_the_end),
        QUEUE_BENCH_TEST(who_waits_is_served_after_the_end),
        QUEUE_BENCH_TEST(records_of_one_tag_are_superseded_together),
        QUEUE_BENCH_TEST(lists_of_referrers_are_kept_at_a_start),
        QUEUE_BENCH_TEST(a_cancelled_push_lets_the_others_go_on),
        QUEUE_BENCH_TEST(who_waits_does_not_wait_for_ever),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
