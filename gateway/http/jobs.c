#include "gateway/http/jobs_internal.h"

#include "base/clock.h"
#include "base/mem.h"

#include <assert.h>
#include <stddef.h>

#define BRIEF_AT_ONCE 16
#define LISTS_AT_ONCE 2

struct class_state {
    struct work_queue *queue;
    unsigned limit;
    unsigned unended;
};

struct jobs {
    struct class_state classes[JOB_CLASSES]; /* the queues are constant */
    pthread_mutex_t lock;                    /* guards what follows, and their counts */
    pthread_cond_t ended;
    TAILQ_HEAD(all_jobs, job) all; /* that have not ended */
    unsigned uploads;              /* the limit on receiving */
    unsigned receiving;            /* archives */
    unsigned unended;
    unsigned attached; /* connections that were not answered yet */
    bool closed;
};

/* ---- the table ---- */

static unsigned at_least_one(unsigned limit)
{
    return limit > 0 ? limit : 1;
}

struct jobs *jobs_new(const struct jobs_limits *limits, struct executor *executor)
{
    const unsigned most[JOB_CLASSES] = {[JOB_ARCHIVE] = limits->pushes,
                                        [JOB_BLOB] = limits->blobs,
                                        [JOB_PUSH] = limits->pushes,
                                        [JOB_BRIEF] = BRIEF_AT_ONCE,
                                        [JOB_LIST] = LISTS_AT_ONCE};
    struct jobs *jobs = xcalloc(1, sizeof *jobs);
    pthread_mutex_init(&jobs->lock, NULL);
    clock_cond_init(&jobs->ended);
    TAILQ_INIT(&jobs->all);
    jobs->uploads = limits->uploads;
    for (int i = 0; i < JOB_CLASSES; i++) {
        jobs->classes[i].limit = at_least_one(most[i]);
        jobs->classes[i].queue = work_queue_new(executor, NULL, jobs->classes[i].limit);
    }
    return jobs;
}

void jobs_free(struct jobs *jobs)
{
    if (jobs == NULL)
        return;
    assert(jobs->unended == 0);
    for (int i = 0; i < JOB_CLASSES; i++)
        work_queue_free(jobs->classes[i].queue);
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

static struct class_state *class_of(const struct job *job)
{
    return &job->jobs->classes[job->work.class];
}

static void list_locked(struct jobs *jobs, struct job *job)
{
    TAILQ_INSERT_HEAD(&jobs->all, job, link);
    class_of(job)->unended++;
    jobs->unended++;
    jobs->attached++;
}

static void unlist(struct job *job)
{
    struct jobs *jobs = job->jobs;
    pthread_mutex_lock(&jobs->lock);
    TAILQ_REMOVE(&jobs->all, job, link);
    class_of(job)->unended--;
    jobs->unended--;
    pthread_cond_broadcast(&jobs->ended);
    pthread_mutex_unlock(&jobs->lock);
}

bool job_keeps_others(struct job *job)
{
    return work_queue_waiting(class_of(job)->queue) > 0;
}

/* The work is over. */
static void finish(struct job *job)
{
    if (!job_answered(job)) {
        struct error err = ERROR_INIT;
        fail(&err, ERR_INTERNAL, 0, "the request was not answered");
        job_answer_error(job, &err);
    }
    job_received(job);
    job->work.free(job->work.self);
    unlist(job);
    job_unref(job);
}

static void on_work(struct work *item)
{
    struct job *job = (struct job *)((char *)item - offsetof(struct job, item));
    job_ref(job); /* a job that continues may be over before run() returns */
    job->work.run(job, job->work.self);
    if (!job->continues)
        finish(job);
    job_unref(job);
}

void job_continue(struct job *job)
{
    job->continues = true;
    work_hold(&job->item);
}

void job_over(struct job *job)
{
    work_release(&job->item);
    finish(job);
}

/* A job that never runs. */
static void refuse(struct job *job, const struct error *why)
{
    job_answer_error(job, why);
    finish(job);
}

struct job_list {
    struct job **jobs; /* owned array */
    size_t count;
};

/* Those that wait, and those that run, these with a reference each. */
static void list_all(struct jobs *jobs, struct job_list *waiting, struct job_list *running)
{
    struct job *job;
    pthread_mutex_lock(&jobs->lock);
    waiting->jobs = xcalloc(jobs->unended, sizeof(struct job *));
    running->jobs = xcalloc(jobs->unended, sizeof(struct job *));
    TAILQ_FOREACH(job, &jobs->all, link)
    {
        bool waits = work_cancel(class_of(job)->queue, &job->item);
        struct job_list *list = waits ? waiting : running;
        list->jobs[list->count++] = job;
        if (!waits)
            job_ref(job);
    }
    pthread_mutex_unlock(&jobs->lock);
}

void jobs_cancel(struct jobs *jobs)
{
    struct job_list waiting = {.count = 0};
    struct job_list running = {.count = 0};
    struct error why = ERROR_INIT;
    fail(&why, ERR_STOPPING, 0, "the gateway is stopping");
    list_all(jobs, &waiting, &running);
    for (size_t i = 0; i < running.count; i++) {
        job_interrupt(running.jobs[i], &why);
        cancel_request(&running.jobs[i]->cancel);
        job_unref(running.jobs[i]);
    }
    for (size_t i = 0; i < waiting.count; i++)
        refuse(waiting.jobs[i], &why);
    free(running.jobs);
    free(waiting.jobs);
}

/* ---- beginning one ---- */

static enum errc admit(struct jobs *jobs, struct job *job, struct error *err)
{
    const struct class_state *class = class_of(job);
    bool archive = job->work.class == JOB_ARCHIVE;
    enum errc rc = ERR_OK;
    pthread_mutex_lock(&jobs->lock);
    if (jobs->closed) {
        rc = fail(err, ERR_STOPPING, 0, "the gateway is stopping");
    } else if (archive && (class->unended >= class->limit || jobs->receiving >= jobs->uploads)) {
        rc = fail(err, ERR_BUSY, 0, "%u uploads and %u pushes are running, no more are taken now",
                  jobs->receiving, class->unended - jobs->receiving);
    } else {
        list_locked(jobs, job);
        job->receiving = archive;
        jobs->receiving += archive;
    }
    pthread_mutex_unlock(&jobs->lock);
    return rc;
}

enum errc job_start(struct jobs *jobs, const struct job_work *work, struct suspendable connection,
                    struct job **out, struct error *err)
{
    struct job *job = job_new(jobs, work, connection);
    if (admit(jobs, job, err) != ERR_OK) {
        job_free(job);
        return err->code;
    }
    job->item.run = on_work;
    *out = job;
    work_submit(class_of(job)->queue, &job->item);
    return ERR_OK;
}

/* ---- ending one ---- */

/* A request that nobody waits for and that has not begun is not begun. */
static void forget_if_queued(struct job *job)
{
    struct error why = ERROR_INIT;
    if (!work_cancel(class_of(job)->queue, &job->item))
        return;
    fail(&why, ERR_CLIENT_GONE, 0, "the client went away");
    refuse(job, &why);
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
