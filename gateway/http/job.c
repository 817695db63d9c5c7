#include "gateway/http/jobs_internal.h"

#include "base/clock.h"
#include "base/mem.h"

#include <assert.h>

#define ARCHIVE_RING_BYTES ((size_t)1 << 20)
#define RING_BYTES ((size_t)256 << 10)
#define BRIEF_RING_BYTES ((size_t)4 << 10)
#define GATHER_MS 500

static void resume_connection(void *arg)
{
    struct job *job = arg;
    suspendable_resume(&job->connection);
}

static size_t ring_bytes(enum job_class class)
{
    switch (class) {
    case JOB_ARCHIVE:
        return ARCHIVE_RING_BYTES;
    case JOB_BRIEF:
    case JOB_LIST:
        return BRIEF_RING_BYTES;
    case JOB_BLOB:
    case JOB_PUSH:
        break;
    }
    return RING_BYTES;
}

struct job *job_new(struct jobs *jobs, const struct job_work *work, struct suspendable connection)
{
    struct job *job = xcalloc(1, sizeof *job);
    job->jobs = jobs;
    job->work = *work;
    job->connection = connection;
    job->references = 2;
    job->reply = (struct reply)REPLY_INIT(0);
    job->ring = ring_new(ring_bytes(work->class), resume_connection, job);
    cancel_init(&job->cancel);
    pthread_mutex_init(&job->lock, NULL);
    return job;
}

void job_free(struct job *job)
{
    ring_free(job->ring);
    cancel_deinit(&job->cancel);
    pthread_mutex_destroy(&job->lock);
    free(job);
}

void job_ref(struct job *job)
{
    pthread_mutex_lock(&job->lock);
    job->references++;
    pthread_mutex_unlock(&job->lock);
}

void job_unref(struct job *job)
{
    pthread_mutex_lock(&job->lock);
    bool last = --job->references == 0;
    pthread_mutex_unlock(&job->lock);
    if (last)
        job_free(job);
}

bool job_answered(struct job *job)
{
    pthread_mutex_lock(&job->lock);
    bool answered = job->answered;
    pthread_mutex_unlock(&job->lock);
    return answered;
}

void job_answer_error(struct job *job, const struct error *err)
{
    struct reply reply = REPLY_INIT(0);
    reply_error(&reply, err);
    job_answer(job, &reply);
}

/* ---- the connection's side ---- */

size_t job_put(struct job *job, const void *data, size_t size)
{
    size_t taken = 0;
    while (taken < size) {
        size_t n = ring_put(job->ring, (const uint8_t *)data + taken, size - taken);
        taken += n;
        if (n > 0)
            continue;
        /* Suspended first: a resume that comes before the suspend would be lost. */
        suspendable_suspend(&job->connection);
        if (ring_park(job->ring))
            break;
        suspendable_resume(&job->connection);
        break;
    }
    return taken;
}

void job_end(struct job *job)
{
    ring_end(job->ring);
}

bool job_reply(struct job *job, struct reply *out)
{
    if (!job_answered(job)) {
        suspendable_suspend(&job->connection);
        pthread_mutex_lock(&job->lock);
        job->waiting = !job->answered;
        bool resume = job->answered;
        pthread_mutex_unlock(&job->lock);
        if (resume)
            suspendable_resume(&job->connection);
        return false;
    }
    pthread_mutex_lock(&job->lock);
    *out = job->reply;
    job->reply = (struct reply)REPLY_INIT(0);
    pthread_mutex_unlock(&job->lock);
    return true;
}

void job_lose_connection(struct job *job)
{
    pthread_mutex_lock(&job->lock);
    struct reply unread = job->reply;
    job->reply = (struct reply)REPLY_INIT(0);
    job->gone = true;
    pthread_mutex_unlock(&job->lock);
    reply_deinit(&unread);
}

/* ---- the work's side ---- */

bool job_pace_is_slow(struct job_pace *pace, int64_t waited_ms, size_t bytes)
{
    pace->waited_ms += waited_ms;
    pace->bytes += bytes;
    if (pace->waited_ms < CLIENT_IDLE_MS)
        return false;
    bool slow = pace->bytes < CLIENT_PACE_BYTES;
    *pace = (struct job_pace){.waited_ms = 0};
    return slow;
}

static enum errc pull_body(void *self, const uint8_t **data, size_t *size, struct error *err)
{
    struct job *job = self;
    pthread_mutex_lock(&job->lock);
    struct error why = job->interrupted;
    pthread_mutex_unlock(&job->lock);
    if (why.code != ERR_OK) {
        *err = why;
        return err->code;
    }
    int64_t since_ms = clock_ms();
    if (ring_pull(job->ring, data, size, CLIENT_IDLE_MS, err) != ERR_OK)
        return err->code;
    if (job_pace_is_slow(&job->pace, clock_ms() - since_ms, *size) && job_keeps_others(job))
        return fail(err, ERR_CLIENT_STALLED, 0,
                    "the client sent less than %zu bytes in %d seconds, while others wait",
                    CLIENT_PACE_BYTES, CLIENT_IDLE_MS / 1000);
    return ERR_OK;
}

struct source job_body(struct job *job)
{
    return (struct source){.pull = pull_body, .self = job};
}

void job_gather(struct job *job)
{
    ring_gather(job->ring, GATHER_MS);
}

uint64_t job_body_bytes(struct job *job)
{
    return ring_total(job->ring);
}

struct cancel *job_cancelled(struct job *job)
{
    return &job->cancel;
}

struct suspendable job_connection(const struct job *job)
{
    return job->connection;
}

void job_answer(struct job *job, struct reply *reply)
{
    struct reply unread = REPLY_INIT(0);
    pthread_mutex_lock(&job->lock);
    assert(!job->answered);
    bool resume = job->waiting && !job->gone;
    if (job->gone)
        unread = *reply;
    else
        job->reply = *reply;
    job->answered = true;
    pthread_mutex_unlock(&job->lock);
    *reply = (struct reply)REPLY_INIT(0);
    reply_deinit(&unread);
    if (resume)
        resume_connection(job);
}

bool job_interrupt(struct job *job, const struct error *why)
{
    if (!ring_fail(job->ring, why))
        return false;
    pthread_mutex_lock(&job->lock);
    if (job->interrupted.code == ERR_OK)
        job->interrupted = *why;
    pthread_mutex_unlock(&job->lock);
    return true;
}
