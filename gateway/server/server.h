/*
 * The HTTP server: libmicrohttpd with poll and a small pool of threads that never block.
 *
 * Lifecycle: server_start, any number of requests, server_end, server_stop.
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
 * that cannot be parsed or bound, or a certificate that cannot be read. `config` (NULL: there is
 * none) is the file that a reload reads; borrowed. `broken` is called once, by
 * another thread, when the store is broken and the process has to end: it must not wait. */
enum errc server_start(struct runtime *runtime, const char *config, void (*broken)(void),
                       struct server **out, struct error *err);

/* Of the configuration; borrowed until server_stop(). */
struct reload;
struct reload *server_reload(struct server *server);

/* What an orderly end may take in all before what runs is cancelled: service managers are told to
 * wait a little longer (docs/operations.md). And how long what was cancelled may take to report:
 * its clients have LINGER_MS (gateway/http/connections.h) to read that, seen once a second. */
#define SERVER_END_MS 100000
#define SERVER_CANCELLED_MS 3000

/* The end in order: no new work is taken, /readyz turns 503, connections end with their next
 * answer; waits until what runs has ended and every answer is sent. After `end_ms`, or as soon as
 * hurried() is true (it is asked several times a second), what runs is cancelled: every client
 * still gets its answer, but downloads are no longer waited for. False: something runs still,
 * `cancelled_ms` after that; the process has to end without it. */
bool server_end(struct server *server, bool (*hurried)(void), int64_t end_ms, int64_t cancelled_ms);

/* After server_end() was true. */
void server_stop(struct server *server);

#endif
