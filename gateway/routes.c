#include "gateway/routes.h"

#include "base/mem.h"
#include "gateway/answer.h"

#include <string.h>

#define RETRY_AFTER_S "5"
#define MEDIA_NDJSON "application/x-ndjson"

enum phase { PHASE_BODY, PHASE_WAIT, PHASE_ANSWERED };

/* A request whose body is being received. */
struct context {
    struct MHD_Connection *connection;
    struct upload *upload;
    enum phase phase;
};

static enum MHD_Result reply(struct MHD_Connection *connection, int status, char *body,
                             const char *header, const char *value)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(strlen(body), body, MHD_RESPMEM_MUST_FREE);
    if (response == NULL) {
        free(body);
        return MHD_NO;
    }
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
    if (header)
        MHD_add_response_header(response, header, value);
    enum MHD_Result queued = MHD_queue_response(connection, (unsigned)status, response);
    MHD_destroy_response(response);
    return queued;
}

#define STREAM_BLOCK_BYTES ((size_t)16 * 1024)

static ssize_t read_stream(void *stream, uint64_t position, char *out, size_t size)
{
    (void)position;
    ssize_t got = event_stream_read(stream, out, size);
    return got == EVENT_STREAM_END ? MHD_CONTENT_READER_END_OF_STREAM : got;
}

static void free_stream(void *stream)
{
    event_stream_abandon(stream);
}

/* `stream` is taken. */
static enum MHD_Result reply_stream(struct MHD_Connection *connection, struct event_stream *stream)
{
    struct MHD_Response *response = MHD_create_response_from_callback(
        MHD_SIZE_UNKNOWN, STREAM_BLOCK_BYTES, read_stream, stream, free_stream);
    if (response == NULL) {
        event_stream_abandon(stream);
        return MHD_NO;
    }
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, MEDIA_NDJSON);
    enum MHD_Result queued = MHD_queue_response(connection, 200, response);
    MHD_destroy_response(response);
    return queued;
}

static enum MHD_Result reply_error(struct MHD_Connection *connection, const struct error *err)
{
    bool later = err->code == ERR_BUSY || err->code == ERR_STOPPING;
    return reply(connection, error_http_status(err->code), answer_error(err),
                 later ? MHD_HTTP_HEADER_RETRY_AFTER : NULL, RETRY_AFTER_S);
}

/* ---- GET /healthz, /readyz, /v1/version ---- */

static enum MHD_Result get_health(struct uploads *uploads, struct MHD_Connection *connection,
                                  void **context)
{
    (void)uploads;
    (void)context;
    return reply(connection, 200, xstrdup("{\"status\":\"alive\"}"), NULL, NULL);
}

static enum MHD_Result get_ready(struct uploads *uploads, struct MHD_Connection *connection,
                                 void **context)
{
    (void)context;
    if (!uploads_closed(uploads))
        return reply(connection, 200, xstrdup("{\"status\":\"ready\"}"), NULL, NULL);
    struct error err = ERROR_INIT;
    fail(&err, ERR_STOPPING, 0, "the gateway is stopping");
    return reply_error(connection, &err);
}

static enum MHD_Result get_version(struct uploads *uploads, struct MHD_Connection *connection,
                                   void **context)
{
    (void)uploads;
    (void)context;
    return reply(connection, 200, answer_version(), NULL, NULL);
}

/* ---- POST, PUT /v1/images ---- */

struct query {
    struct push_order *order;
    bool has_compression;
    struct error *err;
};

static enum errc take_once(bool *seen, const char *key, struct error *err)
{
    if (*seen)
        return fail(err, ERR_BAD_REQUEST, 0, "the parameter \"%s\" is there twice", key);
    *seen = true;
    return ERR_OK;
}

static enum errc take_parameter(struct query *query, const char *key, const char *value,
                                struct error *err)
{
    struct push_order *order = query->order;
    bool has_image = order->image != NULL;
    if (value == NULL || *value == '\0')
        return fail(err, ERR_BAD_REQUEST, 0, "the parameter \"%.100s\" has no value", key);
    if (strcmp(key, "to") == 0)
        return push_order_add(order, value, err);
    if (strcmp(key, "image") == 0) {
        if (take_once(&has_image, key, err) == ERR_OK)
            order->image = xstrdup(value);
        return err->code;
    }
    if (strcmp(key, "platform") == 0)
        return take_once(&order->has_platform, key, err) == ERR_OK
                   ? platform_parse(value, &order->platform, err)
                   : err->code;
    if (strcmp(key, "compression") == 0)
        return take_once(&query->has_compression, key, err) == ERR_OK
                   ? push_order_set_compression(order, value, err)
                   : err->code;
    return fail(err, ERR_BAD_REQUEST, 0,
                "there is no parameter \"%.100s\": to, image, platform, compression", key);
}

static enum MHD_Result on_parameter(void *self, enum MHD_ValueKind kind, const char *key,
                                    const char *value)
{
    (void)kind;
    struct query *query = self;
    return take_parameter(query, key, value, query->err) == ERR_OK ? MHD_YES : MHD_NO;
}

static enum errc check_length(struct MHD_Connection *connection, uint64_t limit, struct error *err)
{
    const char *text =
        MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);
    if (text == NULL)
        return ERR_OK;
    unsigned long long length = strtoull(text, NULL, 10);
    if (length > limit)
        return fail(err, ERR_ARCHIVE_TOO_LARGE, 0,
                    "the archive has %llu bytes, the limit is %llu (limits.archive)", length,
                    (unsigned long long)limit);
    return ERR_OK;
}

