#include "gateway/http/jobs_internal.h"

#include "base/clock.h"
#include "base/mem.h"

#include <assert.h>
#include <stddef.h>

#define BRIEF_AT_ONCE 16
#define LISTS_AT_ONCE 2

/* ---- the table ---- */

struct jobs *jobs_new(const struct jobs_limits *limits, struct executor *executor)
{
    const unsigned most[JOB_CLASSES] = {
        [JOB_ARCHIVE] = limits->pushes, [JOB_BLOB] = limits->blobs, [JOB_PUSH] = limits->pushes,
        [JOB_BRIEF] = BRIEF_AT_ONCE,    [JOB_LIST] = LISTS_AT_ONCE, [JOB_WAIT] = WAITS_AT_ONCE,
        [JOB_ADMIT] = ADMITS_AT_ONCE,   [JOB_FORM] = FORMS_AT_ONCE};
    struct jobs *jobs = xcalloc(1, sizeof *jobs);
    pthread_mutex_init(&jobs->lock, NULL);
    clock_cond_init(&jobs->ended);
    pthread_cond_init(&jobs->document_over, NULL);
    TAILQ_INIT(&jobs->all);
    places_init(&jobs->requests, REQUESTS_MAX);
    places_init(&jobs->documents, JOB_DOCUMENTS_MAX);
    for (int i = 0; i < JOB_CLASSES; i++) {
        struct class_state *class = &jobs->classes[i];
        class->limit = most[i] > 0 ? most[i] : 1;
        class->queue = work_queue_new(executor, NULL, class->limit);
        places_init(&class->places, i == JOB_ARCHIVE ? limits->uploads : class->limit);
        TAILQ_INIT(&class->turns);
    }
    return jobs;
}

void jobs_free(struct jobs *jobs)
{
    if (jobs == NULL)
        return;
    assert(jobs->unended == 0);
    for (int i = 0; i < JOB_CLASSES; i++) {
        work_queue_free(jobs->classes[i].queue);
        places_deinit(&jobs->classes[i].places);
    }
    places_deinit(&jobs->requests);
    places_deinit(&jobs->documents);
    pthread_cond_destroy(&jobs->document_over);
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
    while (jobs->unended + jobs->requests.held > 0 && rc == 0)
        rc = pthread_cond_timedwait(&jobs->ended, &jobs->lock, &until);
    bool none = jobs->unended + jobs->requests.held == 0;
    pthread_mutex_unlock(&jobs->lock);
    return none;
}

static struct class_state *class_of(const struct job *job)
{
    return &job->jobs->classes[job->work.class];
}

static void detach(struct job *job)
{
    struct jobs *jobs = job->jobs;
    pthread_mutex_lock(&jobs->lock);
    places_give_back(&jobs->requests, &job->share);
    pthread_cond_broadcast(&jobs->ended);
    pthread_mutex_unlock(&jobs->lock);
}

/* ---- places ---- */

static void place_locked(struct job *job)
{
    places_take(&class_of(job)->places, &job->share, clock_ms());
    job->placed = true;
    autoscope struct log_scope outer = log_scope_enter(&job->scope);
    work_submit(class_of(job)->queue, &job->item);
}

static void queue_locked(struct job *job)
{
    places_wait(&class_of(job)->places, &job->share, clock_ms());
    TAILQ_INSERT_TAIL(&class_of(job)->turns, job, turn);
    job->queued = true;
    job->queued_ms = clock_ms();
}

static void unqueue_locked(struct job *job)
{
    TAILQ_REMOVE(&class_of(job)->turns, job, turn);
    places_wait_no_more(&class_of(job)->places, &job->share);
    job->queued = false;
}

/* The first of the address that holds fewest. */
static struct job *next_locked(const struct class_state *class)
{
    struct job *found = NULL;
    struct job *job;
    unsigned fewest = 0;
    TAILQ_FOREACH(job, &class->turns, turn)
    {
        unsigned held = places_of(&class->places, &job->share);
        if (found == NULL || held < fewest) {
            found = job;
            fewest = held;
        }
    }
    return found;
}

