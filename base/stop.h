/*
 * When a thread of a push has to end: because the caller cancelled the push, or because another
 * part of the same push failed and the rest is of no use any more.
 *
 * A value shared by the threads of one push to one target; the cancel is borrowed. Asking costs two
 * atomic loads. A NULL stop never stops.
 */
#ifndef SLIPWAY_BASE_STOP_H
#define SLIPWAY_BASE_STOP_H

#include "base/cancel.h"
#include "base/clock.h"

struct stop {
    const struct cancel *cancel; /* the caller's; NULL when it has none */
    atomic_bool failed;          /* a sibling failed */
};

static inline void stop_init(struct stop *stop, const struct cancel *cancel)
{
    stop->cancel = cancel;
    atomic_init(&stop->failed, false);
}

static inline void stop_siblings(struct stop *stop)
{
    atomic_store(&stop->failed, true);
}

static inline bool stop_cancelled(const struct stop *stop)
{
    return stop && stop->cancel && cancel_requested(stop->cancel);
}

static inline bool stop_requested(const struct stop *stop)
{
    return stop_cancelled(stop) || (stop && atomic_load(&stop->failed));
}

/* ERR_CANCELLED when it is time to end. */
static inline enum errc stop_check(const struct stop *stop, struct error *err)
{
    if (stop_cancelled(stop))
        return fail(err, ERR_CANCELLED, 0, "cancelled");
    if (stop_requested(stop))
        return fail(err, ERR_CANCELLED, 0, "stopped because another part of the push failed");
    return ERR_OK;
}

/* The longest that a waiting thread is blind to its stop. */
#define STOP_POLL_MS 100

/* One turn of a wait loop on `changed` (a clock_cond_init() condition): returns when signalled or
 * after STOP_POLL_MS, so that the loop can look at its stop. */
static inline void stop_wait_turn(pthread_cond_t *changed, pthread_mutex_t *lock)
{
    struct timespec until = clock_deadline(STOP_POLL_MS);
    pthread_cond_timedwait(changed, lock, &until);
}

/* Wait `ms`, or until it is time to end (seen within STOP_POLL_MS): then true. */
bool stop_wait(const struct stop *stop, int64_t ms);

#endif
