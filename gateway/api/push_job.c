#include "gateway/api/push_job.h"

#include "base/log.h"
#include "base/mem.h"
#include "gateway/access/access.h"
#include "gateway/api/event_stream.h"
#include "gateway/push/promise.h"
#include "gateway/push/push_json.h"
#include "gateway/push/push_log.h"
#include "store/pushes.h"
#include "upstream/push/early_upload.h"

#include <stdatomic.h>
#include <string.h>
#include <strings.h>

/* "respond-async" among the preferences of a header, whose values and parameters do not matter. */
static bool is_not_async(const void *self, const char *value)
{
    static const char async[] = "respond-async";
    (void)self;
    while (*value) {
        value += strspn(value, " \t,");
        size_t size = strcspn(value, " \t,;=");
        if (size == sizeof async - 1 && strncasecmp(value, async, size) == 0)
            return false;
        value += strcspn(value, ",");
    }
    return true;
}

struct push_wishes push_wishes_of(const struct request *request)
{
    return (struct push_wishes){.events = request_accepts(request, "application/x-ndjson"),
                                .async =
                                    !request_headers_fit(request, "Prefer", is_not_async, NULL)};
}

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

/* Pushes under way, and the client that waits for them. */
struct sending {
    struct job *job;
    struct push **pushes; /* owned; each is borrowed */
    size_t count;
    atomic_size_t under_way;
    struct push_wishes wishes;
    struct request_claim *claim; /* borrowed */
    struct event_stream *stream; /* NULL: the client gets one answer at the end */
    struct progress progress;
};

/* All of their targets are pushed after the answer. */
static bool are_stored(const struct sending *sending)
{
    for (size_t i = 0; i < sending->count; i++)
        if (push_stored_targets(sending->pushes[i]) < sending->pushes[i]->target_count)
            return false;
    return true;
}

/* When nothing has failed. */
static int good_status(const struct sending *sending)
{
    return are_stored(sending) ? 202 : 200;
}

/* Where a push that is not waited for can be asked for. */
static void tell_where(const struct sending *sending, struct reply *reply)
{
    if (!are_stored(sending))
        return;
    if (sending->count == 1)
        reply_header(reply, "Location", "/v1/pushes/%s", sending->pushes[0]->id);
    if (sending->wishes.async)
        reply_header(reply, "Preference-Applied", "respond-async");
}

static void begin_events(struct sending *sending)
{
    struct reply reply = REPLY_INIT(good_status(sending));
    tell_where(sending, &reply);
    sending->stream = event_stream_new();
    sending->progress = event_stream_progress(sending->stream);
    for (size_t i = 0; i < sending->count; i++)
        event_stream_begin(sending->stream, sending->pushes[i]);
    event_stream_attach(sending->stream, job_connection(sending->job));
    reply_source(&reply, EVENT_STREAM_TYPE, event_stream_body(sending->stream));
    job_answer(sending->job, &reply);
}

static void end_events(const struct sending *sending)
{
    for (size_t i = 0; i < sending->count; i++)
        for (size_t t = 0; t < sending->pushes[i]->target_count; t++)
            event_stream_outcome(sending->stream, &sending->pushes[i]->targets[t]);
    job_answer_within(sending->job, EVENT_STREAM_LINGER_MS);
    event_stream_end(sending->stream);
    event_stream_unref(sending->stream);
}

static void answer(const struct sending *sending)
{
    const struct push_target *failure = NULL;
    for (size_t i = 0; i < sending->count && failure == NULL; i++)
        failure = push_failure(sending->pushes[i]);
    struct reply reply =
        REPLY_INIT(failure ? error_http_status(failure->error.code) : good_status(sending));
    tell_where(sending, &reply);
    if (failure)
        reply_targets_failed(&reply, failure->error.code);
    reply_json(&reply, sending->count == 1 ? push_json(sending->pushes[0])
                                           : push_json_several(sending->pushes, sending->count));
    job_answer(sending->job, &reply);
}

static void sending_free(struct sending *sending)
{
    free(sending->pushes);
    free(sending);
}

static void sending_ended(struct sending *sending)
{
    struct job *job = sending->job;
    request_claim_release(sending->claim);
    if (sending->stream)
        end_events(sending);
    else
        answer(sending);
    sending_free(sending);
    job_over(job);
}

/* Of one push, or of whoever starts them. */
static void on_ended(void *self)
{
    struct sending *sending = self;
    if (atomic_fetch_sub(&sending->under_way, 1) == 1)
        sending_ended(sending);
}

/* All of them, or none. */
static enum errc promise(struct runtime *runtime, struct push *const *pushes, size_t count,
                         struct error *err)
{
    struct error ignored = ERROR_INIT;
    for (size_t i = 0; i < count; i++)
        if (promise_all(runtime, pushes[i], err) != ERR_OK)
            break;
    for (size_t i = 0; err->code != ERR_OK && i < count; i++)
        pushes_remove(runtime->store, pushes[i]->id, &ignored);
    return err->code;
}

/* No push follows what has left ahead of it. */
static void end_early(struct runtime *runtime, const struct push *push)
{
    for (size_t i = 0; i < push->target_count; i++)
        early_uploads_end_image(runtime->early, &push->targets[i].reference, &push->manifest);
}

