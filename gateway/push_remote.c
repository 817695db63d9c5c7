#include "gateway/push_remote.h"

#include "base/buf.h"
#include "base/mem.h"
#include "upstream/transport.h"

#include <string.h>

#define ANSWER_LIMIT_BYTES ((size_t)4 << 20)
#define URL_LIMIT_BYTES ((size_t)64 << 10)
/* The gateway answers when every registry has: silence is no stall. */
#define NO_STALL_S (24L * 3600)

static void append_url(struct buf *out, const char *url, const struct push_order *order)
{
    char text[REFERENCE_TEXT_MAX];
    size_t size = strlen(url);
    while (size > 0 && url[size - 1] == '/')
        size--;
    buf_append(out, url, size);
    buf_text(out, "/v1/images");
    for (size_t i = 0; i < order->to_count; i++) {
        buf_text(out, i ? "&to=" : "?to=");
        buf_query_escape(out, reference_text(&order->to[i], text));
    }
    if (order->image) {
        buf_text(out, "&image=");
        buf_query_escape(out, order->image);
    }
    if (order->has_platform) {
        buf_text(out, "&platform=");
        buf_query_escape(out, platform_text(&order->platform, text));
    }
}

/* The gateway's own error form, back into an error. */
static enum errc refused(const json_t *root, int status, struct error *err)
{
    const json_t *first = json_array_get(json_object_get(root, "errors"), 0);
    const char *code = json_text(first, "code");
    const char *message = json_text(first, "message");
    if (code == NULL || message == NULL)
        return fail(err, ERR_REGISTRY_ANSWER, 0,
                    "the gateway answered %d with something that is not slipway's", status);
    fail(err, error_by_name(code), 0, "%s", message);
    err->status = status;
    return err->code;
}

static enum errc read_answer(const struct http_response *response, json_t **answer,
                             struct error *err)
{
    autojson json_t *root = NULL;
    if (response->body_cut ||
        json_parse(buf_cstr(&response->body), response->body.size, ANSWER_LIMIT_BYTES,
                   "the gateway's answer", &root, err) != ERR_OK)
        return fail(err, ERR_REGISTRY_ANSWER, 0,
                    "what answered with status %d is no slipway gateway", response->status);
    if (!json_is_array(json_object_get(root, "results")))
        return refused(root, response->status, err);
    *answer = json_incref(root);
    return ERR_OK;
}

enum errc push_remote(const char *url, const struct push_order *order, struct archive_input *input,
                      struct cancel *cancel, json_t **answer, struct error *err)
{
    autobuf struct buf target = BUF_INIT(URL_LIMIT_BYTES);
    append_url(&target, url, order);
    struct source source = archive_input_source(input);
    struct http_body body = {.source = &source,
                             .size = input->size_bytes > 0 ? input->size_bytes : HTTP_SIZE_UNKNOWN};
    struct stop stop;
    stop_init(&stop, cancel);
    struct http_request request = {.method = "POST",
                                   .url = buf_cstr(&target),
                                   .content_type = "application/x-tar",
                                   .body = &body,
                                   .answer_limit_bytes = ANSWER_LIMIT_BYTES,
                                   .stop = &stop};
    struct transport_options options = {
        .host = url, .user_agent = "slipway/" SLIPWAY_VERSION, .stall_s = NO_STALL_S};
    struct transport *transport = transport_new(&options);
    struct connection *connection = transport_lease(transport);
    autoresponse struct http_response response = HTTP_RESPONSE_INIT;
    enum errc rc = transport_exchange(connection, &request, &response, err);
    transport_return(connection);
    transport_free(transport);
    return rc == ERR_OK ? read_answer(&response, answer, err) : rc;
}
