/*
 * Turns by name: who holds the turn of a name may do something slow, and others who want the same
 * name wait. A lock that can be held across requests, and given up waiting for.
 *
 * turns_take .. turns_give, any thread; different names do not wait for each other. Who waits looks
 * at its stop every STOP_POLL_MS. The order among those who wait is the scheduler's.
 */
#ifndef SLIPWAY_BASE_TURNS_H
#define SLIPWAY_BASE_TURNS_H

#include "base/stop.h"

struct turns {
    pthread_mutex_t lock; /* guards the rest */
    pthread_cond_t given;
    void *taken; /* tsearch tree of owned names: as many as there are holders */
};

void turns_init(struct turns *turns);
void turns_deinit(struct turns *turns);

/* Waits for the turn of `name`, which is copied. ERR_CANCELLED when stopped. */
enum errc turns_take(struct turns *turns, const char *name, const struct stop *stop,
                     struct error *err);
void turns_give(struct turns *turns, const char *name);

#endif
