#include "base/clock.h"
#include "base/mem.h"
#include "net/transport_private.h"

#include <errno.h>
#include <openssl/x509.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#define CONNECT_TIMEOUT_MS_DEFAULT 30000L
#define IDLE_BUFFER_BYTES (16L << 10)
/* Warm connections of one handle: the registry, its token server, its storage, one to spare. */
#define WARM_CONNECTIONS_MAX 4L

TAILQ_HEAD(connections, connection);

/* What is idle, the one that was in use last first: one list for all transports, as they share the
 * descriptors of the process. Also the lock of every transport's idle_count. */
static struct {
    pthread_mutex_t lock;
    struct connections idle;
    size_t count;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER, .idle = TAILQ_HEAD_INITIALIZER(pool.idle)};

static void start_curl(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
    struct sigaction now;
    if (sigaction(SIGPIPE, NULL, &now) == 0 && now.sa_handler == SIG_DFL)
        signal(SIGPIPE, SIG_IGN);
}

static struct transport_times times_of(const struct transport_times *wanted)
{
    struct transport_times times = {.stall_s = 60, .answer_ms = 120000, .commit_ms = 900000};
    if (wanted->stall_s > 0)
        times.stall_s = wanted->stall_s;
    if (wanted->answer_ms > 0)
        times.answer_ms = wanted->answer_ms;
    if (wanted->commit_ms > 0)
        times.commit_ms = wanted->commit_ms;
    return times;
}

/* What OpenSSL's programs and Go's, among them most registry clients, read; libcurl does not. */
static void set_authorities(struct transport *transport, const struct transport_options *options)
{
    const char *file = options->ca_file ? options->ca_file : getenv("SSL_CERT_FILE");
    transport->ca_of_environment = options->ca_file == NULL;
    transport->ca_file = file && file[0] ? xstrdup(file) : NULL;
    transport->ca_setting = options->ca_setting ? xstrdup(options->ca_setting)
                                                : xasprintf("registries.\"%s\".ca", options->host);
}

static void lock_sessions(CURL *easy, curl_lock_data data, curl_lock_access access, void *arg)
{
    (void)easy;
    (void)data;
    (void)access;
    struct transport *transport = arg;
    pthread_mutex_lock(&transport->tls_sessions_lock);
}

static void unlock_sessions(CURL *easy, curl_lock_data data, void *arg)
{
    (void)easy;
    (void)data;
    struct transport *transport = arg;
    pthread_mutex_unlock(&transport->tls_sessions_lock);
}

/* A further connection to a host resumes the session of an earlier one: no certificate is verified
 * again, no key agreed on. Without memory for it each begins its own. */
static void share_sessions(struct transport *transport)
{
    pthread_mutex_init(&transport->tls_sessions_lock, NULL);
    transport->tls_sessions = curl_share_init();
    if (transport->tls_sessions == NULL)
        return;
    curl_share_setopt(transport->tls_sessions, CURLSHOPT_LOCKFUNC, lock_sessions);
    curl_share_setopt(transport->tls_sessions, CURLSHOPT_UNLOCKFUNC, unlock_sessions);
    curl_share_setopt(transport->tls_sessions, CURLSHOPT_USERDATA, transport);
    curl_share_setopt(transport->tls_sessions, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
}

struct transport *transport_new(const struct transport_options *options)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, start_curl);
    struct transport *transport = xcalloc(1, sizeof *transport);
    transport->host = xstrdup(options->host);
    transport->user_agent = xstrdup(options->user_agent);
    transport->unix_socket = options->unix_socket ? xstrdup(options->unix_socket) : NULL;
    set_authorities(transport, options);
    transport->peer = xstrdup(options->peer ? options->peer : "registry");
    transport->plain_advice = options->plain_advice
                                  ? xstrdup(options->plain_advice)
                                  : xasprintf("set registries.\"%s\".plain_http", options->host);
    if (options->client_certificate && options->client_key) {
        transport->client_certificate = xstrdup(options->client_certificate);
        transport->client_key = xstrdup(options->client_key);
    }
    transport->idle_limit = options->idle_limit;
    pthread_mutex_init(&transport->authorities_lock, NULL);
    share_sessions(transport);
    transport->connect_timeout_ms =
        options->connect_timeout_ms > 0 ? options->connect_timeout_ms : CONNECT_TIMEOUT_MS_DEFAULT;
    transport->times = times_of(&options->times);
    return transport;
}

/* --- what is idle --- */

/* With the lock. */
static void take_out(struct connection *connection)
{
    TAILQ_REMOVE(&pool.idle, connection, link);
    pool.count--;
    connection->transport->idle_count--;
}

/* With the lock. */
static void put_first(struct connection *connection)
{
    connection->idle_since_ms = clock_ms();
    TAILQ_INSERT_HEAD(&pool.idle, connection, link);
    pool.count++;
    connection->transport->idle_count++;
}

