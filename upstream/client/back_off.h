/*
 * How many requests a registry is given at a time, over all pushes: the limit of its queues, and
 * less when the registry asks for it (RFC 6585 section 4, RFC 9110 sections 10.2.3 and 15.6.4).
 *
 * An answer 429 or 503 pauses the queues for the time that the answer asks for or, when it names
 * none, for the base wait times the number of such answers in a row. What runs goes on. At the same
 * time the number of transfers that may run is halved, once a pause (the answers to what was under
 * way already say nothing new). Each back_off_succeeded() allows one more, up to the limit.
 *
 * Threads: any; one lock inside.
 */
#ifndef SLIPWAY_UPSTREAM_CLIENT_BACK_OFF_H
#define SLIPWAY_UPSTREAM_CLIENT_BACK_OFF_H

#include "base/executor.h"

#include <pthread.h>

#define BACK_OFF_ASKED_MAX_MS 600000 /* whatever a registry asks for */
#define BACK_OFF_GROWN_MAX_MS 60000  /* when it does not say for how long */

struct back_off {
    struct work_queue *transfers; /* borrowed; NULL: nothing is queued */
    struct work_queue *requests;
    const char *registry; /* borrowed; its name */
    unsigned limit;
    int64_t base_ms;
    pthread_mutex_t lock; /* guards what follows */
    unsigned allowed;     /* transfers at a time: 1 to limit */
    unsigned refusals;    /* pauses since the last success */
    int64_t until_ms;
    bool failed; /* since the last success */
};

/* `limit` (at least 1) is that of `transfers`; `base_ms` is the base wait. */
void back_off_init(struct back_off *back_off, const char *registry, struct work_queue *transfers,
                   struct work_queue *requests, unsigned limit, int64_t base_ms);
void back_off_deinit(struct back_off *back_off);

/* The registry answered 429 or 503. `asked_ms`: for how long to stay away; -1: it did not say. */
void back_off_refused(struct back_off *back_off, int64_t asked_ms);

/* A transfer came to its end. */
void back_off_succeeded(struct back_off *back_off);

/* True for the first failure since something came to its end: the others are the same trouble. */
bool back_off_first_failure(struct back_off *back_off);

/* For how long nothing begins; 0: it may. */
int64_t back_off_left_ms(struct back_off *back_off);

/* How many transfers may run at a time now. */
unsigned back_off_allowed(struct back_off *back_off);

#endif
