#include "gateway/http/daemon.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/http/error_body.h"
#include "gateway/http/file_reads.h"
#include "gateway/http/listener.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <string.h>

#define HTTP_THREADS 2
#define CONNECTIONS_MAX 1024
#define CONNECTION_TIMEOUT_S 120
#define CONNECTION_MEMORY_BYTES ((size_t)64 * 1024)

struct daemon {
    struct MHD_Daemon *server;
    const struct request_handler *handler;
    struct listener *listener; /* NULL once closed */
    char *tls_answer;          /* to clients that speak TLS to a plain port; NULL with TLS */
    pthread_mutex_t lock;
    pthread_cond_t ended;
    unsigned exchanges; /* requests that were begun and not answered to their end */
    bool cancelled;
};

static void count_exchange(struct daemon *daemon, int change)
{
    pthread_mutex_lock(&daemon->lock);
    daemon->exchanges += (unsigned)change;
    if (daemon->exchanges == 0)
        pthread_cond_broadcast(&daemon->ended);
    pthread_mutex_unlock(&daemon->lock);
}

/* ---- what libmicrohttpd calls ---- */

/* What a connection has of its request. libmicrohttpd 0.9.75 never completes a request whose
 * parameters have no room in the connection's memory: the connection's end finds it here. */
struct connection {
    struct exchange *exchange; /* owned */
};

static struct connection *connection_of(struct MHD_Connection *connection)
{
    return MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

static void end_exchange(struct daemon *daemon, struct connection *connection, bool complete)
{
    struct exchange *exchange = connection->exchange;
    connection->exchange = NULL;
    bool begun = exchange && exchange_begun(exchange);
    exchange_end(exchange, complete);
    if (begun)
        count_exchange(daemon, -1);
}

static void on_connection(void *self, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode what)
{
    (void)connection;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        *context = xcalloc(1, sizeof(struct connection));
        return;
    }
    end_exchange(self, *context, false);
    free(*context);
}

static void on_complete(void *self, struct MHD_Connection *connection, void **context,
                        enum MHD_RequestTerminationCode why)
{
    *context = NULL;
    end_exchange(self, connection_of(connection), why == MHD_REQUEST_TERMINATED_COMPLETED_OK);
}

static void *on_uri(void *self, const char *uri, struct MHD_Connection *at)
{
    struct connection *connection = connection_of(at);
    end_exchange(self, connection, false);
    connection->exchange = exchange_open(uri);
    return connection->exchange;
}

static enum MHD_Result on_request(void *self, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *size, void **context)
{
    (void)url;
    struct daemon *daemon = self;
    if (!exchange_begun(*context)) {
        count_exchange(daemon, 1);
        return exchange_begin(*context, daemon->handler, connection, method, version);
    }
    return exchange_continue(*context, data, size);
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

/* ---- start and end ---- */

/* poll, not epoll: in libmicrohttpd 0.9.75 a connection that is closed together with its last bytes
 * is noticed by epoll's edge only after its timeout, and holds its job until then. */
static enum errc start_server(struct daemon *daemon, const char *certificate, const char *key,
                              struct error *err)
{
    unsigned flags = MHD_USE_POLL_INTERNAL_THREAD | MHD_USE_NO_LISTEN_SOCKET | MHD_USE_ITC |
                     MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
    struct MHD_OptionItem tls[] = {{MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)(uintptr_t)certificate},
                                   {MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)(uintptr_t)key},
                                   {MHD_OPTION_END, 0, NULL}};
    struct MHD_OptionItem none[] = {{MHD_OPTION_END, 0, NULL}};
    bool plain = certificate == NULL;
    errno = 0;
    daemon->server = MHD_start_daemon(
        plain ? flags : flags | MHD_USE_TLS, 0, NULL, NULL, on_request, daemon,
        MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL, MHD_OPTION_THREAD_POOL_SIZE,
        (unsigned)HTTP_THREADS, MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)CONNECTION_TIMEOUT_S,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_MEMORY_BYTES, MHD_OPTION_URI_LOG_CALLBACK,
        on_uri, daemon, MHD_OPTION_NOTIFY_COMPLETED, on_complete, daemon,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, daemon, MHD_OPTION_ARRAY, plain ? none : tls,
        MHD_OPTION_END);
    if (daemon->server == NULL)
        return fail(err, ERR_SETTINGS, errno, "cannot start the HTTP server%s",
                    plain ? "" : " with the certificate and key of the configuration");
    return ERR_OK;
}

