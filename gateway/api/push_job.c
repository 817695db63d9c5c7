#include "gateway/api/push_job.h"

#include "base/log.h"
#include "base/mem.h"
#include "gateway/api/event_stream.h"
#include "gateway/push/push_json.h"
#include "gateway/push/push_log.h"

enum errc push_job_document(struct job *job, const char *what, struct buf *out, struct error *err)
{
    const struct source body = job_body(job);
    const uint8_t *data = NULL;
    size_t size = 0;
    do {
        if (source_pull(&body, &data, &size, err) != ERR_OK)
            return err->code;
        if (job_document(job, out->size + size, err) != ERR_OK)
            return err->code;
        buf_append(out, data, size);
        if (out->overflowed)
            return fail(err, ERR_JSON_TOO_LARGE, 0, "%s has more than %zu bytes", what,
                        out->limit_bytes);
    } while (size > 0);
    return ERR_OK;
}

/* A push under way, and the client that waits for it. */
struct sending {
    struct job *job;
    struct push *push;
    struct event_stream *stream; /* NULL: the client gets one answer at the end */
    struct progress progress;
};

/* All of its targets are pushed after the answer. */
static bool is_stored(const struct push *push)
{
    return push_stored_targets(push) == push->target_count;
}

/* When nothing has failed. */
static int good_status(const struct push *push)
{
    return is_stored(push) ? 202 : 200;
}

static void begin_events(struct sending *sending)
{
    struct reply reply = REPLY_INIT(good_status(sending->push));
    sending->stream = event_stream_new(EVENT_STREAM_LINGER_MS);
    sending->progress = event_stream_progress(sending->stream);
    event_stream_begin(sending->stream, sending->push);
    event_stream_attach(sending->stream, job_connection(sending->job));
    reply_source(&reply, EVENT_STREAM_TYPE, event_stream_body(sending->stream));
    job_answer(sending->job, &reply);
}

static void end_events(const struct sending *sending)
{
    const struct push *push = sending->push;
    for (size_t i = 0; i < push->target_count; i++)
        event_stream_outcome(sending->stream, &push->targets[i]);
    event_stream_end(sending->stream);
    event_stream_unref(sending->stream);
}

static void answer(const struct sending *sending)
{
    const struct push_target *failure = push_failure(sending->push);
    struct reply reply =
        REPLY_INIT(failure ? error_http_status(failure->error.code) : good_status(sending->push));
    reply_json(&reply, push_json(sending->push));
    job_answer(sending->job, &reply);
}

static void on_ended(void *self)
{
    struct sending *sending = self;
    struct job *job = sending->job;
    if (sending->stream)
        end_events(sending);
    else
        answer(sending);
    free(sending);
    job_over(job);
}

void push_job_send(struct job *job, struct gateway *gateway, struct push *push, bool events)
{
    struct sending *sending = xcalloc(1, sizeof *sending);
    *sending = (struct sending){.job = job, .push = push};
    push_log_accepted(push);
    job_document_over(job);
    job_continue(job);
    if (events)
        begin_events(sending);
    const struct push_options options = {.progress = events ? &sending->progress : NULL,
                                         .cancel = job_cancelled(job),
                                         .ended = on_ended,
                                         .self = sending};
    if (push_stored_targets(push) > 0)
        push_queue_start(gateway->queue, push);
    push_queue_run(gateway->queue, &options, push);
}

void push_job_refuse(struct job *job, const struct error *err)
{
    struct reply reply = REPLY_INIT(0);
    reply_error(&reply, err);
    job_answer(job, &reply);
}
