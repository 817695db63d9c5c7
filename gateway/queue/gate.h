/*
 * Who waits for a registry host, for credentials, or for an operator: a circuit, and the entries of
 * the queue that may not begin because of it.
 *
 * A gate is asked before an entry of a push after the answer begins (gate_admits()), and told how
 * that ended. What is not admitted is kept, in the order in which it came, until the gate lets it
 * go: at the time until which its circuit is open, after a success, or when an operator says so.
 *
 * All of it is under the queue's lock, which the gate's owner takes when its clock runs.
 */
#ifndef SLIPWAY_GATEWAY_QUEUE_GATE_H
#define SLIPWAY_GATEWAY_QUEUE_GATE_H

#include "gateway/queue/circuit.h"

#include <stddef.h>
#include <sys/queue.h>

struct gate;

/* Of an entry: where it is kept. */
struct gate_place {
    struct gate *gate; /* NULL: nowhere */
    TAILQ_ENTRY(gate_place) link;
};
TAILQ_HEAD(gate_places, gate_place);

struct gate {
    struct circuit circuit;
    bool paused;             /* by an operator */
    unsigned under_way;      /* admitted since the circuit was opened last */
    int64_t succeeded_ms;    /* clock_ms() of the last success; 0: none */
    struct gate_places kept; /* first come, first served */
    size_t kept_count;
    void (*begin)(struct gate_place *place); /* its entry is asked again whether it may begin */
};

void gate_init(struct gate *gate, int64_t base_ms, unsigned limit,
               void (*begin)(struct gate_place *place));

bool gate_admits(const struct gate *gate, int64_t now_ms);
/* It begins, now. Returns as when: later than the circuit was opened last, even where that was in
 * this millisecond. */
int64_t gate_enter(struct gate *gate, int64_t now_ms);
/* One that began then does not, after all; or it has ended without a word about the gate. */
void gate_leave(struct gate *gate, int64_t began_ms);
/* The gate was closed since then: what has not run yet is to be asked again. */
bool gate_is_stale(const struct gate *gate, int64_t began_ms);

/* How one ended that began then, and has left, or has never entered. True: the circuit is open now,
 * until gate->circuit.until_ms. False: the failure says nothing new, or others have succeeded
 * meanwhile; then its place is another's. */
bool gate_failed(struct gate *gate, int64_t began_ms, int64_t now_ms, int64_t asked_ms);
void gate_succeeded(struct gate *gate, int64_t now_ms);

void gate_keep(struct gate *gate, struct gate_place *place);
/* Out of the gate that keeps it; a no-op where none does. */
void gate_give_back(struct gate_place *place);

/* Let go what may begin: after a success, at circuit.until_ms, after a change of `paused`. */
void gate_release(struct gate *gate, int64_t now_ms);

#endif
