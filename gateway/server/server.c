#include "gateway/server/server.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "gateway/api/answer.h"
#include "gateway/http/listener.h"
#include "gateway/server/routes.h"
#include "gateway/service/janitor.h"

#include <errno.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdarg.h>
#include <string.h>

#define HTTP_THREADS 2
#define CONNECTIONS_MAX 1024
#define CONNECTION_TIMEOUT_S 120
#define CONNECTION_MEMORY_BYTES ((size_t)64 * 1024)

struct server {
    struct MHD_Daemon *daemon;
    struct gateway gateway;
    struct janitor *janitor;
    struct listener *listener; /* NULL once drained */
    pthread_mutex_t lock;
    pthread_cond_t ended;
    unsigned exchanges; /* requests that were begun and not answered to their end */
    bool cancelled;
    char *tls_answer;  /* to who speaks TLS to a plain port */
    char *certificate; /* PEM texts; NULL without TLS */
    char *key;
};

static void count_exchange(struct server *server, int change)
{
    pthread_mutex_lock(&server->lock);
    server->exchanges += (unsigned)change;
    if (server->exchanges == 0)
        pthread_cond_broadcast(&server->ended);
    pthread_mutex_unlock(&server->lock);
}

/* `socket` is taken, also when there are too many. */
static void on_connection(void *self, int socket, const struct sockaddr *address, socklen_t size)
{
    const struct server *server = self;
    MHD_add_connection(server->daemon, socket, address, size);
}

/* What a connection has of its request. libmicrohttpd 0.9.75 never completes a request whose
 * parameters have no room in the connection's memory: the connection's end finds it here. */
struct visit {
    struct exchange_state *state; /* owned */
};

static void end_exchange(struct server *server, struct visit *visit, bool complete)
{
    struct exchange_state *state = visit->state;
    visit->state = NULL;
    bool begun = state && route_begun(state);
    route_done(state, complete);
    if (begun)
        count_exchange(server, -1);
}

static void on_visit(void *self, struct MHD_Connection *connection, void **context,
                     enum MHD_ConnectionNotificationCode what)
{
    (void)connection;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        *context = xcalloc(1, sizeof(struct visit));
        return;
    }
    end_exchange(self, *context, false);
    free(*context);
}

static struct visit *visit_of(struct MHD_Connection *connection)
{
    return MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

static void on_complete(void *self, struct MHD_Connection *connection, void **context,
                        enum MHD_RequestTerminationCode why)
{
    *context = NULL;
    end_exchange(self, visit_of(connection), why == MHD_REQUEST_TERMINATED_COMPLETED_OK);
}

static void *on_uri(void *self, const char *uri, struct MHD_Connection *connection)
{
    struct visit *visit = visit_of(connection);
    end_exchange(self, visit, false);
    visit->state = route_open(uri);
    return visit->state;
}

static enum MHD_Result on_request(void *self, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *size, void **context)
{
    (void)version;
    (void)url;
    struct server *server = self;
    if (!route_begun(*context)) {
        count_exchange(server, 1);
        return route_begin(&server->gateway, connection, method, *context);
    }
    return route_continue(*context, data, size);
}

__attribute__((format(printf, 2, 0))) static void on_log(void *self, const char *format,
                                                         va_list args)
{
    (void)self;
    char line[512];
    vsnprintf(line, sizeof line, format, args);
    line[strcspn(line, "\r\n")] = '\0';
    log_debug("http: %s", line);
}

static enum errc read_tls(struct server *server, const struct settings *settings, struct error *err)
{
    size_t size = 0;
    if (settings->tls.certificate == NULL)
        return ERR_OK;
    if (file_read_all(settings->tls.certificate, (size_t)1 << 20, &server->certificate, &size,
                      err) != ERR_OK ||
        file_read_all(settings->tls.key, (size_t)1 << 20, &server->key, &size, err) != ERR_OK)
        return error_wrap(err, "tls");
    return ERR_OK;
}

/* poll, not epoll: in libmicrohttpd 0.9.75 a connection that is closed together with its last bytes
 * is noticed by epoll's edge only after its timeout, and holds its job until then. */
static enum errc start_daemon(struct server *server, struct error *err)
{
    unsigned flags = MHD_USE_POLL_INTERNAL_THREAD | MHD_USE_NO_LISTEN_SOCKET | MHD_USE_ITC |
                     MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
    struct MHD_OptionItem tls[] = {{MHD_OPTION_HTTPS_MEM_CERT, 0, server->certificate},
                                   {MHD_OPTION_HTTPS_MEM_KEY, 0, server->key},
                                   {MHD_OPTION_END, 0, NULL}};
    struct MHD_OptionItem none[] = {{MHD_OPTION_END, 0, NULL}};
    bool plain = server->certificate == NULL;
    errno = 0;
    server->daemon = MHD_start_daemon(
        plain ? flags : flags | MHD_USE_TLS, 0, NULL, NULL, on_request, server,
        MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL, MHD_OPTION_THREAD_POOL_SIZE,
        (unsigned)HTTP_THREADS, MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)CONNECTION_TIMEOUT_S,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_MEMORY_BYTES, MHD_OPTION_URI_LOG_CALLBACK,
        on_uri, NULL, MHD_OPTION_NOTIFY_COMPLETED, on_complete, server,
        MHD_OPTION_NOTIFY_CONNECTION, on_visit, server, MHD_OPTION_ARRAY, plain ? none : tls,
        MHD_OPTION_END);
    if (server->daemon == NULL)
        return fail(err, ERR_SETTINGS, errno, "cannot start the HTTP server%s",
                    plain ? "" : " with the certificate and key of the configuration");
    return ERR_OK;
}

