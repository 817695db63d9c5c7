/*
 * Which of the pushes in the queue goes first: of one tag, of one repository, of one registry.
 */
#include "gateway/queue/push_queue.h"

#include "base/mem.h"
#include "tests/support/queue_bench.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- pushes after the answer ---- */

/* In the order in which they were accepted, so that tags that follow each other do so there. */
static void a_repository_takes_one_at_a_time(void **state)
{
    struct queue_bench *bench = *state;
    queue_bench_hold_put(bench, "one");
    queue_bench_store(bench, 0, "team/app:one");
    queue_bench_until_puts(bench, "team/app", "one", 1);
    queue_bench_store(bench, 1, "team/app:two");
    queue_bench_store(bench, 2, "other/app:three");
    QUEUE_TEST_UNTIL(queue_bench_records(bench) == 2);
    assert_true(queue_bench_is_there(bench, "three", 2));
    queue_bench_settle(bench);
    assert_int_equal(queue_bench_puts(bench, "team/app", "two"), 0);
    queue_bench_release(bench);
    queue_bench_expect_done(bench);
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
    queue_bench_until_puts(bench, "team/app", "one", 1);
    queue_bench_store(bench, 1, "team/app:two");
    queue_bench_store(bench, 1, there);
    QUEUE_TEST_UNTIL(queue_bench_records(bench) == 2);
    assert_true(fake_registry_has(other, "manifests/one"));
    assert_int_equal(queue_bench_puts(bench, "team/app", "two"), 0);
    queue_bench_release(bench);
    queue_bench_expect_done(bench);
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
    queue_bench_until_puts(bench, "one/app", "tag-", 1);
    queue_bench_until_puts(bench, "two/app", "tag-", 1);
    queue_bench_store(bench, 2, "three/app:tag-3");
    queue_bench_settle(bench);
    assert_int_equal(queue_bench_puts(bench, "three/app", "tag-"), 0);
    queue_bench_release(bench);
    queue_bench_expect_done(bench);
    assert_true(queue_bench_is_there(bench, "tag-3", 2));
}

static void what_waits_for_its_tag_takes_no_place(void **state)
{
    struct queue_bench *bench = *state;
    bench->test->settings.limits.pushes_per_registry = 2;
    queue_bench_hold_put(bench, "one");
    queue_bench_store(bench, 0, "team/app:one");
    queue_bench_until_puts(bench, "team/app", "one", 1);
    queue_bench_store(bench, 1, "team/app:one");
    queue_bench_store(bench, 2, "other/app:two");
    QUEUE_TEST_UNTIL(queue_bench_is_there(bench, "two", 2));
    queue_bench_release(bench);
    queue_bench_expect_done(bench);
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
            queue_bench_until_puts(bench, "team/app", "one", 1);
            QUEUE_TEST_UNTIL(queue_bench_is_there(bench, "two", 0));
        }
        assert_int_equal(queue_test_state(bench->test, ids[i], 0), PUSH_QUEUED);
    }
    assert_int_equal(queue_test_state(bench->test, ids[0], 0), PUSH_QUEUED);
    QUEUE_TEST_UNTIL(queue_test_state(bench->test, ids[1], 0) == PUSH_SUPERSEDED);
    QUEUE_TEST_UNTIL(push_state_is_final(queue_test_state(bench->test, ids[1], 1)));
    queue_bench_release(bench);
    queue_bench_expect_done(bench);
    assert_int_equal(queue_bench_puts(bench, "team/app", "one"), 2);
    assert_true(queue_bench_is_there(bench, "one", 2));
    assert_true(queue_bench_is_there(bench, "two", 2));
}

