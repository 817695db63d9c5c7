#include "upstream/push/transfers.h"

#include "base/clock.h"
#include "base/mem.h"
#include "upstream/push/upstream.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define HOST "127.0.0.1:1"
#define BYTES 4096

/* The registry of these tests: an attempt that does what it is told, and can be held. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool hold;
    unsigned calls;
    unsigned now;
    unsigned most;
    unsigned stopped;
    unsigned fail_first;
    enum errc fails_with;
} box;

static void box_reset(bool hold)
{
    pthread_mutex_lock(&box.lock);
    box.hold = hold;
    box.calls = box.now = box.most = box.stopped = box.fail_first = 0;
    box.fails_with = ERR_CONNECTION_LOST;
    pthread_mutex_unlock(&box.lock);
}

static void box_release(void)
{
    pthread_mutex_lock(&box.lock);
    box.hold = false;
    pthread_cond_broadcast(&box.changed);
    pthread_mutex_unlock(&box.lock);
}

static void box_wait_calls(unsigned calls)
{
    pthread_mutex_lock(&box.lock);
    while (box.calls < calls)
        pthread_cond_wait(&box.changed, &box.lock);
    pthread_mutex_unlock(&box.lock);
}

static enum errc attempt(struct target_push *push, const struct push_layer *layer,
                         struct unfinished_upload *upload, struct layer_outcome *outcome,
                         struct error *err)
{
    (void)upload;
    target_push_tell_bytes(push, layer->id, 1, BYTES);
    pthread_mutex_lock(&box.lock);
    unsigned call = ++box.calls;
    if (++box.now > box.most)
        box.most = box.now;
    pthread_cond_broadcast(&box.changed);
    while (box.hold && !cancel_requested(&push->cancel)) {
        struct timespec until = clock_deadline(2);
        pthread_cond_timedwait(&box.changed, &box.lock, &until);
    }
    bool fails = call <= box.fail_first;
    box.stopped += cancel_requested(&push->cancel);
    box.now--;
    pthread_mutex_unlock(&box.lock);
    if (cancel_check(&push->cancel, err) != ERR_OK)
        return err->code;
    if (fails)
        return (fail)(err, box.fails_with, 0, "attempt %u", call);
    *outcome = (struct layer_outcome){.end = LAYER_UPLOADED, .sent_bytes = BYTES};
    return ERR_OK;
}

/* --- pushes --- */

static struct executor *executor;
static struct upstream *upstream;
static struct registry_host *host;

struct pusher {
    struct registry_credentials credentials;
    struct repository repository;
    struct target_push push;
    struct push_target result;
    struct progress progress;
    struct cancel cancel;
    struct descriptor blob;
    struct push_layer layer;
    struct transfer_wait wait;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    bool ended;
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
        assert_int_equal(event->total, BYTES);
    } else if (strlen(pusher->events) + 100 < sizeof pusher->events) {
        strcat(strcat(pusher->events, event->status), "\n");
    }
    pthread_mutex_unlock(&pusher->lock);
}

static void on_ended(struct transfer_wait *wait)
{
    struct pusher *pusher = (struct pusher *)((char *)wait - offsetof(struct pusher, wait));
    pthread_mutex_lock(&pusher->lock);
    pusher->ended = true;
    pthread_cond_signal(&pusher->changed);
    pthread_mutex_unlock(&pusher->lock);
}

static struct pusher *pusher_new(const char *path, const char *target, const char *content)
{
    struct pusher *pusher = xcalloc(1, sizeof *pusher);
    pusher->progress = (struct progress){.emit = record, .self = pusher};
    pthread_mutex_init(&pusher->lock, NULL);
    clock_cond_init(&pusher->changed);
    cancel_init(&pusher->cancel);
    repository_init(&pusher->repository, &host->endpoints[0], path, &pusher->credentials);
    target_push_init(&pusher->push, NULL, &pusher->repository, &pusher->progress, target,
                     &pusher->cancel, &pusher->result);
    pusher->blob.digest = digest_of(DIGEST_SHA256, content, strlen(content));
    pusher->blob.size = BYTES;
    pusher->layer.blob = &pusher->blob;
    digest_short(&pusher->blob.digest, pusher->layer.id);
    pusher->layer.id[0] = target[0]; /* the same blob under another name */
    pusher->wait =
        (struct transfer_wait){.push = &pusher->push, .layer = &pusher->layer, .ended = on_ended};
    return pusher;
}

