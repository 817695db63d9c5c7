#include "gateway/server/server.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/folder_socket.h"
#include "base/log.h"
#include "base/mem.h"
#include "config/settings_text.h"
#include "gateway/access/access.h"
#include "gateway/access/audit.h"
#include "gateway/api/layer_claims.h"
#include "gateway/api/request_keys.h"
#include "gateway/http/daemon.h"
#include "gateway/http/file_reads.h"
#include "gateway/http/server_certificate.h"
#include "gateway/reconcile/sweeps.h"
#include "gateway/registry/confirm.h"
#include "gateway/server/metrics_page.h"
#include "gateway/server/routes.h"
#include "gateway/service/checker.h"
#include "gateway/service/control.h"
#include "gateway/service/janitor.h"
#include "gateway/service/reload.h"
#include "gateway/service/store_watch.h"
#include "net/transport.h"
#include "upstream/upload/upload_memory.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PEM_LIMIT_BYTES ((size_t)1 << 20)
#define HTTP_THREADS 2
#define CONNECTIONS_MAX 1024
#define OPS_THREADS 1
#define OPS_CONNECTIONS_MAX 64
#define CONTROL_THREADS 1
#define CONTROL_CONNECTIONS_MAX 64
#define POLL_MS 200

struct server {
    struct gateway gateway;
    struct janitor *janitor;
    struct store_watch *watch;
    struct request_handler handler;
    struct request_handler ops_handler;
    struct request_handler control_handler;
    struct net_network proxies[SETTINGS_PROXIES_MAX];
    struct daemon *daemon;
    struct daemon *ops;     /* NULL without ops.listen */
    struct daemon *control; /* NULL where there can be no socket */
    struct folder_socket control_at;
    bool tls;
    char *client_ca; /* PEM text; NULL: clients have no certificates */
};

static enum errc read_tls(struct server *server, const struct settings *settings, struct error *err)
{
    struct server_certificate *certificate = NULL;
    size_t size = 0;
    if (settings->tls.certificate == NULL)
        return ERR_OK;
    if (server_certificate_read(settings->tls.certificate, settings->tls.key, &certificate, err) !=
        ERR_OK)
        return err->code;
    server_certificate_use(certificate);
    server->tls = true;
    if (settings->tls.client_ca && file_read_all(settings->tls.client_ca, PEM_LIMIT_BYTES,
                                                 &server->client_ca, &size, err) != ERR_OK)
        return error_wrap(err, "tls.client_ca");
    return ERR_OK;
}

static size_t close_idle(void)
{
    return transport_close_idle(0);
}

static struct client_proxies read_proxies(struct server *server, const struct setting_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        net_network_parse(list->items[i], &server->proxies[i]); /* as when it was read */
    return (struct client_proxies){server->proxies, list->count};
}

/* `server` NULL: in plain HTTP. */
static enum errc start_daemon(const struct server *server, const struct request_handler *handler,
                              unsigned threads, unsigned connections, struct daemon **out,
                              struct error *err)
{
    const struct daemon_options options = {.handler = handler,
                                           .tls = server && server->tls,
                                           .client_ca = server ? server->client_ca : NULL,
                                           .threads = threads,
                                           .connections = connections,
                                           .head_ms = HEAD_MS,
                                           .idle_ms = IDLE_MS,
                                           .drain_ms = DRAIN_MS};
    return daemon_start(&options, out, err);
}

static enum errc start_listening(struct daemon *daemon, const char *listen, unsigned *port,
                                 struct error *err)
{
    struct sockaddr_storage address = {0};
    socklen_t address_size = 0;
    if (settings_address(listen, &address, &address_size, err) != ERR_OK)
        return err->code;
    if (daemon_listen(daemon, &address, address_size, port, err) != ERR_OK)
        return error_wrap(err, "cannot listen on %s", listen);
    return ERR_OK;
}

/* How long the host of an address is. */
static int host_size(const char *listen)
{
    return (int)(strrchr(listen, ':') - listen);
}

/* Its connections and threads are its own, so that no client of the other can take them. */
static enum errc open_ops(struct server *server, const struct settings *settings, struct error *err)
{
    const char *listen = settings->ops.listen;
    unsigned port = 0;
    if (listen == NULL)
        return ERR_OK;
    server->ops_handler = (struct request_handler){.answer = route_ops,
                                                   .show = route_show,
                                                   .self = &server->gateway,
                                                   .metrics = server->gateway.runtime->metrics};
    if (start_daemon(server, &server->ops_handler, OPS_THREADS, OPS_CONNECTIONS_MAX, &server->ops,
                     err) != ERR_OK ||
        start_listening(server->ops, listen, &port, err) != ERR_OK)
        return error_wrap(err, "ops.listen");
    log_event(LOG_INFO, "health.listening", LOG_FIELDS(log_number("port", port)),
              "health is answered on %.*s:%u", host_size(listen), listen, port);
    return ERR_OK;
}

