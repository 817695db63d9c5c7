/*
 * A job, for the two files that make jobs: jobs.c (the table: counts and queues) and job.c
 * (one of them: its connection, its body, its reply).
 */
#ifndef SLIPWAY_GATEWAY_HTTP_JOBS_INTERNAL_H
#define SLIPWAY_GATEWAY_HTTP_JOBS_INTERNAL_H

#include "base/log.h"
#include "base/ring.h"
#include "gateway/http/jobs.h"

/* How a body comes in: what was spent waiting for it, and what it brought, since the last look. */
struct job_pace {
    int64_t waited_ms;
    size_t bytes;
};

/* Adds a wait and what it brought. True once for every CLIENT_IDLE_MS that brought less than
 * CLIENT_PACE_BYTES. */
bool job_pace_is_slow(struct job_pace *pace, int64_t waited_ms, size_t bytes);

struct job {
    struct work item; /* in the queue of its class */
    struct jobs *jobs;
    struct job_work work;
    struct suspendable connection;
    struct ring *ring;
    struct cancel cancel;

    TAILQ_ENTRY(job) link; /* the table's, under its lock, as what follows */
    bool receiving;        /* it counts as such */

    struct job_pace pace; /* its worker's */
    bool continues;       /* job_continue() was called */

    pthread_mutex_t lock;
    unsigned references;
    bool answered;
    bool waiting; /* the connection is suspended until it is answered */
    bool gone;    /* the connection is over */
    struct reply reply;
    struct error interrupted;
};

/* With two references, the connection's and the work's. work->self is borrowed. */
struct job *job_new(struct jobs *jobs, const struct job_work *work, struct suspendable connection);
/* When it has not become anybody's: both references at once. */
void job_free(struct job *job);
void job_ref(struct job *job);
void job_unref(struct job *job);

/* Others of its class wait. */
bool job_keeps_others(struct job *job);

bool job_answered(struct job *job);
void job_answer_error(struct job *job, const struct error *err);

/* The connection is over; what of the reply it did not take is dropped. */
void job_lose_connection(struct job *job);

#endif
