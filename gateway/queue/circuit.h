/*
 * Whether something that may be away (a registry, or credentials that a registry has to know) is
 * given work: the arithmetic of waiting, without threads and clocks.
 *
 * Closed: whatever comes may begin. Open, after a failure: nothing begins until a time, which is
 * farther away with each opening in a row (circuit_delay_ms()). Half open, from that time on: one
 * work may begin, the probe. Its failure opens the circuit again; each success doubles what may
 * begin, until that is the limit, and the circuit is closed.
 *
 * Failures count of works that began after the circuit was opened last, and ended when it was not
 * open: what was under way already when it opened fails with the first one, and says nothing new.
 * Successes count whenever their works began, those of works that nobody admitted too: who has just
 * been answered knows better than a clock, so they end the wait of an open circuit.
 *
 * One thread at a time.
 */
#ifndef SLIPWAY_GATEWAY_QUEUE_CIRCUIT_H
#define SLIPWAY_GATEWAY_QUEUE_CIRCUIT_H

#include <stdbool.h>
#include <stdint.h>

#define CIRCUIT_DELAY_MAX_MS 300000

enum circuit_state { CIRCUIT_CLOSED, CIRCUIT_HALF_OPEN, CIRCUIT_OPEN };

struct circuit {
    int64_t base_ms;   /* of the delays */
    unsigned limit;    /* works at once from which on it is closed */
    unsigned failures; /* openings since the last success */
    unsigned allowed;  /* works at once while it is half open */
    int64_t opened_ms; /* clock_ms() when it was opened last; 0: never */
    int64_t until_ms;  /* then: nothing begins before */
};

void circuit_init(struct circuit *circuit, int64_t base_ms, unsigned limit);

enum circuit_state circuit_state(const struct circuit *circuit, int64_t now_ms);

/* Did a work that began then begin before the circuit was opened last? It has no say. */
bool circuit_is_stale(const struct circuit *circuit, int64_t began_ms);

/* A work that began then has failed. True when that opens the circuit: nothing begins for the delay
 * or, where that is longer, for `asked_ms`. `jitter` is any number. */
bool circuit_failed(struct circuit *circuit, int64_t began_ms, int64_t now_ms, int64_t asked_ms,
                    uint32_t jitter);
/* One has succeeded. True when more may begin than before. */
bool circuit_succeeded(struct circuit *circuit, int64_t now_ms);

/* 2^(failed - 1) times the base, at most CIRCUIT_DELAY_MAX_MS, and up to a fifth more or less. */
int64_t circuit_delay_ms(int64_t base_ms, unsigned failed, uint32_t jitter);

#endif
