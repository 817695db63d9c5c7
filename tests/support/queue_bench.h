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

#endif
