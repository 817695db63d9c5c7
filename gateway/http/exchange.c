#include "gateway/http/exchange.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

/* A refused body up to this size is read to its end: then the client gets its answer for sure, and
 * keeps its connection. */
#define DRAINED_BODY_BYTES ((uint64_t)64 << 10)
#define AGENT_SHOWN_MAX 128

enum phase {
    PHASE_OPEN,  /* the headers are not there yet */
    PHASE_ADMIT, /* a job finds out who it is of; nothing of the body comes */
    PHASE_BODY,  /* the job gets the body */
    PHASE_WAIT,  /* the job has all of it */
    PHASE_DRAIN, /* the reply is there, the rest of the request is not */
    PHASE_ANSWERED,
};

struct exchange {
    enum phase phase;
    const struct request_handler *handler;
    char id[REQUEST_ID_MAX];
    char method[16]; /* cut to fit */
    char client[NET_ADDRESS_TEXT_MAX];
    char agent[AGENT_SHOWN_MAX]; /* cut to fit; "" when there is none */
    int64_t begun_ms;
    struct MHD_Connection *connection;
    struct connection *at;
    const char *whole_method; /* libmicrohttpd's, as the next */
    const char *version;
    struct peer peer;
    void *caller;
    unsigned tries; /* to admit it */
    char *target;   /* path, NUL, query */
    const char *query;
    struct job *job;
    struct reply reply; /* PHASE_DRAIN */
};

/* The absolute form of a target is as good as its path (RFC 9112, 3.2.2). */
static const char *origin_form(const char *uri)
{
    if (strncasecmp(uri, "http://", 7) != 0 && strncasecmp(uri, "https://", 8) != 0)
        return uri;
    const char *authority = strstr(uri, "//") + 2;
    const char *path = authority + strcspn(authority, "/?");
    return *path == '/' ? path : "/";
}

struct exchange *exchange_open(const char *uri)
{
    struct exchange *exchange = xcalloc(1, sizeof *exchange);
    exchange->target = xstrdup(origin_form(uri ? uri : ""));
    exchange->reply = (struct reply)REPLY_INIT(0);
    char *query = exchange->target + strcspn(exchange->target, "?");
    exchange->query = query + (*query == '?');
    *query = '\0';
    return exchange;
}

bool exchange_begun(const struct exchange *exchange)
{
    return exchange->phase != PHASE_OPEN;
}

/* libmicrohttpd ends a connection whose answer is queued before the end of the request, so the
 * answer waits for it when that is near. */
static bool ends_soon(const struct request *request)
{
    struct error err = ERROR_INIT;
    bool known = false;
    uint64_t length = 0;
    if (request_header(request, MHD_HTTP_HEADER_TRANSFER_ENCODING))
        return false;
    if (request_length(request, &known, &length, &err) != ERR_OK)
        return false;
    if (!known || length == 0)
        return true;
    return length <= DRAINED_BODY_BYTES && request_header(request, MHD_HTTP_HEADER_EXPECT) == NULL;
}

static uint64_t body_bytes(const struct exchange *exchange)
{
    return exchange->job ? job_body_bytes(exchange->job) : 0;
}

/* What changes something has its line. Registry clients ask for what may not be there, and most of
 * the time it is not. */
static enum log_level level_of(const struct exchange *exchange, const struct reply *reply)
{
    bool asks = strcmp(exchange->method, "HEAD") == 0 || strcmp(exchange->method, "GET") == 0;
    if (asks && (reply->refusal == NULL || reply->status == 404))
        return LOG_DEBUG;
    return reply->refusal && reply->status >= 500 ? LOG_WARN : LOG_INFO;
}

static const char *agent_of(const struct exchange *exchange)
{
    return exchange->agent[0] ? exchange->agent : NULL;
}

static const struct metric_family requests_family = {
    .name = "slipway_http_requests",
    .type = METRIC_COUNTER,
    .help = "Requests that have ended, by what their path is about; code none: without an answer.",
    .labels = {"route", "method", "code"}};
static const struct metric_family seconds_family = {
    .name = "slipway_http_request_seconds",
    .type = METRIC_HISTOGRAM,
    .help = "From the first line of a request to its answer.",
    .labels = {"route"},
    .buckets = {0.01, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600}};

/* One of few, whatever clients send. */
static const char *method_shown(const char *method)
{
    static const char *const known[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(method, known[i]) == 0)
            return known[i];
    return "other";
}

static void count(const struct exchange *exchange, const char *route, const struct reply *reply)
{
    struct metrics *metrics = exchange->handler->metrics;
    char code[16] = "none";
    if (reply)
        snprintf(code, sizeof code, "%d", reply->status);
    metric_add(metrics_sample(metrics, &requests_family,
                              (const char *[]){route, method_shown(exchange->method), code}),
               1);
    metric_observe(metrics_sample(metrics, &seconds_family, (const char *[]){route}),
                   (double)(clock_ms() - exchange->begun_ms) / 1000);
}

