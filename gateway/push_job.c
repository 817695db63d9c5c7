#include "gateway/push_job.h"

#include "base/log.h"
#include "gateway/answer.h"

static void log_results(const struct push_report *report)
{
    for (size_t i = 0; i < report->count - report->behind; i++)
        push_result_log(report->id, &report->results[i]);
}

/* When nothing has failed. */
static int good_status(const struct push_report *report)
{
    return push_report_is_promise(report) ? 202 : 200;
}

/* The push with its events as the reply. */
static void send_with_events(struct job *job, struct engine *engine,
                             const struct push_request *requests, struct push_report *report)
{
    struct event_stream *stream = event_stream_new();
    const struct progress progress = event_stream_progress(stream);
    struct reply reply = REPLY_INIT(good_status(report));
    event_stream_begin(stream, report);
    event_stream_attach(stream, job_feeder(job));
    reply_events(&reply, stream);
    job_answer(job, &reply);
    archive_send(engine, requests, &progress, job_cancelled(job), report);
    log_results(report);
    for (size_t i = 0; i < report->count; i++)
        event_stream_outcome(stream, &report->results[i]);
    event_stream_end(stream);
    event_stream_unref(stream);
}

static void send_quietly(struct job *job, struct engine *engine,
                         const struct push_request *requests, struct push_report *report)
{
    archive_send(engine, requests, NULL, job_cancelled(job), report);
    log_results(report);
    const struct error *failure = push_report_failure(report);
    struct reply reply =
        REPLY_INIT(failure ? error_http_status(failure->code) : good_status(report));
    reply_json(&reply, answer_report(report));
    job_answer(job, &reply);
}

void push_job_send(struct job *job, struct engine *engine, const struct push_request *requests,
                   bool events, struct push_report *report)
{
    if (events)
        send_with_events(job, engine, requests, report);
    else
        send_quietly(job, engine, requests, report);
}

void push_job_refuse(struct job *job, const char *what, const struct push_report *report)
{
    struct reply reply = REPLY_INIT(0);
    log_info("push %s: %s refused after %llu bytes: %s: %s", report->id, what,
             (unsigned long long)job_body_bytes(job), error_name(report->error.code),
             report->error.text);
    reply_error(&reply, &report->error);
    job_answer(job, &reply);
}
