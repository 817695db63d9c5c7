#include "gateway/api/push_job.h"

#include "base/log.h"
#include "base/mem.h"
#include "gateway/api/event_stream.h"
#include "gateway/push/push_json.h"
#include "gateway/push/push_log.h"

#include <string.h>

enum errc push_job_document(struct job *job, const char *what, struct buf *out, struct error *err)
{
    const struct source body = job_body(job);
    const uint8_t *data = NULL;
    size_t size = 0;
    do {
        if (source_pull(&body, &data, &size, err) != ERR_OK)
            return err->code;
        buf_append(out, data, size);
        if (out->overflowed)
            return fail(err, ERR_JSON_TOO_LARGE, 0, "%s has more than %zu bytes", what,
                        out->limit_bytes);
    } while (size > 0);
    return ERR_OK;
}

static bool requested(const struct push_request *requests, size_t count,
                      const struct reference *target)
{
    for (size_t i = 0; i < count; i++)
        if (reference_same_name(&requests[i].target, target) &&
            strcmp(requests[i].target.tag, target->tag) == 0)
            return true;
    return false;
}

enum errc push_job_targets(const struct push_order *order, const char *tag,
                           struct push_report *report, struct push_request **requests,
                           struct error *err)
{
    autofree struct push_request *all = xcalloc(order->to_count, sizeof *all);
    size_t count = 0;
    for (size_t i = 0; i < order->to_count; i++) {
        struct reference target = order->to[i];
        char name[REFERENCE_NAME_MAX + 1];
        if (target.tag[0] == '\0' && tag[0] == '\0')
            return fail(err, ERR_NO_TAG, 0, "the target %s needs a tag: nothing else names one",
                        reference_name(&target, name));
        if (target.tag[0] == '\0' && reference_set_tag(&target, tag, err) != ERR_OK)
            return err->code;
        if (requested(all, count, &target))
            continue;
        all[count++] = (struct push_request){.target = target,
                                             .manifest = report->manifest,
                                             .referrers = report->referrers,
                                             .referrer_count = report->referrer_count};
    }
    *requests = mem_take(&all);
    report->count = count;
    return ERR_OK;
}

/* What waits for the same tags is older than what they have now. */
static void tell_results(struct gateway *gateway, const struct push_report *report)
{
    for (size_t i = 0; i < report->count - report->behind; i++) {
        push_result_log(report->id, &report->results[i]);
        if (report->results[i].state == PUSH_PUSHED)
            behind_overtaken(gateway->behind, &report->results[i].target);
    }
}

/* When nothing has failed. */
static int good_status(const struct push_report *report)
{
    return push_report_is_promise(report) ? 202 : 200;
}

/* The push with its events as the reply. */
static void send_with_events(struct job *job, struct gateway *gateway,
                             const struct push_request *requests, struct push_report *report)
{
    struct event_stream *stream = event_stream_new();
    const struct progress progress = event_stream_progress(stream);
    struct reply reply = REPLY_INIT(good_status(report));
    event_stream_begin(stream, report);
    event_stream_attach(stream, job_connection(job));
    reply_source(&reply, EVENT_STREAM_TYPE, event_stream_body(stream));
    job_answer(job, &reply);
    archive_send(gateway->engine, requests, &progress, job_cancelled(job), report);
    tell_results(gateway, report);
    for (size_t i = 0; i < report->count; i++)
        event_stream_outcome(stream, &report->results[i]);
    event_stream_end(stream);
    event_stream_unref(stream);
}

static void send_quietly(struct job *job, struct gateway *gateway,
                         const struct push_request *requests, struct push_report *report)
{
    archive_send(gateway->engine, requests, NULL, job_cancelled(job), report);
    tell_results(gateway, report);
    const struct error *failure = push_report_failure(report);
    struct reply reply =
        REPLY_INIT(failure ? error_http_status(failure->code) : good_status(report));
    reply_json(&reply, push_json_report(report));
    job_answer(job, &reply);
}

void push_job_send(struct job *job, struct gateway *gateway, const struct push_request *requests,
                   bool events, struct push_report *report)
{
    autoscope struct log_scope outer = log_scope_begin("push", report->id);
    push_log_accepted(report->id, &report->manifest.digest, report->count);
    if (report->behind > 0)
        behind_start(gateway->behind, &report->record);
    if (events)
        send_with_events(job, gateway, requests, report);
    else
        send_quietly(job, gateway, requests, report);
}

void push_job_refuse(struct job *job, const struct push_report *report)
{
    struct reply reply = REPLY_INIT(0);
    reply_error(&reply, &report->error);
    job_answer(job, &reply);
}
