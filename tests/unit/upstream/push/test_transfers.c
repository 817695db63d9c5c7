#include "base/mem.h"
#include "tests/support/push_test.h"
#include "upstream/client/registry_host.h"

#include "tests/unit/upstream/push/transfer_box.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define HOST "127.0.0.1:1"
#define WAIT_MS 20000

static struct executor *executor;
static struct upstream *upstream;
static struct registry_host *host;

/* --- pushes that wait --- */

struct pusher {
    struct registry_credentials credentials;
    struct repository repository;
    struct target_push push;
    struct push_target result;
    struct progress progress;
    struct cancel cancel;
    struct cancel ended; /* requested when the wait has */
    struct descriptor blob;
    struct push_layer layer;
    struct transfer_wait wait;
    pthread_mutex_t lock; /* guards what follows */
    unsigned byte_events;
    char events[4096];
};

static void record(void *self, const struct progress_event *event)
{
    struct pusher *pusher = self;
    assert_string_equal(event->target, pusher->push.target);
    assert_string_equal(event->id, pusher->layer.id);
    pthread_mutex_lock(&pusher->lock);
    if (event->kind == PROGRESS_BYTES) {
        pusher->byte_events++;
        assert_int_equal(event->total, BOX_BYTES);
    } else if (strlen(pusher->events) + 100 < sizeof pusher->events) {
        strcat(strcat(pusher->events, event->status), "\n");
    }
    pthread_mutex_unlock(&pusher->lock);
}

static void on_ended(struct transfer_wait *wait)
{
    struct pusher *pusher = (struct pusher *)((char *)wait - offsetof(struct pusher, wait));
    cancel_request(&pusher->ended);
}

static struct pusher *pusher_new(const char *path, const char *target, const char *content)
{
    struct pusher *pusher = xcalloc(1, sizeof *pusher);
    pusher->progress = (struct progress){.emit = record, .self = pusher};
    pthread_mutex_init(&pusher->lock, NULL);
    cancel_init(&pusher->cancel);
    cancel_init(&pusher->ended);
    repository_init(&pusher->repository, &host->endpoints[0], path, &pusher->credentials);
    target_push_init(&pusher->push, NULL, &pusher->repository, &pusher->progress, target,
                     &pusher->cancel, &pusher->result);
    pusher->blob.digest = digest_of(DIGEST_SHA256, content, strlen(content));
    pusher->blob.size = BOX_BYTES;
    pusher->layer.blob = &pusher->blob;
    digest_short(&pusher->blob.digest, pusher->layer.id);
    pusher->layer.id[0] = target[0]; /* the same blob under another name */
    pusher->wait =
        (struct transfer_wait){.push = &pusher->push, .layer = &pusher->layer, .ended = on_ended};
    return pusher;
}

static void join(struct pusher *pusher)
{
    transfers_join(upstream->transfers, &pusher->wait, box_attempt);
}

static void leave(struct pusher *pusher)
{
    transfers_leave(upstream->transfers, &pusher->wait);
}

static void expect_end(struct pusher *pusher, enum errc want)
{
    assert_true(cancel_wait(&pusher->ended, WAIT_MS));
    if (pusher->wait.error.code != want)
        fail_msg("%s: %s instead of %s: %s", pusher->push.target,
                 error_name(pusher->wait.error.code), error_name(want), pusher->wait.error.text);
    assert_null(pusher->wait.transfer);
    leave(pusher); /* a no-op by now */
}

static void pusher_free(struct pusher *pusher)
{
    target_push_deinit(&pusher->push);
    repository_deinit(&pusher->repository);
    registry_credentials_clear(&pusher->credentials);
    cancel_deinit(&pusher->ended);
    cancel_deinit(&pusher->cancel);
    pthread_mutex_destroy(&pusher->lock);
    free(pusher);
}

static bool was_told(struct pusher *pusher, const char *words)
{
    pthread_mutex_lock(&pusher->lock);
    bool told = words ? strstr(pusher->events, words) != NULL : pusher->byte_events > 0;
    pthread_mutex_unlock(&pusher->lock);
    return told;
}

/* `words` NULL: of bytes. */
static void wait_told(struct pusher *pusher, const char *words)
{
    int64_t until_ms = clock_ms() + WAIT_MS;
    while (!was_told(pusher, words)) {
        assert_true(clock_ms() < until_ms);
        cancel_wait(&pusher->cancel, 2);
    }
}

