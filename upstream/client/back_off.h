/*
 * How many requests a registry is given at a time, over all pushes: the limit of its queues, and
 * less when the registry asks for it (RFC 6585 section 4, RFC 9110 sections 10.2.3 and 15.6.4).
 *
 * An answer 429 or 503 pauses the queues for the time that the answer asks for or, when it names
 * none, for the base wait times the number of such answers in a row. What runs goes on. At the same
 * time the number of transfers that may run is halved, and that of small ones, once a pause (the
 * answers to what was under way already say nothing new). Each back_off_succeeded() allows one more
 * of both, up to their limits.
 *
 * Threads: any; one lock inside.
 */
#ifndef SLIPWAY_UPSTREAM_CLIENT_BACK_OFF_H
#define SLIPWAY_UPSTREAM_CLIENT_BACK_OFF_H

#include "base/executor.h"

#include <pthread.h>

#define BACK_OFF_ASKED_MAX_MS 600000 /* whatever a registry asks for */
#define BACK_OFF_GROWN_MAX_MS 60000  /* when it does not say for how long */

/* A queue whose limit is less while a registry is busy. */
struct bounded_queue {
    struct work_queue *queue; /* borrowed; NULL: nothing is queued */
    unsigned limit;           /* at least 1 */
    unsigned allowed;         /* 1 to limit; back_off's */
};

struct back_off {
    struct work_queue *requests;
    const char *registry; /* borrowed; its name */
    int64_t base_ms;
    pthread_mutex_t lock; /* guards what follows */
    struct bounded_queue transfers;
    struct bounded_queue small;
    unsigned refusals; /* pauses since the last success */
    int64_t until_ms;
    bool failed; /* since the last success */
};

/* `base_ms` is the base wait. `requests` is only paused, its limit stays. */
void back_off_init(struct back_off *back_off, const char *registry, struct bounded_queue transfers,
                   struct bounded_queue small, struct work_queue *requests, int64_t base_ms);
void back_off_deinit(struct back_off *back_off);

/* The registry answered 429 or 503. `asked_ms`: for how long to stay away; -1: it did not say. */
void back_off_refused(struct back_off *back_off, int64_t asked_ms);

/* A transfer came to its end. */
void back_off_succeeded(struct back_off *back_off);

/* True for the first failure since something came to its end: the others are the same trouble. */
bool back_off_first_failure(struct back_off *back_off);

/* For how long nothing begins; 0: it may. */
int64_t back_off_left_ms(struct back_off *back_off);

/* How many transfers, and small ones, may run at a time now. */
unsigned back_off_allowed(struct back_off *back_off);
unsigned back_off_allowed_small(struct back_off *back_off);

#endif
