#include "gateway/cli/push_remote.h"

#include "base/buf.h"
#include "base/mem.h"
#include "gateway/cli/gateway_exchange.h"

#include <stdio.h>
#include <string.h>

#define PUSH_OBJECT_LIMIT_BYTES ((size_t)4 << 20)
#define URL_LIMIT_BYTES ((size_t)64 << 10)

static void append_path(struct buf *out, const struct push_order *order)
{
    char text[REFERENCE_TEXT_MAX];
    buf_text(out, "/v1/images");
    for (size_t i = 0; i < order->push.target_count; i++) {
        buf_text(out, i ? "&to=" : "?to=");
        buf_query_escape(out, reference_text(&order->push.targets[i].reference, text));
    }
    if (order->image) {
        buf_text(out, "&image=");
        buf_query_escape(out, order->image);
    }
    if (order->has_platform) {
        buf_text(out, "&platform=");
        buf_query_escape(out, platform_text(&order->platform, text));
    }
    if (order->compression != SETTING_CODEC_KEEP)
        buf_format(out, "&compression=%s", compression_name(order->compression));
}

/* ---- an answer in one piece ---- */

static enum errc read_answer(const struct remote_push *push, const struct http_response *response,
                             json_t **answer, struct error *err)
{
    struct error ignored = ERROR_INIT;
    autojson json_t *root = NULL;
    if (!response->body_cut)
        json_parse(buf_cstr(&response->body), response->body.size, PUSH_OBJECT_LIMIT_BYTES,
                   "answer", &root, &ignored);
    if (json_is_array(json_object_get(root, "results"))) {
        *answer = json_incref(root);
        return ERR_OK;
    }
    return gateway_refusal(push->access, response, err);
}

/* ---- the stream of events ---- */

/* What the answer is read into, line by line. */
struct events {
    const struct progress *progress;
    json_t *push;    /* the push object as far as it is known */
    bool pushed;     /* no target has failed so far */
    bool superseded; /* all targets so far: a younger push has their tags */
};

static void take_event(const struct events *events, const json_t *root, const char *status)
{
    const char *target = json_text(root, "target");
    const json_t *detail = json_object_get(root, "progressDetail");
    const json_t *current = json_object_get(detail, "current");
    const json_t *total = json_object_get(detail, "total");
    struct progress_event event = {.kind = PROGRESS_MESSAGE,
                                   .target = target ? target : "",
                                   .id = json_text(root, "id"),
                                   .status = status};
    if (event.id)
        event.kind = current ? PROGRESS_BYTES : PROGRESS_STATUS;
    if (current) {
        event.current = (uint64_t)json_integer_value(current);
        event.total = (uint64_t)json_integer_value(total);
    }
    if (target)
        progress_emit(events->progress, &event);
}

/* The first line names the push, the last ones hold the results; what is between is progress. A
 * line that says nothing to us is passed over: newer gateways may tell more. */
static void take_line(void *self, json_t *root)
{
    struct events *events = self;
    const char *status = json_text(root, "status");
    json_t *push = json_object_get(root, "push");
    json_t *result = json_object_get(root, "result");
    if (json_is_object(push) && events->push == NULL) {
        events->push = json_copy(push);
        json_object_set_new(events->push, "results", json_array());
    } else if (json_is_object(result) && events->push) {
        const char *state = json_text(result, "state");
        bool superseded = state && strcmp(state, "superseded") == 0;
        events->superseded = events->superseded && superseded;
        events->pushed = events->pushed && (superseded || (state && strcmp(state, "pushed") == 0));
        json_array_append(json_object_get(events->push, "results"), result);
    } else if (status) {
        take_event(events, root, status);
    }
}

/* The push object, with its members in the order of the API. */
static enum errc assemble_answer(const struct events *events, json_t **answer, struct error *err)
{
    json_t *results = json_object_get(events->push, "results");
    if (json_array_size(results) == 0)
        return fail(err, ERR_CONNECTION_LOST, 0, "the gateway ended before it told the results");
    json_t *root = json_object();
    json_object_set(root, "id", json_object_get(events->push, "id"));
    const char *good = events->superseded ? "superseded" : "pushed";
    json_object_set_new(root, "state", json_string(events->pushed ? good : "failed"));
    json_object_set(root, "image", json_object_get(events->push, "image"));
    json_object_set(root, "results", results);
    *answer = root;
    return ERR_OK;
}

/* ---- the exchange ---- */

static enum errc post(const struct remote_push *push, struct events *events,
                      struct http_response *response, struct error *err)
{
    autobuf struct buf target = BUF_INIT(URL_LIMIT_BYTES);
    append_path(&target, push->order);
    struct http_body body = {.source = push->archive,
                             .size =
                                 push->archive_bytes > 0 ? push->archive_bytes : HTTP_SIZE_UNKNOWN};
    struct http_request request = {.method = "POST",
                                   .content_type = "application/x-tar",
                                   .body = &body,
                                   .answer_limit_bytes = PUSH_OBJECT_LIMIT_BYTES,
                                   .cancel = push->cancel};
    const struct gateway_lines lines = {.take = take_line, .self = events};
    return gateway_exchange(push->access, &request, buf_cstr(&target), &lines, response, err);
}

enum errc push_remote(const struct remote_push *push, json_t **answer, struct error *err)
{
    struct events events = {.progress = push->progress, .pushed = true, .superseded = true};
    autoresponse struct http_response response = HTTP_RESPONSE_INIT;
    enum errc rc = post(push, &events, &response, err);
    if (rc == ERR_OK)
        rc = gateway_answer_streams(&response) ? assemble_answer(&events, answer, err)
                                               : read_answer(push, &response, answer, err);
    json_decref(events.push);
    return rc;
}