/* The end of a request; `reply` NULL: without an answer. */
static void tell(const struct exchange *exchange, const struct reply *reply, enum log_level level,
                 const char *event, const char *message)
{
    const struct path_shown path = exchange->handler->show(exchange->target);
    count(exchange, path.pattern, reply);
    if (!log_enabled(level))
        return;
    const struct error *why = reply ? reply->refusal : NULL;
    enum errc code = why ? why->code : reply ? reply->failed : ERR_OK;
    autofree char *name = path.name ? xstrndup(path.name, path.name_size) : NULL;
    autofree char *cut = path.value_size ? xstrndup(path.value, path.value_size) : NULL;
    log_event(
        level, event,
        LOG_FIELDS(log_text("client", exchange->client), log_text("agent", agent_of(exchange)),
                   log_text("method", exchange->method), log_text("path", path.pattern),
                   log_text("repository", name),
                   log_text(path.part ? path.part : "part", cut ? cut : path.value),
                   reply ? log_number("status", (uint64_t)reply->status) : log_text("status", NULL),
                   log_text("code", code ? error_name(code) : NULL),
                   log_text("party", code ? party_name(error_party(code)) : NULL),
                   log_text("error", why ? why->text : NULL),
                   log_number("bytes", body_bytes(exchange)),
                   log_number("ms", (uint64_t)(clock_ms() - exchange->begun_ms))),
        "%s", message);
}

static void tell_answer(const struct exchange *exchange, const struct reply *reply)
{
    bool refused = reply->refusal != NULL;
    tell(exchange, reply, level_of(exchange, reply),
         refused ? "request.refused" : "request.answered",
         refused ? "request refused" : "request answered");
}

/* The connection ended in the middle of the request: of a client that went away, or after an answer
 * that did not wait for the body (connections_end()). */
static void tell_end(struct exchange *exchange)
{
    if (exchange->job && job_answered(exchange->job)) {
        job_reply(exchange->job, &exchange->reply);
        tell_answer(exchange, &exchange->reply);
        return;
    }
    tell(exchange, NULL, LOG_INFO, "request.aborted",
         connection_ended(exchange->at) ? "the request was too slow, or made room for others"
                                        : "the client went away");
}

/* When the gateway stops, a client gets what it asked for, and then no more. */
static enum MHD_Result answer(struct exchange *exchange, struct reply *reply)
{
    exchange->phase = PHASE_ANSWERED;
    if (exchange->job)
        connection_waits(exchange->at);
    else
        connection_answers(exchange->at);
    tell_answer(exchange, reply);
    reply_header(reply, REQUEST_ID_HEADER, "%s", exchange->id);
    reply_harmless(reply);
    if (exchange->handler->jobs && jobs_closed(exchange->handler->jobs))
        reply_header(reply, MHD_HTTP_HEADER_CONNECTION, "close");
    bool has_body = strcmp(exchange->method, "HEAD") != 0;
    return reply_send(reply, exchange->connection, has_body ? exchange->handler->reads : NULL);
}

static struct peer peer_of(const struct exchange *exchange, const struct request *request)
{
    struct peer peer = {.connection = suspendable_connection(exchange->connection),
                        .address = client_address(connection_address(exchange->at),
                                                  &exchange->handler->proxies, request),
                        .table = connection_table(exchange->at),
                        .id = connection_id(exchange->at)};
    memcpy(peer.request_id, exchange->id, sizeof peer.request_id);
    return peer;
}

static void note_client(struct exchange *exchange, const struct request *request)
{
    const char *agent = request_header(request, MHD_HTTP_HEADER_USER_AGENT);
    if (exchange->handler->administrators)
        snprintf(exchange->client, sizeof exchange->client, "%s",
                 exchange->handler->administrators);
    else
        net_address_text(&request->peer.address, exchange->client);
    snprintf(exchange->agent, sizeof exchange->agent, "%s", agent ? agent : "");
}

static struct request request_of(const struct exchange *exchange)
{
    return (struct request){
        .connection = exchange->connection,
        .method = exchange->whole_method,
        .version = exchange->version,
        .path = exchange->target,
        .query = exchange->query,
        .id = exchange->id,
        .administrator = exchange->handler->administrators != NULL,
        .proxied = client_is_proxy(connection_address(exchange->at), &exchange->handler->proxies),
        .caller = exchange->caller,
        .peer = exchange->peer};
}

/* The answer is in exchange->reply. */
static enum MHD_Result refuse(struct exchange *exchange, const struct request *request)
{
    if (!ends_soon(request))
        return answer(exchange, &exchange->reply);
    exchange->phase = PHASE_DRAIN;
    connection_drains(exchange->at);
    return MHD_YES;
}

