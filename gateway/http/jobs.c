#include "gateway/http/jobs_internal.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/thread.h"

#include <assert.h>

#define BRIEF_THREADS 16

struct class_state {
    unsigned limit;   /* threads */
    unsigned running; /* threads */
    struct job *head; /* jobs that wait for one, oldest first */
    struct job **tail;
};

struct jobs {
    pthread_mutex_t lock;
    pthread_cond_t ended;
    struct class_state classes[JOB_CLASSES];
    struct job *first;  /* all that have not ended */
    unsigned uploads;   /* the limit on receiving */
    unsigned receiving; /* archives */
    unsigned unended;
    unsigned attached; /* connections that were not answered yet */
    bool closed;
};

/* ---- the table ---- */

static unsigned at_least_one(unsigned limit)
{
    return limit > 0 ? limit : 1;
}

struct jobs *jobs_new(const struct jobs_limits *limits)
{
    struct jobs *jobs = xcalloc(1, sizeof *jobs);
    pthread_mutex_init(&jobs->lock, NULL);
    clock_cond_init(&jobs->ended);
    jobs->uploads = limits->uploads;
    jobs->classes[JOB_ARCHIVE].limit = at_least_one(limits->pushes);
    jobs->classes[JOB_BLOB].limit = at_least_one(limits->blobs);
    jobs->classes[JOB_PUSH].limit = at_least_one(limits->pushes);
    jobs->classes[JOB_BRIEF].limit = BRIEF_THREADS;
    for (int i = 0; i < JOB_CLASSES; i++)
        jobs->classes[i].tail = &jobs->classes[i].head;
    return jobs;
}

void jobs_free(struct jobs *jobs)
{
    if (jobs == NULL)
        return;
    assert(jobs->unended == 0);
    pthread_cond_destroy(&jobs->ended);
    pthread_mutex_destroy(&jobs->lock);
    free(jobs);
}

void jobs_close(struct jobs *jobs)
{
    pthread_mutex_lock(&jobs->lock);
    jobs->closed = true;
    pthread_mutex_unlock(&jobs->lock);
}

bool jobs_closed(struct jobs *jobs)
{
    pthread_mutex_lock(&jobs->lock);
    bool closed = jobs->closed;
    pthread_mutex_unlock(&jobs->lock);
    return closed;
}

bool jobs_wait(struct jobs *jobs, int64_t ms)
{
    struct timespec until = clock_deadline(ms);
    int rc = 0;
    pthread_mutex_lock(&jobs->lock);
    while (jobs->unended + jobs->attached > 0 && rc == 0)
        rc = pthread_cond_timedwait(&jobs->ended, &jobs->lock, &until);
    bool none = jobs->unended + jobs->attached == 0;
    pthread_mutex_unlock(&jobs->lock);
    return none;
}

static void detach(struct jobs *jobs)
{
    pthread_mutex_lock(&jobs->lock);
    jobs->attached--;
    pthread_cond_broadcast(&jobs->ended);
    pthread_mutex_unlock(&jobs->lock);
}

/* The functions named ..._locked are called with the table's lock. */

static void list_locked(struct jobs *jobs, struct job *job)
{
    job->next = jobs->first;
    if (job->next)
        job->next->previous = job;
    jobs->first = job;
    jobs->unended++;
    jobs->attached++;
}

static void unlist_locked(struct jobs *jobs, struct job *job)
{
    if (job->previous)
        job->previous->next = job->next;
    else
        jobs->first = job->next;
    if (job->next)
        job->next->previous = job->previous;
    jobs->unended--;
    pthread_cond_broadcast(&jobs->ended);
}

static void queue_locked(struct class_state *class, struct job *job)
{
    job->queued = true;
    job->behind = NULL;
    *class->tail = job;
    class->tail = &job->behind;
}

static struct job *unqueue_locked(struct class_state *class, struct job **at)
{
    struct job *job = *at;
    *at = job->behind;
    if (*at == NULL)
        class->tail = at;
    job->behind = NULL;
    job->queued = false;
    return job;
}

static bool unqueue_this_locked(struct class_state *class, struct job *job)
{
    if (!job->queued)
        return false;
    struct job **at = &class->head;
    while (*at != job)
        at = &(*at)->behind;
    unqueue_locked(class, at);
    return true;
}

static struct class_state *class_of(const struct job *job)
{
    return &job->jobs->classes[job->work.class];
}

bool job_keeps_others(struct job *job)
{
    pthread_mutex_lock(&job->jobs->lock);
    bool keeps = class_of(job)->head != NULL;
    pthread_mutex_unlock(&job->jobs->lock);
    return keeps;
}

/* The work is over; the caller unlists the job next. */
static void finish(struct job *job)
{
    if (!job_answered(job)) {
        struct error err = ERROR_INIT;
        fail(&err, ERR_INTERNAL, 0, "the request was not answered");
        job_answer_error(job, &err);
    }
    job_received(job);
    job->work.free(job->work.self);
}

