/*
 * An exchange: one request of a connection and its answer, from the first line to the end.
 *
 *     exchange_open, exchange_begin, { exchange_continue }..., exchange_end
 *
 * A connection that ends early may leave out any of them but exchange_end. All are called on the
 * connection's HTTP thread.
 */
#ifndef SLIPWAY_GATEWAY_HTTP_EXCHANGE_H
#define SLIPWAY_GATEWAY_HTTP_EXCHANGE_H

#include "base/metrics.h"
#include "gateway/http/client_address.h"
#include "gateway/http/connections.h"
#include "gateway/http/jobs.h"
#include "gateway/http/request.h"

/* What a path is about, for the log: the pattern is one of few, whatever clients ask for. */
struct path_shown {
    const char *pattern; /* a literal, as docs/openapi.yaml has it; PATH_OTHER for any other path */
    const char *part;    /* a literal: what the last part is, "digest"; NULL: none */
    const char *value;   /* that part as it was sent, borrowed from the path */
    size_t value_size;   /* of it; 0: up to the end of the path */
    const char *name;    /* the repository's, as it was sent, borrowed; not terminated */
    size_t name_size;
};
#define PATH_OTHER "other"

#define ADMIT_TRIES 3

/* What requests are given to.
 *
 * admit() says who the request is of: in *caller, of which the exchange is the owner and which
 * dismiss() ends. It runs on HTTP threads and never blocks: what takes time is a job (of class
 * JOB_ADMIT), which takes no body; after its answer admit() is asked again, ADMIT_TRIES times at
 * most. Where it fills *reply, the request is refused. NULL: nobody asks. share() says what the
 * places of this caller's requests are shared by (peer.h), false: by its address.
 *
 * answer() returns the job that works on the request, or NULL after it
 * has filled *reply (which is REPLY_INIT(0) before), with the answer to a request without a body or
 * with a refusal before the client has sent it. It runs on HTTP threads and never blocks. */
struct request_handler {
    struct job *(*answer)(void *self, const struct request *request, struct reply *reply);
    struct job *(*admit)(void *self, const struct request *request, void **caller,
                         struct reply *reply);
    void (*dismiss)(void *caller); /* may be NULL where admit() is, as share() */
    bool (*share)(const void *caller, struct net_address *out);
    struct path_shown (*show)(const char *path); /* any thread */
    void *self;
    const char *administrators; /* only they reach its listener, and the log calls them so; NULL */
    struct metrics *metrics;    /* where requests are counted; NULL: nowhere */
    struct jobs *jobs;          /* once they are closed, connections end with their next answer */
    struct file_reads *reads;
    size_t (*make_room)(void);     /* of struct listener_options */
    struct client_proxies proxies; /* borrowed */
};

struct exchange;

/* The first line is there: `uri` as the client sent it, copied; NULL when it had none. */
struct exchange *exchange_open(const char *uri);

/* The headers are there, the body is not. `handler` and `at` are borrowed until the end. */
enum MHD_Result exchange_begin(struct exchange *exchange, const struct request_handler *handler,
                               struct MHD_Connection *connection, struct connection *at,
                               const char *method, const char *version);
bool exchange_begun(const struct exchange *exchange);

/* A piece of the body (*size > 0; what is not taken is left in *size), or its end (*size == 0). */
enum MHD_Result exchange_continue(struct exchange *exchange, const char *data, size_t *size);

/* The request is over. `exchange` may be NULL. */
void exchange_end(struct exchange *exchange, bool complete);

#endif