static void give_back_locked(struct job *job)
{
    struct class_state *class = class_of(job);
    struct job *next;
    if (!job->placed)
        return;
    job->placed = false;
    places_give_back(&class->places, &job->share);
    while (class->places.held < class->places.limit && (next = next_locked(class)) != NULL) {
        unqueue_locked(next);
        place_locked(next);
    }
}

bool job_take_back_locked(struct job *job)
{
    if (!job->queued)
        return work_cancel(class_of(job)->queue, &job->item);
    unqueue_locked(job);
    return true;
}

static void list_locked(struct jobs *jobs, struct job *job)
{
    TAILQ_INSERT_HEAD(&jobs->all, job, link);
    class_of(job)->unended++;
    jobs->unended++;
    places_take(&jobs->requests, &job->share, clock_ms());
}

static void unlist(struct job *job)
{
    struct jobs *jobs = job->jobs;
    pthread_mutex_lock(&jobs->lock);
    TAILQ_REMOVE(&jobs->all, job, link);
    class_of(job)->unended--;
    jobs->unended--;
    give_back_locked(job);
    pthread_cond_broadcast(&jobs->ended);
    pthread_mutex_unlock(&jobs->lock);
}

/* ---- large documents ---- */

static void wake_documents(void *self)
{
    struct jobs *jobs = self;
    pthread_mutex_lock(&jobs->lock);
    pthread_cond_broadcast(&jobs->document_over);
    pthread_mutex_unlock(&jobs->lock);
}

/* With the lock, which is given up meanwhile. False: the job was cancelled, or its client is gone.
 */
static bool take_document(struct job *job)
{
    struct jobs *jobs = job->jobs;
    const struct net_address *address = &job->share;
    bool goes_on = true;
    places_wait(&jobs->documents, address, clock_ms());
    while (!places_turn_of(&jobs->documents, address) &&
           (goes_on = !cancel_requested(&job->cancel) && !job_is_gone(job)))
        pthread_cond_wait(&jobs->document_over, &jobs->lock);
    if (goes_on)
        places_take(&jobs->documents, address, clock_ms());
    places_wait_no_more(&jobs->documents, address);
    pthread_cond_broadcast(&jobs->document_over);
    return goes_on;
}

enum errc job_document(struct job *job, size_t size, struct error *err)
{
    struct jobs *jobs = job->jobs;
    struct cancel_watch watch = {.call = wake_documents, .self = jobs};
    if (size <= JOB_DOCUMENT_BYTES || job->document)
        return ERR_OK;
    cancel_watch(&job->cancel, &watch);
    pthread_mutex_lock(&jobs->lock);
    job->document = take_document(job);
    pthread_mutex_unlock(&jobs->lock);
    cancel_unwatch(&job->cancel, &watch);
    if (job->document)
        return ERR_OK;
    return cancel_check(&job->cancel, err) != ERR_OK
               ? err->code
               : fail(err, ERR_CLIENT_GONE, 0, "the client went away");
}

void job_document_over(struct job *job)
{
    struct jobs *jobs = job->jobs;
    pthread_mutex_lock(&jobs->lock);
    if (job->document)
        places_give_back(&jobs->documents, &job->share);
    job->document = false;
    pthread_cond_broadcast(&jobs->document_over);
    pthread_mutex_unlock(&jobs->lock);
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
    job_document_over(job);
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

void job_refuse(struct job *job, const struct error *why)
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
        bool waits = job_take_back_locked(job);
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
        job_end_early(running.jobs[i], &why);
        cancel_request(&running.jobs[i]->cancel);
        job_unref(running.jobs[i]);
    }
    for (size_t i = 0; i < waiting.count; i++)
        job_refuse(waiting.jobs[i], &why);
    free(running.jobs);
    free(waiting.jobs);
}

/* ---- beginning one ---- */

/* The newest that waits of the address with most requests, when that is another than this one's: to
 * be refused in its place. */
