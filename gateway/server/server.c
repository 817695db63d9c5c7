#include "gateway/server/server.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "config/settings_text.h"
#include "gateway/http/daemon.h"
#include "gateway/http/file_reads.h"
#include "gateway/server/routes.h"
#include "gateway/service/janitor.h"
#include "gateway/service/store_watch.h"
#include "net/transport.h"

#include <string.h>

#define PEM_LIMIT_BYTES ((size_t)1 << 20)
#define HTTP_THREADS 2
#define CONNECTIONS_MAX 1024

struct server {
    struct gateway gateway;
    struct janitor *janitor;
    struct store_watch *watch;
    struct request_handler handler;
    struct daemon *daemon;
    char *certificate; /* PEM texts; NULL without TLS */
    char *key;
};

static enum errc read_tls(struct server *server, const struct settings *settings, struct error *err)
{
    size_t size = 0;
    if (settings->tls.certificate == NULL)
        return ERR_OK;
    if (file_read_all(settings->tls.certificate, PEM_LIMIT_BYTES, &server->certificate, &size,
                      err) != ERR_OK ||
        file_read_all(settings->tls.key, PEM_LIMIT_BYTES, &server->key, &size, err) != ERR_OK)
        return error_wrap(err, "tls");
    return ERR_OK;
}

static size_t close_idle(void)
{
    return transport_close_idle(0);
}

static enum errc start_daemon(struct server *server, struct error *err)
{
    server->handler =
        (struct request_handler){.answer = route,
                                 .self = &server->gateway,
                                 .jobs = server->gateway.jobs,
                                 .reads = file_reads_new(server->gateway.engine->executor),
                                 .make_room = close_idle};
    const struct daemon_options options = {.handler = &server->handler,
                                           .certificate = server->certificate,
                                           .key = server->key,
                                           .threads = HTTP_THREADS,
                                           .connections = CONNECTIONS_MAX,
                                           .head_ms = HEAD_MS,
                                           .idle_ms = IDLE_MS,
                                           .drain_ms = DRAIN_MS};
    return daemon_start(&options, &server->daemon, err);
}

static enum errc start_listening(struct server *server, const struct settings *settings,
                                 struct error *err)
{
    const char *listen = settings->listen;
    struct sockaddr_storage address = {0};
    socklen_t address_size = 0;
    unsigned port = 0;
    if (settings_address(listen, &address, &address_size, err) != ERR_OK)
        return err->code;
    if (daemon_listen(server->daemon, &address, address_size, &port, err) != ERR_OK)
        return error_wrap(err, "cannot listen on %s", listen);
    int host_size = (int)(strrchr(listen, ':') - listen);
    log_event(LOG_INFO, "gateway.listening",
              LOG_FIELDS(log_text("version", SLIPWAY_VERSION), log_number("port", port),
                         log_text("data", settings->data)),
              "listening on %.*s:%u", host_size, listen, port);
    return ERR_OK;
}

/* Pushes that were accepted before go on before anything new comes. */
static enum errc open_gateway(struct server *server, struct engine *engine, void (*broken)(void),
                              struct error *err)
{
    const struct settings *settings = engine->settings;
    const struct jobs_limits limits = {.uploads = settings->limits.uploads,
                                       .blobs = settings->limits.blobs,
                                       .pushes = settings->limits.pushes};
    struct gateway *gateway = &server->gateway;
    gateway->engine = engine;
    gateway->jobs = jobs_new(&limits, engine->executor);
    gateway->queue = push_queue_new(engine);
    if (janitor_start(engine->store, engine->upstream->registries, settings->limits.upload_idle_ms,
                      &server->janitor, err) != ERR_OK ||
        store_watch_start(engine->store, broken, &server->watch, err) != ERR_OK)
        return err->code;
    return push_queue_restart(gateway->queue, err);
}

/* Nothing uses it any more but what it runs itself. */
static void close_gateway(struct server *server)
{
    struct gateway *gateway = &server->gateway;
    push_queue_close(gateway->queue);
    while (!push_queue_wait(gateway->queue, 1000))
        ;
    push_queue_free(gateway->queue);
    store_watch_stop(server->watch);
    janitor_stop(server->janitor);
    jobs_free(gateway->jobs);
}

enum errc server_start(struct engine *engine, void (*broken)(void), struct server **out,
                       struct error *err)
{
    const struct settings *settings = engine->settings;
    struct server *server = xcalloc(1, sizeof *server);
    if (open_gateway(server, engine, broken, err) != ERR_OK ||
        read_tls(server, settings, err) != ERR_OK || start_daemon(server, err) != ERR_OK ||
        start_listening(server, settings, err) != ERR_OK) {
        server_stop(server);
        return err->code;
    }
    *out = server;
    return ERR_OK;
}

void server_drain(struct server *server)
{
    jobs_close(server->gateway.jobs);
    daemon_close(server->daemon);
    /* What is pushed after the answer is recorded, and goes on when slipway starts again. */
    push_queue_close(server->gateway.queue);
}

void server_cancel(struct server *server)
{
    daemon_cancel(server->daemon);
    jobs_cancel(server->gateway.jobs);
}

static int64_t left_ms(int64_t until_ms)
{
    int64_t left = until_ms - clock_ms();
    return left > 0 ? left : 0;
}

bool server_wait(struct server *server, int64_t ms)
{
    int64_t until_ms = clock_ms() + ms;
    return jobs_wait(server->gateway.jobs, ms) && daemon_wait(server->daemon, left_ms(until_ms)) &&
           push_queue_wait(server->gateway.queue, left_ms(until_ms));
}

void server_stop(struct server *server)
{
    if (server->handler.reads)
        file_reads_close(server->handler.reads);
    daemon_stop(server->daemon);
    file_reads_free(server->handler.reads);
    close_gateway(server);
    free(server->certificate);
    free(server->key);
    free(server);
}
