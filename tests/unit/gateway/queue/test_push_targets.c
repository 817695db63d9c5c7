/*
 * What is told of targets, and their pauses. The tests have a registry double at which "one" and
 * "two" are targets of the configuration, so to speak, and the host itself is one that clients
 * name.
 */
#include "gateway/queue/push_targets.h"

#include "base/clock.h"
#include "base/lock.h"
#include "base/mem.h"
#include "gateway/queue/push_queue_internal.h"
#include "tests/support/queue_bench.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static int set_up(void **state)
{
    static const char *const names[] = {"one", "two", NULL};
    queue_bench_set_up(state);
    struct queue_bench *bench = *state;
    queue_bench_configure(bench, names);
    queue_test_close(bench->test);
    queue_test_open(bench->test);
    return 0;
}

/* A push after the answer to a target of this name; "": a client names it. */
static void store(struct queue_bench *bench, size_t image, const char *target, const char *name,
                  char id[PUSH_ID_MAX])
{
    struct push push = queue_test_push(bench->test, &bench->images[image].manifest, target, true);
    strcpy(push.targets[0].name, name);
    queue_test_accept(bench->test, &push);
    strcpy(id, push.id);
    push_queue_start(bench->test->queue, &push);
    push_deinit(&push);
}

static struct target_view view(struct queue_bench *bench, const char *name)
{
    struct target_view found = {.configured = false};
    struct target_view *views = NULL;
    size_t count = push_queue_targets(bench->test->queue, &views);
    for (size_t i = 0; i < count; i++)
        if (strcmp(views[i].record.name, name) == 0)
            found = views[i];
    free(views);
    return found;
}

static void pause_it(struct queue_bench *bench, const char *name, bool paused)
{
    struct error err = ERROR_INIT;
    struct target_view now;
    if (push_queue_pause(bench->test->queue, name, paused, &now, &err) != ERR_OK)
        fail_msg("%s", err.text);
    assert_int_equal(now.record.paused_s > 0, paused);
}

/* ---- what is told ---- */

static void targets_are_told_by_name(void **state)
{
    struct queue_bench *bench = *state;
    char first[PUSH_ID_MAX];
    char id[PUSH_ID_MAX];
    uint64_t since_s = (uint64_t)clock_wall_s();
    queue_bench_wait_long(bench);
    store(bench, 0, "team/app:good", "two", id);
    queue_test_idle(bench->test);
    queue_bench_answer_puts(bench, "bad", 5, 503);
    store(bench, 0, "team/app:bad", "one", first);
    QUEUE_TEST_UNTIL(queue_test_look(bench->test, first).state == PUSH_WAITING);
    store(bench, 1, "team/app:next", "one", id);
    store(bench, 1, "team/app:mine", "", id);
    struct target_view one = view(bench, "one");
    assert_true(one.configured);
    assert_string_equal(one.host, bench->test->host);
    assert_int_equal(one.counts[PUSH_WAITING], 2);
    assert_string_equal(one.oldest, first);
    assert_in_range(one.oldest_s, since_s - 1, since_s + 60);
    assert_int_equal(one.circuit.state, CIRCUIT_OPEN);
    assert_in_range(one.circuit.until_s, since_s + 200, since_s + 420);
    assert_int_equal(one.circuit.why.code, ERR_REGISTRY_FAULT);
    assert_int_equal(one.record.failure.code, ERR_REGISTRY_FAULT);
    assert_in_range(one.record.failure_s, since_s, since_s + 60);
    assert_int_equal(one.record.success_s, 0);
    struct target_view two = view(bench, "two");
    assert_in_range(two.record.success_s, since_s, since_s + 60);
    assert_int_equal(two.outcomes[PUSH_PUSHED], 1);
    assert_int_equal(two.counts[PUSH_WAITING], 0);
    assert_string_equal(two.oldest, "");
    assert_int_equal(two.circuit.state, CIRCUIT_OPEN); /* the host is the same */
    struct target_view other = view(bench, bench->other);
    assert_false(other.configured);
    assert_int_equal(other.counts[PUSH_WAITING], 1);
}