static void pusher_start(struct pusher *pusher)
{
    transfers_join(upstream->transfers, &pusher->wait, attempt);
}

static void pusher_leave(struct pusher *pusher)
{
    transfers_leave(upstream->transfers, &pusher->wait);
}

static enum errc pusher_wait(struct pusher *pusher)
{
    pthread_mutex_lock(&pusher->lock);
    while (!pusher->ended)
        pthread_cond_wait(&pusher->changed, &pusher->lock);
    pthread_mutex_unlock(&pusher->lock);
    return pusher->wait.error.code;
}

static void pusher_join(struct pusher *pusher, enum errc want)
{
    enum errc code = pusher_wait(pusher);
    if (code != want)
        fail_msg("%s: %s instead of %s: %s", pusher->push.target, error_name(code),
                 error_name(want), pusher->wait.error.text);
}

static void pusher_free(struct pusher *pusher)
{
    target_push_deinit(&pusher->push);
    repository_deinit(&pusher->repository);
    registry_credentials_clear(&pusher->credentials);
    cancel_deinit(&pusher->cancel);
    pthread_cond_destroy(&pusher->changed);
    pthread_mutex_destroy(&pusher->lock);
    free(pusher);
}

/* It watches: it has told of bytes, which only the transfer knows of. */
static void wait_watching(struct pusher *pusher)
{
    for (bool watching = false; !watching; cancel_wait(&pusher->cancel, 2)) {
        pthread_mutex_lock(&pusher->lock);
        watching = pusher->byte_events > 0;
        pthread_mutex_unlock(&pusher->lock);
    }
}

static void expect_outcome(const struct pusher *pusher, enum layer_end end, unsigned attempts)
{
    assert_int_equal(pusher->wait.outcome.end, end);
    assert_int_equal(pusher->wait.outcome.sent_bytes, end == LAYER_UPLOADED ? BYTES : 0);
    assert_int_equal(pusher->wait.attempts, attempts);
}

/* --- tests --- */

static void test_two_share_one(void **state)
{
    (void)state;
    box_reset(true);
    struct pusher *first = pusher_new("team/app", "one", "x");
    struct pusher *second = pusher_new("team/app", "two", "x");
    pusher_start(first);
    wait_watching(first);
    pusher_start(second);
    wait_watching(second);
    box_release();
    pusher_join(first, ERR_OK);
    pusher_join(second, ERR_OK);
    assert_int_equal(box.calls, 1);
    expect_outcome(first, LAYER_UPLOADED, 1);
    expect_outcome(second, LAYER_EXISTED, 1);
    assert_true(target_push_knows(&first->push, &first->blob.digest));
    assert_true(target_push_knows(&second->push, &second->blob.digest));
    pusher_free(first);
    pusher_free(second);
}

static void test_cancelling_one_does_not_hurt_the_other(void **state)
{
    (void)state;
    for (int leaving = 0; leaving < 2; leaving++) {
        box_reset(true);
        struct pusher *pushers[] = {pusher_new("a", "one", "x"), pusher_new("a", "two", "x")};
        for (int i = 0; i < 2; i++) {
            pusher_start(pushers[i]);
            wait_watching(pushers[i]);
        }
        int64_t start_ms = clock_ms();
        pusher_leave(pushers[leaving]);
        pusher_join(pushers[leaving], ERR_CANCELLED);
        assert_in_range(clock_ms() - start_ms, 0, 1000);
        box_release();
        pusher_join(pushers[!leaving], ERR_OK);
        assert_int_equal(box.calls, 1);
        assert_int_equal(box.stopped, 0);
        expect_outcome(pushers[!leaving], LAYER_UPLOADED, 1);
        pusher_free(pushers[0]);
        pusher_free(pushers[1]);
    }
}

