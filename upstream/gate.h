/*
 * How many transfers a registry is given at a time, over all pushes: a counting gate.
 *
 * gate_enter .. gate_leave around a transfer, any thread. Who waits looks at its stop every
 * STOP_POLL_MS. The order among those who wait is the scheduler's.
 */
#ifndef SLIPWAY_UPSTREAM_GATE_H
#define SLIPWAY_UPSTREAM_GATE_H

#include "upstream/stop.h"

struct gate {
    pthread_mutex_t lock; /* guards the rest */
    pthread_cond_t left;
    unsigned limit;
    unsigned inside;
};

void gate_init(struct gate *gate, unsigned limit);
void gate_deinit(struct gate *gate);

/* True when there was room: the caller is inside. Never waits. */
bool gate_try(struct gate *gate);

/* Waits for room. ERR_CANCELLED when stopped, and then the caller is not inside. */
enum errc gate_enter(struct gate *gate, const struct stop *stop, struct error *err);
void gate_leave(struct gate *gate);

#endif
