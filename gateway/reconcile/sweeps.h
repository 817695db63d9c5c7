/*
 * Sweeps over the tags that should be at a target of the mirrors (gateway/reconcile/expected.h):
 *
 * - to reconcile: the registry is asked what each tag is there, a few at a time. What is absent is
 *   pushed again, and what is something else, unless the target leaves drift. No answer is not an
 *   answer: such tags are counted as unknown. Nobody is asked any more while the circuit of the
 *   registry is open, and after SWEEP_FAILURES_MAX requests in a row that failed; the rest is
 * unknown.
 * - to backfill: nobody is asked; what slipway has not pushed there is pushed.
 *
 * A push that a sweep makes is a record as any other. It is written in the change that finds the
 * tag of the front as it was, and it gives way to whatever else goes to its tag, so an image that
 * was accepted earlier never takes the place of one that was accepted later.
 *
 * At most one of a kind runs for a target; what came of the last one is kept. A sweep is no thread:
 * it takes steps as a work of the executor. With queue.reconcile all targets are reconciled so
 * often, one after the other.
 *
 * Lifecycle: sweeps_new, sweeps from any thread, sweeps_close (no new ones, those that run are
 * cancelled), sweeps_wait, sweeps_free before the queue.
 */
#ifndef SLIPWAY_GATEWAY_RECONCILE_SWEEPS_H
#define SLIPWAY_GATEWAY_RECONCILE_SWEEPS_H

#include "base/cancel.h"
#include "base/json.h"
#include "gateway/queue/push_queue.h"
#include "gateway/reconcile/sweep_kind.h"

struct sweeps;

struct sweeps *sweeps_new(struct runtime *runtime, struct push_queue *queue);
void sweeps_close(struct sweeps *sweeps);
/* After sweeps_close(). True when none runs any more; waits for it at most `ms`. */
bool sweeps_wait(struct sweeps *sweeps, int64_t ms);
void sweeps_free(struct sweeps *sweeps); /* NULL is a no-op */

struct sweep_order {
    enum sweep_kind kind;
    const char *target;    /* its name in the configuration; copied, as `match` */
    const char *match;     /* a pattern of repositories of the front; NULL: all */
    bool dry_run;          /* nothing is pushed, and all is counted as if it were */
    struct cancel *cancel; /* ends it; NULL: nobody's. Borrowed until ended() */
    /* Once, on a worker: with what came of it (owned). May be NULL. */
    void (*ended)(void *self, json_t *report);
    void *self;
};

/* Begin one. ERR_NOT_FOUND for a target that there is not, ERR_ALREADY_RUNS, ERR_STOPPING. */
enum errc sweeps_start(struct sweeps *sweeps, const struct sweep_order *order, struct error *err);

/* What came of the last one, or of the one that runs so far: owned, NULL when there was none. */
json_t *sweeps_report(struct sweeps *sweeps, enum sweep_kind kind, const char *target);

/* The configuration is another one: queue.reconcile may have been off, and begin now. */
void sweeps_changed(struct sweeps *sweeps);

/* False: none runs. It ends soon, and does not ask or push any more. */
bool sweeps_cancel(struct sweeps *sweeps, enum sweep_kind kind, const char *target);

#endif