static void test_cancelling_all_stops_it(void **state)
{
    (void)state;
    box_reset(true);
    struct pusher *first = pusher_new("a", "one", "x");
    struct pusher *second = pusher_new("a", "two", "x");
    pusher_start(first);
    pusher_start(second);
    wait_watching(first);
    wait_watching(second);
    int64_t start_ms = clock_ms();
    pusher_leave(first);
    pusher_leave(second);
    pusher_join(first, ERR_CANCELLED);
    pusher_join(second, ERR_CANCELLED);
    assert_in_range(clock_ms() - start_ms, 0, 1000);
    assert_int_equal(box.calls, 1);
    assert_int_equal(box.stopped, 1);
    assert_int_equal(box.now, 0);

    /* What was given up is not joined. */
    box_reset(false);
    struct pusher *third = pusher_new("a", "three", "x");
    pusher_start(third);
    pusher_join(third, ERR_OK);
    assert_int_equal(box.calls, 1);
    pusher_free(first);
    pusher_free(second);
    pusher_free(third);
}

static void test_what_is_not_the_same(void **state)
{
    (void)state;
    box_reset(true);
    struct pusher *pushers[] = {
        pusher_new("a", "one", "x"),
        pusher_new("b", "path", "x"),
        pusher_new("a", "blob", "y"),
        pusher_new("a", "user", "x"),
    };
    enum { COUNT = sizeof pushers / sizeof pushers[0] };
    pushers[3]->credentials.username = xstrdup("somebody");
    for (int i = 0; i < COUNT; i++)
        pusher_start(pushers[i]);
    box_wait_calls(COUNT);
    box_release();
    for (int i = 0; i < COUNT; i++) {
        pusher_join(pushers[i], ERR_OK);
        expect_outcome(pushers[i], LAYER_UPLOADED, 1);
        pusher_free(pushers[i]);
    }
    assert_int_equal(box.calls, COUNT);
}

/* A blob without a name is no layer to its push, whatever it is to the transfer. */
static void test_a_config_shares_its_transfer(void **state)
{
    (void)state;
    box_reset(true);
    struct pusher *nameless = pusher_new("a", "one", "x");
    struct pusher *layer = pusher_new("a", "two", "x");
    nameless->layer.id[0] = '\0';
    pusher_start(nameless);
    box_wait_calls(1);
    pusher_start(layer);
    box_release();
    pusher_join(nameless, ERR_OK);
    pusher_join(layer, ERR_OK);
    assert_int_equal(box.calls, 1);
    assert_string_equal(nameless->events, "");
    expect_outcome(layer, LAYER_EXISTED, 1);
    pusher_free(nameless);
    pusher_free(layer);
}

static void test_no_more_at_a_time_than_the_host_allows(void **state)
{
    (void)state;
    enum { COUNT = 20 };
    box_reset(true);
    struct pusher *pushers[COUNT];
    for (int i = 0; i < COUNT; i++) {
        char content[] = {(char)('a' + i), '\0'};
        pushers[i] = pusher_new("a", "one", content);
        pusher_start(pushers[i]);
    }
    box_wait_calls(5);
    /* Six in a row may be five at a time and one after them: hold until all others say so. */
    for (int i = 0, waiting = 0; waiting < COUNT - 5; i = (i + 1) % COUNT) {
        if (i == 0) {
            waiting = 0;
            cancel_wait(&pushers[0]->cancel, 2);
        }
        pthread_mutex_lock(&pushers[i]->lock);
        waiting += strcmp(pushers[i]->events, "Waiting\n") == 0;
        pthread_mutex_unlock(&pushers[i]->lock);
    }
    box_release();
    for (int i = 0; i < COUNT; i++) {
        pusher_join(pushers[i], ERR_OK);
        pusher_free(pushers[i]);
    }
    assert_int_equal(box.most, 5);
    assert_int_equal(box.calls, COUNT);
}