/* Of an uploaded blob: the one that is credited has its bytes, the others find it there. */
static void expect_outcome(const struct pusher *pusher, enum layer_end end, unsigned attempts)
{
    assert_int_equal(pusher->wait.outcome.end, end);
    assert_int_equal(pusher->wait.outcome.sent_bytes, end == LAYER_UPLOADED ? BOX_BYTES : 0);
    assert_int_equal(pusher->wait.attempts, attempts);
}

/* --- sharing --- */

static void two_share_one(void **state)
{
    (void)state;
    box_reset(true);
    struct pusher *first = pusher_new("team/app", "one", "x");
    struct pusher *second = pusher_new("team/app", "two", "x");
    join(first);
    wait_told(first, NULL);
    join(second);
    assert_true(was_told(second, NULL)); /* at once, of what was told before it came */
    assert_false(cancel_requested(&first->ended) || cancel_requested(&second->ended));
    box_release();
    expect_end(first, ERR_OK);
    expect_end(second, ERR_OK);
    assert_int_equal(box.calls, 1);
    expect_outcome(first, LAYER_UPLOADED, 1);
    expect_outcome(second, LAYER_EXISTED, 1);
    assert_true(target_push_knows(&first->push, &first->blob.digest));
    assert_true(target_push_knows(&second->push, &second->blob.digest));
    pusher_free(first);
    pusher_free(second);
}

/* What was mounted or found is so for the one that is credited alone, too. */
static void the_first_one_hears_how(void **state)
{
    (void)state;
    static const enum layer_end ends[] = {LAYER_EXISTED, LAYER_MOUNTED, LAYER_UPLOADED};
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        box_reset(true);
        box.end = ends[i];
        struct pusher *first = pusher_new("a", "one", "x");
        struct pusher *second = pusher_new("a", "two", "x");
        join(first);
        join(second);
        box_release();
        expect_end(first, ERR_OK);
        expect_end(second, ERR_OK);
        assert_int_equal(first->wait.outcome.end, ends[i]);
        assert_int_equal(second->wait.outcome.end, LAYER_EXISTED);
        assert_int_equal(second->wait.outcome.sent_bytes, 0);
        pusher_free(first);
        pusher_free(second);
    }
}

static void what_is_not_the_same(void **state)
{
    (void)state;
    box_reset(true);
    struct pusher *pushers[] = {
        pusher_new("a", "one", "x"), pusher_new("a", "blob", "y"), pusher_new("a", "user", "x"),
        pusher_new("b", "path", "x"), /* goes when the first one has gone */
    };
    enum { COUNT = sizeof pushers / sizeof pushers[0] };
    pushers[2]->credentials.username = xstrdup("somebody");
    for (int i = 0; i < COUNT; i++)
        join(pushers[i]);
    box_wait_calls(COUNT - 1);
    box_release();
    for (int i = 0; i < COUNT; i++) {
        expect_end(pushers[i], ERR_OK);
        expect_outcome(pushers[i], LAYER_UPLOADED, 1);
        pusher_free(pushers[i]);
    }
    assert_int_equal(box.calls, COUNT);
}

/* A blob without a name is no layer to its push, whatever it is to the transfer. */
static void expect_nameless(enum layer_end end)
{
    box_reset(true);
    box.end = end;
    struct pusher *nameless = pusher_new("a", "one", "x");
    struct pusher *layer = pusher_new("a", "two", "x");
    nameless->layer.id[0] = '\0';
    join(nameless);
    box_wait_calls(1);
    join(layer);
    box_release();
    expect_end(nameless, ERR_OK);
    expect_end(layer, ERR_OK);
    assert_int_equal(box.calls, 1);
    assert_int_equal(nameless->wait.outcome.end, LAYER_NONE);
    assert_int_equal(nameless->wait.outcome.sent_bytes, BOX_BYTES);
    assert_string_equal(nameless->events, "");
    assert_int_equal(nameless->byte_events, 0);
    expect_outcome(layer, LAYER_EXISTED, 1);
    pusher_free(nameless);
    pusher_free(layer);
}