static void fifty_pushes_of_a_tag_become_two(void **state)
{
    struct queue_bench *bench = *state;
    queue_bench_hold_put(bench, "one");
    queue_bench_store(bench, 0, "team/app:one");
    queue_bench_until_puts(bench, "team/app", "one", 1);
    for (size_t i = 1; i < 50; i++)
        queue_bench_store(bench, i % QUEUE_BENCH_IMAGES, "team/app:one");
    queue_bench_expect_records(bench, 2, 2);
    queue_bench_release(bench);
    queue_bench_expect_done(bench);
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
    queue_bench_until_puts(bench, "team/app", "one", 1);
    queue_bench_start(bench, &older);
    QUEUE_TEST_UNTIL(queue_bench_is_there(bench, "two", 0));
    QUEUE_TEST_UNTIL(queue_bench_records(bench) == 1);
    queue_bench_release(bench);
    queue_bench_expect_done(bench);
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
    QUEUE_TEST_UNTIL(queue_bench_records(bench) == 2);
    queue_bench_start(bench, &older);
    QUEUE_TEST_UNTIL(queue_bench_records(bench) == 1);
    assert_true(queue_bench_is_there(bench, "one", 1));
    queue_bench_await(bench, &direct, 3, "team/app:one");
    queue_bench_run(bench, &direct);
    queue_bench_expect_end(&direct, ERR_OK);
    queue_bench_start(bench, &oldest); /* its digest goes as ever */
    queue_bench_expect_done(bench);
    assert_int_equal(queue_bench_puts(bench, "team/app", "one"), 2);
    assert_true(queue_bench_is_there(bench, "one", 3));
    queue_bench_store(bench, 4, "team/app:one");
    queue_bench_expect_done(bench);
    assert_true(queue_bench_is_there(bench, "one", 4));
}

static void what_is_parked_gives_way_to_a_younger(void **state)
{
    struct queue_bench *bench = *state;
    char parked[PUSH_ID_MAX];
    strcpy(parked, queue_bench_park(bench, 0, "team/app", "one"));
    queue_bench_store(bench, 1, "team/app:one");
    QUEUE_TEST_UNTIL(queue_bench_records(bench) == 1);
    queue_bench_expect_records(bench, 1, 1);
    assert_int_equal(queue_test_state(bench->test, parked, 0), PUSH_SUPERSEDED);
    queue_test_close(bench->test);
    queue_bench_open_again(bench);
    queue_bench_expect_done(bench);
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
    queue_bench_until_puts(bench, "team/app", "one", 1);
    queue_bench_store(bench, 1, "team/app:one");
    queue_bench_expect_records(bench, 2, 2);
    queue_bench_release(bench);
    queue_bench_expect_done(bench);
    assert_int_equal(queue_bench_puts(bench, "team/app", "one"), 6);
    assert_true(queue_bench_is_there(bench, "one", 1));
}

static void digests_do_not_supersede_each_other(void **state)
{
    struct queue_bench *bench = *state;
    queue_bench_hold_put(bench, "manifests/sha256:");
    for (int i = 0; i < 3; i++) {
        queue_bench_store(bench, 0, "team/app");
        queue_bench_until_puts(bench, "team/app", "sha256:", 1);
    }
    queue_bench_expect_records(bench, 3, 3);
    struct waiting_push waiting;
    queue_bench_await(bench, &waiting, 0, "team/app");
    queue_bench_run(bench, &waiting);
    queue_bench_release(bench);
    queue_bench_expect_end(&waiting, ERR_OK);
    queue_bench_expect_done(bench);
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
    queue_bench_until_puts(bench, "team/app", "sha256:", 1);
    queue_bench_store(bench, 0, "team/app");
    queue_bench_start(bench, &older);
    queue_bench_expect_records(bench, 3, 3);
    queue_bench_release(bench);
    queue_bench_expect_done(bench);
    assert_int_equal(queue_bench_puts(bench, "team/app", "sha256:"), 8);
}

/* ---- both ---- */

