#include "base/mem.h"
#include "net/transport_private.h"

#include <signal.h>
#include <stdio.h>

#define STALL_S_DEFAULT 60L
#define CONNECT_TIMEOUT_MS_DEFAULT 30000L
#define IDLE_BUFFER_BYTES (16L << 10)
/* Warm connections of one handle: the registry, its token server, its storage, one to spare. */
#define WARM_CONNECTIONS_MAX 4L

static void start_curl(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
    struct sigaction now;
    if (sigaction(SIGPIPE, NULL, &now) == 0 && now.sa_handler == SIG_DFL)
        signal(SIGPIPE, SIG_IGN);
}

struct transport *transport_new(const struct transport_options *options)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, start_curl);
    struct transport *transport = xcalloc(1, sizeof *transport);
    transport->host = xstrdup(options->host);
    transport->user_agent = xstrdup(options->user_agent);
    transport->ca_file = options->ca_file ? xstrdup(options->ca_file) : NULL;
    transport->idle_limit = options->idle_limit;
    transport->connect_timeout_ms =
        options->connect_timeout_ms > 0 ? options->connect_timeout_ms : CONNECT_TIMEOUT_MS_DEFAULT;
    transport->stall_s = options->stall_s > 0 ? options->stall_s : STALL_S_DEFAULT;
    pthread_mutex_init(&transport->lock, NULL);
    return transport;
}

static void connection_free(struct connection *connection)
{
    curl_easy_cleanup(connection->easy);
    curl_multi_cleanup(connection->multi);
    free(connection);
}

void transport_free(struct transport *transport)
{
    if (transport == NULL)
        return;
    while (transport->idle) {
        struct connection *connection = transport->idle;
        transport->idle = connection->next;
        connection_free(connection);
    }
    pthread_mutex_destroy(&transport->lock);
    free(transport->host);
    free(transport->user_agent);
    free(transport->ca_file);
    free(transport);
}

static struct connection *connection_new(struct transport *transport)
{
    struct connection *connection = xcalloc(1, sizeof *connection);
    connection->transport = transport;
    connection->easy = curl_easy_init();
    connection->multi = curl_multi_init();
    if (connection->easy == NULL || connection->multi == NULL) {
        fputs("slipway: out of memory\n", stderr);
        abort();
    }
    curl_multi_setopt(connection->multi, CURLMOPT_MAXCONNECTS, WARM_CONNECTIONS_MAX);
    return connection;
}

struct connection *transport_lease(struct transport *transport)
{
    pthread_mutex_lock(&transport->lock);
    struct connection *connection = transport->idle;
    if (connection) {
        transport->idle = connection->next;
        transport->idle_count--;
    }
    pthread_mutex_unlock(&transport->lock);
    return connection ? connection : connection_new(transport);
}

void transport_return(struct connection *connection)
{
    if (connection == NULL)
        return;
    struct transport *transport = connection->transport;
    /* Setting the size drops the buffer: libcurl would keep a large one with the handle. */
    curl_easy_setopt(connection->easy, CURLOPT_UPLOAD_BUFFERSIZE, IDLE_BUFFER_BYTES);
    pthread_mutex_lock(&transport->lock);
    bool keep = transport->idle_count < transport->idle_limit;
    if (keep) {
        connection->next = transport->idle;
        transport->idle = connection;
        transport->idle_count++;
    }
    pthread_mutex_unlock(&transport->lock);
    if (!keep)
        connection_free(connection);
}
