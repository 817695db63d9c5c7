#include "gateway/uploads.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/ring.h"
#include "gateway/answer.h"

#include <assert.h>

struct uploads {
    struct engine *engine;
    pthread_mutex_t lock;
    pthread_cond_t ended;
    struct upload *first; /* all whose thread runs */
    unsigned receiving;   /* bodies that are being ingested */
    unsigned running;     /* threads */
    unsigned attached;    /* connections that were not answered yet */
    bool closed;
};

struct upload {
    struct uploads *uploads;
    struct upload *next; /* the table's, under its lock */
    struct upload *previous;
    struct push_order *order;
    struct feeder feeder;
    struct ring *ring;
    struct cancel cancel;
    pthread_mutex_t lock;
    unsigned references;
    bool ready;   /* the reply is */
    bool waiting; /* the connection is suspended until ready */
    bool gone;    /* the connection is over */
    struct upload_reply reply;
    bool wants_events;
};

struct uploads *uploads_new(struct engine *engine)
{
    struct uploads *uploads = xcalloc(1, sizeof *uploads);
    uploads->engine = engine;
    pthread_mutex_init(&uploads->lock, NULL);
    clock_cond_init(&uploads->ended);
    return uploads;
}

void uploads_free(struct uploads *uploads)
{
    if (uploads == NULL)
        return;
    assert(uploads->running == 0);
    pthread_cond_destroy(&uploads->ended);
    pthread_mutex_destroy(&uploads->lock);
    free(uploads);
}

void uploads_close(struct uploads *uploads)
{
    pthread_mutex_lock(&uploads->lock);
    uploads->closed = true;
    pthread_mutex_unlock(&uploads->lock);
}

bool uploads_closed(struct uploads *uploads)
{
    pthread_mutex_lock(&uploads->lock);
    bool closed = uploads->closed;
    pthread_mutex_unlock(&uploads->lock);
    return closed;
}

uint64_t uploads_limit_bytes(const struct uploads *uploads)
{
    return uploads->engine->settings->limits.archive_bytes;
}

void uploads_cancel(struct uploads *uploads)
{
    pthread_mutex_lock(&uploads->lock);
    for (struct upload *upload = uploads->first; upload; upload = upload->next) {
        struct error why = ERROR_INIT;
        fail(&why, ERR_STOPPING, 0, "the gateway is stopping");
        ring_fail(upload->ring, &why);
        cancel_request(&upload->cancel);
    }
    pthread_mutex_unlock(&uploads->lock);
}

bool uploads_wait(struct uploads *uploads, int64_t ms)
{
    struct timespec until = clock_deadline(ms);
    int rc = 0;
    pthread_mutex_lock(&uploads->lock);
    while (uploads->running + uploads->attached > 0 && rc == 0)
        rc = pthread_cond_timedwait(&uploads->ended, &uploads->lock, &until);
    bool none = uploads->running + uploads->attached == 0;
    pthread_mutex_unlock(&uploads->lock);
    return none;
}

static enum errc admit(struct uploads *uploads, struct upload *upload, struct error *err)
{
    const struct settings *settings = uploads->engine->settings;
    enum errc rc = ERR_OK;
    pthread_mutex_lock(&uploads->lock);
    if (uploads->closed) {
        rc = fail(err, ERR_STOPPING, 0, "the gateway is stopping");
    } else if (uploads->receiving >= settings->limits.uploads ||
               uploads->running >= settings->limits.pushes) {
        rc = fail(err, ERR_BUSY, 0, "%u uploads and %u pushes are running, no more are taken now",
                  uploads->receiving, uploads->running - uploads->receiving);
    } else {
        uploads->receiving++;
        uploads->running++;
        uploads->attached++;
        upload->next = uploads->first;
        if (upload->next)
            upload->next->previous = upload;
        uploads->first = upload;
    }
    pthread_mutex_unlock(&uploads->lock);
    return rc;
}

static void received(struct uploads *uploads)
{
    pthread_mutex_lock(&uploads->lock);
    uploads->receiving--;
    pthread_mutex_unlock(&uploads->lock);
}

