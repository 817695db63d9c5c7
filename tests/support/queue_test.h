/*
 * What the tests above the push queue share: a store, a registry double with the table of
 * registries (tests/support/push_test.h), an runtime of these, and a queue that is started again as
 * often as a test likes.
 */
#ifndef SLIPWAY_TESTS_QUEUE_TEST_H
#define SLIPWAY_TESTS_QUEUE_TEST_H

#include "base/clock.h"
#include "gateway/queue/push_queue.h"
#include "tests/support/fake_registry.h"
#include "tests/support/push_test.h"

#include <unistd.h>

#define QUEUE_TEST_MS 60000
#define QUEUE_TEST_RETRY_MS 20

struct queue_test {
    struct push_test *push;
    struct fake_registry *registry;
    struct http_double *http;
    const char *host;
    struct registry_setting registry_setting;
    struct settings settings; /* four pushes for each registry, QUEUE_TEST_RETRY_MS to wait */
    struct runtime runtime;
    struct push_queue *queue; /* NULL between two starts */
};

struct queue_test *queue_test_new(void);
/* Closes the queue if there is one. */
void queue_test_free(struct queue_test *test);

/* The end and the next start of a process, as the queue sees them. */
void queue_test_close(struct queue_test *test);
void queue_test_open(struct queue_test *test);

/* Until nothing is under way any more. */
void queue_test_idle(struct queue_test *test);

/* A push of the image to "PATH:TAG"s of the double, or "HOST/PATH:TAG"s, separated by spaces; one
 * without a tag goes under its digest. Not accepted yet; owned. */
struct push queue_test_push(struct queue_test *test, const struct descriptor *manifest,
                            const char *targets, bool stored);

/* Accept it: a push with stored targets by its record, as a registry client's manifest is. */
void queue_test_accept(struct queue_test *test, struct push *push);

/* Accept a push after the answer, and start it. Returns its id, borrowed until the next call. */
const char *queue_test_store(struct queue_test *test, const struct descriptor *manifest,
                             const char *targets);

/* How many pushes have open targets, and how many of them. */
size_t queue_test_records(struct queue_test *test, size_t *targets);
/* What is recorded of a target. */
struct push_target queue_test_target(struct queue_test *test, const char *id, size_t target);
enum push_state queue_test_state(struct queue_test *test, const char *id, size_t target);
/* Of its first target, as the queue knows it. */
struct push_target queue_test_look(struct queue_test *test, const char *id);

struct push_retried queue_test_retry(struct queue_test *test, const struct push_retry *wanted);

/* Poll: what it is about is done by threads that tell nobody. */
#define QUEUE_TEST_UNTIL(condition)                                                                \
    do {                                                                                           \
        int64_t until_ms = clock_ms() + QUEUE_TEST_MS;                                             \
        while (!(condition)) {                                                                     \
            if (clock_ms() > until_ms)                                                             \
                fail_msg("not in time: %s", #condition);                                           \
            usleep(1000);                                                                          \
        }                                                                                          \
    } while (0)

/* A push that somebody waits for. */
struct waiting_push {
    struct push push;
    struct cancel cancel;
    const struct progress *progress; /* NULL: nobody listens */
    pthread_mutex_t lock;            /* guards what follows */
    pthread_cond_t changed;
    bool ended;
};

/* Accepted, not run. */
void waiting_push_init(struct waiting_push *waiting, struct queue_test *test,
                       const struct descriptor *manifest, const char *targets);
void waiting_push_run(struct waiting_push *waiting, struct queue_test *test);
bool waiting_push_ended(struct waiting_push *waiting);
void waiting_push_wait(struct waiting_push *waiting);
void waiting_push_deinit(struct waiting_push *waiting);

#endif
