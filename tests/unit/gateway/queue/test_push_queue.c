/*
 * The rules of the push queue, against a registry double that is held where a test needs to look.
 * Where nothing may happen, another push is made and waited for: the queue had its time.
 */
#include "gateway/queue/push_queue.h"

#include "base/clock.h"
#include "base/mem.h"
#include "store/local/internal.h"
#include "tests/support/queue_bench.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define UPLOADS "/v2/team/app/blobs/uploads/"

/* ---- what a test says ---- */

static void await(struct queue_bench *bench, struct waiting_push *waiting, size_t image,
                  const char *targets)
{
    waiting_push_init(waiting, bench->test, &bench->images[image].manifest, targets);
}

static void run(struct queue_bench *bench, struct waiting_push *waiting)
{
    waiting_push_run(waiting, bench->test);
}

/* It has ended, each of its targets with this code. */
static void expect_end(struct waiting_push *waiting, enum errc code)
{
    waiting_push_wait(waiting);
    for (size_t i = 0; i < waiting->push.target_count; i++) {
        const struct push_target *target = &waiting->push.targets[i];
        assert_int_equal(target->state, code == ERR_OK ? PUSH_PUSHED : PUSH_FAILED);
        assert_int_equal(target->error.code, code);
    }
    waiting_push_deinit(waiting);
}

static void release(struct queue_bench *bench)
{
    fake_registry_release(bench->test->registry);
}

static void until_puts(struct queue_bench *bench, const char *path, const char *tag, size_t count)
{
    QUEUE_TEST_UNTIL(queue_bench_puts(bench, path, tag) == count);
}

static size_t puts_by_digest(struct queue_bench *bench, size_t image)
{
    char digest[DIGEST_TEXT_MAX];
    return queue_bench_puts(bench, "team/app",
                            digest_text(&bench->images[image].manifest.digest, digest));
}

/* It has ended as what a younger one overtook, with what there is to sign. */
static void expect_overtaken(struct queue_bench *bench, struct waiting_push *waiting, size_t image)
{
    waiting_push_wait(waiting);
    const struct push_target *target = &waiting->push.targets[0];
    assert_int_equal(target->state, PUSH_SUPERSEDED);
    assert_int_equal(target->error.code, ERR_OK);
    assert_true(digest_equal(&target->digest, &bench->images[image].manifest.digest));
    assert_true(target->size == bench->images[image].manifest.size);
    assert_int_equal(puts_by_digest(bench, image), 1);
    waiting_push_deinit(waiting);
}

static void expect_records(struct queue_bench *bench, size_t count, size_t waiting)
{
    size_t targets = 0;
    assert_int_equal(queue_test_records(bench->test, &targets), count);
    assert_int_equal(targets, waiting);
}

static size_t records(struct queue_bench *bench)
{
    size_t waiting = 0;
    return queue_test_records(bench->test, &waiting);
}

/* What may begin has begun. */
static void settle(struct queue_bench *bench)
{
    struct waiting_push other;
    autofree char *target =
        xasprintf("%s/settle:s%u", fake_registry_host(bench->elsewhere), bench->settled++);
    await(bench, &other, QUEUE_BENCH_IMAGES - 1, target);
    run(bench, &other);
    expect_end(&other, ERR_OK);
}

/* All is done, and nothing is left to be done at the next start. */
static void expect_done(struct queue_bench *bench)
{
    queue_test_idle(bench->test);
    expect_records(bench, 0, 0);
}

/* A push to PATH:TAG that waits for the registry, for long. Returns its id. */
static const char *park(struct queue_bench *bench, size_t image, const char *path, const char *tag)
{
    autofree char *target = xasprintf("%s:%s", path, tag);
    queue_bench_wait_long(bench);
    queue_bench_answer_puts(bench, tag, 5, 503);
    const char *id = queue_bench_store(bench, image, target);
    QUEUE_TEST_UNTIL(queue_test_state(bench->test, id, 0) == PUSH_WAITING);
    assert_int_equal(queue_bench_puts(bench, path, tag), 5);
    return id;
}

/* The next start: what waits is tried at once. */
static void open_again(struct queue_bench *bench)
{
    bench->test->registry_setting.retry_wait_ms = QUEUE_TEST_RETRY_MS;
    queue_test_open(bench->test);
}

/* ---- records ---- */

static void targets_are_pushed_and_their_record_goes(void **state)
{
    struct queue_bench *bench = *state;
    struct push push = queue_bench_accepted(bench, 0, "one/app:one two/app:two");
    expect_records(bench, 1, 2);
    queue_bench_start(bench, &push);
    expect_done(bench);
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
    release(bench);
    expect_done(bench);
}