/* What is there is of a gateway that is gone: this one has the lock of the folder. */
static enum errc listen_in_folder(struct server *server, struct error *err)
{
    struct sockaddr_storage address = {0};
    struct stat found;
    unsigned port = 0;
    const struct sockaddr_un *at = &server->control_at.address;
    memcpy(&address, at, sizeof *at);
    if (lstat(at->sun_path, &found) == 0 && S_ISSOCK(found.st_mode))
        unlink(at->sun_path);
    return daemon_listen(server->control, &address, sizeof *at, &port, err);
}

static void close_control(struct server *server)
{
    if (server->control == NULL)
        return;
    daemon_close(server->control);
    unlink(server->control_at.address.sun_path);
}

/* A file system without sockets, or a file in the place of this one, is no reason not to run. As
 * for ops.listen, its connections and threads are its own. */
static void open_control(struct server *server, const struct settings *settings)
{
    struct error err = ERROR_INIT;
    server->control_handler = server->handler;
    server->control_handler.administrators = CONTROL_SOCKET;
    server->control_handler.proxies = (struct client_proxies){.count = 0};
    if (folder_socket_open(settings->data, CONTROL_SOCKET, &server->control_at, &err) == ERR_OK &&
        start_daemon(NULL, &server->control_handler, CONTROL_THREADS, CONTROL_CONNECTIONS_MAX,
                     &server->control, &err) == ERR_OK &&
        listen_in_folder(server, &err) == ERR_OK)
        return;
    daemon_stop(server->control);
    server->control = NULL;
    log_event(LOG_WARN, "control.unavailable", LOG_FIELDS(log_text("error", err.text)),
              "commands cannot control this gateway by %s/" CONTROL_SOCKET, settings->data);
}

static struct job *admit(void *self, const struct request *request, void **caller,
                         struct reply *reply)
{
    struct gateway *gateway = self;
    return access_admit(gateway->access, request, caller, reply);
}

static void dismiss(void *caller)
{
    caller_unref(caller);
}

static bool share(const void *caller, struct net_address *out)
{
    return caller_share(caller, out);
}

static enum errc open_daemon(struct server *server, const struct settings *settings,
                             struct error *err)
{
    const char *listen = settings->listen;
    unsigned port = 0;
    server->handler = (struct request_handler){
        .answer = route,
        .admit = admit,
        .dismiss = dismiss,
        .share = share,
        .show = route_show,
        .self = &server->gateway,
        .metrics = server->gateway.runtime->metrics,
        .jobs = server->gateway.jobs,
        .reads = file_reads_new(server->gateway.runtime->executor),
        .make_room = close_idle,
        .proxies = read_proxies(server, &settings->clients.trusted_proxies)};
    if (start_daemon(server, &server->handler, HTTP_THREADS, CONNECTIONS_MAX, &server->daemon,
                     err) != ERR_OK ||
        start_listening(server->daemon, listen, &port, err) != ERR_OK)
        return err->code;
    open_control(server, settings);
    log_event(LOG_INFO, "gateway.listening",
              LOG_FIELDS(log_text("version", SLIPWAY_VERSION), log_number("port", port),
                         log_text("data", settings->data)),
              "listening on %.*s:%u", host_size(listen), listen, port);
    return ERR_OK;
}

/* Pushes that were accepted before go on before anything new comes. */
static enum errc open_gateway(struct server *server, struct runtime *runtime, const char *config,
                              void (*broken)(void), struct error *err)
{
    autosettings const struct settings *settings = runtime_settings(runtime);
    const struct jobs_limits limits = {.uploads = settings->limits.uploads,
                                       .blobs = settings->limits.blobs,
                                       .pushes = settings->limits.pushes};
    struct gateway *gateway = &server->gateway;
    gateway->runtime = runtime;
    gateway->jobs = jobs_new(&limits, runtime->executor);
    gateway->queue = push_queue_new(runtime);
    gateway->checker = checker_new(runtime->store, runtime->executor, gateway->queue);
    metrics_page_open(gateway);
    gateway->confirms = confirms_new(runtime, gateway->queue);
    gateway->keys = request_keys_new();
    gateway->sweeps = sweeps_new(runtime, gateway->queue);
    gateway->layer_claims = layer_claims_new();
    gateway->reload = reload_new(gateway, config);
    const struct access_options access = {.settings = settings,
                                          .store = runtime->store,
                                          .jobs = gateway->jobs,
                                          .audit = runtime->audit};
    if (access_new(&access, &gateway->access, err) != ERR_OK ||
        store_watch_start(runtime->store, broken, &server->watch, err) != ERR_OK ||
        push_queue_restart(gateway->queue, err) != ERR_OK)
        return err->code;
    return janitor_start(runtime, gateway->queue, &server->janitor, err);
}

