/*
 * The connections that the HTTP server has, and their deadlines. libmicrohttpd 0.9.75 has one
 * deadline, which begins anew with every byte; these do not.
 *
 * - The headers of a first request have to be there `head_ms` after the connection was accepted.
 * - A connection ends `idle_ms` after its last request did, unless the next one's headers are
 * there.
 * - Of a body that nobody reads (a refused request's, or the rest behind an answer that is ready)
 *   at least CLIENT_PACE_BYTES have to come in each `drain_ms`.
 * A body for a job, and the time in which a request waits, is worked on or answered, are not
 * theirs: the job has deadlines of its own (gateway/http/jobs.h). But while the gateway stops, of
 * an answer that waits in the socket at least CLIENT_PACE_BYTES have to be taken in each
 * STOPPING_ANSWER_MS.
 *
 * There are at most `max`. One more is let in, and another one ends for it: where one address has
 * more than half of them, one of its, else any; at first one whose headers are not there, then one
 * without a request, the oldest first; then one that is being answered, of the address that has
 * most, if that has more than who comes. Requests with a job are left alone. Whoever finds nothing
 * to end is refused.
 *
 * Who ends a connection shuts its socket down; libmicrohttpd sees that and closes it. It can also
 * be sent an answer first (only in plain HTTP, and only while libmicrohttpd sends nothing, that is
 * in the middle of a request): then the client has LINGER_MS to read it.
 *
 * Threads: any; one lock inside, under which sockets are shut down: a connection is taken out
 * under it before libmicrohttpd closes its socket, so the number is not somebody else's yet.
 */
#ifndef SLIPWAY_GATEWAY_HTTP_CONNECTIONS_H
#define SLIPWAY_GATEWAY_HTTP_CONNECTIONS_H

#include "base/net.h"

#define LINGER_MS 1000
/* Longer than for a body: kernels tell in steps of up to some 100 KiB what their program has read.
 */
#define STOPPING_ANSWER_MS 5000

struct connections;
struct connection;
struct exchange;

struct connections_options {
    size_t max;
    int64_t head_ms;
    int64_t idle_ms;
    int64_t drain_ms;
    const char *late_answer; /* to a request that is late, copied; NULL: none (TLS) */
};

struct connections *connections_new(const struct connections_options *options);
void connections_free(struct connections *connections); /* NULL is a no-op */

/* One of this address is about to be handed over that was accepted at `since_ms`; another one may
 * end for it. False: there is no room. */
bool connections_admit(struct connections *connections, int socket, struct net_address address,
                       int64_t since_ms);

/* End what is late as of `now_ms`; while the gateway stops, also answers that nobody takes. */
void connections_sweep(struct connections *connections, int64_t now_ms, bool stopping);

/* The request of this connection is answered, and its body may not be there yet. */
void connections_answered(struct connections *connections, uint64_t id);

/* The same, and the answer is not to wait for the body: the client gets this one, and the
 * connection ends. No-op where `connections` is NULL, or the body is there. */
void connections_end(struct connections *connections, uint64_t id, const char *answer);

/* The answer to its request has to be taken by then, or the connection ends. No-op where
 * `connections` is NULL. */
void connections_end_by(struct connections *connections, uint64_t id, int64_t end_ms);

/* --- the connection's HTTP thread --- */

struct connection *connection_open(struct connections *connections, int socket,
                                   struct net_address address);
/* Before its socket is closed. */
void connection_close(struct connection *connection);

struct connections *connection_table(const struct connection *connection);
uint64_t connection_id(const struct connection *connection);
const struct net_address *connection_address(const struct connection *connection);

/* Its exchange, the daemon's. */
struct exchange **connection_exchange(struct connection *connection);

/* It was ended from here, not by its client. */
bool connection_ended(struct connection *connection);

/* The headers are there, and what comes from now on is for a job. False: it ends, they are too
 * late.
 */
bool connection_begins(struct connection *connection);
/* What comes is for nobody; the body is there, and the job goes on; the HTTP server answers,
 * without a job. */
void connection_drains(struct connection *connection);
void connection_waits(struct connection *connection);
void connection_answers(struct connection *connection);
/* Bytes of a body. */
void connection_got(struct connection *connection, size_t bytes);
/* The request is over. */
void connection_rests(struct connection *connection);

#endif