static void a_config_shares_its_transfer(void **state)
{
    (void)state;
    expect_nameless(LAYER_UPLOADED);
    expect_nameless(LAYER_NONE); /* as the attempt of a config leaves it */
}

/* --- places --- */

/* The last run of an earlier test may be about to return, and holds its place so long. */
static void wait_for_places(void)
{
    int64_t until_ms = clock_ms() + WAIT_MS;
    while (!work_queue_has_place(host->small) && clock_ms() < until_ms)
        usleep(1000);
}

#define SMALL 16
#define LARGE 5

/* They are looked for as small ones. */
static void no_more_large_ones_at_a_time_than_the_queue_allows(void **state)
{
    (void)state;
    enum { COUNT = 20 };
    box_reset(true);
    struct pusher *pushers[COUNT];
    for (int i = 0; i < COUNT; i++) {
        char content[] = {(char)('a' + i), '\0'};
        pushers[i] = pusher_new("a", "one", content);
        pushers[i]->blob.size = BLOB_SMALL_BYTES + 1;
        join(pushers[i]);
    }
    box_wait_calls(LARGE);
    int64_t until_ms = clock_ms() + WAIT_MS;
    while (work_queue_waiting(host->transfers) < COUNT - LARGE && clock_ms() < until_ms)
        usleep(1000);
    leave(pushers[COUNT - 1]); /* it waits among the large ones, or is sent */
    expect_end(pushers[COUNT - 1], ERR_CANCELLED);
    box_release();
    for (int i = 0; i < COUNT; i++) {
        if (i < COUNT - 1) {
            expect_end(pushers[i], ERR_OK);
            assert_int_equal(pushers[i]->wait.attempts, 1);
        }
        pusher_free(pushers[i]);
    }
    assert_int_equal(box.most, LARGE);
    assert_int_equal(box_looks(), COUNT);
}

static void no_more_at_a_time_than_the_queue_allows(void **state)
{
    (void)state;
    enum { COUNT = 40 };
    box_reset(true);
    struct pusher *pushers[COUNT];
    for (int i = 0; i < COUNT; i++) {
        char content[] = {(char)('!' + i), '\0'};
        pushers[i] = pusher_new("a", "one", content);
        if (i < SMALL)
            wait_for_places();
        join(pushers[i]);
        /* One more in a row may be after the others: all others wait when it ends. */
        assert_int_equal(was_told(pushers[i], "Waiting\n"), i >= SMALL);
    }
    box_wait_calls(SMALL);
    box_release();
    for (int i = 0; i < COUNT; i++) {
        expect_end(pushers[i], ERR_OK);
        pusher_free(pushers[i]);
    }
    assert_int_equal(box.most, SMALL);
    assert_int_equal(box.calls, COUNT);
}

/* What waits for a place or for its next attempt has no thread; what runs has one. */
static void waiting_costs_no_thread(void **state)
{
    (void)state;
    enum { COUNT = 300 };
    int64_t usual_ms = host->back_off.base_ms;
    struct pusher **pushers = xcalloc(COUNT, sizeof(struct pusher *));
    box_reset(true);
    box.fail_first = UINT32_MAX;
    host->back_off.base_ms = 60000;
    for (int i = 0; i < COUNT; i++) {
        char content[8];
        snprintf(content, sizeof content, "%d", i);
        pushers[i] = pusher_new("a", "one", content);
        join(pushers[i]);
    }
    box_wait_calls(SMALL);
    assert_in_range(executor_threads(executor), SMALL, SMALL + 3);
    box_release();
    box_wait_calls(COUNT);
    for (int i = 0; i < COUNT; i++)
        wait_told(pushers[i], "Retrying in ");
    int64_t until_ms = clock_ms() + WAIT_MS;
    while (executor_threads(executor) > 1 && clock_ms() < until_ms)
        cancel_wait(&pushers[0]->cancel, 5);
    assert_int_equal(executor_threads(executor), 1);
    for (int i = 0; i < COUNT; i++)
        leave(pushers[i]);
    for (int i = 0; i < COUNT; i++) {
        expect_end(pushers[i], ERR_CANCELLED);
        pusher_free(pushers[i]);
    }
    assert_int_equal(box.calls, COUNT);
    assert_int_equal(box.most, SMALL);
    host->back_off.base_ms = usual_ms;
    free(pushers);
}

