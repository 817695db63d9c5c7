/*
 * A fault that lasts for a while: set by whoever meets it, asked by whoever depends on it, waited
 * for by whoever looks after it.
 *
 * A fault passes or stays. One that passes is forgotten by fault_clear(); one that stays takes the
 * place of one that passes, and is never forgotten. Otherwise the first is kept: what follows is
 * mostly its consequence.
 *
 * Threads: any; one lock inside, under which nothing else is done.
 */
#ifndef SLIPWAY_BASE_FAULT_H
#define SLIPWAY_BASE_FAULT_H

#include "base/error.h"
#include "base/lock.h"

#include <stdint.h>

enum fault_state { FAULT_NONE, FAULT_PASSES, FAULT_STAYS };

struct fault {
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    enum fault_state state;
    struct error why;
    uint64_t changes;
};

void fault_init(struct fault *fault);
void fault_deinit(struct fault *fault);

/* `state` is not FAULT_NONE; `why` is a failure, and copied. */
void fault_set(struct fault *fault, enum fault_state state, const struct error *why);
void fault_clear(struct fault *fault);

/* *why untouched when there is none; it may be NULL. */
enum fault_state fault_now(struct fault *fault, struct error *why);

/* Wait at most `ms` until there was a change after the first `seen` ones, or fault_wake(); returns
 * how many there were. */
uint64_t fault_wait(struct fault *fault, uint64_t seen, int64_t ms);
void fault_wake(struct fault *fault);

#endif