static void a_start_goes_on_with_what_is_recorded(void **state)
{
    struct queue_bench *bench = *state;
    const char *const targets[] = {"team/app:one", "team/app:one", "team/app:two"};
    for (size_t i = 0; i < 3; i++) {
        struct push push = queue_bench_accepted(bench, i, targets[i]);
        push_deinit(&push);
    }
    expect_records(bench, 3, 3);
    queue_test_close(bench->test);
    queue_test_open(bench->test);
    expect_done(bench);
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
        expect_done(bench);
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
    expect_done(bench);
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
    expect_done(bench);
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

static void what_is_away_is_tried_again(void **state)
{
    struct queue_bench *bench = *state;
    queue_bench_answer_puts(bench, "one", 10, 503);
    const char *id = queue_bench_store(bench, 0, "team/app:one team/app:two");
    expect_done(bench);
    assert_int_equal(queue_bench_puts(bench, "team/app", "one"), 11);
    assert_int_equal(queue_bench_puts(bench, "team/app", "two"), 1);
    assert_int_equal(queue_test_state(bench->test, id, 0), PUSH_PUSHED);
}

static void what_waits_says_for_what(void **state)
{
    struct queue_bench *bench = *state;
    struct error err = ERROR_INIT;
    struct push push;
    bool found = false;
    uint64_t before_s = (uint64_t)clock_wall_s();
    const char *id = park(bench, 0, "team/app", "one");
    assert_int_equal(pushes_get(bench->test->runtime.store, id, &push, &found, &err), ERR_OK);
    const struct push_target *target = &push.targets[0];
    assert_int_equal(target->error.status, 503);
    assert_int_equal(target->tries, 1);
    assert_in_range(target->next_s, before_s + 240, (uint64_t)clock_wall_s() + 361);
    push_deinit(&push);
}

static void what_waits_goes_on_at_the_next_start(void **state)
{
    struct queue_bench *bench = *state;
    park(bench, 0, "team/app", "one");
    settle(bench);
    queue_test_close(bench->test);
    expect_records(bench, 1, 1);
    assert_int_equal(queue_bench_puts(bench, "team/app", "one"), 5);
    open_again(bench);
    expect_done(bench);
    assert_int_equal(queue_bench_puts(bench, "team/app", "one"), 6);
}

/* Of all that wait for a registry one is tried, and the others when that one got through. */
static void one_probe_is_made_for_all_that_wait(void **state)
{
    enum { MANY = 20 };
    struct queue_bench *bench = *state;
    bench->test->registry_setting.retry_wait_ms = 300;
    bench->test->settings.limits.pushes_per_registry = 1;
    queue_bench_answer_puts(bench, "tag", 15, 503);
    for (unsigned i = 0; i < MANY; i++) {
        autofree char *target = xasprintf("app%u:tag%u", i, i);
        queue_bench_store(bench, i % QUEUE_BENCH_IMAGES, target);
    }
    expect_done(bench);
    /* Three openings of the circuit, each after five attempts; without it each push would have
     * taken its five. */
    size_t greetings = http_double_count(bench->test->http, "GET /v2/");
    assert_in_range(greetings, 1, MANY + 3);
    for (unsigned i = 0; i < MANY; i++) {
        autofree char *tag = xasprintf("tag%u", i);
        assert_true(queue_bench_is_there(bench, tag, i % QUEUE_BENCH_IMAGES));
    }
}

static void a_deadline_ends_what_waits(void **state)
{
    struct queue_bench *bench = *state;
    queue_bench_answer_puts(bench, "one", 1000, 503);
    struct push push = queue_bench_accepted(bench, 0, "team/app:one");
    char id[PUSH_ID_MAX];
    strcpy(id, push.id);
    push.targets[0].deadline_s = 1;
    queue_bench_start(bench, &push);
    expect_done(bench);
    assert_int_equal(queue_test_state(bench->test, id, 0), PUSH_EXPIRED);
    assert_int_equal(queue_bench_puts(bench, "team/app", "one"), 5);
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
    expect_records(bench, 1, 2);
    release(bench);
    queue_test_open(bench->test);
    expect_done(bench);
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
    until_puts(bench, "team/app", "one", 1);
    park(bench, 3, "other/app", "parked");
    queue_bench_store(bench, 1, "team/app:one");
    queue_bench_store(bench, 2, "team/app:two");
    expect_records(bench, 4, 4);
    queue_test_close(bench->test);
    /* What is broken off gives way to the younger one. */
    expect_records(bench, 3, 3);
    assert_int_equal(queue_bench_puts(bench, "team/app", "one"), 1);
    assert_int_equal(queue_bench_puts(bench, "team/app", "two"), 0);
    assert_int_equal(queue_bench_puts(bench, "other/app", "parked"), 5);
    release(bench);
    open_again(bench);
    expect_done(bench);
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
    expect_records(bench, 2, 2);
    queue_test_close(bench->test);
    expect_records(bench, 2, 2);
    assert_int_equal(http_double_count(bench->test->http, "PUT "), 0);
}

/* Its client gets an answer, and ends it by its own cancel. */
static void who_waits_is_served_after_the_end(void **state)
{
    struct queue_bench *bench = *state;
    struct waiting_push before, after;
    await(bench, &before, 0, "team/app:one");
    await(bench, &after, 1, "team/app:two");
    queue_bench_hold_put(bench, "one");
    run(bench, &before);
    until_puts(bench, "team/app", "one", 1);
    queue_bench_store(bench, 2, "team/app:one");
    push_queue_close(bench->test->queue);
    run(bench, &after);
    expect_end(&after, ERR_OK);
    assert_false(push_queue_wait(bench->test->queue, 10));
    release(bench);
    expect_end(&before, ERR_OK);
    queue_test_close(bench->test);
    expect_records(bench, 1, 1);
    assert_true(queue_bench_is_there(bench, "one", 0));
}

/* ---- pushes after the answer ---- */

/* In the order in which they were accepted, so that tags that follow each other do so there. */
static void a_repository_takes_one_at_a_time(void **state)
{
    struct queue_bench *bench = *state;
    queue_bench_hold_put(bench, "one");
    queue_bench_store(bench, 0, "team/app:one");
    until_puts(bench, "team/app", "one", 1);
    queue_bench_store(bench, 1, "team/app:two");
    queue_bench_store(bench, 2, "other/app:three");
    QUEUE_TEST_UNTIL(records(bench) == 2);
    assert_true(queue_bench_is_there(bench, "three", 2));
    settle(bench);
    assert_int_equal(queue_bench_puts(bench, "team/app", "two"), 0);
    release(bench);
    expect_done(bench);
    assert_true(queue_bench_is_there(bench, "two", 1));
}

static void registries_do_not_wait_for_each_other(void **state)
{
    struct queue_bench *bench = *state;
    struct fake_registry *other = fake_registry_start(FAKE_OPEN);
    autofree char *there = xasprintf("%s/team/app:one", fake_registry_host(other));
    bench->test->settings.limits.pushes_per_registry = 1;
    queue_bench_hold_put(bench, "one");
    queue_bench_store(bench, 0, "team/app:one");
    until_puts(bench, "team/app", "one", 1);
    queue_bench_store(bench, 1, "team/app:two");
    queue_bench_store(bench, 1, there);
    QUEUE_TEST_UNTIL(records(bench) == 2);
    assert_true(fake_registry_has(other, "manifests/one"));
    assert_int_equal(queue_bench_puts(bench, "team/app", "two"), 0);
    release(bench);
    expect_done(bench);
    fake_registry_stop(other);
}

static void a_registry_has_so_many_at_once(void **state)
{
    struct queue_bench *bench = *state;
    bench->test->settings.limits.pushes_per_registry = 2;
    queue_bench_hold_put(bench, "tag-");
    queue_bench_hold_put(bench, "tag-");
    queue_bench_store(bench, 0, "one/app:tag-1");
    queue_bench_store(bench, 1, "two/app:tag-2");
    until_puts(bench, "one/app", "tag-", 1);
    until_puts(bench, "two/app", "tag-", 1);
    queue_bench_store(bench, 2, "three/app:tag-3");
    settle(bench);
    assert_int_equal(queue_bench_puts(bench, "three/app", "tag-"), 0);
    release(bench);
    expect_done(bench);
    assert_true(queue_bench_is_there(bench, "tag-3", 2));
}

static void what_waits_for_its_tag_takes_no_place(void **state)
{
    struct queue_bench *bench = *state;
    bench->test->settings.limits.pushes_per_registry = 2;
    queue_bench_hold_put(bench, "one");
    queue_bench_store(bench, 0, "team/app:one");
    until_puts(bench, "team/app", "one", 1);
    queue_bench_store(bench, 1, "team/app:one");
    queue_bench_store(bench, 2, "other/app:two");
    QUEUE_TEST_UNTIL(queue_bench_is_there(bench, "two", 2));
    release(bench);
    expect_done(bench);
    assert_true(queue_bench_is_there(bench, "one", 1));
}

/* At once, not when their turn comes; what runs ends by itself. */
static void a_younger_push_supersedes_what_waits(void **state)
{
    struct queue_bench *bench = *state;
    char ids[3][PUSH_ID_MAX];
    queue_bench_hold_put(bench, "one");
    for (size_t i = 0; i < 3; i++) {
        strcpy(ids[i], queue_bench_store(bench, i, "team/app:one other/app:two"));
        if (i == 0) {
            until_puts(bench, "team/app", "one", 1);
            QUEUE_TEST_UNTIL(queue_bench_is_there(bench, "two", 0));
        }
        assert_int_equal(queue_test_state(bench->test, ids[i], 0), PUSH_QUEUED);
    }
    assert_int_equal(queue_test_state(bench->test, ids[0], 0), PUSH_QUEUED);
    QUEUE_TEST_UNTIL(queue_test_state(bench->test, ids[1], 0) == PUSH_SUPERSEDED);
    QUEUE_TEST_UNTIL(push_state_is_final(queue_test_state(bench->test, ids[1], 1)));
    release(bench);
    expect_done(bench);
    assert_int_equal(queue_bench_puts(bench, "team/app", "one"), 2);
    assert_true(queue_bench_is_there(bench, "one", 2));
    assert_true(queue_bench_is_there(bench, "two", 2));
}

static void fifty_pushes_of_a_tag_become_two(void **state)
{
    struct queue_bench *bench = *state;
    queue_bench_hold_put(bench, "one");
    queue_bench_store(bench, 0, "team/app:one");
    until_puts(bench, "team/app", "one", 1);
    for (size_t i = 1; i < 50; i++)
        queue_bench_store(bench, i % QUEUE_BENCH_IMAGES, "team/app:one");
    expect_records(bench, 2, 2);
    release(bench);
    expect_done(bench);
    assert_int_equal(queue_bench_puts(bench, "team/app", "one"), 2);
    assert_true(queue_bench_is_there(bench, "one", 49 % QUEUE_BENCH_IMAGES));
}

/* Once it went first, if it had not been left out meanwhile. */
static void an_older_push_that_comes_late_is_superseded(void **state)
{
    struct queue_bench *bench = *state;
    struct push older = queue_bench_accepted(bench, 0, "team/app:one other/app:two");
    struct push younger = queue_bench_accepted(bench, 1, "team/app:one");
    queue_bench_hold_put(bench, "one");
    queue_bench_start(bench, &younger);
    until_puts(bench, "team/app", "one", 1);
    queue_bench_start(bench, &older);
    QUEUE_TEST_UNTIL(queue_bench_is_there(bench, "two", 0));
    QUEUE_TEST_UNTIL(records(bench) == 1);
    release(bench);
    expect_done(bench);
    assert_int_equal(queue_bench_puts(bench, "team/app", "one"), 1);
    assert_true(queue_bench_is_there(bench, "one", 1));
}

/* Also when the younger has ended by then, in whichever way it came. */
static void an_older_push_that_comes_after_the_end_is_superseded(void **state)
{
    struct queue_bench *bench = *state;
    struct waiting_push direct;
    struct push oldest = queue_bench_accepted(bench, 0, "team/app:one team/app");
    struct push older = queue_bench_accepted(bench, 2, "team/app:one");
    struct push younger = queue_bench_accepted(bench, 1, "team/app:one");
    queue_bench_start(bench, &younger);
    QUEUE_TEST_UNTIL(records(bench) == 2);
    queue_bench_start(bench, &older);
    QUEUE_TEST_UNTIL(records(bench) == 1);
    assert_true(queue_bench_is_there(bench, "one", 1));
    await(bench, &direct, 3, "team/app:one");
    run(bench, &direct);
    expect_end(&direct, ERR_OK);
    queue_bench_start(bench, &oldest); /* its digest goes as ever */
    expect_done(bench);
    assert_int_equal(queue_bench_puts(bench, "team/app", "one"), 2);
    assert_true(queue_bench_is_there(bench, "one", 3));
    queue_bench_store(bench, 4, "team/app:one");
    expect_done(bench);
    assert_true(queue_bench_is_there(bench, "one", 4));
}

static void what_is_parked_gives_way_to_a_younger(void **state)
{
    struct queue_bench *bench = *state;
    char parked[PUSH_ID_MAX];
    strcpy(parked, park(bench, 0, "team/app", "one"));
    queue_bench_store(bench, 1, "team/app:one");
    expect_records(bench, 1, 1);
    assert_int_equal(queue_test_state(bench->test, parked, 0), PUSH_SUPERSEDED);
    queue_test_close(bench->test);
    open_again(bench);
    expect_done(bench);
    assert_int_equal(queue_bench_puts(bench, "team/app", "one"), 6);
    assert_true(queue_bench_is_there(bench, "one", 1));
}

/* Where a younger one waits, a registry that is away ends a push. */
static void what_cannot_go_on_gives_way_to_a_younger(void **state)
{
    struct queue_bench *bench = *state;
    fake_registry_rule(
        bench->test->registry,
        (struct fake_rule){
            .method = "PUT", .part = "one", .times = 5, .status = 503, .hold = true});
    queue_bench_store(bench, 0, "team/app:one");
    until_puts(bench, "team/app", "one", 1);
    queue_bench_store(bench, 1, "team/app:one");
    expect_records(bench, 2, 2);
    release(bench);
    expect_done(bench);
    assert_int_equal(queue_bench_puts(bench, "team/app", "one"), 6);
    assert_true(queue_bench_is_there(bench, "one", 1));
}

static void digests_do_not_supersede_each_other(void **state)
{
    struct queue_bench *bench = *state;
    queue_bench_hold_put(bench, "manifests/sha256:");
    for (int i = 0; i < 3; i++) {
        queue_bench_store(bench, 0, "team/app");
        until_puts(bench, "team/app", "sha256:", 1);
    }
    expect_records(bench, 3, 3);
    struct waiting_push waiting;
    await(bench, &waiting, 0, "team/app");
    run(bench, &waiting);
    release(bench);
    expect_end(&waiting, ERR_OK);
    expect_done(bench);
    assert_int_equal(queue_bench_puts(bench, "team/app", "sha256:"), 4);
}

/* Not those that come late either, nor those that wait for their registry. */
static void what_goes_by_digest_is_kept(void **state)
{
    struct queue_bench *bench = *state;
    struct push older = queue_bench_accepted(bench, 0, "team/app");
    fake_registry_rule(
        bench->test->registry,
        (struct fake_rule){
            .method = "PUT", .part = "manifests/sha256:", .times = 5, .status = 503, .hold = true});
    queue_bench_store(bench, 0, "team/app");
    until_puts(bench, "team/app", "sha256:", 1);
    queue_bench_store(bench, 0, "team/app");
    queue_bench_start(bench, &older);
    expect_records(bench, 3, 3);
    release(bench);
    expect_done(bench);
    assert_int_equal(queue_bench_puts(bench, "team/app", "sha256:"), 8);
}

/* ---- pushes that somebody waits for ---- */

static void a_push_without_targets_ends_at_once(void **state)
{
    struct queue_bench *bench = *state;
    struct waiting_push none, stored;
    await(bench, &none, 0, "");
    run(bench, &none);
    assert_true(waiting_push_ended(&none));
    waiting_push_deinit(&none);
    /* All of its targets are pushed after the answer, by push_queue_start(). */
    await(bench, &stored, 0, "team/app:one team/app:two");
    for (size_t i = 0; i < 2; i++)
        stored.push.targets[i].stored = true;
    run(bench, &stored);
    assert_true(waiting_push_ended(&stored));
    assert_int_equal(stored.push.targets[0].state, PUSH_QUEUED);
    waiting_push_deinit(&stored);
    assert_int_equal(http_double_count(bench->test->http, "PUT "), 0);
}

/* Its targets may be of both kinds. */
static void who_waits_does_not_wait_for_stored_targets(void **state)
{
    struct queue_bench *bench = *state;
    struct waiting_push waiting;
    await(bench, &waiting, 0, "team/app:one other/app:two");
    waiting.push.targets[0].stored = true;
    queue_test_accept(bench->test, &waiting.push);
    queue_bench_hold_put(bench, "one");
    push_queue_start(bench->test->queue, &waiting.push);
    until_puts(bench, "team/app", "one", 1);
    run(bench, &waiting);
    waiting_push_wait(&waiting);
    assert_int_equal(waiting.push.targets[0].state, PUSH_QUEUED);
    assert_int_equal(waiting.push.targets[1].state, PUSH_PUSHED);
    expect_records(bench, 1, 1);
    release(bench);
    expect_done(bench);
    assert_int_equal(queue_bench_puts(bench, "other/app", "two"), 1);
    waiting_push_deinit(&waiting);
}

static void count_begun(void *self, const struct progress_event *event)
{
    if (event->id == NULL && strstr(event->status, "The push refers to"))
        atomic_fetch_add((atomic_uint *)self, 1);
}

static void tags_of_one_repository_go_one_after_another(void **state)
{
    struct queue_bench *bench = *state;
    struct waiting_push waiting;
    atomic_uint begun = 0;
    const struct progress progress = {.emit = count_begun, .self = &begun};
    await(bench, &waiting, 0, "team/app:one other/app:four team/app:two team/app:three");
    waiting.progress = &progress;
    queue_bench_hold_put(bench, "one");
    run(bench, &waiting);
    until_puts(bench, "team/app", "one", 1);
    until_puts(bench, "other/app", "four", 1);
    settle(bench);
    assert_int_equal(atomic_load(&begun), 2);
    assert_int_equal(queue_bench_puts(bench, "team/app", "two"), 0);
    assert_int_equal(queue_bench_puts(bench, "team/app", "three"), 0);
    release(bench);
    expect_end(&waiting, ERR_OK);
    assert_int_equal(atomic_load(&begun), 4);
    struct http_double *http = bench->test->http;
    assert_true(http_double_position(http, "PUT /v2/team/app/manifests/two") <
                http_double_position(http, "PUT /v2/team/app/manifests/three"));
    expect_done(bench);
}

/* A failure is no reason to leave the others out. */
static void each_target_ends_by_itself(void **state)
{
    struct queue_bench *bench = *state;
    struct waiting_push waiting;
    await(bench, &waiting, 0, "team/app:one team/app:two");
    queue_bench_answer_puts(bench, "one", 1000, 403);
    run(bench, &waiting);
    waiting_push_wait(&waiting);
    assert_int_equal(waiting.push.targets[0].state, PUSH_FAILED);
    assert_int_equal(waiting.push.targets[0].error.code, ERR_DENIED);
    assert_int_equal(waiting.push.targets[1].state, PUSH_PUSHED);
    waiting_push_deinit(&waiting);
}

static void two_of_one_tag_go_in_their_order(void **state)
{
    struct queue_bench *bench = *state;
    struct waiting_push first, second;
    await(bench, &first, 0, "team/app:one");
    await(bench, &second, 1, "team/app:one");
    queue_bench_hold_put(bench, "one");
    run(bench, &first);
    until_puts(bench, "team/app", "one", 1);
    run(bench, &second);
    settle(bench);
    assert_int_equal(queue_bench_puts(bench, "team/app", "one"), 1);
    release(bench);
    expect_end(&first, ERR_OK);
    expect_end(&second, ERR_OK);
    assert_int_equal(queue_bench_puts(bench, "team/app", "one"), 2);
    assert_true(queue_bench_is_there(bench, "one", 1));
}

/* By the time of their acceptance, as long as the younger one has not begun. */
static void the_order_is_not_that_of_their_coming(void **state)
{
    struct queue_bench *bench = *state;
    struct waiting_push first, second;
    queue_bench_hold_put(bench, "one");
    queue_bench_store(bench, 2, "team/app:one");
    until_puts(bench, "team/app", "one", 1);
    await(bench, &first, 0, "team/app:one");
    await(bench, &second, 1, "team/app:one");
    run(bench, &second);
    run(bench, &first);
    release(bench);
    expect_overtaken(bench, &first, 0);
    expect_end(&second, ERR_OK);
    assert_int_equal(queue_bench_puts(bench, "team/app", "one"), 2);
    assert_true(queue_bench_is_there(bench, "one", 1));
}

static void tags_in_any_order_do_not_lock_each_other(void **state)
{
    struct queue_bench *bench = *state;
    struct waiting_push first, second;
    await(bench, &first, 0, "team/app:one team/app:two");
    await(bench, &second, 1, "team/app:two team/app:one");
    queue_bench_hold_put(bench, "one");
    run(bench, &first);
    until_puts(bench, "team/app", "one", 1);
    run(bench, &second);
    settle(bench);
    assert_int_equal(queue_bench_puts(bench, "team/app", "two"), 0);
    release(bench);
    waiting_push_wait(&first);
    assert_int_equal(first.push.targets[0].state, PUSH_PUSHED);
    assert_int_equal(first.push.targets[1].state, PUSH_SUPERSEDED);
    waiting_push_deinit(&first);
    expect_end(&second, ERR_OK);
    assert_true(queue_bench_is_there(bench, "one", 1));
    assert_true(queue_bench_is_there(bench, "two", 1));
}

/* ---- both ---- */

/* Once it was dropped: what ends later is not what is younger. */
static void an_older_push_that_ends_later_drops_nothing(void **state)
{
    struct queue_bench *bench = *state;
    struct waiting_push older;
    await(bench, &older, 0, "team/app:one");
    queue_bench_hold_put(bench, "one");
    run(bench, &older);
    until_puts(bench, "team/app", "one", 1);
    queue_bench_store(bench, 1, "team/app:one");
    settle(bench);
    assert_int_equal(queue_bench_puts(bench, "team/app", "one"), 1);
    expect_records(bench, 1, 1);
    release(bench);
    expect_end(&older, ERR_OK);
    expect_done(bench);
    assert_int_equal(queue_bench_puts(bench, "team/app", "one"), 2);
    assert_true(queue_bench_is_there(bench, "one", 1));
}

/* It waits for what runs, and for nothing else of the tag; others of the registry go on. */
static void who_waits_goes_before_what_is_stored(void **state)
{
    struct queue_bench *bench = *state;
    struct waiting_push waiting;
    queue_bench_hold_put(bench, "one");
    queue_bench_store(bench, 0, "team/app:one");
    until_puts(bench, "team/app", "one", 1);
    queue_bench_store(bench, 1, "team/app:one");
    await(bench, &waiting, 2, "team/app:one");
    run(bench, &waiting);
    settle(bench);
    assert_int_equal(queue_bench_puts(bench, "team/app", "one"), 1);
    expect_records(bench, 2, 2);
    release(bench);
    expect_end(&waiting, ERR_OK);
    expect_done(bench);
    assert_int_equal(queue_bench_puts(bench, "team/app", "one"), 2);
    assert_true(queue_bench_is_there(bench, "one", 2));
}

static void the_failure_of_who_waits_lets_the_others_go_on(void **state)
{
    struct queue_bench *bench = *state;
    struct waiting_push waiting;
    queue_bench_hold_put(bench, "one");
    queue_bench_answer_puts(bench, "one", 1, 403);
    queue_bench_store(bench, 0, "team/app:one");
    until_puts(bench, "team/app", "one", 1);
    queue_bench_store(bench, 1, "team/app:one");
    await(bench, &waiting, 2, "team/app:one");
    run(bench, &waiting);
    release(bench);
    expect_end(&waiting, ERR_DENIED);
    expect_done(bench);
    assert_int_equal(queue_bench_puts(bench, "team/app", "one"), 3);
    assert_true(queue_bench_is_there(bench, "one", 1));
}

/* What comes while one waits its turn does not overtake it. */
static void what_comes_meanwhile_goes_behind(void **state)
{
    struct queue_bench *bench = *state;
    struct waiting_push first, second;
    await(bench, &first, 0, "team/app:one");
    queue_bench_hold_put(bench, "one");
    run(bench, &first);
    until_puts(bench, "team/app", "one", 1);
    await(bench, &second, 1, "team/app:one");
    queue_bench_store(bench, 2, "team/app:one");
    queue_bench_store(bench, 3, "team/app:one");
    expect_records(bench, 1, 1);
    run(bench, &second);
    release(bench);
    expect_end(&first, ERR_OK);
    expect_overtaken(bench, &second, 1);
    expect_done(bench);
    assert_int_equal(queue_bench_puts(bench, "team/app", "one"), 2);
    assert_true(queue_bench_is_there(bench, "one", 3));
}

static void what_is_parked_is_superseded_by_a_success(void **state)
{
    struct queue_bench *bench = *state;
    struct waiting_push refused, waiting;
    park(bench, 0, "team/app", "one");
    settle(bench);
    expect_records(bench, 1, 1);
    queue_bench_answer_puts(bench, "one", 1, 403);
    await(bench, &refused, 1, "team/app:one");
    run(bench, &refused);
    expect_end(&refused, ERR_DENIED);
    expect_records(bench, 1, 1);
    await(bench, &waiting, 2, "team/app:one");
    run(bench, &waiting);
    expect_end(&waiting, ERR_OK);
    expect_records(bench, 0, 0);
    queue_test_close(bench->test);
    open_again(bench);
    expect_done(bench);
    assert_true(queue_bench_is_there(bench, "one", 2));
}

/* ---- overtaken ---- */

/* The next PUT of a blob is done, and its answer held. */
static void hold_blob(struct queue_bench *bench)
{
    fake_registry_rule(
        bench->test->registry,
        (struct fake_rule){
            .method = "PUT", .part = UPLOADS, .times = 1, .effect = true, .hold = true});
}

static void until_blob(struct queue_bench *bench)
{
    QUEUE_TEST_UNTIL(http_double_count(bench->test->http, "PUT " UPLOADS) > 0);
}

static void who_waits_is_overtaken_by_who_waits(void **state)
{
    struct queue_bench *bench = *state;
    struct waiting_push older, younger;
    await(bench, &older, 0, "team/app:one");
    hold_blob(bench);
    run(bench, &older);
    until_blob(bench);
    await(bench, &younger, 1, "team/app:one");
    run(bench, &younger);
    release(bench);
    expect_overtaken(bench, &older, 0);
    expect_end(&younger, ERR_OK);
    expect_done(bench);
    assert_int_equal(queue_bench_puts(bench, "team/app", "one"), 1);
    assert_true(queue_bench_is_there(bench, "one", 1));
}

static void who_waits_is_overtaken_by_a_promise(void **state)
{
    struct queue_bench *bench = *state;
    struct waiting_push older;
    await(bench, &older, 0, "team/app:one");
    hold_blob(bench);
    run(bench, &older);
    until_blob(bench);
    queue_bench_store(bench, 1, "team/app:one");
    release(bench);
    expect_overtaken(bench, &older, 0);
    expect_done(bench);
    assert_int_equal(queue_bench_puts(bench, "team/app", "one"), 1);
    assert_true(queue_bench_is_there(bench, "one", 1));
}

/* Accepted first, and run when a younger one is there already. */
static void who_comes_late_goes_under_its_digest(void **state)
{
    struct queue_bench *bench = *state;
    struct waiting_push older, younger;
    await(bench, &older, 0, "team/app:one");
    await(bench, &younger, 1, "team/app:one");
    run(bench, &younger);
    expect_end(&younger, ERR_OK);
    run(bench, &older);
    expect_overtaken(bench, &older, 0);
    assert_true(queue_bench_is_there(bench, "one", 1));
}

/* What fails leaves the tag to the older one that has not begun to put it. */
static void who_failed_overtakes_nobody(void **state)
{
    struct queue_bench *bench = *state;
    struct waiting_push older, younger;
    await(bench, &older, 0, "team/app:one");
    await(bench, &younger, 1, "team/app:one");
    queue_bench_answer_puts(bench, "one", 1, 403);
    run(bench, &younger);
    expect_end(&younger, ERR_DENIED);
    run(bench, &older);
    expect_end(&older, ERR_OK);
    assert_true(queue_bench_is_there(bench, "one", 0));
}

static void a_promise_that_runs_is_overtaken(void **state)
{
    struct queue_bench *bench = *state;
    char older[PUSH_ID_MAX];
    hold_blob(bench);
    strcpy(older, queue_bench_store(bench, 0, "team/app:one"));
    until_blob(bench);
    queue_bench_store(bench, 1, "team/app:one");
    release(bench);
    expect_done(bench);
    assert_int_equal(queue_test_state(bench->test, older, 0), PUSH_SUPERSEDED);
    assert_int_equal(puts_by_digest(bench, 0), 1);
    assert_int_equal(queue_bench_puts(bench, "team/app", "one"), 1);
    assert_true(queue_bench_is_there(bench, "one", 1));
}

/* It leaves the tag to who waits, and takes it up where that fails. */
static void a_promise_lets_who_waits_go_first(void **state)
{
    struct queue_bench *bench = *state;
    struct waiting_push younger;
    char older[PUSH_ID_MAX];
    hold_blob(bench);
    strcpy(older, queue_bench_store(bench, 0, "team/app:one"));
    until_blob(bench);
    queue_bench_answer_puts(bench, "one", 1, 403);
    await(bench, &younger, 1, "team/app:one");
    run(bench, &younger);
    release(bench);
    expect_end(&younger, ERR_DENIED);
    expect_done(bench);
    assert_int_equal(queue_test_state(bench->test, older, 0), PUSH_PUSHED);
    assert_int_equal(queue_bench_puts(bench, "team/app", "one"), 2);
    assert_true(queue_bench_is_there(bench, "one", 0));
}

/* A failure of a promise does not make who waits for the same tag wait for its next try. */
static void who_waits_does_not_wait_for_the_circuit(void **state)
{
    struct queue_bench *bench = *state;
    struct waiting_push younger;
    char older[PUSH_ID_MAX];
    queue_bench_wait_long(bench);
    fake_registry_rule(
        bench->test->registry,
        (struct fake_rule){
            .method = "PUT", .part = "one", .times = 5, .status = 503, .hold = true});
    strcpy(older, queue_bench_store(bench, 0, "team/app:one"));
    until_puts(bench, "team/app", "one", 1);
    await(bench, &younger, 1, "team/app:one");
    run(bench, &younger);
    release(bench);
    expect_end(&younger, ERR_OK);
    expect_done(bench);
    assert_int_equal(queue_test_state(bench->test, older, 0), PUSH_SUPERSEDED);
}

static void fifty_that_wait_are_one_put(void **state)
{
    struct queue_bench *bench = *state;
    park(bench, 0, "other/app", "parked");
    for (size_t i = 0; i < 50; i++)
        queue_bench_store(bench, i % 3, "team/app:one");
    expect_records(bench, 2, 2);
    queue_test_close(bench->test);
    open_again(bench);
    expect_done(bench);
    assert_int_equal(queue_bench_puts(bench, "team/app", "one"), 1);
    assert_true(queue_bench_is_there(bench, "one", 1));
}

/* ---- circuits ---- */

/* Who waits for his push has just been answered: nobody has to wait for a probe. */
static void a_success_of_who_waits_ends_the_wait(void **state)
{
    struct queue_bench *bench = *state;
    struct waiting_push other;
    park(bench, 0, "team/app", "one");
    queue_bench_store(bench, 1, "other/app:two");
    settle(bench);
    assert_int_equal(queue_bench_puts(bench, "other/app", "two"), 0);
    await(bench, &other, 2, "third/app:three");
    run(bench, &other);
    expect_end(&other, ERR_OK);
    expect_done(bench);
    assert_true(queue_bench_is_there(bench, "one", 0));
    assert_true(queue_bench_is_there(bench, "two", 1));
}

/* He has tried five times, and need not be followed by each of the others. */
static void a_failure_of_who_waits_opens_the_circuit(void **state)
{
    struct queue_bench *bench = *state;
    struct waiting_push waiting;
    bench->test->registry_setting.retry_wait_ms =
        3000000; /* of the circuit: upstream has its own */
    queue_bench_answer_puts(bench, "one", 5, 503);
    await(bench, &waiting, 0, "team/app:one");
    run(bench, &waiting);
    expect_end(&waiting, ERR_REGISTRY_FAULT);
    queue_bench_store(bench, 1, "other/app:two");
    settle(bench);
    assert_int_equal(queue_bench_puts(bench, "other/app", "two"), 0);
    expect_records(bench, 1, 1);
}

static void a_refusal_of_who_waits_opens_nothing(void **state)
{
    struct queue_bench *bench = *state;
    struct waiting_push waiting;
    queue_bench_wait_long(bench);
    queue_bench_answer_puts(bench, "one", 1, 403);
    await(bench, &waiting, 0, "team/app:one");
    run(bench, &waiting);
    expect_end(&waiting, ERR_DENIED);
    queue_bench_store(bench, 1, "other/app:two");
    expect_done(bench);
}

/* A 403 is the repository's, and final, unless GET /v2/ is refused, too. */
static void who_is_let_in_nowhere_waits(void **state)
{
    struct queue_bench *bench = *state;
    queue_bench_store(bench, 0, "team/app:one");
    expect_done(bench);
    queue_bench_answer_puts(bench, "two", 1, 403);
    fake_registry_rule(
        bench->test->registry,
        (struct fake_rule){.method = "GET", .part = "/v2/", .times = 1, .status = 403});
    const char *id = queue_bench_store(bench, 1, "team/app:two");
    expect_done(bench);
    assert_int_equal(queue_test_state(bench->test, id, 0), PUSH_PUSHED);
    assert_int_equal(queue_bench_puts(bench, "team/app", "two"), 2);
}

static size_t probes(struct queue_bench *bench)
{
    return http_double_count(bench->test->http, "GET /v2/");
}

/* While it is away one of all that wait asks, and nothing but GET /v2/. */
static void one_probe_asks_for_all(void **state)
{
    struct queue_bench *bench = *state;
    bench->test->registry_setting.retry_wait_ms = 50;
    queue_bench_answer_puts(bench, "one", 5, 503);
    const char *id = queue_bench_store(bench, 0, "team/app:one");
    QUEUE_TEST_UNTIL(queue_test_state(bench->test, id, 0) == PUSH_WAITING);
    fake_registry_rule(
        bench->test->registry,
        (struct fake_rule){.method = "GET", .part = "/v2/", .times = 4, .status = 503});
    size_t before = probes(bench);
    for (int i = 0; i < 8; i++) {
        autofree char *target = xasprintf("app%d/app:t%d", i, i);
        queue_bench_store(bench, 1, target);
    }
    expect_done(bench);
    /* four in vain, the one that is answered, and at most the three of the ramp 2, 4 */
    assert_in_range(probes(bench) - before, 5, 8);
    assert_int_equal(queue_bench_puts(bench, "app7/app", "t7"), 1);
    assert_true(queue_bench_is_there(bench, "one", 0));
}

/* As long as a registry asks for, whatever the delay. */
static void a_registry_is_left_alone_as_it_asks(void **state)
{
    struct queue_bench *bench = *state;
    bench->test->registry_setting.retry_wait_ms = 1;
    fake_registry_rule(bench->test->registry,
                       (struct fake_rule){.method = "GET",
                                          .part = "/v2/",
                                          .times = 1,
                                          .status = 503,
                                          .headers = "Retry-After: 300\r\n"});
    uint64_t before_s = (uint64_t)clock_wall_s();
    const char *id = queue_bench_store(bench, 0, "team/app:one");
    QUEUE_TEST_UNTIL(queue_test_state(bench->test, id, 0) == PUSH_WAITING);
    struct error err = ERROR_INIT;
    struct push push;
    bool found = false;
    assert_int_equal(pushes_get(bench->test->runtime.store, id, &push, &found, &err), ERR_OK);
    assert_in_range(push.targets[0].next_s, before_s + 290, (uint64_t)clock_wall_s() + 301);
    push_deinit(&push);
    assert_int_equal(probes(bench), 1);
}

static void a_cancelled_push_lets_the_others_go_on(void **state)
{
    struct queue_bench *bench = *state;
    struct waiting_push waiting;
    await(bench, &waiting, 0, "team/app:one");
    queue_bench_hold_put(bench, "one");
    run(bench, &waiting);
    until_puts(bench, "team/app", "one", 1);
    queue_bench_store(bench, 1, "team/app:one");
    cancel_request(&waiting.cancel);
    expect_end(&waiting, ERR_CANCELLED);
    expect_done(bench);
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
    struct fake_rule blob = {.method = "PUT", .part = UPLOADS, .times = 1, .status = 500};
    blob.hold = true;
    fake_registry_rule(bench->test->registry, blob);
    queue_bench_hold_put(bench, "two");
    bench->test->settings.limits.push_ms = 1500;
    queue_bench_store(bench, 0, "other/app:two");
    until_puts(bench, "other/app", "two", 1);
    await(bench, &first, 1, "team/app:one");
    await(bench, &second, 2, "team/app:one");
    run(bench, &first);
    run(bench, &second);
    expect_end(&first, ERR_PUSH_TIME);
    expect_end(&second, ERR_PUSH_TIME);
    size_t opened = http_double_count(bench->test->http, "POST " UPLOADS);
    assert_true(opened > 0);
    assert_int_equal(http_double_await(bench->test->http, "DELETE " UPLOADS, opened), opened);
    expect_records(bench, 1, 1);
    release(bench);
    expect_done(bench);
    assert_true(queue_bench_is_there(bench, "two", 0));
}

/* ---- all at once ---- */

#define SUBMITTERS 4
#define SUBMITS 10
#define TAGS 3

static const char *const tags[TAGS] = {"one", "two", "three"};
static const char *const names[TAGS] = {"team/app:one", "team/app:two", "other/app:three"};

/* One push, and where it goes. */
struct told {
    char id[PUSH_ID_MAX];
    size_t image;
    bool goes[TAGS];
    bool stored;
    struct waiting_push waiting;
    bool recorded[TAGS]; /* after the end of the queue */
};

struct riot {
    struct queue_bench *bench;
    bool in_order; /* pushes come in the order of their acceptance */
    pthread_mutex_t order;
    pthread_mutex_t lock; /* guards what follows */
    unsigned seed;
    size_t count;
    struct told told[SUBMITTERS * SUBMITS];
};

static unsigned chance(struct riot *riot, unsigned below)
{
    pthread_mutex_lock(&riot->lock);
    unsigned value = (unsigned)rand_r(&riot->seed) % below;
    pthread_mutex_unlock(&riot->lock);
    return value;
}

static void submit_stored(struct riot *riot, struct told *told, const char *targets)
{
    struct push push = queue_bench_accepted(riot->bench, told->image, targets);
    memcpy(told->id, push.id, sizeof push.id);
    queue_bench_start(riot->bench, &push);
}

static void submit_waiting(struct riot *riot, struct told *told, const char *targets)
{
    await(riot->bench, &told->waiting, told->image, targets);
    memcpy(told->id, told->waiting.push.id, sizeof told->id);
    run(riot->bench, &told->waiting);
}

static void submit(struct riot *riot, struct told *told)
{
    size_t first = chance(riot, TAGS);
    size_t second = chance(riot, TAGS);
    autofree char *targets = xasprintf("%s %s", names[first], names[second]);
    told->image = chance(riot, QUEUE_BENCH_IMAGES);
    told->stored = chance(riot, 2);
    told->goes[first] = told->goes[second] = true;
    if (riot->in_order)
        pthread_mutex_lock(&riot->order);
    if (told->stored)
        submit_stored(riot, told, targets);
    else
        submit_waiting(riot, told, targets);
    if (riot->in_order)
        pthread_mutex_unlock(&riot->order);
}

static void *submitter(void *arg)
{
    struct riot *riot = arg;
    for (int i = 0; i < SUBMITS; i++) {
        pthread_mutex_lock(&riot->lock);
        struct told *told = &riot->told[riot->count++];
        pthread_mutex_unlock(&riot->lock);
        submit(riot, told);
        usleep(chance(riot, 5000));
        if (!told->stored && chance(riot, 5) == 0)
            cancel_request(&told->waiting.cancel);
    }
    return NULL;
}

static void note_record(void *self, const struct open_target *open)
{
    struct riot *riot = self;
    for (size_t i = 0; i < riot->count; i++)
        for (size_t tag = 0; tag < TAGS; tag++)
            if (strcmp(riot->told[i].id, open->id) == 0 &&
                strcmp(open->target.reference.tag, tags[tag]) == 0)
                riot->told[i].recorded[tag] = true;
}

static void note_records(struct riot *riot)
{
    struct error err = ERROR_INIT;
    assert_int_equal(pushes_each_open(riot->bench->test->runtime.store, note_record, riot, &err),
                     ERR_OK);
}

static const struct push_target *target_of(const struct told *told, size_t tag)
{
    for (size_t i = 0; i < told->waiting.push.target_count; i++)
        if (strcmp(told->waiting.push.targets[i].reference.tag, tags[tag]) == 0)
            return &told->waiting.push.targets[i];
    return NULL;
}

/* What has to be under a tag at the end: the youngest of those that were promised or pushed. */
static const struct told *winner(const struct riot *riot, size_t tag)
{
    const struct told *best = NULL;
    for (size_t i = 0; i < riot->count; i++) {
        const struct told *told = &riot->told[i];
        if (!told->goes[tag] || (!told->stored && target_of(told, tag)->state != PUSH_PUSHED) ||
            (best && strcmp(told->id, best->id) < 0))
            continue;
        best = told;
    }
    return best;
}

/* A PUT that was broken off may have its effect at any time. */
static bool was_broken_off(const struct told *told, size_t tag)
{
    return told->stored ? told->recorded[tag] : target_of(told, tag)->error.code == ERR_CANCELLED;
}

static void expect_winner(struct riot *riot, size_t tag)
{
    const struct told *best = winner(riot, tag);
    bool well = best == NULL || queue_bench_is_there(riot->bench, tags[tag], best->image);
    for (size_t i = 0; i < riot->count && !well && !best->recorded[tag]; i++)
        well = riot->told[i].goes[tag] && was_broken_off(&riot->told[i], tag) &&
               queue_bench_is_there(riot->bench, tags[tag], riot->told[i].image);
    if (!well)
        fail_msg("%s is not what push %s brought", tags[tag], best->id);
}

static void make_riot(struct riot *riot, unsigned seed)
{
    pthread_t threads[SUBMITTERS];
    struct queue_test *test = riot->bench->test;
    riot->seed = seed;
    for (size_t i = 0; i < TAGS; i++)
        queue_bench_answer_puts(riot->bench, tags[i], (int)chance(riot, 12), 503);
    for (size_t i = 0; i < SUBMITTERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, submitter, riot), 0);
    usleep(chance(riot, 80000));
    push_queue_close(test->queue);
    for (size_t i = 0; i < SUBMITTERS; i++)
        pthread_join(threads[i], NULL);
    for (size_t i = 0; i < riot->count; i++)
        if (!riot->told[i].stored)
            waiting_push_wait(&riot->told[i].waiting);
    queue_test_close(test);
    note_records(riot);
}