static struct job *crowding_locked(struct jobs *jobs, const struct net_address *address)
{
    struct job *found = NULL;
    struct job *job;
    unsigned most = places_of(&jobs->requests, address) + 1;
    TAILQ_FOREACH(job, &jobs->all, link)
    {
        unsigned held = places_of(&jobs->requests, &job->share);
        if (job->queued && held > most) {
            found = job;
            most = held;
        }
    }
    return found;
}

static void say_crowded(struct error *err)
{
    fail(err, ERR_BUSY, 0, "%d requests wait or run, most of them from this address: try it again",
         REQUESTS_MAX);
}

static enum errc admit_archive_locked(struct job *job, struct error *err)
{
    struct class_state *class = class_of(job);
    struct places *places = &class->places;
    if (class->unended < class->limit && places_free_for(places, &job->share))
        return ERR_OK;
    places_refuse(places, &job->share, clock_ms());
    return fail(err, ERR_BUSY, 0,
                "%u uploads, %u of them of this address, and %u pushes are running: no more of its "
                "uploads are taken now",
                places->held, places_of(places, &job->share), class->unended - places->held);
}

/* *crowding is to be refused for it; NULL: nobody. */
static enum errc admit_locked(struct jobs *jobs, struct job *job, struct job **crowding,
                              struct error *err)
{
    struct class_state *class = class_of(job);
    if (jobs->closed)
        return fail(err, ERR_STOPPING, 0, "the gateway is stopping");
    if (job->work.class == JOB_ARCHIVE && admit_archive_locked(job, err) != ERR_OK)
        return err->code;
    if (jobs->requests.held >= REQUESTS_MAX) {
        *crowding = crowding_locked(jobs, &job->share);
        if (*crowding == NULL) {
            say_crowded(err);
            return err->code;
        }
        unqueue_locked(*crowding);
    }
    list_locked(jobs, job);
    if (class->places.held < class->places.limit)
        place_locked(job);
    else
        queue_locked(job);
    return ERR_OK;
}

static void refuse_crowding(struct job *job)
{
    struct error why = ERROR_INIT;
    if (job == NULL)
        return;
    say_crowded(&why);
    job_end_early(job, &why);
    job_refuse(job, &why);
}

enum errc job_start(struct jobs *jobs, const struct job_work *work, struct peer peer,
                    struct job **out, struct error *err)
{
    struct job *job = job_new(jobs, work, &peer);
    struct job *crowding = NULL;
    job->item.run = on_work;
    pthread_mutex_lock(&jobs->lock);
    enum errc rc = admit_locked(jobs, job, &crowding, err);
    pthread_mutex_unlock(&jobs->lock);
    refuse_crowding(crowding);
    if (rc != ERR_OK)
        job_free(job);
    else
        *out = job;
    return rc;
}

/* ---- ending one ---- */

/* A request that nobody waits for and that has not begun is not begun. */
static void forget_if_queued(struct job *job)
{
    struct error why = ERROR_INIT;
    pthread_mutex_lock(&job->jobs->lock);
    bool waits = job_take_back_locked(job);
    pthread_mutex_unlock(&job->jobs->lock);
    if (!waits)
        return;
    fail(&why, ERR_CLIENT_GONE, 0, "the client went away");
    job_refuse(job, &why);
}

void job_drop(struct job *job, bool complete)
{
    if (!complete) {
        struct error why = ERROR_INIT;
        fail(&why, ERR_CLIENT_GONE, 0, "the client went away before the request was complete");
        ring_fail(job->ring, &why);
    }
    job_lose_connection(job);
    wake_documents(job->jobs);
    if (!complete)
        forget_if_queued(job);
    detach(job);
    job_unref(job);
}

void job_received(struct job *job)
{
    struct jobs *jobs = job->jobs;
    ring_discard(job->ring);
    pthread_mutex_lock(&jobs->lock);
    if (job->work.class == JOB_ARCHIVE)
        give_back_locked(job);
    pthread_mutex_unlock(&jobs->lock);
}
