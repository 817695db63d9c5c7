/*
 * The HTTP server: libmicrohttpd with poll and a small pool of threads that never block.
 *
 * Lifecycle: server_start, any number of requests, server_drain (no new work is taken; /readyz
 * turns 503; connections end with their next answer), server_wait until what runs has ended and
 * every answer is sent, server_stop. server_cancel ends what runs early; every client still gets
 * its answer, but downloads are no longer waited for.
 *
 * Threads: the HTTP threads only move bytes into rings and answer; what takes longer is a job
 * with a thread of its own (gateway/http/jobs.h). The functions here are called by one thread, the
 * one that started it.
 */
#ifndef SLIPWAY_GATEWAY_SERVER_SERVER_H
#define SLIPWAY_GATEWAY_SERVER_SERVER_H

#include "gateway/push/runtime.h"

struct server;

/* Listens where the settings say and logs "listening on ADDR:PORT". ERR_SETTINGS for an address
 * that cannot be parsed or bound, or a certificate that cannot be read. `broken` is called once, by
 * another thread, when the store is broken and the process has to end: it must not wait. */
enum errc server_start(struct runtime *runtime, void (*broken)(void), struct server **out,
                       struct error *err);

void server_drain(struct server *server);
void server_cancel(struct server *server);

/* True when nothing runs any more; waits for it at most `ms`. */
bool server_wait(struct server *server, int64_t ms);

/* After server_wait returned true. */
void server_stop(struct server *server);

#endif