/* --- attempts --- */

static void attempts_are_shared(void **state)
{
    (void)state;
    box_reset(true);
    box.fail_first = 2;
    struct pusher *first = pusher_new("a", "one", "x");
    struct pusher *second = pusher_new("a", "two", "x");
    join(first);
    join(second);
    wait_told(first, NULL);
    wait_told(second, NULL);
    box_release();
    expect_end(first, ERR_OK);
    expect_end(second, ERR_OK);
    assert_int_equal(box.calls, 3);
    expect_outcome(first, LAYER_UPLOADED, 3);
    expect_outcome(second, LAYER_EXISTED, 3);
    assert_true(was_told(first, "Retrying in 1 second\n"));
    assert_true(was_told(second, "Retrying in 1 second\n"));
    pusher_free(first);
    pusher_free(second);
}

static void expect_failure(enum errc code, unsigned calls)
{
    box_reset(true);
    box.fail_first = 1000;
    box.fails_with = code;
    struct pusher *first = pusher_new("a", "one", "x");
    struct pusher *second = pusher_new("a", "two", "x");
    join(first);
    join(second);
    box_release();
    expect_end(first, code);
    expect_end(second, code);
    assert_int_equal(box.calls, calls);
    assert_int_equal(first->wait.attempts, calls);
    assert_int_equal(second->wait.attempts, calls);
    assert_string_equal(first->wait.error.text, second->wait.error.text);
    assert_false(target_push_knows(&first->push, &first->blob.digest));
    assert_false(target_push_knows(&second->push, &second->blob.digest));
    pusher_free(first);
    pusher_free(second);

    /* It is over: the next one begins anew. */
    box_reset(false);
    struct pusher *third = pusher_new("a", "three", "x");
    join(third);
    expect_end(third, ERR_OK);
    expect_outcome(third, LAYER_UPLOADED, 1);
    pusher_free(third);
}

static void failures(void **state)
{
    (void)state;
    expect_failure(ERR_DENIED, 1);
    expect_failure(ERR_CONNECTION_LOST, 5);
}

/* Of the last thing that was told, a wait for another attempt, say. */
static void a_late_one_hears_what_it_waits_for(void **state)
{
    (void)state;
    int64_t usual_ms = host->back_off.base_ms;
    box_reset(false);
    box.fail_first = 1;
    host->back_off.base_ms = 60000;
    struct pusher *first = pusher_new("a", "one", "x");
    struct pusher *second = pusher_new("a", "two", "x");
    join(first);
    wait_told(first, "Retrying in ");
    join(second);
    assert_true(was_told(second, "Retrying in "));
    leave(first);
    leave(second);
    expect_end(first, ERR_CANCELLED);
    expect_end(second, ERR_CANCELLED);
    host->back_off.base_ms = usual_ms;
    pusher_free(first);
    pusher_free(second);
}

/* --- leaving --- */

static void leaving_does_not_hurt_the_other(void **state)
{
    (void)state;
    for (int leaving = 0; leaving < 2; leaving++) {
        box_reset(true);
        struct pusher *pushers[] = {pusher_new("a", "one", "x"), pusher_new("a", "two", "x")};
        for (int i = 0; i < 2; i++) {
            join(pushers[i]);
            wait_told(pushers[i], NULL);
        }
        leave(pushers[leaving]);
        assert_true(cancel_requested(&pushers[leaving]->ended)); /* at once */
        expect_end(pushers[leaving], ERR_CANCELLED);
        box_release();
        expect_end(pushers[!leaving], ERR_OK);
        assert_int_equal(box.calls, 1);
        assert_int_equal(box.cancelled, 0);
        assert_int_equal(pushers[leaving]->wait.outcome.end, LAYER_NONE);
        assert_false(target_push_knows(&pushers[leaving]->push, &pushers[leaving]->blob.digest));
        expect_outcome(pushers[!leaving], LAYER_UPLOADED, 1);
        pusher_free(pushers[0]);
        pusher_free(pushers[1]);
    }
}