/* Nothing uses it any more but what it runs itself. */
static void close_gateway(struct server *server)
{
    struct gateway *gateway = &server->gateway;
    janitor_stop(server->janitor);
    checker_close(gateway->checker);
    confirms_close(gateway->confirms);
    sweeps_close(gateway->sweeps);
    while (!sweeps_wait(gateway->sweeps, 1000))
        ;
    sweeps_free(gateway->sweeps);
    push_queue_close(gateway->queue);
    while (!push_queue_wait(gateway->queue, 1000))
        ;
    checker_free(gateway->checker);
    confirms_free(gateway->confirms);
    push_queue_free(gateway->queue);
    store_watch_stop(server->watch);
    jobs_free(gateway->jobs);
    request_keys_free(gateway->keys);
    layer_claims_free(gateway->layer_claims);
    reload_free(gateway->reload);
    access_free(gateway->access);
    audit_close(gateway->runtime->audit);
    gateway->runtime->audit = NULL;
}

enum errc server_start(struct runtime *runtime, const char *config, void (*broken)(void),
                       struct server **out, struct error *err)
{
    autosettings const struct settings *settings = runtime_settings(runtime);
    struct server *server = xcalloc(1, sizeof *server);
    server->control_at.folder = -1;
    if (settings->audit.file &&
        audit_open(settings->audit.file, runtime->metrics, &runtime->audit, err) != ERR_OK) {
        free(server);
        return error_wrap(err, "audit.file is not written");
    }
    if (open_gateway(server, runtime, config, broken, err) != ERR_OK ||
        read_tls(server, settings, err) != ERR_OK || open_ops(server, settings, err) != ERR_OK ||
        open_daemon(server, settings, err) != ERR_OK) {
        server_stop(server);
        return err->code;
    }
    *out = server;
    return ERR_OK;
}

struct reload *server_reload(struct server *server)
{
    return server->gateway.reload;
}

static void drain(struct server *server)
{
    jobs_close(server->gateway.jobs);
    sweeps_close(server->gateway.sweeps); /* who waits for one gets what it has found so far */
    daemon_close(server->daemon);
    close_control(server);
    confirms_close(server->gateway.confirms);
    /* What is pushed after the answer is recorded, and goes on when slipway starts again, where it
     * is. */
    upload_memory_keep(server->gateway.runtime->upstream->uploads);
    push_queue_close(server->gateway.queue);
}

static void cancel(struct server *server)
{
    daemon_cancel(server->daemon);
    if (server->control)
        daemon_cancel(server->control);
    jobs_cancel(server->gateway.jobs);
}

static int64_t left_ms(int64_t until_ms)
{
    int64_t left = until_ms - clock_ms();
    return left > 0 ? left : 0;
}

/* True when nothing runs any more; waits for it at most `ms`. */
static bool wait_idle(struct server *server, int64_t ms)
{
    int64_t until_ms = clock_ms() + ms;
    return jobs_wait(server->gateway.jobs, ms) && daemon_wait(server->daemon, left_ms(until_ms)) &&
           (server->control == NULL || daemon_wait(server->control, left_ms(until_ms))) &&
           push_queue_wait(server->gateway.queue, left_ms(until_ms));
}

bool server_end(struct server *server, bool (*hurried)(void), int64_t end_ms, int64_t cancelled_ms)
{
    log_event(LOG_INFO, "gateway.stopping", NULL,
              "stopping: no new work is taken, what runs is finished; signal again to end it now");
    drain(server);
    int64_t until_ms = clock_ms() + end_ms;
    do {
        if (wait_idle(server, POLL_MS))
            return true;
    } while (!hurried() && clock_ms() < until_ms);
    log_event(LOG_WARN, "gateway.cancelling", NULL, "stopping now: what runs is cancelled");
    cancel(server);
    return wait_idle(server, cancelled_ms);
}

void server_stop(struct server *server)
{
    if (server->handler.reads)
        file_reads_close(server->handler.reads);
    close_control(server);
    daemon_stop(server->daemon);
    daemon_stop(server->control);
    daemon_stop(server->ops);
    folder_socket_close(&server->control_at);
    file_reads_free(server->handler.reads);
    close_gateway(server);
    server_certificate_use(NULL);
    free(server->client_ca);
    free(server);
}
