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

/* `certificate` and `key` are PEM texts; NULL: plain HTTP. They and `handler` are borrowed until
 * the daemon is stopped. ERR_SETTINGS, also for a certificate that cannot be used. */
enum errc daemon_start(const struct request_handler *handler, const char *certificate,
                       const char *key, struct daemon **out, struct error *err);

/* As listener_open(); *port is the one that it got. */
enum errc daemon_listen(struct daemon *daemon, const struct sockaddr_storage *address,
                        socklen_t address_size, unsigned *port, struct error *err);

/* Each may be called more than once. */
void daemon_close(struct daemon *daemon);
void daemon_cancel(struct daemon *daemon);

/* True when every request that was begun is answered, or they were cancelled; waits at most `ms`.
 */
bool daemon_wait(struct daemon *daemon, int64_t ms);

/* When no job has a connection. Closes the handler's reads. NULL is nothing. */
void daemon_stop(struct daemon *daemon);

/* Of libmicrohttpd, as it runs. */
const char *daemon_library_version(void);

#endif