static void the_last_one_to_leave_cancels_it(void **state)
{
    (void)state;
    box_reset(true);
    struct pusher *first = pusher_new("a", "one", "x");
    struct pusher *second = pusher_new("a", "two", "x");
    join(first);
    join(second);
    box_wait_calls(1);
    int64_t start_ms = clock_ms();
    leave(first);
    leave(second);
    leave(second);
    expect_end(first, ERR_CANCELLED);
    expect_end(second, ERR_CANCELLED);
    assert_in_range(clock_ms() - start_ms, 0, 1000);
    assert_int_equal(box.calls, 1);
    assert_int_equal(box.cancelled, 1);
    assert_int_equal(box.now, 0);
    pusher_free(first);
    pusher_free(second);
}

/* An attempt that takes its time to end. */
static struct cancel lingering;
static enum errc linger(struct target_push *push, const struct push_layer *layer,
                        struct unfinished_upload *upload, struct layer_outcome *outcome,
                        struct error *err)
{
    enum errc code = box_attempt(push, layer, upload, outcome, err);
    cancel_wait(&lingering, WAIT_MS);
    return code;
}

static void what_was_given_up_is_not_joined(void **state)
{
    (void)state;
    box_reset(true);
    cancel_init(&lingering);
    struct pusher *first = pusher_new("a", "one", "x");
    struct pusher *second = pusher_new("a", "two", "x");
    transfers_join(upstream->transfers, &first->wait, linger);
    box_wait_calls(1);
    leave(first);
    assert_false(cancel_wait(&first->ended, 30)); /* when it has ended, not before */
    box_release();
    join(second);
    expect_end(second, ERR_OK);
    expect_outcome(second, LAYER_UPLOADED, 1);
    assert_int_equal(box_calls(), 2);
    cancel_request(&lingering);
    expect_end(first, ERR_CANCELLED);
    cancel_deinit(&lingering);
    pusher_free(first);
    pusher_free(second);
}

static void left_while_it_waits_for_another_attempt(void **state)
{
    (void)state;
    box_reset(false);
    box.fail_first = 1000;
    int64_t usual_ms = host->back_off.base_ms;
    host->back_off.base_ms = 60000;
    struct pusher *pusher = pusher_new("a", "one", "x");
    join(pusher);
    wait_told(pusher, "Retrying in ");
    int64_t start_ms = clock_ms();
    leave(pusher);
    expect_end(pusher, ERR_CANCELLED);
    assert_in_range(clock_ms() - start_ms, 0, 1000);
    assert_int_equal(box.calls, 1);
    host->back_off.base_ms = usual_ms;
    pusher_free(pusher);
}

static void left_while_it_waits_for_a_place(void **state)
{
    (void)state;
    struct pusher *pushers[SMALL + 1];
    box_reset(true);
    for (int i = 0; i <= SMALL; i++) {
        char content[] = {(char)('a' + i), '\0'};
        pushers[i] = pusher_new("a", "one", content);
        join(pushers[i]);
    }
    box_wait_calls(SMALL);
    int64_t start_ms = clock_ms();
    leave(pushers[SMALL]);
    expect_end(pushers[SMALL], ERR_CANCELLED);
    assert_in_range(clock_ms() - start_ms, 0, 1000);
    assert_int_equal(box_calls(), SMALL);
    assert_int_equal(pushers[SMALL]->wait.attempts, 0);
    box_release();
    for (int i = 0; i < SMALL; i++)
        expect_end(pushers[i], ERR_OK);
    for (int i = 0; i <= SMALL; i++)
        pusher_free(pushers[i]);
}

/* --- many come and go; the sanitizers look --- */

struct crowd {
    int number;
    pthread_t thread;
};

static void *come_and_go(void *arg)
{
    enum { ROUNDS = 20, COUNT = 6 };
    const struct crowd *crowd = arg;
    for (int round = 0; round < ROUNDS; round++) {
        struct pusher *pushers[COUNT];
        for (int i = 0; i < COUNT; i++) {
            char content[] = {(char)('a' + i % 3), (char)('a' + round), '\0'};
            pushers[i] = pusher_new("a", "one", content);
            join(pushers[i]);
        }
        for (int i = 0; i < COUNT; i++)
            if ((round + i) % 4 == crowd->number)
                leave(pushers[i]);
        for (int i = 0; i < COUNT; i++) {
            assert_true(cancel_wait(&pushers[i]->ended, WAIT_MS));
            bool left = (round + i) % 4 == crowd->number;
            enum errc code = pushers[i]->wait.error.code;
            assert_true(code == ERR_OK || (left && code == ERR_CANCELLED));
            pusher_free(pushers[i]);
        }
    }
    return NULL;
}