/* Once it was dropped: what ends later is not what is younger. */
static void an_older_push_that_ends_later_drops_nothing(void **state)
{
    struct queue_bench *bench = *state;
    struct waiting_push older;
    queue_bench_await(bench, &older, 0, "team/app:one");
    queue_bench_hold_put(bench, "one");
    queue_bench_run(bench, &older);
    queue_bench_until_puts(bench, "team/app", "one", 1);
    queue_bench_store(bench, 1, "team/app:one");
    queue_bench_settle(bench);
    assert_int_equal(queue_bench_puts(bench, "team/app", "one"), 1);
    queue_bench_expect_records(bench, 1, 1);
    queue_bench_release(bench);
    queue_bench_expect_end(&older, ERR_OK);
    queue_bench_expect_done(bench);
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
    queue_bench_until_puts(bench, "team/app", "one", 1);
    queue_bench_store(bench, 1, "team/app:one");
    queue_bench_await(bench, &waiting, 2, "team/app:one");
    queue_bench_run(bench, &waiting);
    queue_bench_settle(bench);
    assert_int_equal(queue_bench_puts(bench, "team/app", "one"), 1);
    queue_bench_expect_records(bench, 2, 2);
    queue_bench_release(bench);
    queue_bench_expect_end(&waiting, ERR_OK);
    queue_bench_expect_done(bench);
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
    queue_bench_until_puts(bench, "team/app", "one", 1);
    queue_bench_store(bench, 1, "team/app:one");
    queue_bench_await(bench, &waiting, 2, "team/app:one");
    queue_bench_run(bench, &waiting);
    queue_bench_release(bench);
    queue_bench_expect_end(&waiting, ERR_DENIED);
    queue_bench_expect_done(bench);
    assert_int_equal(queue_bench_puts(bench, "team/app", "one"), 3);
    assert_true(queue_bench_is_there(bench, "one", 1));
}

/* What comes while one waits its turn does not overtake it. */
static void what_comes_meanwhile_goes_behind(void **state)
{
    struct queue_bench *bench = *state;
    struct waiting_push first, second;
    queue_bench_await(bench, &first, 0, "team/app:one");
    queue_bench_hold_put(bench, "one");
    queue_bench_run(bench, &first);
    queue_bench_until_puts(bench, "team/app", "one", 1);
    queue_bench_await(bench, &second, 1, "team/app:one");
    queue_bench_store(bench, 2, "team/app:one");
    queue_bench_store(bench, 3, "team/app:one");
    queue_bench_expect_records(bench, 1, 1);
    queue_bench_run(bench, &second);
    queue_bench_release(bench);
    queue_bench_expect_end(&first, ERR_OK);
    queue_bench_expect_overtaken(bench, &second, 1);
    queue_bench_expect_done(bench);
    assert_int_equal(queue_bench_puts(bench, "team/app", "one"), 2);
    assert_true(queue_bench_is_there(bench, "one", 3));
}

static void what_is_parked_is_superseded_by_a_success(void **state)
{
    struct queue_bench *bench = *state;
    struct waiting_push refused, waiting;
    queue_bench_park(bench, 0, "team/app", "one");
    queue_bench_settle(bench);
    queue_bench_expect_records(bench, 1, 1);
    queue_bench_answer_puts(bench, "one", 1, 403);
    queue_bench_await(bench, &refused, 1, "team/app:one");
    queue_bench_run(bench, &refused);
    queue_bench_expect_end(&refused, ERR_DENIED);
    queue_bench_expect_records(bench, 1, 1);
    queue_bench_await(bench, &waiting, 2, "team/app:one");
    queue_bench_run(bench, &waiting);
    queue_bench_expect_end(&waiting, ERR_OK);
    queue_bench_expect_records(bench, 0, 0);
    queue_test_close(bench->test);
    queue_bench_open_again(bench);
    queue_bench_expect_done(bench);
    assert_true(queue_bench_is_there(bench, "one", 2));
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
    queue_bench_await(riot->bench, &told->waiting, told->image, targets);
    memcpy(told->id, told->waiting.push.id, sizeof told->id);
    queue_bench_run(riot->bench, &told->waiting);
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
    /* One that refused for longer would be waited for, for a minute. */
    fake_registry_end_rules(test->registry);
    queue_test_open(test);
    queue_bench_expect_done(riot->bench);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
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
        QUEUE_BENCH_TEST(an_older_push_that_ends_later_drops_nothing),
        QUEUE_BENCH_TEST(who_waits_goes_before_what_is_stored),
        QUEUE_BENCH_TEST(the_failure_of_who_waits_lets_the_others_go_on),
        QUEUE_BENCH_TEST(what_comes_meanwhile_goes_behind),
        QUEUE_BENCH_TEST(what_is_parked_is_superseded_by_a_success),
        cmocka_unit_test(submits_cancels_and_an_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