static char *make_tls_answer(void)
{
    struct error err = ERROR_INIT;
    fail(&err, ERR_BAD_REQUEST, 0, "this port speaks plain HTTP, not TLS");
    autofree char *body = answer_error(&err);
    return xasprintf("HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\n"
                     "Content-Length: %zu\r\nConnection: close\r\n\r\n%s",
                     strlen(body), body);
}

static enum errc start_listener(struct server *server, const char *listen, struct error *err)
{
    struct sockaddr_storage address = {0};
    struct listener_options options = {.address = &address,
                                       .waiting_max = CONNECTIONS_MAX,
                                       .timeout_ms = CONNECTION_TIMEOUT_S * 1000,
                                       .connected = on_connection,
                                       .self = server};
    if (server->certificate == NULL)
        options.tls_answer = server->tls_answer = make_tls_answer();
    if (settings_address(listen, &address, &options.address_size, err) != ERR_OK)
        return err->code;
    if (listener_open(&options, &server->listener, err) != ERR_OK)
        return error_wrap(err, "cannot listen on %s", listen);
    int host_size = (int)(strrchr(listen, ':') - listen);
    log_info("listening on %.*s:%u", host_size, listen, listener_port(server->listener));
    return ERR_OK;
}

/* What was promised before goes on before anything new comes. */
static enum errc open_gateway(struct server *server, struct engine *engine, struct error *err)
{
    const struct settings *settings = engine->settings;
    const struct jobs_limits limits = {.uploads = settings->limits.uploads,
                                       .blobs = settings->limits.blobs,
                                       .pushes = settings->limits.pushes};
    struct gateway *gateway = &server->gateway;
    gateway->engine = engine;
    gateway->jobs = jobs_new(&limits);
    gateway->ahead = ahead_new(engine->store, engine->registries);
    gateway->behind = behind_new(engine, gateway->ahead);
    if (janitor_start(engine->store, settings->limits.upload_idle_ms, &server->janitor, err) !=
        ERR_OK)
        return err->code;
    return behind_restart(gateway->behind, err);
}

/* Nothing uses it any more but what it runs itself. */
static void close_gateway(struct server *server)
{
    struct gateway *gateway = &server->gateway;
    behind_close(gateway->behind);
    while (!behind_wait(gateway->behind, 1000))
        ;
    behind_free(gateway->behind);
    ahead_close(gateway->ahead);
    ahead_free(gateway->ahead);
    janitor_stop(server->janitor);
    jobs_free(gateway->jobs);
}

enum errc server_start(struct engine *engine, struct server **out, struct error *err)
{
    const struct settings *settings = engine->settings;
    struct server *server = xcalloc(1, sizeof *server);
    pthread_mutex_init(&server->lock, NULL);
    clock_cond_init(&server->ended);
    if (open_gateway(server, engine, err) != ERR_OK || read_tls(server, settings, err) != ERR_OK ||
        start_daemon(server, err) != ERR_OK ||
        start_listener(server, settings->listen, err) != ERR_OK) {
        server_stop(server);
        return err->code;
    }
    *out = server;
    return ERR_OK;
}

void server_drain(struct server *server)
{
    jobs_close(server->gateway.jobs);
    listener_close(server->listener);
    server->listener = NULL;
    /* What is promised is recorded, and goes on when slipway starts again. */
    behind_close(server->gateway.behind);
}

void server_cancel(struct server *server)
{
    pthread_mutex_lock(&server->lock);
    server->cancelled = true;
    pthread_mutex_unlock(&server->lock);
    jobs_cancel(server->gateway.jobs);
}

static int64_t left_ms(int64_t until_ms)
{
    int64_t left = until_ms - clock_ms();
    return left > 0 ? left : 0;
}

/* Downloads are waited for as long as nothing is cancelled. */
static bool wait_exchanges(struct server *server, int64_t ms)
{
    struct timespec until = clock_deadline(ms);
    int rc = 0;
    pthread_mutex_lock(&server->lock);
    while (server->exchanges > 0 && !server->cancelled && rc == 0)
        rc = pthread_cond_timedwait(&server->ended, &server->lock, &until);
    bool none = server->exchanges == 0 || server->cancelled;
    pthread_mutex_unlock(&server->lock);
    return none;
}

bool server_wait(struct server *server, int64_t ms)
{
    int64_t until_ms = clock_ms() + ms;
    return jobs_wait(server->gateway.jobs, ms) && wait_exchanges(server, left_ms(until_ms)) &&
           behind_wait(server->gateway.behind, left_ms(until_ms));
}

void server_stop(struct server *server)
{
    listener_close(server->listener);
    if (server->daemon)
        MHD_stop_daemon(server->daemon);
    close_gateway(server);
    pthread_cond_destroy(&server->ended);
    pthread_mutex_destroy(&server->lock);
    free(server->tls_answer);
    free(server->certificate);
    free(server->key);
    free(server);
}