static void a_crowd(void **state)
{
    (void)state;
    struct crowd crowds[4];
    box_reset(false);
    for (int i = 0; i < 4; i++) {
        crowds[i].number = i;
        pthread_create(&crowds[i].thread, NULL, come_and_go, &crowds[i]);
    }
    for (int i = 0; i < 4; i++)
        pthread_join(crowds[i].thread, NULL);
}

static int set_up(void **state)
{
    (void)state;
    const char *const endpoints[] = {"http://" HOST};
    const struct registry_options registry = {
        .host = HOST,
        .endpoints = endpoints,
        .endpoint_count = 1,
        .retry_wait_ms = 10,
    };
    const struct executor_options threads = {.threads_max = 64, .idle_ms = 20};
    struct error err = ERROR_INIT;
    if (executor_new(&threads, &executor, &err) != ERR_OK)
        return -1;
    const struct upstream_options options = {
        .executor = executor,
        .registries = {.registries = &registry, .registry_count = 1},
    };
    return upstream_new(&options, &upstream, &err) != ERR_OK ||
           registries_host(upstream->registries, HOST, &host, &err) != ERR_OK;
}

static int tear_down(void **state)
{
    (void)state;
    upstream_free(upstream);
    executor_free(executor);
    return 0;
}

/* One layer into several repositories: there is nothing to mount from before the first one has it.
 */
static void one_repository_goes_first(void **state)
{
    (void)state;
    box_reset(true);
    struct pusher *pushers[] = {pusher_new("a", "one", "x"), pusher_new("b", "two", "x"),
                                pusher_new("c", "three", "x"), pusher_new("d", "four", "x")};
    for (int i = 0; i < 4; i++)
        join(pushers[i]);
    box_wait_calls(1);
    leave(pushers[2]);
    expect_end(pushers[2], ERR_CANCELLED);
    cancel_wait(&pushers[0]->cancel, 20);
    assert_int_equal(box_calls(), 1);
    box_release();
    for (int i = 0; i < 4; i++) {
        if (i != 2)
            expect_end(pushers[i], ERR_OK);
        pusher_free(pushers[i]);
    }
    assert_int_equal(box.calls, 3);
}

/* Who follows is not kept waiting by the trouble of the first one, which may be its repository's.
 */
static void nobody_waits_for_trouble(void **state)
{
    (void)state;
    box_reset(false);
    box.fail_first = 1;
    host->back_off.base_ms = 60000;
    struct pusher *first = pusher_new("a", "one", "x");
    struct pusher *second = pusher_new("b", "two", "x");
    struct pusher *third = pusher_new("c", "three", "x");
    join(first);
    join(second);
    join(third);
    expect_end(second, ERR_OK);
    expect_end(third, ERR_OK);
    assert_false(cancel_requested(&first->ended));
    leave(first);
    expect_end(first, ERR_CANCELLED);
    host->back_off.base_ms = 10;
    pusher_free(first);
    pusher_free(second);
    pusher_free(third);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_share_one),
        cmocka_unit_test(the_first_one_hears_how),
        cmocka_unit_test(what_is_not_the_same),
        cmocka_unit_test(one_repository_goes_first),
        cmocka_unit_test(nobody_waits_for_trouble),
        cmocka_unit_test(a_config_shares_its_transfer),
        cmocka_unit_test(no_more_at_a_time_than_the_queue_allows),
        cmocka_unit_test(no_more_large_ones_at_a_time_than_the_queue_allows),
        cmocka_unit_test(waiting_costs_no_thread),
        cmocka_unit_test(attempts_are_shared),
        cmocka_unit_test(failures),
        cmocka_unit_test(a_late_one_hears_what_it_waits_for),
        cmocka_unit_test(leaving_does_not_hurt_the_other),
        cmocka_unit_test(the_last_one_to_leave_cancels_it),
        cmocka_unit_test(what_was_given_up_is_not_joined),
        cmocka_unit_test(left_while_it_waits_for_another_attempt),
        cmocka_unit_test(left_while_it_waits_for_a_place),
        cmocka_unit_test(a_crowd),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