static void leave(struct uploads *uploads, struct upload *upload)
{
    pthread_mutex_lock(&uploads->lock);
    if (upload->previous)
        upload->previous->next = upload->next;
    else
        uploads->first = upload->next;
    if (upload->next)
        upload->next->previous = upload->previous;
    uploads->running--;
    pthread_cond_broadcast(&uploads->ended);
    pthread_mutex_unlock(&uploads->lock);
}

static void detach(struct uploads *uploads)
{
    pthread_mutex_lock(&uploads->lock);
    uploads->attached--;
    pthread_cond_broadcast(&uploads->ended);
    pthread_mutex_unlock(&uploads->lock);
}

static void upload_free(struct upload *upload)
{
    if (upload->order)
        push_order_deinit(upload->order);
    free(upload->order);
    ring_free(upload->ring);
    cancel_deinit(&upload->cancel);
    pthread_mutex_destroy(&upload->lock);
    free(upload);
}

static void unref(struct upload *upload)
{
    pthread_mutex_lock(&upload->lock);
    bool last = --upload->references == 0;
    pthread_mutex_unlock(&upload->lock);
    if (last)
        upload_free(upload);
}

static void resume_feeder(void *arg)
{
    struct upload *upload = arg;
    upload->feeder.resume(upload->feeder.connection);
}

static enum errc pull_body(void *self, const uint8_t **data, size_t *size, struct error *err)
{
    return ring_pull(self, data, size, CLIENT_IDLE_MS, err);
}

static void log_results(const struct push_report *report)
{
    char target[REFERENCE_TEXT_MAX];
    char digest[DIGEST_TEXT_MAX];
    for (size_t i = 0; i < report->count; i++) {
        const struct push_result *result = &report->results[i];
        reference_text(&result->target, target);
        if (result->state == PUSH_PUSHED)
            log_info("push %s: %s has %s, %llu bytes sent", report->id, target,
                     digest_text(&result->digest, digest),
                     (unsigned long long)result->bytes_uploaded);
        else
            log_warn("push %s: %s failed: %s", report->id, target, result->error.text);
    }
}

static void drop_reply(struct upload_reply *reply)
{
    free(reply->body);
    if (reply->stream)
        event_stream_abandon(reply->stream);
    *reply = (struct upload_reply){0};
}

/* The reply is taken. */
static void make_ready(struct upload *upload, struct upload_reply reply)
{
    pthread_mutex_lock(&upload->lock);
    bool gone = upload->gone;
    bool resume = upload->waiting && !gone;
    if (!gone)
        upload->reply = reply;
    upload->ready = true;
    pthread_mutex_unlock(&upload->lock);
    if (gone)
        drop_reply(&reply);
    if (resume)
        resume_feeder(upload);
}

static int report_status(const struct push_report *report)
{
    const struct error *failure = push_report_failure(report);
    return failure ? error_http_status(failure->code) : 200;
}

/* The push with its events as the reply. */
static void send_with_events(struct upload *upload, const struct push_request *requests,
                             struct push_report *report)
{
    struct event_stream *stream = event_stream_new();
    const struct progress progress = event_stream_progress(stream);
    event_stream_begin(stream, report);
    event_stream_attach(stream, upload->feeder);
    make_ready(upload, (struct upload_reply){.status = 200, .stream = stream});
    archive_send(upload->uploads->engine, requests, &progress, &upload->cancel, report);
    log_results(report);
    for (size_t i = 0; i < report->count; i++)
        event_stream_outcome(stream, &report->results[i]);
    event_stream_end(stream);
    event_stream_unref(stream);
}

static void send_quietly(struct upload *upload, const struct push_request *requests,
                         struct push_report *report)
{
    archive_send(upload->uploads->engine, requests, NULL, &upload->cancel, report);
    log_results(report);
    make_ready(upload, (struct upload_reply){.status = report_status(report),
                                             .body = answer_report(report)});
}

static void refuse(struct upload *upload, const struct push_report *report)
{
    log_info("push %s: archive refused after %llu bytes: %s: %s", report->id,
             (unsigned long long)ring_total(upload->ring), error_name(report->error.code),
             report->error.text);
    make_ready(upload, (struct upload_reply){.status = report_status(report),
                                             .body = answer_error(&report->error)});
}