static void what_was_last_survives_a_restart(void **state)
{
    struct queue_bench *bench = *state;
    char id[PUSH_ID_MAX];
    queue_bench_answer_puts(bench, "bad", 1, 403);
    store(bench, 0, "team/app:bad", "one", id);
    store(bench, 0, "team/app:good", "one", id);
    store(bench, 0, "team/app:mine", "", id);
    queue_test_idle(bench->test);
    struct target_view before = view(bench, "one");
    queue_test_close(bench->test);
    queue_test_open(bench->test);
    struct target_view after = view(bench, "one");
    assert_true(after.record.success_s > 0 && after.record.failure_s > 0);
    assert_int_equal(after.record.success_s, before.record.success_s);
    assert_int_equal(after.record.failure_s, before.record.failure_s);
    assert_int_equal(after.record.failure.code, ERR_DENIED);
    assert_int_equal(after.record.failure.status, 403);
    assert_string_equal(after.record.failure.text, before.record.failure.text);
    assert_true(view(bench, bench->other).record.success_s > 0);
}

/* Clients name any number of hosts. */
static void hosts_of_clients_are_forgotten_some_day(void **state)
{
    struct queue_bench *bench = *state;
    struct push_queue *queue = bench->test->queue;
    pause_it(bench, "two", true);
    pthread_mutex_lock(&queue->lock);
    for (size_t i = 0; i < 300; i++) {
        struct push_target target = {.name = ""};
        snprintf(target.reference.host, sizeof target.reference.host, "h%zu.example.com", i);
        queue_target(queue, &target)->dirty = i == 0 || i > 290;
    }
    pthread_mutex_unlock(&queue->lock);
    push_queue_record_targets(queue);
    struct target_view *views = NULL;
    size_t count = push_queue_targets(queue, &views);
    free(views);
    assert_int_equal(count, 2 + 256);
    queue_test_close(bench->test);
    queue_test_open(bench->test);
    count = push_queue_targets(bench->test->queue, &views);
    free(views);
    assert_int_equal(count, 2 + 9);
}

/* ---- pauses ---- */

static void a_paused_target_waits_until_it_is_resumed(void **state)
{
    struct queue_bench *bench = *state;
    char paused[PUSH_ID_MAX];
    char beside[PUSH_ID_MAX];
    pause_it(bench, "one", true);
    store(bench, 0, "team/app:1", "one", paused);
    store(bench, 1, "team/app:2", "two", beside);
    queue_test_idle(bench->test);
    for (size_t round = 0; round < 2; round++) {
        struct push_target target = queue_test_look(bench->test, paused);
        assert_int_equal(target.state, PUSH_WAITING);
        assert_int_equal(target.error.code, ERR_TARGET_PAUSED);
        assert_non_null(strstr(target.error.text, "one is paused by an operator"));
        assert_int_equal(target.next_s, 0);
        assert_int_equal(view(bench, "one").counts[PUSH_WAITING], 1);
        assert_int_equal(queue_bench_puts(bench, "team/app", "1"), 0);
        assert_int_equal(queue_test_look(bench->test, beside).state, PUSH_PUSHED);
        queue_test_close(bench->test);
        queue_test_open(bench->test);
        queue_test_idle(bench->test);
        assert_true(view(bench, "one").record.paused_s > 0);
        const struct push_retry at_once = {.target = "one"};
        assert_int_equal(queue_test_retry(bench->test, &at_once).retried, 0);
    }
    pause_it(bench, "one", false);
    queue_test_idle(bench->test);
    assert_int_equal(queue_test_look(bench->test, paused).state, PUSH_PUSHED);
    assert_int_equal(view(bench, "one").counts[PUSH_WAITING], 0);
}

static void what_runs_is_broken_off(void **state)
{
    struct queue_bench *bench = *state;
    char id[PUSH_ID_MAX];
    queue_bench_hold_put(bench, "manifests/1");
    store(bench, 0, "team/app:1", "one", id);
    QUEUE_TEST_UNTIL(queue_bench_puts(bench, "team/app", "1") == 1);
    assert_int_equal(queue_test_look(bench->test, id).state, PUSH_RUNNING);
    pause_it(bench, "one", true);
    QUEUE_TEST_UNTIL(queue_test_look(bench->test, id).state == PUSH_WAITING);
    assert_int_equal(view(bench, "one").record.failure_s, 0); /* it has done nothing wrong */
    fake_registry_release(bench->test->registry);
    queue_test_idle(bench->test);
    pause_it(bench, "one", false);
    queue_test_idle(bench->test);
    assert_int_equal(queue_test_look(bench->test, id).state, PUSH_PUSHED);
}

