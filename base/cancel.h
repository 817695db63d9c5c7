/*
 * A flag by which one thread asks others to stop what they do, and on which they can wait.
 *
 * Set once, never cleared. Any thread may set, ask or wait; the owner destroys it after all of them
 * are done with it. Asking is one atomic load, cheap enough for inner loops.
 */
#ifndef SLIPWAY_BASE_CANCEL_H
#define SLIPWAY_BASE_CANCEL_H

#include "base/error.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

struct cancel {
    atomic_bool requested;
    pthread_mutex_t lock;
    pthread_cond_t changed;
};

void cancel_init(struct cancel *cancel);
void cancel_deinit(struct cancel *cancel);

/* Wakes every waiter. Not async-signal-safe. */
void cancel_request(struct cancel *cancel);
bool cancel_requested(const struct cancel *cancel);

/* Wait `ms` milliseconds or until cancelled, whichever is first; true when cancelled. */
bool cancel_wait(struct cancel *cancel, int64_t ms);

/* ERR_CANCELLED when cancelled, else ERR_OK. */
enum errc cancel_check(const struct cancel *cancel, struct error *err);

#endif
