#include "gateway/server/routes.h"

#include "base/buf.h"
#include "base/mem.h"
#include "gateway/api/answer.h"
#include "gateway/api/images.h"
#include "gateway/api/layers.h"
#include "gateway/api/pushes.h"
#include "gateway/registry/registry.h"

#include <string.h>

/* A refused body up to this size is read to its end: then the client gets its answer for sure, and
 * keeps its connection. */
#define DRAINED_BODY_BYTES ((uint64_t)64 << 10)

enum phase {
    PHASE_OPEN,  /* the headers are not there yet */
    PHASE_BODY,  /* the job gets the body */
    PHASE_WAIT,  /* the job has all of it */
    PHASE_DRAIN, /* the reply is there, the rest of the request is not */
    PHASE_ANSWERED,
};

struct exchange_state {
    enum phase phase;
    struct gateway *gateway;
    struct MHD_Connection *connection;
    char *target; /* path, NUL, query */
    const char *query;
    struct job *job;
    struct reply reply; /* PHASE_DRAIN */
};

/* ---- handlers of a few lines ---- */

static struct job *get_health(struct gateway *gateway, const struct request *request,
                              struct reply *reply)
{
    (void)gateway;
    (void)request;
    reply->status = 200;
    reply_json(reply, xstrdup("{\"status\":\"alive\"}"));
    return NULL;
}

static struct job *get_ready(struct gateway *gateway, const struct request *request,
                             struct reply *reply)
{
    (void)request;
    if (jobs_closed(gateway->jobs)) {
        struct error err = ERROR_INIT;
        fail(&err, ERR_STOPPING, 0, "the gateway is stopping");
        reply_error(reply, &err);
        return NULL;
    }
    reply->status = 200;
    reply_json(reply, xstrdup("{\"status\":\"ready\"}"));
    return NULL;
}

static struct job *get_version(struct gateway *gateway, const struct request *request,
                               struct reply *reply)
{
    (void)gateway;
    (void)request;
    reply->status = 200;
    reply_json(reply, answer_version());
    return NULL;
}

/* ---- the table ---- */

/* The first row for a path and method counts. */
/* clang-format off */
static const struct route {
    const char *path;    /* ending in a slash and a star: whatever begins so */
    const char *methods; /* as in an Allow header; NULL: the handler decides */
    route_handler *handler;
} routes[] = {
    {"/v2",          NULL,        front_route},
    {"/v2/*",        NULL,        front_route},
    {"/v1/images",   "POST, PUT", images_post},
    {"/v1/layers",   "POST, PUT", layers_post},
    {"/v1/layers/*", "GET, HEAD", layers_get},
    {"/v1/pushes",   "POST",      pushes_post},
    {"/healthz",     "GET, HEAD", get_health},
    {"/readyz",      "GET, HEAD", get_ready},
    {"/v1/version",  "GET, HEAD", get_version},
};
/* clang-format on */

static bool matches(const struct route *route, const char *path)
{
    size_t size = strlen(route->path);
    if (route->path[size - 1] == '*')
        return strncmp(route->path, path, size - 1) == 0;
    return strcmp(route->path, path) == 0;
}

static bool allows(const struct route *route, const char *method)
{
    size_t size = strlen(method);
    if (route->methods == NULL)
        return true;
    for (const char *at = route->methods; (at = strstr(at, method)) != NULL; at += size)
        if ((at == route->methods || at[-1] == ' ') && (at[size] == ',' || at[size] == '\0'))
            return size > 0;
    return false;
}

static void refuse_method(const struct request *request, const char *allowed, struct reply *reply)
{
    struct error err = ERROR_INIT;
    fail(&err, ERR_METHOD, 0, "%.200s takes %s, not %.20s", request->path, allowed,
         request->method);
    reply_error(reply, &err);
    reply_header(reply, MHD_HTTP_HEADER_ALLOW, "%s", allowed);
}

