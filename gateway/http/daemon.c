#include "gateway/http/daemon.h"

#include "base/clock.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/http/connections.h"
#include "gateway/http/listener.h"
#include "gateway/http/server_certificate.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Deadlines are those of gateway/http/connections.h; the server's own is for an answer that its
 * client does not take. */
#define ANSWER_TIMEOUT_S 120
#define CONNECTION_MEMORY_BYTES ((size_t)64 * 1024)
/* Connections that were shut down and that the server has not closed yet. */
#define CONNECTIONS_ENDING 256
#define SWEEP_MS 1000

struct daemon {
    struct MHD_Daemon *server;
    const struct request_handler *handler;
    struct listener *listener; /* NULL once closed */
    struct connections *connections;
    struct daemon_options options;
    char *tls_answer; /* to clients that speak TLS to a plain port; NULL with TLS */
    pthread_t sweeper;
    bool sweeps;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t ended;
    pthread_cond_t stopped;
    unsigned exchanges; /* requests that were begun and not answered to their end */
    bool cancelled;
    bool stops;
};

static void count_exchange(struct daemon *daemon, int change)
{
    autolock pthread_mutex_t *held = lock_take(&daemon->lock);
    daemon->exchanges += (unsigned)change;
    if (daemon->exchanges == 0)
        pthread_cond_broadcast(&daemon->ended);
}

/* ---- what libmicrohttpd calls ---- */

