/*
 * A job, for the files that make jobs: jobs.c (the table: counts and queues), job_turns.c (who
 * loses its place) and job.c (one of them: its connection, its body, its reply).
 */
#ifndef SLIPWAY_GATEWAY_HTTP_JOBS_INTERNAL_H
#define SLIPWAY_GATEWAY_HTTP_JOBS_INTERNAL_H

#include "base/log.h"
#include "base/ring.h"
#include "gateway/http/jobs.h"
#include "gateway/http/places.h"

/* How a body comes in: time that its worker spent waiting for the client, and what that brought, in
 * windows of CLIENT_PACE_MS. Other time does not count: a disk or a registry may be slow. */
struct job_pace {
    int64_t waits_ms;  /* its worker waits since then; 0: it does not */
    int64_t waited_ms; /* in this window */
    size_t bytes;      /* in this window */
    bool judged;       /* there was a window before, which brought: */
    size_t last_bytes;
};

/* At `now_ms`, `bytes` came or none: a window of `window_ms` that is over begins anew. */
void job_pace_note(struct job_pace *pace, int64_t now_ms, size_t bytes, int64_t window_ms);

/* Less than that in the last window, and not more since. */
bool job_pace_below(const struct job_pace *pace, size_t bytes);

struct job {
    struct work item; /* in the queue of its class */
    struct jobs *jobs;
    struct job_work work;
    struct peer peer;
    struct net_address share; /* whose its places are */
    struct ring *ring;
    struct cancel cancel;
    struct log_scope scope; /* of the thread that began it */

    TAILQ_ENTRY(job) link; /* the table's, under its lock, as what follows */
    TAILQ_ENTRY(job) turn; /* among those that wait */
    bool queued;           /* it is among them */
    int64_t queued_ms;     /* since when */
    bool placed;           /* it has a place */
    bool document;         /* it has one of JOB_DOCUMENTS_MAX */

    bool continues; /* job_continue() was called */

    pthread_mutex_t lock;
    unsigned references;
    bool answered;
    bool waiting;  /* the connection is suspended until it is answered */
    bool gone;     /* the connection is over */
    bool complete; /* all of its body came */
    bool ended;    /* by job_end_early() */
    struct job_pace pace;
    struct reply reply;
    struct error interrupted;
};

struct class_state {
    struct work_queue *queue;
    TAILQ_HEAD(turns, job) turns; /* that wait, in their order */
    struct places places;         /* archives: of bodies; else of those that run */
    unsigned limit;
    unsigned unended;
};

struct jobs {
    struct class_state classes[JOB_CLASSES]; /* the queues are constant */
    pthread_mutex_t lock;                    /* guards what follows, and the rest of the classes */
    pthread_cond_t ended;
    TAILQ_HEAD(all_jobs, job) all; /* that have not ended */
    struct places requests;        /* that were not answered yet, by whom */
    unsigned unended;
    struct places documents; /* large ones in memory, by whom */
    pthread_cond_t document_over;
    bool closed;
};

/* With two references, the connection's and the work's. work->self is borrowed. */
struct job *job_new(struct jobs *jobs, const struct job_work *work, const struct peer *peer);
/* When it has not become anybody's: both references at once. */
void job_free(struct job *job);
void job_ref(struct job *job);
void job_unref(struct job *job);

void job_answer_error(struct job *job, const struct error *err);

bool job_is_gone(struct job *job);

/* The connection is over; what of the reply it did not take is dropped. */
void job_lose_connection(struct job *job);

/* How its body comes in, judged now; false when no more of it is waited for. */
bool job_receives(struct job *job, int64_t now_ms, int64_t window_ms, struct job_pace *pace);

/* It is about to be ended early: no more of its body is waited for. */
void job_mark_ended(struct job *job, bool ended);

/* Under the table's lock. True: it has not begun, and is to be refused. */
bool job_take_back_locked(struct job *job);
/* A job that never runs. */
void job_refuse(struct job *job, const struct error *why);

/* The client has not brought all of its body, nor so much of it. */
bool job_lacks(struct job *job, size_t bytes);

/* Its body ends with this error, and its connection with the answer to that, whatever the client
 * still sends. */
void job_end_early(struct job *job, const struct error *why);

#endif
