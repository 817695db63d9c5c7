#include "tests/support/transfer_test.h"

#include "base/clock.h"
#include "base/mem.h"
#include "tests/support/transfer_box.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define HOST "127.0.0.1:1"

struct transfer_test transfer_test;

int transfer_test_set_up(void **state)
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
    if (executor_new(&threads, &transfer_test.executor, &err) != ERR_OK)
        return -1;
    const struct upstream_options options = {
        .executor = transfer_test.executor,
        .registries = {.registries = &registry, .registry_count = 1},
    };
    return upstream_new(&options, &transfer_test.upstream, &err) != ERR_OK ||
           registries_host(transfer_test.upstream->registries, HOST, &transfer_test.host, &err) !=
               ERR_OK;
}

int transfer_test_tear_down(void **state)
{
    (void)state;
    upstream_free(transfer_test.upstream);
    executor_free(transfer_test.executor);
    return 0;
}

/* --- pushes that wait --- */

static void record(void *self, const struct progress_event *event)
{
    struct pusher *pusher = self;
    assert_string_equal(event->target, pusher->push.target);
    assert_string_equal(event->id, pusher->layer.id);
    pthread_mutex_lock(&pusher->lock);
    if (event->kind == PROGRESS_BYTES) {
        pusher->byte_events++;
        assert_int_equal(event->total, TRANSFER_BOX_BYTES);
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

struct pusher *pusher_new(const char *path, const char *target, const char *content)
{
    struct pusher *pusher = xcalloc(1, sizeof *pusher);
    pusher->progress = (struct progress){.emit = record, .self = pusher};
    pthread_mutex_init(&pusher->lock, NULL);
    cancel_init(&pusher->cancel);
    cancel_init(&pusher->ended);
    repository_init(&pusher->repository, &transfer_test.host->endpoints[0], path,
                    &pusher->credentials);
    target_push_init(&pusher->push, NULL, &pusher->repository, &pusher->progress, target,
                     &pusher->cancel, &pusher->result);
    pusher->blob.digest = digest_of(DIGEST_SHA256, content, strlen(content));
    pusher->blob.size = TRANSFER_BOX_BYTES;
    pusher->layer.blob = &pusher->blob;
    digest_short(&pusher->blob.digest, pusher->layer.id);
    pusher->layer.id[0] = target[0]; /* the same blob under another name */
    pusher->wait =
        (struct transfer_wait){.push = &pusher->push, .layer = &pusher->layer, .ended = on_ended};
    return pusher;
}

void pusher_join(struct pusher *pusher)
{
    transfers_join(transfer_test.upstream->transfers, &pusher->wait, transfer_box_attempt);
}

void pusher_leave(struct pusher *pusher)
{
    transfers_leave(transfer_test.upstream->transfers, &pusher->wait);
}

void pusher_expect_end(struct pusher *pusher, enum errc want)
{
    assert_true(cancel_wait(&pusher->ended, TRANSFER_TEST_MS));
    if (pusher->wait.error.code != want)
        fail_msg("%s: %s instead of %s: %s", pusher->push.target,
                 error_name(pusher->wait.error.code), error_name(want), pusher->wait.error.text);
    assert_null(pusher->wait.transfer);
    pusher_leave(pusher); /* a no-op by now */
}

void pusher_free(struct pusher *pusher)
{
    target_push_deinit(&pusher->push);
    repository_deinit(&pusher->repository);
    registry_credentials_clear(&pusher->credentials);
    cancel_deinit(&pusher->ended);
    cancel_deinit(&pusher->cancel);
    pthread_mutex_destroy(&pusher->lock);
    free(pusher);
}

bool pusher_was_told(struct pusher *pusher, const char *words)
{
    pthread_mutex_lock(&pusher->lock);
    bool told = words ? strstr(pusher->events, words) != NULL : pusher->byte_events > 0;
    pthread_mutex_unlock(&pusher->lock);
    return told;
}

void pusher_wait_told(struct pusher *pusher, const char *words)
{
    int64_t until_ms = clock_ms() + TRANSFER_TEST_MS;
    while (!pusher_was_told(pusher, words)) {
        assert_true(clock_ms() < until_ms);
        cancel_wait(&pusher->cancel, 2);
    }
}

void pusher_expect_outcome(const struct pusher *pusher, enum layer_end end, unsigned attempts)
{
    assert_int_equal(pusher->wait.outcome.end, end);
    assert_int_equal(pusher->wait.outcome.sent_bytes,
                     end == LAYER_UPLOADED ? TRANSFER_BOX_BYTES : 0);
    assert_int_equal(pusher->wait.attempts, attempts);
}