/* The whole of an upload. */
static void work(struct upload *upload)
{
    struct source source = {.pull = pull_body, .self = upload->ring};
    struct push_report report;
    struct push_request *requests = NULL;
    push_report_init(&report);
    enum errc rc = archive_take(upload->uploads->engine, upload->order, source, &upload->cancel,
                                &report, &requests, &report.error);
    ring_discard(upload->ring);
    received(upload->uploads);
    if (rc != ERR_OK)
        refuse(upload, &report);
    else if (upload->wants_events)
        send_with_events(upload, requests, &report);
    else
        send_quietly(upload, requests, &report);
    free(requests);
    push_report_deinit(&report);
}

static void *upload_thread(void *arg)
{
    struct upload *upload = arg;
    work(upload);
    leave(upload->uploads, upload);
    unref(upload);
    return NULL;
}

static enum errc start_thread(struct upload *upload, struct error *err)
{
    pthread_t thread;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    int rc = pthread_create(&thread, &attr, upload_thread, upload);
    pthread_attr_destroy(&attr);
    return rc == 0 ? ERR_OK : fail(err, ERR_IO, rc, "start a thread for the upload");
}

enum errc upload_new(struct uploads *uploads, struct push_order *order, bool events,
                     struct feeder feeder, struct upload **out, struct error *err)
{
    struct upload *upload = xcalloc(1, sizeof *upload);
    upload->uploads = uploads;
    upload->wants_events = events;
    upload->feeder = feeder;
    upload->references = 2;
    upload->ring = ring_new(UPLOAD_RING_BYTES, resume_feeder, upload);
    cancel_init(&upload->cancel);
    pthread_mutex_init(&upload->lock, NULL);
    if (admit(uploads, upload, err) != ERR_OK) {
        upload_free(upload);
        return err->code;
    }
    upload->order = order;
    if (start_thread(upload, err) != ERR_OK) {
        upload->order = NULL;
        received(uploads);
        leave(uploads, upload);
        detach(uploads);
        upload_free(upload);
        return err->code;
    }
    *out = upload;
    return ERR_OK;
}

size_t upload_put(struct upload *upload, const void *data, size_t size)
{
    size_t taken = 0;
    while (taken < size) {
        size_t n = ring_put(upload->ring, (const uint8_t *)data + taken, size - taken);
        taken += n;
        if (n > 0)
            continue;
        /* Suspended first: a resume that comes before the suspend would be lost. */
        upload->feeder.suspend(upload->feeder.connection);
        if (ring_park(upload->ring))
            break;
        upload->feeder.resume(upload->feeder.connection);
        break;
    }
    return taken;
}

void upload_end(struct upload *upload)
{
    ring_end(upload->ring);
}

bool upload_reply(struct upload *upload, struct upload_reply *out)
{
    pthread_mutex_lock(&upload->lock);
    bool ready = upload->ready;
    pthread_mutex_unlock(&upload->lock);
    if (!ready) {
        upload->feeder.suspend(upload->feeder.connection);
        pthread_mutex_lock(&upload->lock);
        upload->waiting = true;
        ready = upload->ready;
        pthread_mutex_unlock(&upload->lock);
        if (ready)
            upload->feeder.resume(upload->feeder.connection);
        return false;
    }
    pthread_mutex_lock(&upload->lock);
    *out = upload->reply;
    upload->reply = (struct upload_reply){0};
    pthread_mutex_unlock(&upload->lock);
    return true;
}

void upload_drop(struct upload *upload, bool complete)
{
    if (!complete) {
        struct error why = ERROR_INIT;
        fail(&why, ERR_CLIENT_GONE, 0, "the client went away before the archive was complete");
        ring_fail(upload->ring, &why);
    }
    pthread_mutex_lock(&upload->lock);
    struct upload_reply unread = upload->reply;
    upload->reply = (struct upload_reply){0};
    upload->gone = true;
    pthread_mutex_unlock(&upload->lock);
    drop_reply(&unread);
    detach(upload->uploads);
    unref(upload);
}