static char *make_tls_answer(void)
{
    struct error err = ERROR_INIT;
    fail(&err, ERR_BAD_REQUEST, 0, "this port speaks plain HTTP, not TLS");
    autofree char *body = error_body(&err);
    return xasprintf("HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\n"
                     "Content-Length: %zu\r\nConnection: close\r\n\r\n%s",
                     strlen(body), body);
}

enum errc daemon_start(const struct request_handler *handler, const char *certificate,
                       const char *key, struct daemon **out, struct error *err)
{
    struct daemon *daemon = xcalloc(1, sizeof *daemon);
    daemon->handler = handler;
    pthread_mutex_init(&daemon->lock, NULL);
    clock_cond_init(&daemon->ended);
    if (start_server(daemon, certificate, key, err) != ERR_OK) {
        daemon_stop(daemon);
        return err->code;
    }
    if (certificate == NULL)
        daemon->tls_answer = make_tls_answer();
    *out = daemon;
    return ERR_OK;
}

/* `socket` is taken, also when there are too many. */
static void on_socket(void *self, int socket, const struct sockaddr *address, socklen_t size)
{
    const struct daemon *daemon = self;
    MHD_add_connection(daemon->server, socket, address, size);
}

enum errc daemon_listen(struct daemon *daemon, const struct sockaddr_storage *address,
                        socklen_t address_size, unsigned *port, struct error *err)
{
    const struct listener_options options = {.address = address,
                                             .address_size = address_size,
                                             .waiting_max = CONNECTIONS_MAX,
                                             .timeout_ms = CONNECTION_TIMEOUT_S * 1000,
                                             .tls_answer = daemon->tls_answer,
                                             .connected = on_socket,
                                             .self = daemon,
                                             .make_room = daemon->handler->make_room};
    if (listener_open(&options, &daemon->listener, err) != ERR_OK)
        return err->code;
    *port = listener_port(daemon->listener);
    return ERR_OK;
}

void daemon_close(struct daemon *daemon)
{
    listener_close(daemon->listener);
    daemon->listener = NULL;
}

void daemon_cancel(struct daemon *daemon)
{
    pthread_mutex_lock(&daemon->lock);
    daemon->cancelled = true;
    pthread_mutex_unlock(&daemon->lock);
}

/* Downloads are waited for as long as nothing is cancelled. */
bool daemon_wait(struct daemon *daemon, int64_t ms)
{
    struct timespec until = clock_deadline(ms);
    int rc = 0;
    pthread_mutex_lock(&daemon->lock);
    while (daemon->exchanges > 0 && !daemon->cancelled && rc == 0)
        rc = pthread_cond_timedwait(&daemon->ended, &daemon->lock, &until);
    bool none = daemon->exchanges == 0 || daemon->cancelled;
    pthread_mutex_unlock(&daemon->lock);
    return none;
}

void daemon_stop(struct daemon *daemon)
{
    if (daemon == NULL)
        return;
    daemon_close(daemon);
    if (daemon->server) {
        file_reads_close(daemon->handler->reads);
        MHD_stop_daemon(daemon->server);
    }
    pthread_cond_destroy(&daemon->ended);
    pthread_mutex_destroy(&daemon->lock);
    free(daemon->tls_answer);
    free(daemon);
}

const char *daemon_library_version(void)
{
    return MHD_get_version();
}
