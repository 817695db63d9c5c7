/*
 * The bench of the tests of the push queue: a queue (tests/support/queue_test.h), images for it,
 * and what such a test says and looks at. The double knows no repositories: a tag stands for
 * itself.
 */
#ifndef SLIPWAY_TESTS_QUEUE_BENCH_H
#define SLIPWAY_TESTS_QUEUE_BENCH_H

#include "tests/support/queue_test.h"

#define QUEUE_BENCH_IMAGES 6
#define QUEUE_BENCH_TARGETS 2

struct queue_bench {
    struct queue_test *test;
    struct made_image images[QUEUE_BENCH_IMAGES];
    struct mirror_target_setting targets[QUEUE_BENCH_TARGETS]; /* of queue_bench_configure() */
    struct mirror_setting mirror;
    char other[TARGET_LABEL_MAX + 1]; /* the double, as a target that clients name */
    struct fake_registry *elsewhere;  /* whose successes say nothing about the double */
    unsigned settled;
};

/* For cmocka. */
int queue_bench_set_up(void **state);
int queue_bench_tear_down(void **state);
#define QUEUE_BENCH_TEST(name)                                                                     \
    cmocka_unit_test_setup_teardown(name, queue_bench_set_up, queue_bench_tear_down)

/* The configuration has a mirror of team/ with targets of these names; NULL ends them. The queue
 * learns of it when it is opened again. */
void queue_bench_configure(struct queue_bench *bench, const char *const *names);

/* ---- pushes ---- */

/* queue_test_store(): its id, borrowed until the next call. */
const char *queue_bench_store(struct queue_bench *bench, size_t image, const char *targets);
/* Accepted, not started; owned. */
struct push queue_bench_accepted(struct queue_bench *bench, size_t image, const char *targets);
/* The same to the target of this name in the configuration; "": a client named it. */
struct push queue_bench_promise(struct queue_bench *bench, size_t image, const char *target,
                                const char *name);
/* The push is taken. */
void queue_bench_start(struct queue_bench *bench, struct push *push);

/* ---- what the registry answers ---- */

/* The next PUTs of what has this in its path. */
void queue_bench_answer_puts(struct queue_bench *bench, const char *part, int times, int status);
/* The next PUT is done, and its answer held. */
void queue_bench_hold_put(struct queue_bench *bench, const char *part);
/* The registry is not asked again before the test ends. */
void queue_bench_wait_long(struct queue_bench *bench);

/* ---- what it got ---- */

/* PUTs of a manifest under this tag of the repository. */
size_t queue_bench_puts(struct queue_bench *bench, const char *path, const char *tag);
bool queue_bench_is_there(struct queue_bench *bench, const char *tag, size_t image);

/* ---- what a test says ---- */

size_t queue_bench_puts_by_digest(struct queue_bench *bench, size_t image);

/* It has ended as what a younger one overtook, with what there is to sign. */
void queue_bench_expect_overtaken(struct queue_bench *bench, struct waiting_push *waiting,
                                  size_t image);
void queue_bench_await(struct queue_bench *bench, struct waiting_push *waiting, size_t image,
                       const char *targets);
void queue_bench_run(struct queue_bench *bench, struct waiting_push *waiting);

/* It has ended, each of its targets with this code. */
void queue_bench_expect_end(struct waiting_push *waiting, enum errc code);
void queue_bench_release(struct queue_bench *bench);
void queue_bench_until_puts(struct queue_bench *bench, const char *path, const char *tag,
                            size_t count);
void queue_bench_expect_records(struct queue_bench *bench, size_t count, size_t waiting);
size_t queue_bench_records(struct queue_bench *bench);

/* What may begin has begun. */
void queue_bench_settle(struct queue_bench *bench);

/* All is done, and nothing is left to be done at the next start. */
void queue_bench_expect_done(struct queue_bench *bench);

/* A push to PATH:TAG that waits for the registry, for long. Returns its id. */
const char *queue_bench_park(struct queue_bench *bench, size_t image, const char *path,
                             const char *tag);

/* The next start: what waits is tried at once. */
void queue_bench_open_again(struct queue_bench *bench);

#endif
