/*
 * The HTTP server: libmicrohttpd with poll and a small pool of threads that never block, and a
 * listener in front of it (gateway/http/listener.h).
 *
 * Lifecycle: daemon_start, daemon_listen, any number of connections with any number of requests,
 * each of which is an exchange (gateway/http/exchange.h); daemon_close (no new connections),
 * daemon_wait until every answer is sent, daemon_stop. daemon_cancel: answers that are under way
 * are no longer waited for.
 *
 * Threads: the HTTP threads only move bytes and answer. The functions here are called by one
 * thread, the one that started it.
 */
#ifndef SLIPWAY_GATEWAY_HTTP_DAEMON_H
#define SLIPWAY_GATEWAY_HTTP_DAEMON_H

#include "gateway/http/exchange.h"

#include <sys/socket.h>

struct daemon;

/* The headers of a connection's first request have to be there after so long; a connection without
 * a request ends so long after its last one: Go's clients take a connection for alive for 90 s. A
 * body that nobody reads has to bring CLIENT_PACE_BYTES (gateway/http/jobs.h) each time. */
#define HEAD_MS 30000
#define IDLE_MS 120000
#define DRAIN_MS 30000

struct daemon_options {
    const struct request_handler *handler;
    bool tls;              /* with gateway/http/server_certificate.h; false: plain HTTP */
    const char *client_ca; /* PEM of authorities, with TLS: clients are asked for a certificate of
                              their own, and need not have one; NULL: they are not */
    unsigned threads;
    unsigned connections; /* at most; gateway/http/connections.h says what is done about one more */
    int64_t head_ms;
    int64_t idle_ms;
    int64_t drain_ms;
};

/* The text and the handler are borrowed until the daemon is stopped. ERR_SETTINGS, also for
 * authorities that cannot be used. */
enum errc daemon_start(const struct daemon_options *options, struct daemon **out,
                       struct error *err);

/* As listener_open(); *port is the one that it got. */
enum errc daemon_listen(struct daemon *daemon, const struct sockaddr_storage *address,
                        socklen_t address_size, unsigned *port, struct error *err);

/* Each may be called more than once. */
void daemon_close(struct daemon *daemon);
void daemon_cancel(struct daemon *daemon);

/* True when every request that was begun is answered, or they were cancelled; waits at most `ms`.
 */
bool daemon_wait(struct daemon *daemon, int64_t ms);

/* When no job has a connection, and the handler's reads are closed. NULL is nothing. */
void daemon_stop(struct daemon *daemon);

/* Of libmicrohttpd, as it runs. */
const char *daemon_library_version(void);

#endif
