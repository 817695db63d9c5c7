/*
 * Sweeps, for the files that make them: sweeps.c (the table), sweep.c (a run), sweep_push.c (what
 * is pushed again). All of a sweep is under the table's lock, but for `expected`, which is the
 * step's.
 */
#ifndef SLIPWAY_GATEWAY_RECONCILE_SWEEP_INTERNAL_H
#define SLIPWAY_GATEWAY_RECONCILE_SWEEP_INTERNAL_H

#include "base/cancel.h"
#include "base/json.h"
#include "gateway/queue/push_queue.h"
#include "gateway/reconcile/expected.h"
#include "gateway/reconcile/sweep_kind.h"
#include "upstream/client/tag_ask.h"

#include <pthread.h>

/* What a tag was found to be. */
enum finding {
    FOUND_SAME,
    FOUND_ABSENT,
    FOUND_OTHER,
    FOUND_DRIFTED, /* other, and left */
    FOUND_UNKNOWN,
    FOUND_PENDING, /* something is on its way there */
    FOUND_PUSHED,  /* backfill: slipway has pushed this digest there */
    FOUND_MISSING, /* backfill: it has not */
    FOUND_LOST,    /* it cannot be pushed: what it needs is not held any more */
};
#define FINDINGS (FOUND_LOST + 1)

enum sweep_state { SWEEP_RUNS, SWEEP_DONE, SWEEP_CANCELLED, SWEEP_FAILED };

struct sweeps;
struct sweep;

/* A question to the registry. */
struct sweep_ask {
    struct tag_ask ask;
    struct sweep *sweep;
    struct expected_tag tag;
    char as_of[PUSH_ID_MAX];
    bool used;
};

struct sweep {
    struct sweep *next; /* of the table */
    struct sweeps *sweeps;
    enum sweep_kind kind;
    char target[TARGET_NAME_MAX + 1];
    char *match; /* owned; NULL: all */
    bool dry_run;
    void (*ended)(void *self, json_t *report);
    void *self;
    const struct settings *settings; /* as they were at its start; a reference */
    const struct mirror_target_setting *setting;
    struct expected *expected; /* owned; NULL: it has ended */
    struct work step;
    bool stepping; /* the step is queued or runs */
    bool again;    /* and is to be taken once more */
    bool exhausted;
    struct cancel *parent; /* borrowed; NULL: none */
    struct cancel_watch watch;
    bool cancelled;
    struct sweep_ask asks[SWEEP_ASKS_MAX];
    size_t asking;
    unsigned failures; /* in a row */
    bool gave_up;      /* nobody is asked any more, for `error` */
    /* what came of it */
    enum sweep_state state;
    int64_t begun_s;
    int64_t ended_s; /* 0: it runs */
    size_t found[FINDINGS];
    size_t queued;
    json_t *items; /* owned */
    size_t unlisted;
    struct error error; /* SWEEP_FAILED, or `gave_up` */
};

struct sweeps {
    struct runtime *runtime;
    struct push_queue *queue;
    struct work_queue *steps;
    pthread_mutex_t lock; /* guards what follows, and the sweeps */
    pthread_cond_t idle;
    struct sweep *first; /* owned: of each kind and target the last one */
    size_t running;      /* sweeps, and the clock */
    struct work clock;   /* queue.reconcile */
    bool clock_waits;
    bool rounds;        /* queue.reconcile is on: its clock waits, or a sweep of it runs */
    size_t next_target; /* of those that the clock reconciles, one after the other */
    bool closed;
};

/* --- sweeps.c; with the lock --- */

/* It takes a step, unless it has ended. */
void sweep_wake(struct sweep *sweep);
json_t *sweep_report(const struct sweep *sweep);

/* --- sweep.c --- */

void sweep_step(struct work *work);
void sweep_on_cancel(void *self);

/* --- sweep_push.c --- */

enum pushed_again {
    AGAIN_QUEUED,
    AGAIN_PENDING, /* the tag moved meanwhile, or something else goes to it */
    AGAIN_LOST,    /* the image is not held any more: `err` */
};

/* Without the lock. Errors of the store; ERR_OK for all of the above. */
enum errc sweep_push(struct sweep *sweep, const struct expected_tag *tag, const char *as_of,
                     enum pushed_again *out, struct error *err);

#endif