static void finish_riot(struct riot *riot)
{
    struct queue_test *test = riot->bench->test;
    queue_test_open(test);
    expect_done(riot->bench);
    queue_test_close(test);
}

static void submits_cancels_and_an_end(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 8; seed++) {
        void *bench = NULL;
        struct riot riot = {.order = PTHREAD_MUTEX_INITIALIZER,
                            .lock = PTHREAD_MUTEX_INITIALIZER,
                            .in_order = seed % 2};
        queue_bench_set_up(&bench);
        riot.bench = bench;
        make_riot(&riot, seed);
        finish_riot(&riot);
        for (size_t i = 0; i < TAGS && riot.in_order; i++)
            expect_winner(&riot, i);
        for (size_t i = 0; i < riot.count; i++)
            if (!riot.told[i].stored)
                waiting_push_deinit(&riot.told[i].waiting);
        queue_bench_tear_down(&bench);
    }
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        QUEUE_BENCH_TEST(targets_are_pushed_and_their_record_goes),
        QUEUE_BENCH_TEST(a_record_says_what_has_ended),
        QUEUE_BENCH_TEST(a_start_goes_on_with_what_is_recorded),
        QUEUE_BENCH_TEST(ended_targets_are_not_pushed_again),
        QUEUE_BENCH_TEST(a_refusal_ends_a_target),
        QUEUE_BENCH_TEST(the_record_says_what_came_of_it),
        QUEUE_BENCH_TEST(what_is_away_is_tried_again),
        QUEUE_BENCH_TEST(what_waits_says_for_what),
        QUEUE_BENCH_TEST(what_waits_goes_on_at_the_next_start),
        QUEUE_BENCH_TEST(one_probe_is_made_for_all_that_wait),
        QUEUE_BENCH_TEST(a_deadline_ends_what_waits),
        QUEUE_BENCH_TEST(closing_keeps_the_records),
        QUEUE_BENCH_TEST(what_waits_is_not_begun_by_closing),
        QUEUE_BENCH_TEST(nothing_starts_after_the_end),
        QUEUE_BENCH_TEST(who_waits_is_served_after_the_end),
        QUEUE_BENCH_TEST(a_repository_takes_one_at_a_time),
        QUEUE_BENCH_TEST(registries_do_not_wait_for_each_other),
        QUEUE_BENCH_TEST(a_registry_has_so_many_at_once),
        QUEUE_BENCH_TEST(what_waits_for_its_tag_takes_no_place),
        QUEUE_BENCH_TEST(a_younger_push_supersedes_what_waits),
        QUEUE_BENCH_TEST(fifty_pushes_of_a_tag_become_two),
        QUEUE_BENCH_TEST(an_older_push_that_comes_late_is_superseded),
        QUEUE_BENCH_TEST(an_older_push_that_comes_after_the_end_is_superseded),
        QUEUE_BENCH_TEST(what_is_parked_gives_way_to_a_younger),
        QUEUE_BENCH_TEST(what_cannot_go_on_gives_way_to_a_younger),
        QUEUE_BENCH_TEST(digests_do_not_supersede_each_other),
        QUEUE_BENCH_TEST(what_goes_by_digest_is_kept),
        QUEUE_BENCH_TEST(a_push_without_targets_ends_at_once),
        QUEUE_BENCH_TEST(who_waits_does_not_wait_for_stored_targets),
        QUEUE_BENCH_TEST(tags_of_one_repository_go_one_after_another),
        QUEUE_BENCH_TEST(each_target_ends_by_itself),
        QUEUE_BENCH_TEST(two_of_one_tag_go_in_their_order),
        QUEUE_BENCH_TEST(records_of_one_tag_are_superseded_together),
        QUEUE_BENCH_TEST(lists_of_referrers_are_kept_at_a_start),
        QUEUE_BENCH_TEST(the_order_is_not_that_of_their_coming),
        QUEUE_BENCH_TEST(tags_in_any_order_do_not_lock_each_other),
        QUEUE_BENCH_TEST(an_older_push_that_ends_later_drops_nothing),
        QUEUE_BENCH_TEST(who_waits_goes_before_what_is_stored),
        QUEUE_BENCH_TEST(the_failure_of_who_waits_lets_the_others_go_on),
        QUEUE_BENCH_TEST(what_comes_meanwhile_goes_behind),
        QUEUE_BENCH_TEST(what_is_parked_is_superseded_by_a_success),
        QUEUE_BENCH_TEST(who_waits_is_overtaken_by_who_waits),
        QUEUE_BENCH_TEST(who_waits_is_overtaken_by_a_promise),
        QUEUE_BENCH_TEST(who_comes_late_goes_under_its_digest),
        QUEUE_BENCH_TEST(who_failed_overtakes_nobody),
        QUEUE_BENCH_TEST(a_promise_that_runs_is_overtaken),
        QUEUE_BENCH_TEST(a_promise_lets_who_waits_go_first),
        QUEUE_BENCH_TEST(who_waits_does_not_wait_for_the_circuit),
        QUEUE_BENCH_TEST(fifty_that_wait_are_one_put),
        QUEUE_BENCH_TEST(a_success_of_who_waits_ends_the_wait),
        QUEUE_BENCH_TEST(a_failure_of_who_waits_opens_the_circuit),
        QUEUE_BENCH_TEST(a_refusal_of_who_waits_opens_nothing),
        QUEUE_BENCH_TEST(who_is_let_in_nowhere_waits),
        QUEUE_BENCH_TEST(one_probe_asks_for_all),
        QUEUE_BENCH_TEST(a_registry_is_left_alone_as_it_asks),
        QUEUE_BENCH_TEST(a_cancelled_push_lets_the_others_go_on),
        QUEUE_BENCH_TEST(who_waits_does_not_wait_for_ever),
        cmocka_unit_test(submits_cancels_and_an_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