static enum errc parse_order(struct uploads *uploads, struct MHD_Connection *connection,
                             struct push_order *order, struct error *err)
{
    struct query query = {.order = order, .err = err};
    MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, on_parameter, &query);
    if (err->code != ERR_OK)
        return err->code;
    if (order->to_count == 0)
        return fail(err, ERR_NO_TARGET, 0, "no target: say where to with to=HOST/REPOSITORY[:TAG]");
    return check_length(connection, uploads_limit_bytes(uploads), err);
}

static void suspend_connection(void *connection)
{
    MHD_suspend_connection(connection);
}

static void resume_connection(void *connection)
{
    MHD_resume_connection(connection);
}

/* One element of Accept names the type and does not exclude it (RFC 9110, 12.5.1). */
static bool element_names(const char *element, size_t size, const char *type)
{
    size_t length = strlen(type);
    if (size < length || strncasecmp(element, type, length) != 0)
        return false;
    autofree char *rest = xstrndup(element + length, size - length);
    if (strspn(rest, " \t;") == 0 && *rest != '\0')
        return false;
    const char *weight = strcasestr(rest, "q=");
    return weight == NULL || strtod(weight + 2, NULL) > 0;
}

static enum MHD_Result on_accept(void *self, enum MHD_ValueKind kind, const char *key,
                                 const char *value)
{
    (void)kind;
    bool *named = self;
    if (strcasecmp(key, MHD_HTTP_HEADER_ACCEPT) != 0 || value == NULL)
        return MHD_YES;
    for (const char *at = value; *at && !*named;) {
        at += strspn(at, " \t,");
        size_t size = strcspn(at, ",");
        *named = element_names(at, size, MEDIA_NDJSON);
        at += size;
    }
    return MHD_YES;
}

static bool wants_events(struct MHD_Connection *connection)
{
    bool named = false;
    MHD_get_connection_values(connection, MHD_HEADER_KIND, on_accept, &named);
    return named;
}

static enum MHD_Result post_image(struct uploads *uploads, struct MHD_Connection *connection,
                                  void **out)
{
    struct error err = ERROR_INIT;
    struct upload *upload = NULL;
    struct push_order *order = xcalloc(1, sizeof *order);
    struct feeder feeder = {
        .suspend = suspend_connection, .resume = resume_connection, .connection = connection};
    if (parse_order(uploads, connection, order, &err) != ERR_OK ||
        upload_new(uploads, order, wants_events(connection), feeder, &upload, &err) != ERR_OK) {
        push_order_deinit(order);
        free(order);
        return reply_error(connection, &err);
    }
    struct context *context = xcalloc(1, sizeof *context);
    context->connection = connection;
    context->upload = upload;
    *out = context;
    return MHD_YES;
}

/* ---- the table ---- */

static const struct route {
    const char *path;
    const char *methods; /* as in an Allow header */
    enum MHD_Result (*begin)(struct uploads *uploads, struct MHD_Connection *connection,
                             void **context);
} routes[] = {
    {"/v1/images", "POST, PUT", post_image},
    {"/healthz", "GET, HEAD", get_health},
    {"/readyz", "GET, HEAD", get_ready},
    {"/v1/version", "GET, HEAD", get_version},
};

static bool allows(const struct route *route, const char *method)
{
    size_t size = strlen(method);
    for (const char *at = route->methods; (at = strstr(at, method)) != NULL; at += size)
        if ((at == route->methods || at[-1] == ' ') && (at[size] == ',' || at[size] == '\0'))
            return size > 0;
    return false;
}

enum MHD_Result route_begin(struct uploads *uploads, struct MHD_Connection *connection,
                            const char *method, const char *path, void **context)
{
    struct error err = ERROR_INIT;
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        if (strcmp(routes[i].path, path) != 0)
            continue;
        if (allows(&routes[i], method))
            return routes[i].begin(uploads, connection, context);
        fail(&err, ERR_METHOD, 0, "%s takes %s, not %.20s", path, routes[i].methods, method);
        return reply(connection, error_http_status(err.code), answer_error(&err),
                     MHD_HTTP_HEADER_ALLOW, routes[i].methods);
    }
    fail(&err, ERR_NOT_FOUND, 0, "there is nothing at %.200s", path);
    return reply_error(connection, &err);
}

enum MHD_Result route_continue(void *opaque, const char *data, size_t *size)
{
    struct context *context = opaque;
    if (context->phase == PHASE_ANSWERED)
        return MHD_YES;
    if (*size > 0) {
        *size -= upload_put(context->upload, data, *size);
        return MHD_YES;
    }
    if (context->phase == PHASE_BODY) {
        upload_end(context->upload);
        context->phase = PHASE_WAIT;
    }
    struct upload_reply answer = {0};
    if (!upload_reply(context->upload, &answer))
        return MHD_YES;
    context->phase = PHASE_ANSWERED;
    if (answer.stream)
        return reply_stream(context->connection, answer.stream);
    return reply(context->connection, answer.status, answer.body, NULL, NULL);
}

void route_done(void *opaque, bool complete)
{
    struct context *context = opaque;
    if (context == NULL)
        return;
    upload_drop(context->upload, complete || context->phase != PHASE_BODY);
    free(context);
}
