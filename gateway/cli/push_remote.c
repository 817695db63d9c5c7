#include "gateway/cli/push_remote.h"

#include "base/buf.h"
#include "base/mem.h"
#include "gateway/cli/gateway_exchange.h"
#include "gateway/cli/reduced_archive.h"
#include "gateway/ingest/contents.h"
#include "gateway/ingest/file_intake.h"
#include "image/digest_map.h"
#include "image/oci_layout.h"

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

/* ---- what the gateway holds is not sent ---- */

/* An archive whose layers are left out, but for those that the gateway asked for. */
struct reduction {
    const struct contents *contents;
    struct digest_map asked;
};

/* A table says what a layer's tar is, not what it is when it is compressed. */
static bool leaves_out(void *self, const char *name, uint64_t size, const uint8_t *start,
                       size_t start_size)
{
    const struct reduction *reduction = self;
    struct digest digest = layout_blob_digest(name);
    if (size < FILE_PASSED_MIN ||
        contents_names_layer(reduction->contents, name) == LAYER_NOT_NAMED)
        return false;
    if (digest.algorithm == DIGEST_NONE && content_of(start, start_size) == CONTENT_TAR)
        digest = contents_diff_id(reduction->contents, name);
    return digest.algorithm == DIGEST_SHA256 && !digest_map_find(&reduction->asked, &digest);
}

/* False when the answer is none that asks for layers. */
static bool take_missing(const struct http_response *response, struct reduction *reduction)
{
    struct error ignored = ERROR_INIT;
    autojson json_t *root = NULL;
    if (response->status != 409 || response->body_cut ||
        json_parse(buf_cstr(&response->body), response->body.size, PUSH_OBJECT_LIMIT_BYTES,
                   "answer", &root, &ignored) != ERR_OK)
        return false;
    const json_t *first = json_array_get(json_object_get(root, "errors"), 0);
    const json_t *list = json_object_get(json_object_get(first, "detail"), "diff_ids");
    size_t i;
    const json_t *item;
    json_array_foreach(list, i, item)
    {
        struct digest digest;
        if (json_is_string(item) &&
            digest_parse(json_string_value(item), &digest, &ignored) == ERR_OK)
            digest_map_add(&reduction->asked, &digest);
    }
    return json_array_size(list) > 0;
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
    if (json_object_get(events->push, "unused"))
        json_object_set(root, "unused", json_object_get(events->push, "unused"));
    *answer = root;
    return ERR_OK;
}

/* ---- the exchange ---- */

struct sent {
    const struct source *archive;
    uint64_t bytes; /* 0: not known */
    bool held;      /* without layers that the gateway may hold */
    bool streams;   /* its tables cannot be read before its layers: a pipe, or it is compressed */
};

/* Nothing else can be known of a stream. Of what is none the tables have been read: they name the
 * layers, or there is something to choose. */
static bool goes_early(const struct push_order *order, const struct sent *sent)
{
    return (sent->held || sent->streams) && order->image == NULL && !order->has_platform;
}

static enum errc post(const struct remote_push *push, const struct sent *sent,
                      struct events *events, struct http_response *response, struct error *err)
{
    autobuf struct buf target = BUF_INIT(URL_LIMIT_BYTES);
    append_path(&target, push->order);
    if (sent->held)
        buf_text(&target, "&held=1");
    if (goes_early(push->order, sent))
        buf_text(&target, "&early=1");
    struct http_body body = {.source = sent->archive,
                             .size = sent->bytes > 0 ? sent->bytes : HTTP_SIZE_UNKNOWN};
    struct http_request request = {.method = "POST",
                                   .content_type = "application/x-tar",
                                   .body = &body,
                                   .answer_limit_bytes = PUSH_OBJECT_LIMIT_BYTES,
                                   .cancel = push->cancel};
    const struct gateway_lines lines = {.take = take_line, .self = events};
    return gateway_exchange(push->access, &request, buf_cstr(&target), &lines, response, err);
}