static struct sending *sending_new(struct job *job, struct push_call *request)
{
    struct push_order *order = &request->order;
    struct sending *sending = xcalloc(1, sizeof *sending);
    *sending = (struct sending){.job = job,
                                .count = 1 + order->more_count,
                                .wishes = request->wishes,
                                .claim = &request->claim};
    sending->pushes = xcalloc(sending->count, sizeof(struct push *));
    for (size_t i = 0; i < sending->count; i++)
        sending->pushes[i] = i == 0 ? &order->push : &order->more[i - 1];
    atomic_init(&sending->under_way, sending->count + 1);
    return sending;
}

static void begin(struct sending *sending)
{
    job_document_over(sending->job);
    job_continue(sending->job);
    if (sending->wishes.events)
        begin_events(sending);
}

void push_job_send(struct job *job, struct push_call *request)
{
    struct error err = ERROR_INIT;
    struct gateway *gateway = request->gateway;
    struct sending *sending = sending_new(job, request);
    bool events = request->wishes.events;
    if (request->wishes.async &&
        promise(gateway->runtime, sending->pushes, sending->count, &err) != ERR_OK) {
        end_early(gateway->runtime, &request->order.push);
        sending_free(sending);
        request_claim_release(&request->claim);
        push_job_refuse(job, &err);
        return;
    }
    request_claim_pushes(&request->claim, request->order.push.id);
    for (size_t i = 0; i < sending->count; i++) {
        push_log_accepted(sending->pushes[i]);
        audit_push_accepted(gateway->runtime->audit, sending->pushes[i], &request->by.origin);
    }
    begin(sending);
    const struct push_options options = {.progress = events ? &sending->progress : NULL,
                                         .cancel = job_cancelled(job),
                                         .remembers = request->order.early,
                                         .ended = on_ended,
                                         .self = sending};
    for (size_t i = 0; i < sending->count; i++) {
        if (push_stored_targets(sending->pushes[i]) > 0)
            push_queue_start(gateway->queue, sending->pushes[i]);
        push_queue_run(gateway->queue, &options, sending->pushes[i]);
    }
    on_ended(sending);
}

/* ---- by which request ---- */

/* Where a name of the archive leads on, it is as if it were pushed into that repository. */
static enum errc judge_route(void *self, const char *repository, const struct reference *target,
                             struct error *err)
{
    const struct push_call *call = self;
    const struct access *access = call->gateway->access;
    int rule = 0;
    enum access_answer answer =
        access_ask(access, call->by.caller, OPERATION_PUSH, repository, &rule);
    if (answer == ACCESS_YES)
        return access_check_target(access, &call->by, repository, target, err);
    access_explain(answer, call->by.caller, OPERATION_PUSH, repository, err);
    if (answer != ACCESS_WIDER)
        access_tell_denied(access, &call->by, OPERATION_PUSH, repository, rule, err);
    return err->code;
}

enum errc push_call_init(struct gateway *gateway, const struct request *request,
                         struct push_call *out, struct error *err)
{
    out->gateway = gateway;
    requester_of(request, &out->by);
    caller_by(request->caller, &out->order.push.by);
    out->order.judge = (struct route_judge){judge_route, out};
    out->wishes = push_wishes_of(request);
    return request_claim_init(request, &out->claim, err);
}

enum errc push_call_check(const struct push_call *request, struct error *err)
{
    const struct push *push = &request->order.push;
    for (size_t i = 0; i < push->target_count && err->code == ERR_OK; i++)
        access_check_target(request->gateway->access, &request->by, push->repository,
                            &push->targets[i].reference, err);
    return err->code;
}

void push_call_deinit(struct push_call *request)
{
    requester_deinit(&request->by);
    request_claim_release(&request->claim);
    push_order_deinit(&request->order);
}

/* The array's pushes become the order's. */
static void answer_again(struct job *job, struct push_call *request, struct push *pushes,
                         size_t count)
{
    struct push_order *order = &request->order;
    push_deinit(&order->push);
    order->push = pushes[0];
    order->more_count = count - 1;
    order->more = xcalloc(order->more_count, sizeof *order->more);
    for (size_t i = 1; i < count; i++)
        order->more[i - 1] = pushes[i];
    free(pushes);
    struct sending *sending = sending_new(job, request);
    begin(sending);
    sending_ended(sending);
}

static void refuse_claim(struct job *job, const struct request_claim *claim,
                         const struct error *err)
{
    struct reply reply = REPLY_INIT(0);
    reply_error(&reply, err);
    if (err->code == ERR_KEY_IN_USE && claim->id[0])
        reply_header(&reply, "Location", "/v1/pushes/%s", claim->id);
    job_answer(job, &reply);
}

bool push_job_begin(struct job *job, struct push_call *request, const struct buf *body)
{
    struct error err = ERROR_INIT;
    struct push *pushes = NULL;
    size_t count = 0;
    if (request_claim_take(request->gateway, &request->claim, body ? buf_cstr(body) : NULL,
                           body ? body->size : 0, &pushes, &count, &err) != ERR_OK)
        refuse_claim(job, &request->claim, &err);
    else if (count > 0)
        answer_again(job, request, pushes, count);
    else
        request->order.push.key = request->claim.key;
    return err.code == ERR_OK && count == 0;
}

void push_job_refuse(struct job *job, const struct error *err)
{
    struct reply reply = REPLY_INIT(0);
    reply_error(&reply, err);
    job_answer(job, &reply);
}