static void *job_thread(void *arg)
{
    struct job *job = arg;
    struct jobs *jobs = job->jobs;
    struct class_state *class = class_of(job);
    while (job) {
        struct log_scope outer = log_scope_enter(&job->scope);
        job->work.run(job, job->work.self);
        finish(job);
        log_scope_end(&outer);

        pthread_mutex_lock(&jobs->lock);
        struct job *next = class->head ? unqueue_locked(class, &class->head) : NULL;
        if (next == NULL)
            class->running--;
        unlist_locked(jobs, job);
        pthread_mutex_unlock(&jobs->lock);
        job_unref(job);
        job = next;
    }
    return NULL;
}

/* Jobs that were taken out of their queue and will never run. */
static void refuse_all(struct job *jobs, const struct error *why)
{
    for (struct job *job = jobs, *next; job; job = next) {
        next = job->behind;
        job_answer_error(job, why);
        finish(job);
        pthread_mutex_lock(&job->jobs->lock);
        unlist_locked(job->jobs, job);
        pthread_mutex_unlock(&job->jobs->lock);
        job_unref(job);
    }
}

static struct job *take_queue_locked(struct class_state *class)
{
    struct job *all = class->head;
    for (struct job *job = all; job; job = job->behind)
        job->queued = false;
    class->head = NULL;
    class->tail = &class->head;
    return all;
}

void jobs_cancel(struct jobs *jobs)
{
    struct job *waiting[JOB_CLASSES];
    struct error why = ERROR_INIT;
    fail(&why, ERR_STOPPING, 0, "the gateway is stopping");
    pthread_mutex_lock(&jobs->lock);
    for (int i = 0; i < JOB_CLASSES; i++)
        waiting[i] = take_queue_locked(&jobs->classes[i]);
    for (struct job *job = jobs->first; job; job = job->next) {
        job_interrupt(job, &why);
        cancel_request(&job->cancel);
    }
    pthread_mutex_unlock(&jobs->lock);
    for (int i = 0; i < JOB_CLASSES; i++)
        refuse_all(waiting[i], &why);
}

/* ---- beginning one ---- */

/* *run: a thread has to be made for it; else it waits for one. */
static enum errc admit(struct jobs *jobs, struct job *job, bool *run, struct error *err)
{
    struct class_state *class = class_of(job);
    bool archive = job->work.class == JOB_ARCHIVE;
    enum errc rc = ERR_OK;
    pthread_mutex_lock(&jobs->lock);
    bool room = class->running < class->limit;
    if (jobs->closed) {
        rc = fail(err, ERR_STOPPING, 0, "the gateway is stopping");
    } else if (archive && (!room || jobs->receiving >= jobs->uploads)) {
        rc = fail(err, ERR_BUSY, 0, "%u uploads and %u pushes are running, no more are taken now",
                  jobs->receiving, class->running - jobs->receiving);
    } else {
        list_locked(jobs, job);
        job->receiving = archive;
        jobs->receiving += archive;
        class->running += room;
        if (!room)
            queue_locked(class, job);
        *run = room;
    }
    pthread_mutex_unlock(&jobs->lock);
    return rc;
}

/* There is no thread for it, and those that began to wait meanwhile may have counted on that. */
static enum errc give_up(struct jobs *jobs, struct job *job, int sys, struct error *err)
{
    struct class_state *class = class_of(job);
    struct job *waiting = NULL;
    fail(err, ERR_IO, sys, "start a thread for the request");
    job_received(job);
    pthread_mutex_lock(&jobs->lock);
    if (--class->running == 0)
        waiting = take_queue_locked(class);
    unlist_locked(jobs, job);
    jobs->attached--;
    pthread_mutex_unlock(&jobs->lock);
    job_free(job);
    refuse_all(waiting, err);
    return err->code;
}

enum errc job_start(struct jobs *jobs, const struct job_work *work, struct suspendable connection,
                    struct job **out, struct error *err)
{
    struct job *job = job_new(jobs, work, connection);
    bool run = false;
    if (admit(jobs, job, &run, err) != ERR_OK) {
        job_free(job);
        return err->code;
    }
    int rc = run ? thread_detached(job_thread, job) : 0;
    if (rc != 0)
        return give_up(jobs, job, rc, err);
    *out = job;
    return ERR_OK;
}

/* ---- ending one ---- */

/* A request that nobody waits for and that has not begun is not begun. */
static void forget_if_queued(struct job *job)
{
    struct jobs *jobs = job->jobs;
    pthread_mutex_lock(&jobs->lock);
    bool queued = unqueue_this_locked(class_of(job), job);
    pthread_mutex_unlock(&jobs->lock);
    if (!queued)
        return;
    struct error why = ERROR_INIT;
    fail(&why, ERR_CLIENT_GONE, 0, "the client went away");
    refuse_all(job, &why);
}

void job_drop(struct job *job, bool complete)
{
    struct jobs *jobs = job->jobs;
    if (!complete) {
        struct error why = ERROR_INIT;
        fail(&why, ERR_CLIENT_GONE, 0, "the client went away before the request was complete");
        ring_fail(job->ring, &why);
    }
    job_lose_connection(job);
    if (!complete)
        forget_if_queued(job);
    detach(jobs);
    job_unref(job);
}

void job_received(struct job *job)
{
    struct jobs *jobs = job->jobs;
    ring_discard(job->ring);
    pthread_mutex_lock(&jobs->lock);
    jobs->receiving -= job->receiving;
    job->receiving = false;
    pthread_mutex_unlock(&jobs->lock);
}