/* Two targets of one repository: only one of them is paused, and neither has to wait for it. */
static void who_shares_a_tag_is_not_paused(void **state)
{
    struct queue_bench *bench = *state;
    char paused[PUSH_ID_MAX];
    char beside[PUSH_ID_MAX];
    struct waiting_push waiting;
    pause_it(bench, "one", true);
    store(bench, 0, "team/app", "one", paused);
    store(bench, 0, "team/app", "two", beside);
    queue_test_idle(bench->test);
    assert_int_equal(queue_test_look(bench->test, paused).state, PUSH_WAITING);
    assert_int_equal(queue_test_look(bench->test, beside).state, PUSH_PUSHED);
    waiting_push_init(&waiting, bench->test, &bench->images[0].manifest, "team/app");
    waiting_push_run(&waiting, bench->test);
    waiting_push_wait(&waiting);
    assert_int_equal(waiting.push.targets[0].state, PUSH_PUSHED);
    waiting_push_deinit(&waiting);
}

static void who_waits_is_refused_at_once(void **state)
{
    struct queue_bench *bench = *state;
    struct waiting_push waiting;
    pause_it(bench, "one", true);
    waiting_push_init(&waiting, bench->test, &bench->images[0].manifest, "team/app:1 team/app:2");
    strcpy(waiting.push.targets[0].name, "one");
    strcpy(waiting.push.targets[1].name, "two");
    waiting_push_run(&waiting, bench->test);
    waiting_push_wait(&waiting);
    const struct push_target *targets = waiting.push.targets;
    assert_int_equal(targets[0].state, PUSH_FAILED);
    assert_int_equal(targets[0].error.code, ERR_TARGET_PAUSED);
    assert_int_equal(error_party(targets[0].error.code), PARTY_OPERATOR);
    assert_int_equal(targets[1].state, PUSH_PUSHED);
    assert_int_equal(view(bench, "one").record.failure_s, 0);
    waiting_push_deinit(&waiting);
}

static void who_is_not_known_is_named(void **state)
{
    struct queue_bench *bench = *state;
    struct error err = ERROR_INIT;
    struct target_view now;
    assert_int_equal(push_queue_pause(bench->test->queue, "three", true, &now, &err),
                     ERR_NOT_FOUND);
    assert_non_null(strstr(err.text, "known are: one, two"));
}

/* Whose client waits is not behind what has just failed and is tried again in ten minutes. */
static void who_waits_goes_before_the_next_try(void **state)
{
    struct queue_bench *bench = *state;
    char id[PUSH_ID_MAX];
    struct waiting_push waiting;
    queue_bench_wait_long(bench);
    queue_test_close(bench->test); /* so that the gate knows */
    queue_test_open(bench->test);
    queue_bench_answer_puts(bench, "manifests/1", 4, 503);
    fake_registry_rule(
        bench->test->registry,
        (struct fake_rule){
            .method = "PUT", .part = "manifests/1", .times = 1, .status = 503, .hold = true});
    store(bench, 0, "team/app:1", "one", id);
    QUEUE_TEST_UNTIL(queue_bench_puts(bench, "team/app", "1") == 5);
    waiting_push_init(&waiting, bench->test, &bench->images[1].manifest, "team/app:1");
    waiting_push_run(&waiting, bench->test);
    fake_registry_release(bench->test->registry);
    waiting_push_wait(&waiting);
    assert_int_equal(waiting.push.targets[0].state, PUSH_PUSHED);
    QUEUE_TEST_UNTIL(queue_test_look(bench->test, id).state == PUSH_SUPERSEDED);
    waiting_push_deinit(&waiting);
}

/* ---- counters, whatever happens ---- */

static int expected_state(const struct queue_entry *entry)
{
    if (entry->state == ENTRY_COMES || entry->state == ENTRY_ENDS)
        return 0;
    if (entry->state == ENTRY_RUNS)
        return PUSH_RUNNING;
    bool waits = entry->state == ENTRY_KEPT || entry->state == ENTRY_PAUSED ||
                 (entry->state == ENTRY_WAITS && entry->next_ms > 0);
    return waits ? PUSH_WAITING : PUSH_QUEUED;
}

/* Anew, from all entries. With the lock. */
static void recount(struct push_queue *queue, struct queue_target *target)
{
    size_t counts[PUSH_STATE_MAX + 1] = {0};
    const struct queue_entry *entry;
    const struct queue_entry *open = TAILQ_FIRST(&target->open);
    const struct direct *direct;
    size_t entries = 0;
    TAILQ_FOREACH(entry, &queue->pending, next)
    {
        if (entry->to != target)
            continue;
        assert_ptr_equal(entry, open); /* the same, in the same order */
        open = TAILQ_NEXT(open, open);
        counts[expected_state(entry)]++;
        entries += entry->state != ENTRY_ENDS;
    }
    assert_null(open);
    TAILQ_FOREACH(direct, &queue->directs, link)
    {
        for (size_t i = 0; i < direct->push->target_count; i++) {
            entry = direct->entries[i];
            if (entry && entry->to == target)
                counts[expected_state(entry)]++;
        }
    }
    counts[0] = target->counts[0];
    assert_memory_equal(counts, target->counts, sizeof counts);
}