static struct connection *find_idle(const struct transport *transport)
{
    struct connection *connection;
    TAILQ_FOREACH(connection, &pool.idle, link)
    {
        if (connection->transport == transport)
            return connection;
    }
    return NULL;
}

static void connection_free(struct connection *connection)
{
    curl_easy_cleanup(connection->easy);
    curl_multi_cleanup(connection->multi);
    free(connection);
}

/* Closing may speak TLS: not under the lock. */
static size_t free_all(struct connections *closing)
{
    size_t count = 0;
    for (struct connection *connection; (connection = TAILQ_FIRST(closing)); count++) {
        TAILQ_REMOVE(closing, connection, link);
        connection_free(connection);
    }
    return count;
}

size_t transport_close_idle(int64_t idle_ms)
{
    struct connections closing = TAILQ_HEAD_INITIALIZER(closing);
    int64_t since_ms = clock_ms() - idle_ms;
    pthread_mutex_lock(&pool.lock);
    for (struct connection *last;
         (last = TAILQ_LAST(&pool.idle, connections)) && last->idle_since_ms <= since_ms;) {
        take_out(last);
        TAILQ_INSERT_TAIL(&closing, last, link);
    }
    pthread_mutex_unlock(&pool.lock);
    int64_t ahead_ms = idle_ms < TRANSPORT_AHEAD_MS ? idle_ms : TRANSPORT_AHEAD_MS;
    return free_all(&closing) + transport_close_ahead(NULL, ahead_ms);
}

void transport_free(struct transport *transport)
{
    if (transport == NULL)
        return;
    struct connections closing = TAILQ_HEAD_INITIALIZER(closing);
    pthread_mutex_lock(&pool.lock);
    for (struct connection *connection; (connection = find_idle(transport));) {
        take_out(connection);
        TAILQ_INSERT_TAIL(&closing, connection, link);
    }
    pthread_mutex_unlock(&pool.lock);
    free_all(&closing);
    transport_close_ahead(transport, 0);
    X509_STORE_free(transport->authorities);
    curl_share_cleanup(transport->tls_sessions);
    pthread_mutex_destroy(&transport->tls_sessions_lock);
    pthread_mutex_destroy(&transport->authorities_lock);
    free(transport->host);
    free(transport->user_agent);
    free(transport->unix_socket);
    free(transport->ca_file);
    free(transport->peer);
    free(transport->ca_setting);
    free(transport->plain_advice);
    free(transport->client_certificate);
    free(transport->client_key);
    free(transport);
}

/* --- leases --- */

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
    curl_easy_setopt(connection->easy, CURLOPT_SHARE, transport->tls_sessions);
    return connection;
}

struct connection *transport_lease(struct transport *transport)
{
    pthread_mutex_lock(&pool.lock);
    struct connection *connection = find_idle(transport);
    if (connection)
        take_out(connection);
    pthread_mutex_unlock(&pool.lock);
    return connection ? connection : connection_new(transport);
}

void transport_return(struct connection *connection)
{
    if (connection == NULL)
        return;
    struct connection *closing = connection;
    const struct transport *transport = connection->transport;
    /* Setting the size drops the buffer: libcurl would keep a large one with the handle. */
    curl_easy_setopt(connection->easy, CURLOPT_UPLOAD_BUFFERSIZE, IDLE_BUFFER_BYTES);
    pthread_mutex_lock(&pool.lock);
    if (transport->idle_count < transport->idle_limit) {
        put_first(connection);
        closing = pool.count > TRANSPORT_IDLE_MAX ? TAILQ_LAST(&pool.idle, connections) : NULL;
        if (closing)
            take_out(closing);
    }
    pthread_mutex_unlock(&pool.lock);
    if (closing)
        connection_free(closing);
    transport_close_ahead(NULL, TRANSPORT_AHEAD_MS);
}

/* --- descriptors --- */

/* The lowest free number is the next one's, so a high number says how many are in use. */
static bool is_last(int fd)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return false;
    rlim_t quarter = limit.rlim_cur / 4;
    rlim_t reserve = quarter < TRANSPORT_DESCRIPTORS_SPARE ? quarter : TRANSPORT_DESCRIPTORS_SPARE;
    return (rlim_t)fd >= limit.rlim_cur - reserve;
}

int transport_spare_socket(int family, int type, int protocol)
{
    /* Credential helpers are child processes: they must not inherit connections. */
    int fd = socket(family, type | SOCK_CLOEXEC, protocol);
    if (fd < 0 && errno == ENFILE)
        errno = EMFILE;
    if (fd < 0 || !is_last(fd))
        return fd;
    close(fd);
    errno = EMFILE;
    return -1;
}

int transport_socket(int family, int type, int protocol)
{
    int fd = transport_spare_socket(family, type, protocol);
    if (fd >= 0 || errno != EMFILE)
        return fd;
    if (transport_close_idle(0) > 0)
        return transport_spare_socket(family, type, protocol);
    errno = EMFILE;
    return -1;
}