static enum errc read_any(const struct remote_push *push, const struct events *events,
                          const struct http_response *response, json_t **answer, struct error *err)
{
    return gateway_answer_streams(response) ? assemble_answer(events, answer, err)
                                            : read_answer(push, response, answer, err);
}

static struct events events_of(const struct remote_push *push)
{
    return (struct events){.progress = push->progress, .pushed = true, .superseded = true};
}

/* As far as its first bytes say. */
static enum errc find_streams(const struct source *archive, bool *streams, struct error *err)
{
    const uint8_t *data = NULL;
    size_t size = 0;
    *streams = archive->rewind == NULL;
    if (*streams)
        return ERR_OK;
    if (source_pull(archive, &data, &size, err) != ERR_OK)
        return err->code;
    enum content content = content_of(data, size);
    *streams = content == CONTENT_GZIP || content == CONTENT_ZSTD ||
               content_compression(data, size) != NULL;
    return source_rewind(archive, err);
}

static enum errc push_whole(const struct remote_push *push, json_t **answer, struct error *err)
{
    struct events events = events_of(push);
    struct sent sent = {.archive = push->archive, .bytes = push->archive_bytes};
    autoresponse struct http_response response = HTTP_RESPONSE_INIT;
    if (find_streams(push->archive, &sent.streams, err) == ERR_OK &&
        post(push, &sent, &events, &response, err) == ERR_OK)
        read_any(push, &events, &response, answer, err);
    json_decref(events.push);
    return err->code;
}

/* *asked: it was refused for layers that were left out, which are wanted now. */
static enum errc push_reduced(const struct remote_push *push, struct reduction *reduction,
                              bool *asked, json_t **answer, struct error *err)
{
    struct events events = events_of(push);
    struct reduced_archive *reduced = NULL;
    autoresponse struct http_response response = HTTP_RESPONSE_INIT;
    *asked = false;
    if (reduced_archive_open(*push->archive, leaves_out, reduction, &reduced, err) != ERR_OK)
        return err->code;
    const struct source source = reduced_archive_source(reduced);
    const struct sent sent = {.archive = &source, .held = true};
    if (post(push, &sent, &events, &response, err) == ERR_OK) {
        *asked = take_missing(&response, reduction);
        read_any(push, &events, &response, answer, err);
    }
    reduced_archive_close(reduced);
    json_decref(events.push);
    return err->code;
}

/* What the whole archive may have another answer to: it is damaged, or a layer is gone by now, or
 * the gateway does not know the question. */
static bool whole_may_help(const struct error *err)
{
    return error_party(err->code) == PARTY_CLIENT && err->status != 401 && err->status != 403 &&
           err->status != 429;
}

/* At most twice: first without a layer, then with those that were asked for. */
static enum errc push_known(const struct remote_push *push, const struct contents *contents,
                            json_t **answer, struct error *err)
{
    struct reduction reduction = {.contents = contents};
    bool asked = false;
    if (push_reduced(push, &reduction, &asked, answer, err) != ERR_OK && asked) {
        error_clear(err);
        push_reduced(push, &reduction, &asked, answer, err);
    }
    digest_map_deinit(&reduction.asked);
    return err->code;
}

enum errc push_remote(const struct remote_push *push, json_t **answer, struct error *err)
{
    struct contents *contents = NULL;
    if (contents_read(*push->archive, UINT64_MAX, true, push->cancel, &contents, err) != ERR_OK)
        return err->code;
    /* Of an index the gateway would be asked for the layers of all platforms. */
    bool known = contents_whole(contents) && !push->order->has_platform;
    if (known)
        push_known(push, contents, answer, err);
    contents_free(contents);
    if (known && (err->code == ERR_OK || !whole_may_help(err)))
        return err->code;
    error_clear(err);
    return known && source_rewind(push->archive, err) != ERR_OK ? err->code
                                                                : push_whole(push, answer, err);
}