static struct connection *connection_of(struct MHD_Connection *connection)
{
    return MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

/* libmicrohttpd 0.9.75 never completes a request whose parameters have no room in the connection's
 * memory: the connection's end finds it here. */
static void end_exchange(struct daemon *daemon, struct connection *connection, bool complete)
{
    struct exchange *exchange = *connection_exchange(connection);
    *connection_exchange(connection) = NULL;
    bool begun = exchange && exchange_begun(exchange);
    exchange_end(exchange, complete);
    if (begun) {
        connection_rests(connection);
        count_exchange(daemon, -1);
    }
}

static void on_connection(void *self, struct MHD_Connection *at, void **context,
                          enum MHD_ConnectionNotificationCode what)
{
    const struct daemon *daemon = self;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        int socket = MHD_get_connection_info(at, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
        const struct sockaddr *address =
            MHD_get_connection_info(at, MHD_CONNECTION_INFO_CLIENT_ADDRESS)->client_addr;
        *context = connection_open(daemon->connections, socket, net_address_of(address));
        return;
    }
    end_exchange(self, *context, false);
    connection_close(*context);
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
    *connection_exchange(connection) = exchange_open(uri);
    return *connection_exchange(connection);
}

static enum MHD_Result on_request(void *self, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *size, void **context)
{
    (void)url;
    struct daemon *daemon = self;
    if (exchange_begun(*context))
        return exchange_continue(*context, data, size);
    struct connection *at = connection_of(connection);
    if (!connection_begins(at))
        return MHD_NO;
    count_exchange(daemon, 1);
    return exchange_begin(*context, daemon->handler, connection, at, method, version);
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
static enum errc start_server(struct daemon *daemon, struct error *err)
{
    const struct daemon_options *options = &daemon->options;
    unsigned flags = MHD_USE_POLL_INTERNAL_THREAD | MHD_USE_NO_LISTEN_SOCKET | MHD_USE_ITC |
                     MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
    struct MHD_OptionItem tls[] = {
        {MHD_OPTION_HTTPS_CERT_CALLBACK2, 0, (void *)(uintptr_t)server_certificate_show},
        {options->client_ca ? MHD_OPTION_HTTPS_MEM_TRUST : MHD_OPTION_END, 0,
         (void *)(uintptr_t)options->client_ca},
        {MHD_OPTION_END, 0, NULL}};
    struct MHD_OptionItem none[] = {{MHD_OPTION_END, 0, NULL}};
    bool plain = !options->tls;
    errno = 0;
    daemon->server = MHD_start_daemon(
        plain ? flags : flags | MHD_USE_TLS, 0, NULL, NULL, on_request, daemon,
        MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL, MHD_OPTION_THREAD_POOL_SIZE, options->threads,
        MHD_OPTION_CONNECTION_LIMIT, options->connections + CONNECTIONS_ENDING,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)ANSWER_TIMEOUT_S,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_MEMORY_BYTES, MHD_OPTION_URI_LOG_CALLBACK,
        on_uri, daemon, MHD_OPTION_NOTIFY_COMPLETED, on_complete, daemon,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, daemon, MHD_OPTION_ARRAY, plain ? none : tls,
        MHD_OPTION_END);
    if (daemon->server == NULL)
        return fail(err, ERR_SETTINGS, errno, "cannot start the HTTP server%s",
                    plain ? "" : " with TLS");
    return ERR_OK;
}

/* For who cannot be answered by the server: as it would. */
static char *make_answer(enum errc code, const char *text)
{
    struct error err = ERROR_INIT;
    struct reply reply = REPLY_INIT(0);
    fail(&err, code, 0, "%s", text);
    reply_error(&reply, &err);
    char *answer = reply_text(&reply, "");
    reply_deinit(&reply);
    return answer;
}

/* In text, as a browser or curl shows it: who gets here has no other client at hand. */
static const char plain_answer[] =
    "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n"
    "Content-Length: 72\r\nConnection: close\r\n\r\n"
    "400: plain HTTP was sent to this port, which speaks HTTPS; use https://\n";

static void open_connections(struct daemon *daemon)
{
    const struct daemon_options *options = &daemon->options;
    autofree char *late = NULL;
    if (!options->tls) {
        daemon->tls_answer = make_answer(ERR_BAD_REQUEST, "this port speaks plain HTTP, not TLS");
        late = make_answer(ERR_CLIENT_STALLED,
                           "the request did not come to its end in time: send it again, faster");
    }
    const struct connections_options table = {.max = options->connections,
                                              .head_ms = options->head_ms,
                                              .idle_ms = options->idle_ms,
                                              .drain_ms = options->drain_ms,
                                              .late_answer = late};
    daemon->connections = connections_new(&table);
}

static void *sweeper_thread(void *self)
{
    struct daemon *daemon = self;
    struct jobs *jobs = daemon->handler->jobs;
    pthread_mutex_lock(&daemon->lock);
    while (!daemon->stops) {
        struct timespec until = clock_deadline(SWEEP_MS);
        pthread_cond_timedwait(&daemon->stopped, &daemon->lock, &until);
        pthread_mutex_unlock(&daemon->lock);
        connections_sweep(daemon->connections, clock_ms(), jobs && jobs_closed(jobs));
        if (jobs)
            jobs_sweep(jobs, clock_ms());
        pthread_mutex_lock(&daemon->lock);
    }
    pthread_mutex_unlock(&daemon->lock);
    return NULL;
}

static enum errc start_sweeper(struct daemon *daemon, struct error *err)
{
    int rc = pthread_create(&daemon->sweeper, NULL, sweeper_thread, daemon);
    daemon->sweeps = rc == 0;
    return rc == 0 ? ERR_OK : fail(err, ERR_SETTINGS, rc, "start a thread for deadlines");
}

enum errc daemon_start(const struct daemon_options *options, struct daemon **out, struct error *err)
{
    struct daemon *daemon = xcalloc(1, sizeof *daemon);
    daemon->options = *options;
    daemon->handler = options->handler;
    pthread_mutex_init(&daemon->lock, NULL);
    clock_cond_init(&daemon->ended);
    clock_cond_init(&daemon->stopped);
    open_connections(daemon);
    if (start_server(daemon, err) != ERR_OK || start_sweeper(daemon, err) != ERR_OK) {
        daemon_stop(daemon);
        return err->code;
    }
    *out = daemon;
    return ERR_OK;
}

/* `socket` is taken, also when there is no room. */
static void on_socket(void *self, int socket, const struct sockaddr *address, socklen_t size,
                      int64_t since_ms)
{
    const struct daemon *daemon = self;
    if (connections_admit(daemon->connections, socket, net_address_of(address), since_ms))
        MHD_add_connection(daemon->server, socket, address, size);
    else
        close(socket);
}

enum errc daemon_listen(struct daemon *daemon, const struct sockaddr_storage *address,
                        socklen_t address_size, unsigned *port, struct error *err)
{
    const struct listener_options options = {.address = address,
                                             .address_size = address_size,
                                             .waiting_max = daemon->options.connections,
                                             .timeout_ms = daemon->options.head_ms,
                                             .tls_answer = daemon->tls_answer,
                                             .plain_answer =
                                                 daemon->tls_answer ? NULL : plain_answer,
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
    autolock pthread_mutex_t *held = lock_take(&daemon->lock);
    daemon->cancelled = true;
}

/* Downloads are waited for as long as nothing is cancelled. */
bool daemon_wait(struct daemon *daemon, int64_t ms)
{
    struct timespec until = clock_deadline(ms);
    int rc = 0;
    autolock pthread_mutex_t *held = lock_take(&daemon->lock);
    while (daemon->exchanges > 0 && !daemon->cancelled && rc == 0)
        rc = pthread_cond_timedwait(&daemon->ended, &daemon->lock, &until);
    return daemon->exchanges == 0 || daemon->cancelled;
}

void daemon_stop(struct daemon *daemon)
{
    if (daemon == NULL)
        return;
    daemon_close(daemon);
    pthread_mutex_lock(&daemon->lock);
    daemon->stops = true;
    pthread_cond_signal(&daemon->stopped);
    pthread_mutex_unlock(&daemon->lock);
    if (daemon->sweeps)
        pthread_join(daemon->sweeper, NULL);
    if (daemon->server)
        MHD_stop_daemon(daemon->server);
    connections_free(daemon->connections);
    pthread_cond_destroy(&daemon->ended);
    pthread_cond_destroy(&daemon->stopped);
    pthread_mutex_destroy(&daemon->lock);
    free(daemon->tls_answer);
    free(daemon);
}

const char *daemon_library_version(void)
{
    return MHD_get_version();
}
