#include "gateway/http/jobs_internal.h"

#include "base/clock.h"
#include "base/lock.h"
#include "base/mem.h"
#include "gateway/http/connections.h"

#include <assert.h>

#define ARCHIVE_RING_BYTES ((size_t)1 << 20)
#define RING_BYTES ((size_t)256 << 10)
#define BRIEF_RING_BYTES ((size_t)4 << 10)
#define GATHER_MS 500

static void resume_connection(void *arg)
{
    struct job *job = arg;
    suspendable_resume(&job->peer.connection);
}

static size_t ring_bytes(enum job_class class)
{
    switch (class) {
    case JOB_ARCHIVE:
        return ARCHIVE_RING_BYTES;
    case JOB_BRIEF:
    case JOB_LIST:
    case JOB_WAIT:
    case JOB_ADMIT:
    case JOB_FORM:
        return BRIEF_RING_BYTES;
    case JOB_BLOB:
    case JOB_PUSH:
        break;
    }
    return RING_BYTES;
}

struct job *job_new(struct jobs *jobs, const struct job_work *work, const struct peer *peer)
{
    struct job *job = xcalloc(1, sizeof *job);
    job->jobs = jobs;
    job->work = *work;
    job->peer = *peer;
    job->share = peer->known ? peer->share : peer->address;
    job->scope = log_scope_now();
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
    autolock pthread_mutex_t *held = lock_take(&job->lock);
    job->references++;
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
    autolock pthread_mutex_t *held = lock_take(&job->lock);
    return job->answered;
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
        suspendable_suspend(&job->peer.connection);
        if (ring_park(job->ring))
            break;
        suspendable_resume(&job->peer.connection);
        break;
    }
    return taken;
}

void job_end(struct job *job)
{
    pthread_mutex_lock(&job->lock);
    job->complete = true;
    pthread_mutex_unlock(&job->lock);
    ring_end(job->ring);
}

bool job_lacks(struct job *job, size_t bytes)
{
    pthread_mutex_lock(&job->lock);
    bool complete = job->complete;
    pthread_mutex_unlock(&job->lock);
    return !complete && job_body_bytes(job) < bytes;
}

bool job_reply(struct job *job, struct reply *out)
{
    if (!job_answered(job)) {
        suspendable_suspend(&job->peer.connection);
        pthread_mutex_lock(&job->lock);
        job->waiting = !job->answered;
        bool resume = job->answered;
        pthread_mutex_unlock(&job->lock);
        if (resume)
            suspendable_resume(&job->peer.connection);
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

void job_pace_note(struct job_pace *pace, int64_t now_ms, size_t bytes, int64_t window_ms)
{
    if (pace->waits_ms != 0) {
        pace->waited_ms += now_ms - pace->waits_ms;
        pace->waits_ms = now_ms;
    }
    pace->bytes += bytes;
    if (pace->waited_ms < window_ms)
        return;
    *pace =
        (struct job_pace){.waits_ms = pace->waits_ms, .judged = true, .last_bytes = pace->bytes};
}

bool job_pace_below(const struct job_pace *pace, size_t bytes)
{
    return pace->judged && pace->last_bytes < bytes && pace->bytes < bytes;
}

static void note_wait(struct job *job, bool begins, size_t bytes)
{
    int64_t now_ms = clock_ms();
    autolock pthread_mutex_t *held = lock_take(&job->lock);
    if (begins)
        job->pace.waits_ms = now_ms;
    job_pace_note(&job->pace, now_ms, bytes, CLIENT_PACE_MS);
    if (!begins)
        job->pace.waits_ms = 0;
}

void job_mark_ended(struct job *job, bool ended)
{
    autolock pthread_mutex_t *held = lock_take(&job->lock);
    job->ended = ended;
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
    note_wait(job, true, 0);
    enum errc rc = ring_pull(job->ring, data, size, CLIENT_IDLE_MS, err);
    note_wait(job, false, rc == ERR_OK ? *size : 0);
    if (rc == ERR_CLIENT_STALLED)
        job_mark_ended(job, true);
    return rc;
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
    return job->peer.connection;
}

void job_answer(struct job *job, struct reply *reply)
{
    struct reply unread = REPLY_INIT(0);
    autofree char *early = NULL;
    pthread_mutex_lock(&job->lock);
    assert(!job->answered);
    bool resume = job->waiting && !job->gone;
    if (job->ended && !job->gone)
        early = reply_text(reply, job->peer.request_id);
    if (job->gone)
        unread = *reply;
    else
        job->reply = *reply;
    job->answered = true;
    /* With the lock: as soon as it is given up, the connection may have its next request. */
    if (early)
        connections_end(job->peer.table, job->peer.id, early);
    else if (!job->gone)
        connections_answered(job->peer.table, job->peer.id);
    pthread_mutex_unlock(&job->lock);
    *reply = (struct reply)REPLY_INIT(0);
    reply_deinit(&unread);
    if (resume)
        resume_connection(job);
}

void job_answer_within(struct job *job, int64_t ms)
{
    connections_end_by(job->peer.table, job->peer.id, clock_ms() + ms);
}

bool job_interrupt(struct job *job, const struct error *why)
{
    if (!ring_fail(job->ring, why))
        return false;
    autolock pthread_mutex_t *held = lock_take(&job->lock);
    if (job->interrupted.code == ERR_OK)
        job->interrupted = *why;
    return true;
}

bool job_is_gone(struct job *job)
{
    autolock pthread_mutex_t *held = lock_take(&job->lock);
    return job->gone;
}

bool job_receives(struct job *job, int64_t now_ms, int64_t window_ms, struct job_pace *pace)
{
    autolock pthread_mutex_t *held = lock_take(&job->lock);
    bool receives = !job->answered && !job->gone && !job->ended && job->pace.waits_ms != 0;
    job_pace_note(&job->pace, now_ms, 0, window_ms);
    *pace = job->pace;
    return receives;
}

void job_end_early(struct job *job, const struct error *why)
{
    job_mark_ended(job, true);
    if (!job_interrupt(job, why))
        job_mark_ended(job, false);
}