static void test_attempts_are_shared(void **state)
{
    (void)state;
    box_reset(true);
    box.fail_first = 2;
    struct pusher *first = pusher_new("a", "one", "x");
    struct pusher *second = pusher_new("a", "two", "x");
    pusher_start(first);
    pusher_start(second);
    wait_watching(first);
    wait_watching(second);
    box_release();
    pusher_join(first, ERR_OK);
    pusher_join(second, ERR_OK);
    assert_int_equal(box.calls, 3);
    assert_int_equal(first->wait.attempts, 3);
    assert_int_equal(second->wait.attempts, 3);
    assert_non_null(strstr(first->events, "Retrying in 1 second\n"));
    assert_non_null(strstr(second->events, "Retrying in 1 second\n"));
    assert_int_equal((first->wait.outcome.end == LAYER_UPLOADED) +
                         (second->wait.outcome.end == LAYER_UPLOADED),
                     1);
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
    pusher_start(first);
    pusher_start(second);
    wait_watching(first);
    wait_watching(second);
    box_release();
    pusher_join(first, code);
    pusher_join(second, code);
    assert_int_equal(box.calls, calls);
    assert_int_equal(first->wait.attempts, calls);
    assert_false(target_push_knows(&first->push, &first->blob.digest));
    assert_int_equal(second->wait.attempts, calls);
    pusher_free(first);
    pusher_free(second);
}

static void test_failures(void **state)
{
    (void)state;
    expect_failure(ERR_DENIED, 1);
    expect_failure(ERR_CONNECTION_LOST, 5);
}

static void test_cancelled_while_it_waits_for_another_attempt(void **state)
{
    (void)state;
    box_reset(false);
    box.fail_first = 1000;
    int64_t usual_ms = host->back_off.base_ms;
    host->back_off.base_ms = 60000;
    struct pusher *pusher = pusher_new("a", "one", "x");
    pusher_start(pusher);
    for (bool waits = false; !waits; cancel_wait(&pusher->cancel, 2)) {
        pthread_mutex_lock(&pusher->lock);
        waits = strstr(pusher->events, "Retrying in ") != NULL;
        pthread_mutex_unlock(&pusher->lock);
    }
    int64_t start_ms = clock_ms();
    pusher_leave(pusher);
    pusher_join(pusher, ERR_CANCELLED);
    assert_in_range(clock_ms() - start_ms, 0, 1000);
    assert_int_equal(box.calls, 1);
    host->back_off.base_ms = usual_ms;
    pusher_free(pusher);
}

/* Many come and go; the sanitizers look. */
static void test_crowd(void **state)
{
    (void)state;
    enum { ROUNDS = 20, COUNT = 24 };
    box_reset(false);
    for (int round = 0; round < ROUNDS; round++) {
        struct pusher *pushers[COUNT];
        for (int i = 0; i < COUNT; i++) {
            char content[] = {(char)('a' + i % 3), (char)('a' + round), '\0'};
            pushers[i] = pusher_new("a", "one", content);
            pusher_start(pushers[i]);
        }
        for (int i = round % 4; i < COUNT; i += 4)
            pusher_leave(pushers[i]);
        for (int i = 0; i < COUNT; i++) {
            enum errc code = pusher_wait(pushers[i]);
            bool cancelled = i % 4 == round % 4;
            assert_true(code == ERR_OK || (cancelled && code == ERR_CANCELLED));
            pusher_free(pushers[i]);
        }
    }
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
    const struct executor_options threads = {.threads_max = 32};
    struct error err = ERROR_INIT;
    pthread_mutex_init(&box.lock, NULL);
    clock_cond_init(&box.changed);
    if (executor_new(&threads, &executor, &err) != ERR_OK)
        return -1;
    const struct upstream_options options = {
        .executor = executor,
        .transfers = 64,
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
    pthread_cond_destroy(&box.changed);
    pthread_mutex_destroy(&box.lock);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_share_one),
        cmocka_unit_test(test_cancelling_one_does_not_hurt_the_other),
        cmocka_unit_test(test_cancelling_all_stops_it),
        cmocka_unit_test(test_what_is_not_the_same),
        cmocka_unit_test(test_a_config_shares_its_transfer),
        cmocka_unit_test(test_no_more_at_a_time_than_the_host_allows),
        cmocka_unit_test(test_attempts_are_shared),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_cancelled_while_it_waits_for_another_attempt),
        cmocka_unit_test(test_crowd),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