static struct job *dispatch(struct gateway *gateway, const struct request *request,
                            struct reply *reply)
{
    autobuf struct buf allowed = BUF_INIT(200);
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        const struct route *route = &routes[i];
        if (!matches(route, request->path))
            continue;
        if (allows(route, request->method))
            return route->handler(gateway, request, reply);
        buf_format(&allowed, "%s%s", allowed.size > 0 ? ", " : "", route->methods);
    }
    if (allowed.size > 0) {
        refuse_method(request, buf_cstr(&allowed), reply);
        return NULL;
    }
    struct error err = ERROR_INIT;
    fail(&err, ERR_NOT_FOUND, 0, "there is nothing at %.200s", request->path);
    reply_error(reply, &err);
    return NULL;
}

/* ---- one request ---- */

static void suspend_connection(void *connection)
{
    MHD_suspend_connection(connection);
}

static void resume_connection(void *connection)
{
    MHD_resume_connection(connection);
}

struct feeder request_feeder(const struct request *request)
{
    return (struct feeder){.suspend = suspend_connection,
                           .resume = resume_connection,
                           .connection = request->connection};
}

/* The absolute form of a target is as good as its path (RFC 9112, 3.2.2). */
static const char *origin_form(const char *uri)
{
    if (strncasecmp(uri, "http://", 7) != 0 && strncasecmp(uri, "https://", 8) != 0)
        return uri;
    const char *authority = strstr(uri, "//") + 2;
    const char *path = authority + strcspn(authority, "/?");
    return *path == '/' ? path : "/";
}

struct exchange_state *route_open(const char *uri)
{
    struct exchange_state *state = xcalloc(1, sizeof *state);
    state->target = xstrdup(origin_form(uri ? uri : ""));
    state->reply = (struct reply)REPLY_INIT(0);
    char *query = state->target + strcspn(state->target, "?");
    state->query = query + (*query == '?');
    *query = '\0';
    return state;
}

bool route_begun(const struct exchange_state *state)
{
    return state->phase != PHASE_OPEN;
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

/* When the gateway stops, a client gets what it asked for, and then no more. */
static enum MHD_Result answer(struct exchange_state *state, struct reply *reply)
{
    state->phase = PHASE_ANSWERED;
    if (jobs_closed(state->gateway->jobs))
        reply_header(reply, MHD_HTTP_HEADER_CONNECTION, "close");
    return reply_send(reply, state->connection);
}

enum MHD_Result route_begin(struct gateway *gateway, struct MHD_Connection *connection,
                            const char *method, struct exchange_state *state)
{
    const struct request request = {
        .connection = connection, .method = method, .path = state->target, .query = state->query};
    struct error err = ERROR_INIT;
    state->gateway = gateway;
    state->connection = connection;
    if (request_framing(&request, &err) != ERR_OK) {
        reply_error(&state->reply, &err);
        reply_header(&state->reply, MHD_HTTP_HEADER_CONNECTION, "close");
        return answer(state, &state->reply);
    }
    state->job = dispatch(gateway, &request, &state->reply);
    if (state->job) {
        state->phase = PHASE_BODY;
        return MHD_YES;
    }
    if (ends_soon(&request)) {
        state->phase = PHASE_DRAIN;
        return MHD_YES;
    }
    return answer(state, &state->reply);
}

static enum MHD_Result feed(struct exchange_state *state, const char *data, size_t *size)
{
    if (*size > 0) {
        *size -= job_put(state->job, data, *size);
        return MHD_YES;
    }
    if (state->phase == PHASE_BODY) {
        job_end(state->job);
        state->phase = PHASE_WAIT;
    }
    struct reply reply;
    if (!job_reply(state->job, &reply))
        return MHD_YES;
    return answer(state, &reply);
}

enum MHD_Result route_continue(struct exchange_state *state, const char *data, size_t *size)
{
    if (state->phase == PHASE_BODY || state->phase == PHASE_WAIT)
        return feed(state, data, size);
    if (state->phase == PHASE_DRAIN && *size == 0)
        return answer(state, &state->reply);
    *size = 0;
    return MHD_YES;
}

void route_done(struct exchange_state *state, bool complete)
{
    if (state == NULL)
        return;
    if (state->job)
        job_drop(state->job, complete || state->phase != PHASE_BODY);
    reply_deinit(&state->reply);
    free(state->target);
    free(state);
}
