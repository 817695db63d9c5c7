/*
 * How many transfers a registry is given at a time, over all pushes: a counting gate that backs off
 * when the registry asks for it (RFC 6585 section 4, RFC 9110 sections 10.2.3 and 15.6.4).
 *
 * gate_enter .. gate_leave around an attempt of a transfer, any thread. Who waits looks at its stop
 * every STOP_POLL_MS. The order among those who wait is the scheduler's.
 *
 * Backing off: an answer 429 or 503 closes the gate for the time that the answer asks for, or, when
 * it names none, for the base wait times the number of such answers in a row. Nobody enters while
 * it is closed; those inside go on. At the same time the number allowed inside is halved, once a
 * closing (the answers to what was under way already say nothing new). Each gate_succeeded() allows
 * one more, up to the limit.
 */
#ifndef SLIPWAY_UPSTREAM_CLIENT_GATE_H
#define SLIPWAY_UPSTREAM_CLIENT_GATE_H

#include "base/stop.h"

#define GATE_CLOSED_MAX_MS 600000 /* whatever a registry asks for */
#define GATE_GROWN_MAX_MS 60000   /* when it does not say for how long */

struct gate {
    pthread_mutex_t lock; /* guards the rest */
    pthread_cond_t changed;
    unsigned limit;
    int64_t base_ms;
    unsigned allowed; /* 1 to limit */
    unsigned inside;
    unsigned refusals; /* closings since the last success */
    int64_t closed_until_ms;
};

/* At most `limit` (at least 1) inside; `base_ms` is the base wait. */
void gate_init(struct gate *gate, unsigned limit, int64_t base_ms);
void gate_deinit(struct gate *gate);

/* True when there was room: the caller is inside. Never waits. */
bool gate_try(struct gate *gate);

/* Waits for room. ERR_CANCELLED when stopped, and then the caller is not inside. */
enum errc gate_enter(struct gate *gate, const struct stop *stop, struct error *err);
void gate_leave(struct gate *gate);

/* Waits while the gate is closed, without going in: for what is not counted as a transfer. */
enum errc gate_wait_open(struct gate *gate, const struct stop *stop, struct error *err);

/* The registry answered 429 or 503. `asked_ms`: for how long to stay away; -1: it did not say. */
void gate_back_off(struct gate *gate, int64_t asked_ms);

/* A transfer came to its end. */
void gate_succeeded(struct gate *gate);

/* For how long the gate is still closed; 0 when it is open. */
int64_t gate_closed_ms(struct gate *gate);

/* How many may be inside now. */
unsigned gate_allowed(struct gate *gate);

#endif
