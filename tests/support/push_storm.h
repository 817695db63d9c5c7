/*
 * What a storm over the push queue is made of (tests/unit/gateway/queue/test_push_storm.c): a
 * registry with moods, a queue above it, two configurations, and what was pushed. r0/ is for
 * targets that clients name, r1/ and r2/ are for "mirror1" and "mirror2" of the configuration.
 *
 * Any thread, while there is the storm; who needs the queue holds `life`. A fault ends the process.
 */
#ifndef SLIPWAY_TESTS_PUSH_STORM_H
#define SLIPWAY_TESTS_PUSH_STORM_H

#include "tests/support/moody_registry.h"
#include "tests/support/queue_test.h"

#include <pthread.h>
#include <stdatomic.h>

#define STORM_PUSHES 120
#define STORM_REPOSITORIES 3
#define STORM_TAGS 2
#define STORM_PLACES (STORM_REPOSITORIES * STORM_TAGS)
#define STORM_WATCHES 60

struct storm_push {
    struct made_image image;
    char digest[DIGEST_TEXT_MAX];
    atomic_bool known; /* what follows is there, and constant but for the last */
    char id[PUSH_ID_MAX];
    size_t places[2]; /* repository * STORM_TAGS + tag */
    size_t targets;
    struct waiting_push *waiting; /* NULL: it is pushed after the answer */
    bool cancelled;               /* at the end, and that was said to end it */
};

struct storm_watch {
    struct push_watch watch;
    atomic_bool over;
};

struct storm {
    struct queue_test test;
    struct moody_registry *registry;
    unsigned seed;
    unsigned random; /* of the main thread */
    struct mirror_target_setting mirror_targets[STORM_REPOSITORIES - 1];
    struct mirror_setting mirror;
    struct mirror_setting less; /* without the last target */
    struct settings other;      /* which has that */
    pthread_mutex_t reload;     /* one at a time */
    char labels[STORM_REPOSITORIES][TARGET_LABEL_MAX + 1];
    pthread_rwlock_t life; /* whoever writes it makes another queue */
    struct storm_push pushes[STORM_PUSHES];
    atomic_size_t pushed;
    struct storm_watch watches[STORM_WATCHES];
    atomic_size_t watched;
    atomic_uint ended; /* targets */
    /* Threads end by these. */
    atomic_bool calm;     /* those that act */
    atomic_bool toggled;  /* the one that pauses while others are cancelled */
    atomic_bool examined; /* the one that looks */
};

/* There is one at a time. It is freed within four minutes, or the process ends. */
struct storm *storm_new(unsigned seed);
/* Its threads have ended before. */
void storm_free(struct storm *storm);

/* The process ends with the seed, with what is wrong and with all of the queue on standard error.
 */
_Noreturn void storm_fault(struct storm *storm, const char *what, const char *of);
void storm_expect_ok(struct storm *storm, enum errc code, const struct error *err);
/* A fault where it is not done within QUEUE_TEST_MS, which no machine needs. */
void storm_await(struct storm *storm, bool (*is_done)(struct storm *storm), const char *what);
/* The next queue goes on with what there is. */
void storm_open_queue(struct storm *storm);
/* The queue was closed before. */
void storm_end_queue(struct storm *storm);

/* ---- pushes ---- */

size_t storm_push_count(const struct storm *storm);
/* NULL: all of them are taken. */
struct storm_push *storm_take_push(struct storm *storm);
/* Where it goes, as queue_test_push() wants it; owned. */
char *storm_choose_places(struct storm_push *push, unsigned *random);
/* One that is known, mostly young; NULL: there was none. */
struct storm_push *storm_some_push(struct storm *storm, unsigned *random);

/* 0: there is no record. */
enum push_state storm_recorded(struct storm *storm, const struct storm_push *push, size_t target);
/* Who waited was told, and its record says so, too. */
bool storm_is_over(struct storm *storm, const struct storm_push *push);

#endif