static enum MHD_Result begin_work(struct exchange *exchange)
{
    struct peer *peer = &exchange->peer;
    peer->known = exchange->caller && exchange->handler->share &&
                  exchange->handler->share(exchange->caller, &peer->share);
    const struct request request = request_of(exchange);
    exchange->job = exchange->handler->answer(exchange->handler->self, &request, &exchange->reply);
    if (exchange->job == NULL)
        return refuse(exchange, &request);
    exchange->phase = PHASE_BODY;
    return MHD_YES;
}

/* False: the connection has been suspended until the job has found out. */
static bool admitting_is_over(struct exchange *exchange)
{
    if (!job_reply(exchange->job, &exchange->reply))
        return false;
    job_drop(exchange->job, true);
    exchange->job = NULL;
    return true;
}

static void refuse_unknown(struct exchange *exchange)
{
    struct error err = ERROR_INIT;
    fail(&err, ERR_BUSY, 0, "too many clients show their credentials at the same time");
    reply_error(&exchange->reply, &err);
}

/* libmicrohttpd 0.9.75 calls again after a suspension in the call for the headers, before anything
 * of the body, and takes an answer then as it does in the first call. */
static enum MHD_Result admit(struct exchange *exchange)
{
    const struct request_handler *handler = exchange->handler;
    bool known = handler->admit == NULL;
    while (!known && exchange->reply.status == 0 && exchange->tries++ < ADMIT_TRIES) {
        const struct request request = request_of(exchange);
        exchange->job =
            handler->admit(handler->self, &request, &exchange->caller, &exchange->reply);
        known = exchange->job == NULL;
        if (known)
            break;
        exchange->phase = PHASE_ADMIT;
        connection_waits(exchange->at);
        if (!admitting_is_over(exchange))
            return MHD_YES;
    }
    if (exchange->phase == PHASE_ADMIT && !connection_begins(exchange->at))
        return MHD_NO;
    if (known && exchange->reply.status == 0)
        return begin_work(exchange);
    if (exchange->reply.status == 0)
        refuse_unknown(exchange);
    const struct request request = request_of(exchange);
    return refuse(exchange, &request);
}

enum MHD_Result exchange_begin(struct exchange *exchange, const struct request_handler *handler,
                               struct MHD_Connection *connection, struct connection *at,
                               const char *method, const char *version)
{
    struct error err = ERROR_INIT;
    exchange->handler = handler;
    exchange->connection = connection;
    exchange->at = at;
    exchange->begun_ms = clock_ms();
    exchange->whole_method = method;
    exchange->version = version;
    snprintf(exchange->method, sizeof exchange->method, "%s", method);
    struct request request = request_of(exchange);
    request_id_choose(&request, exchange->id);
    exchange->peer = request.peer = peer_of(exchange, &request);
    note_client(exchange, &request);
    autoscope struct log_scope outer = log_scope_begin("request", exchange->id);
    if (request_framing(&request, &err) != ERR_OK) {
        reply_error(&exchange->reply, &err);
        reply_header(&exchange->reply, MHD_HTTP_HEADER_CONNECTION, "close");
        return answer(exchange, &exchange->reply);
    }
    return admit(exchange);
}

static enum MHD_Result feed(struct exchange *exchange, const char *data, size_t *size)
{
    if (*size > 0) {
        *size -= job_put(exchange->job, data, *size);
        return MHD_YES;
    }
    if (exchange->phase == PHASE_BODY) {
        connection_waits(exchange->at);
        job_end(exchange->job);
        exchange->phase = PHASE_WAIT;
    }
    struct reply reply;
    if (!job_reply(exchange->job, &reply))
        return MHD_YES;
    return answer(exchange, &reply);
}

enum MHD_Result exchange_continue(struct exchange *exchange, const char *data, size_t *size)
{
    autoscope struct log_scope outer = log_scope_begin("request", exchange->id);
    if (exchange->phase == PHASE_ADMIT)
        return admitting_is_over(exchange) ? admit(exchange) : MHD_YES;
    connection_got(exchange->at, *size);
    if (exchange->phase == PHASE_BODY || exchange->phase == PHASE_WAIT)
        return feed(exchange, data, size);
    if (exchange->phase == PHASE_DRAIN && *size == 0)
        return answer(exchange, &exchange->reply);
    *size = 0;
    return MHD_YES;
}

void exchange_end(struct exchange *exchange, bool complete)
{
    if (exchange == NULL)
        return;
    autoscope struct log_scope outer = log_scope_begin("request", exchange->id);
    if (!complete && exchange->phase != PHASE_OPEN && exchange->phase != PHASE_ANSWERED)
        tell_end(exchange);
    if (exchange->job)
        job_drop(exchange->job, complete || exchange->phase != PHASE_BODY);
    if (exchange->caller)
        exchange->handler->dismiss(exchange->caller);
    reply_deinit(&exchange->reply);
    free(exchange->target);
    free(exchange);
}