static void recount_all(struct queue_bench *bench)
{
    struct push_queue *queue = bench->test->queue;
    struct queue_target *target;
    autolock pthread_mutex_t *held = lock_take(&queue->lock);
    TAILQ_FOREACH(target, &queue->targets.all, link)
    {
        recount(queue, target);
    }
}

#define STEPS 150
#define WAITERS 12

struct events {
    struct queue_bench *bench;
    unsigned seed;
    char ids[STEPS][PUSH_ID_MAX];
    size_t id_count;
    struct waiting_push waiting[WAITERS];
    size_t waiting_count;
};

static unsigned draw(struct events *events, unsigned below)
{
    events->seed = events->seed * 1103515245 + 12345;
    return (events->seed >> 16) % below;
}

static void happen(struct events *events)
{
    static const char *const names[] = {"one", "two", ""};
    static const char *const places[] = {"team/app:1", "team/app:2", "team/app", "team/more:1"};
    struct queue_bench *bench = events->bench;
    const char *name = names[draw(events, 3)];
    const char *place = places[draw(events, 4)];
    unsigned image = draw(events, QUEUE_BENCH_IMAGES);
    const struct push_retry retry = {.target = name[0] ? name : bench->other};
    switch (draw(events, 8)) {
    case 0:
        pause_it(bench, draw(events, 2) ? "one" : "two", draw(events, 2));
        break;
    case 1:
        queue_bench_answer_puts(bench, "manifests/", 7, draw(events, 2) ? 503 : 403);
        break;
    case 2:
        if (events->id_count > 0)
            push_queue_cancel(bench->test->queue,
                              events->ids[draw(events, (unsigned)events->id_count)], 1);
        break;
    case 3:
        queue_test_retry(bench->test, &retry);
        break;
    case 4:
        if (events->waiting_count < WAITERS) {
            struct waiting_push *waiting = &events->waiting[events->waiting_count++];
            waiting_push_init(waiting, bench->test, &bench->images[image].manifest, place);
            strcpy(waiting->push.targets[0].name, name);
            waiting_push_run(waiting, bench->test);
        }
        break;
    default:
        store(bench, image, place, name, events->ids[events->id_count++]);
        break;
    }
}

static void counters_are_what_a_recount_gives(void **state)
{
    struct queue_bench *bench = *state;
    struct events events = {.bench = bench, .seed = 42};
    for (size_t i = 0; i < STEPS; i++) {
        happen(&events);
        recount_all(bench);
        if (i == STEPS / 2) {
            for (size_t w = 0; w < events.waiting_count; w++)
                waiting_push_wait(&events.waiting[w]);
            queue_test_close(bench->test);
            queue_test_open(bench->test);
            recount_all(bench);
        }
    }
    pause_it(bench, "one", false);
    pause_it(bench, "two", false);
    for (size_t w = 0; w < events.waiting_count; w++) {
        waiting_push_wait(&events.waiting[w]);
        waiting_push_deinit(&events.waiting[w]);
    }
    QUEUE_TEST_UNTIL(view(bench, "one").oldest[0] == '\0' && view(bench, "two").oldest[0] == '\0' &&
                     view(bench, bench->other).oldest[0] == '\0');
    queue_test_idle(bench->test);
    recount_all(bench);
    const char *const names[] = {"one", "two", bench->other};
    for (size_t i = 0; i < 3; i++) {
        struct target_view now = view(bench, names[i]);
        assert_int_equal(
            now.counts[PUSH_QUEUED] + now.counts[PUSH_RUNNING] + now.counts[PUSH_WAITING], 0);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, queue_bench_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(targets_are_told_by_name),
        TEST(what_was_last_survives_a_restart),
        TEST(hosts_of_clients_are_forgotten_some_day),
        TEST(a_paused_target_waits_until_it_is_resumed),
        TEST(what_runs_is_broken_off),
        TEST(who_shares_a_tag_is_not_paused),
        TEST(who_waits_is_refused_at_once),
        TEST(who_is_not_known_is_named),
        TEST(who_waits_goes_before_the_next_try),
        TEST(counters_are_what_a_recount_gives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
