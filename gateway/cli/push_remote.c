#include "gateway/cli/push_remote.h"

#include "base/buf.h"
#include "base/mem.h"
#include "net/transport.h"
#include "net/url.h"
#include "upstream/auth/answer.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define PUSH_OBJECT_LIMIT_BYTES ((size_t)4 << 20)
#define LINE_LIMIT_BYTES ((size_t)256 << 10)
#define MEDIA_NDJSON "application/x-ndjson"
#define URL_LIMIT_BYTES ((size_t)64 << 10)
/* The gateway answers when every registry has: silence is no stall. */
#define NO_STALL_S (24L * 3600)

static void append_url(struct buf *out, const char *url, const struct push_order *order)
{
    char text[REFERENCE_TEXT_MAX];
    buf_text(out, url);
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

/* What a person can do about an answer that is not the gateway's: mostly that of a proxy. */
static void advise(const struct remote_push *push, const struct http_response *response, char *text,
                   size_t capacity)
{
    char shown[URL_SHOWN_MAX];
    const char *location = http_header(response, "Location");
    switch (response->status) {
    case 401:
    case 403:
        snprintf(text, capacity, "; %s", push->access->advice);
        return;
    case 413:
        snprintf(text, capacity,
                 "; a proxy in front of the gateway limits the size of a body (nginx: "
                 "client_max_body_size 0)");
        return;
    case 502:
    case 504:
        snprintf(text, capacity,
                 "; a proxy does not reach the gateway, or does not wait for its answer (nginx: "
                 "proxy_read_timeout, proxy_send_timeout)");
        return;
    default:
        if (response->status / 100 == 3 && location)
            snprintf(text, capacity, "; it leads to %s, which may be the gateway's URL",
                     url_shown(location, shown));
    }
}

static enum errc not_the_gateway(const struct remote_push *push,
                                 const struct http_response *response, struct error *err)
{
    struct answer answer;
    char advice[ERROR_TEXT_MAX] = "";
    answer_read(response, &answer);
    advise(push, response, advice, sizeof advice);
    return fail(err, ERR_REGISTRY_ANSWER, 0,
                "what answers at %s is no slipway gateway: status %d%s%s%s", push->access->url,
                response->status, answer.message[0] ? ", " : "", answer.message, advice);
}

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
    /* The gateway's own error form, back into an error. */
    const json_t *first = json_array_get(json_object_get(root, "errors"), 0);
    const char *code = json_text(first, "code");
    const char *message = json_text(first, "message");
    if (code == NULL || message == NULL)
        return not_the_gateway(push, response, err);
    fail(err, error_by_name(code), 0, "%s", message);
    err->status = response->status;
    return err->code;
}

/* ---- the stream of events ---- */

/* What the answer is read into, line by line. */
struct events {
    const struct progress *progress;
    struct buf line; /* the one that has begun */
    json_t *push;    /* the push object as far as it is known */
    bool pushed;     /* no target has failed so far */
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
static void take_line(struct events *events)
{
    struct error ignored = ERROR_INIT;
    autojson json_t *root = NULL;
    if (events->line.overflowed ||
        json_parse(buf_cstr(&events->line), events->line.size, LINE_LIMIT_BYTES, "an event", &root,
                   &ignored) != ERR_OK)
        return;
    const char *status = json_text(root, "status");
    json_t *push = json_object_get(root, "push");
    json_t *result = json_object_get(root, "result");
    if (json_is_object(push) && events->push == NULL) {
        events->push = json_copy(push);
        json_object_set_new(events->push, "results", json_array());
    } else if (json_is_object(result) && events->push) {
        const char *state = json_text(result, "state");
        events->pushed = events->pushed && state && strcmp(state, "pushed") == 0;
        json_array_append(json_object_get(events->push, "results"), result);
    } else if (status) {
        take_event(events, root, status);
    }
}

static bool is_stream(const struct http_response *response)
{
    const char *type = http_header(response, "Content-Type");
    return type && strncasecmp(type, MEDIA_NDJSON, strlen(MEDIA_NDJSON)) == 0;
}

static bool on_received(void *arg, const struct http_response *response, const void *data,
                        size_t size)
{
    struct events *events = arg;
    if (!is_stream(response))
        return false;
    const char *at = data;
    while (size > 0) {
        const char *newline = memchr(at, '\n', size);
        size_t n = newline ? (size_t)(newline - at) : size;
        buf_append(&events->line, at, n);
        if (newline) {
            take_line(events);
            buf_clear(&events->line);
            n++;
        }
        at += n;
        size -= n;
    }
    return true;
}

/* The push object, with its members in the order of the API. */
static enum errc assemble_answer(const struct events *events, json_t **answer, struct error *err)
{
    json_t *results = json_object_get(events->push, "results");
    if (json_array_size(results) == 0)
        return fail(err, ERR_CONNECTION_LOST, 0, "the gateway ended before it told the results");
    json_t *root = json_object();
    json_object_set(root, "id", json_object_get(events->push, "id"));
    json_object_set_new(root, "state", json_string(events->pushed ? "pushed" : "failed"));
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
    append_url(&target, push->access->url, push->order);
    struct http_body body = {.source = push->archive,
                             .size =
                                 push->archive_bytes > 0 ? push->archive_bytes : HTTP_SIZE_UNKNOWN};
    struct http_request request = {.method = "POST",
                                   .url = buf_cstr(&target),
                                   .authorization = push->access->authorization,
                                   .content_type = "application/x-tar",
                                   .accept = MEDIA_NDJSON ", application/json",
                                   .body = &body,
                                   .answer_limit_bytes = PUSH_OBJECT_LIMIT_BYTES,
                                   .deadline = HTTP_STALL,
                                   .cancel = push->cancel,
                                   .received = on_received,
                                   .received_arg = events};
    const struct transport_options options = {
        .host = push->access->host,
        .user_agent = "slipway/" SLIPWAY_VERSION,
        .ca_file = push->access->ca,
        .peer = "gateway",
        .ca_setting = push->access->ca_setting,
        .plain_advice = "give --gateway an http:// URL",
        .times = {.stall_s = NO_STALL_S},
    };
    struct transport *transport = transport_new(&options);
    struct connection *connection = transport_lease(transport);
    enum errc rc = transport_exchange(connection, &request, response, err);
    transport_return(connection);
    transport_free(transport);
    return rc;
}

enum errc push_remote(const struct remote_push *push, json_t **answer, struct error *err)
{
    struct events events = {
        .progress = push->progress, .line = BUF_INIT(LINE_LIMIT_BYTES), .pushed = true};
    autoresponse struct http_response response = HTTP_RESPONSE_INIT;
    enum errc rc = post(push, &events, &response, err);
    if (rc == ERR_OK)
        rc = is_stream(&response) ? assemble_answer(&events, answer, err)
                                  : read_answer(push, &response, answer, err);
    json_decref(events.push);
    buf_deinit(&events.line);
    return rc;
}
