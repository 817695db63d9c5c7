#include "gateway/server.h"

#include "base/file.h"
#include "base/mem.h"
#include "gateway/answer.h"
#include "gateway/routes.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#define HTTP_THREADS 2
#define CONNECTIONS_MAX 1024
#define CONNECTION_TIMEOUT_S 120
#define CONNECTION_MEMORY_BYTES ((size_t)64 * 1024)

struct server {
    struct MHD_Daemon *daemon;
    struct gateway gateway;
    char *certificate; /* PEM texts; NULL without TLS */
    char *key;
};

static void on_complete(void *self, struct MHD_Connection *connection, void **context,
                        enum MHD_RequestTerminationCode why)
{
    (void)self;
    (void)connection;
    route_done(*context, why == MHD_REQUEST_TERMINATED_COMPLETED_OK);
    *context = NULL;
}

static void *on_uri(void *self, const char *uri, struct MHD_Connection *connection)
{
    (void)self;
    (void)connection;
    return route_open(uri);
}

static enum MHD_Result on_request(void *self, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *size, void **context)
{
    (void)version;
    (void)url;
    struct server *server = self;
    if (!route_begun(*context))
        return route_begin(&server->gateway, connection, method, *context);
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
 * is noticed by epoll's edge only after its timeout, and holds its upload until then. */
static void start_daemon(struct server *server, const struct sockaddr_storage *address)
{
    unsigned flags =
        MHD_USE_POLL_INTERNAL_THREAD | MHD_USE_ITC | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
    struct MHD_OptionItem tls[] = {{MHD_OPTION_HTTPS_MEM_CERT, 0, server->certificate},
                                   {MHD_OPTION_HTTPS_MEM_KEY, 0, server->key},
                                   {MHD_OPTION_END, 0, NULL}};
    struct MHD_OptionItem none[] = {{MHD_OPTION_END, 0, NULL}};
    if (server->certificate)
        flags |= MHD_USE_TLS;
    if (address->ss_family == AF_INET6)
        flags |= MHD_USE_IPv6;
    server->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, on_request, server, MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL,
        MHD_OPTION_SOCK_ADDR, address, MHD_OPTION_THREAD_POOL_SIZE, (unsigned)HTTP_THREADS,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)CONNECTION_TIMEOUT_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_MEMORY_BYTES,
        MHD_OPTION_URI_LOG_CALLBACK, on_uri, NULL, MHD_OPTION_NOTIFY_COMPLETED, on_complete, NULL,
        MHD_OPTION_LISTENING_ADDRESS_REUSE, 1u, MHD_OPTION_ARRAY, server->certificate ? tls : none,
        MHD_OPTION_END);
}

static void log_address(const struct server *server, const char *listen)
{
    const union MHD_DaemonInfo *info =
        MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_BIND_PORT);
    int host_size = (int)(strrchr(listen, ':') - listen);
    log_info("listening on %.*s:%u", host_size, listen, info ? info->port : 0u);
}

static void open_gateway(struct engine *engine, struct gateway *gateway)
{
    const struct settings *settings = engine->settings;
    const struct jobs_limits limits = {.uploads = settings->limits.uploads,
                                       .blobs = settings->limits.blobs,
                                       .pushes = settings->limits.pushes};
    gateway->engine = engine;
    gateway->jobs = jobs_new(&limits);
}

enum errc server_start(struct engine *engine, struct server **out, struct error *err)
{
    const struct settings *settings = engine->settings;
    struct sockaddr_storage address = {0};
    socklen_t address_size = 0;
    struct server *server = xcalloc(1, sizeof *server);
    open_gateway(engine, &server->gateway);
    if (settings_address(settings->listen, &address, &address_size, err) != ERR_OK ||
        read_tls(server, settings, err) != ERR_OK) {
        server_stop(server);
        return err->code;
    }
    errno = 0;
    start_daemon(server, &address);
    if (server->daemon == NULL) {
        fail(err, ERR_SETTINGS, errno, "cannot listen on %s%s", settings->listen,
             server->certificate ? " with the certificate and key of the configuration" : "");
        server_stop(server);
        return err->code;
    }
    log_address(server, settings->listen);
    *out = server;
    return ERR_OK;
}

void server_drain(struct server *server)
{
    jobs_close(server->gateway.jobs);
    /* Quiescing gives the listening socket back; open connections live on. */
    MHD_socket listener = MHD_quiesce_daemon(server->daemon);
    if (listener != MHD_INVALID_SOCKET)
        close(listener);
}

void server_cancel(struct server *server)
{
    jobs_cancel(server->gateway.jobs);
}

bool server_wait(struct server *server, int64_t ms)
{
    return jobs_wait(server->gateway.jobs, ms);
}

void server_stop(struct server *server)
{
    if (server->daemon)
        MHD_stop_daemon(server->daemon);
    jobs_free(server->gateway.jobs);
    free(server->certificate);
    free(server->key);
    free(server);
}
