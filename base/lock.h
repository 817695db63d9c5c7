/*
 * A mutex that is held to the end of a scope, whichever way that is left:
 *
 *     autolock pthread_mutex_t *held = lock_take(&pool->lock);
 */
#ifndef SLIPWAY_BASE_LOCK_H
#define SLIPWAY_BASE_LOCK_H

#include <pthread.h>

/* Gives up the lock at the end of the annotated variable's scope. */
#define autolock __attribute__((unused, cleanup(lock_give)))

static inline pthread_mutex_t *lock_take(pthread_mutex_t *lock)
{
    pthread_mutex_lock(lock);
    return lock;
}

static inline void lock_give(pthread_mutex_t **held)
{
    pthread_mutex_unlock(*held);
}

#endif
