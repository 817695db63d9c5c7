#include "base/fault.h"

#include "base/clock.h"

#include <assert.h>

void fault_init(struct fault *fault)
{
    *fault = (struct fault){.state = FAULT_NONE};
    pthread_mutex_init(&fault->lock, NULL);
    clock_cond_init(&fault->changed);
}

void fault_deinit(struct fault *fault)
{
    pthread_cond_destroy(&fault->changed);
    pthread_mutex_destroy(&fault->lock);
}

/* With the lock. */
static void tell(struct fault *fault)
{
    fault->changes++;
    pthread_cond_broadcast(&fault->changed);
}

void fault_set(struct fault *fault, enum fault_state state, const struct error *why)
{
    assert(state != FAULT_NONE && why->code != ERR_OK);
    autolock pthread_mutex_t *held = lock_take(&fault->lock);
    if (state > fault->state) {
        fault->state = state;
        fault->why = *why;
        tell(fault);
    }
}

void fault_clear(struct fault *fault)
{
    autolock pthread_mutex_t *held = lock_take(&fault->lock);
    if (fault->state == FAULT_PASSES) {
        fault->state = FAULT_NONE;
        tell(fault);
    }
}

enum fault_state fault_now(struct fault *fault, struct error *why)
{
    autolock pthread_mutex_t *held = lock_take(&fault->lock);
    enum fault_state state = fault->state;
    if (state != FAULT_NONE && why != NULL)
        *why = fault->why;
    return state;
}

uint64_t fault_wait(struct fault *fault, uint64_t seen, int64_t ms)
{
    struct timespec until = clock_deadline(ms);
    autolock pthread_mutex_t *held = lock_take(&fault->lock);
    for (int rc = 0; fault->changes == seen && rc == 0;)
        rc = pthread_cond_timedwait(&fault->changed, &fault->lock, &until);
    uint64_t changes = fault->changes;
    return changes;
}

void fault_wake(struct fault *fault)
{
    autolock pthread_mutex_t *held = lock_take(&fault->lock);
    tell(fault);
}
