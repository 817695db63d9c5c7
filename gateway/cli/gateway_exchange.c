#include "gateway/cli/gateway_exchange.h"

#include "base/mem.h"
#include "net/url.h"
#include "upstream/auth/answer.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define LINE_LIMIT_BYTES ((size_t)256 << 10)
#define MEDIA_NDJSON "application/x-ndjson"
/* The gateway answers when every registry has: silence is no stall. */
#define NO_STALL_S (24L * 3600)

/* ---- the lines of an answer ---- */

struct receiver {
    const struct gateway_lines *lines;
    struct buf line; /* the one that has begun */
};

bool gateway_answer_streams(const struct http_response *response)
{
    const char *type = http_header(response, "Content-Type");
    return type && strncasecmp(type, MEDIA_NDJSON, strlen(MEDIA_NDJSON)) == 0;
}

static void take_line(const struct receiver *receiver)
{
    struct error ignored = ERROR_INIT;
    autojson json_t *root = NULL;
    if (!receiver->line.overflowed &&
        json_parse(buf_cstr(&receiver->line), receiver->line.size, LINE_LIMIT_BYTES, "a line",
                   &root, &ignored) == ERR_OK)
        receiver->lines->take(receiver->lines->self, root);
}

static bool on_received(void *arg, const struct http_response *response, const void *data,
                        size_t size)
{
    struct receiver *receiver = arg;
    if (!gateway_answer_streams(response))
        return false;
    const char *at = data;
    while (size > 0) {
        const char *newline = memchr(at, '\n', size);
        size_t n = newline ? (size_t)(newline - at) : size;
        buf_append(&receiver->line, at, n);
        if (newline) {
            take_line(receiver);
            buf_clear(&receiver->line);
            n++;
        }
        at += n;
        size -= n;
    }
    return true;
}

/* ---- the exchange ---- */

static enum errc exchange(const struct gateway_access *access, const struct http_request *request,
                          struct http_response *response, struct error *err)
{
    const struct transport_options options = {
        .host = access->host,
        .user_agent = "slipway/" SLIPWAY_VERSION,
        .unix_socket = access->socket,
        .ca_file = access->ca,
        .peer = "gateway",
        .ca_setting = access->ca_setting,
        .plain_advice = "give --gateway an http:// URL",
        .times = {.stall_s = NO_STALL_S},
    };
    struct transport *transport = transport_new(&options);
    struct connection *connection = transport_lease(transport);
    enum errc rc = transport_exchange(connection, request, response, err);
    transport_return(connection);
    transport_free(transport);
    return rc;
}

enum errc gateway_exchange(const struct gateway_access *access, const struct http_request *asked,
                           const char *path, const struct gateway_lines *lines,
                           struct http_response *response, struct error *err)
{
    struct receiver receiver = {.lines = lines, .line = BUF_INIT(LINE_LIMIT_BYTES)};
    autofree char *url = xasprintf("%s%s", access->url, path);
    struct http_request request = *asked;
    request.url = url;
    request.authorization = access->authorization;
    request.deadline = HTTP_STALL;
    request.ask_first = true;
    if (lines) {
        request.accept = MEDIA_NDJSON ", application/json";
        request.received = on_received;
        request.received_arg = &receiver;
    }
    enum errc rc = exchange(access, &request, response, err);
    buf_deinit(&receiver.line);
    return rc;
}

/* ---- refusals ---- */

/* What a person can do about an answer that is not the gateway's: mostly that of a proxy. */
static void advise(const struct gateway_access *access, const struct http_response *response,
                   char *text, size_t capacity)
{
    char shown[URL_SHOWN_MAX];
    const char *location = http_header(response, "Location");
    switch (response->status) {
    case 401:
    case 403:
        snprintf(text, capacity, "; %s", access->advice);
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

static enum errc not_the_gateway(const struct gateway_access *access,
                                 const struct http_response *response, struct error *err)
{
    struct answer answer;
    char advice[ERROR_TEXT_MAX] = "";
    answer_read(response, &answer);
    advise(access, response, advice, sizeof advice);
    return fail(err, ERR_REGISTRY_ANSWER, 0,
                "what answers at %s is no slipway gateway: status %d%s%s%s", access->url,
                response->status, answer.message[0] ? ", " : "", answer.message, advice);
}

enum errc gateway_refusal(const struct gateway_access *access, const struct http_response *response,
                          struct error *err)
{
    struct error ignored = ERROR_INIT;
    autojson json_t *root = NULL;
    if (!response->body_cut)
        json_parse(buf_cstr(&response->body), response->body.size, response->body.size, "answer",
                   &root, &ignored);
    const json_t *first = json_array_get(json_object_get(root, "errors"), 0);
    const char *code = json_text(first, "code");
    const char *message = json_text(first, "message");
    if (code == NULL || message == NULL)
        return not_the_gateway(access, response, err);
    bool advised = response->status == 401 && access->advice;
    fail(err, error_by_name(code), 0, "%s%s%s", message, advised ? "; " : "",
         advised ? access->advice : "");
    err->status = response->status;
    return err->code;
}
