/*
 * From a request to the code that answers it. Runs on the HTTP threads and never blocks: a handler
 * reads at most metadata and opens files; what takes longer is a job (gateway/http/jobs.h).
 */
#ifndef SLIPWAY_GATEWAY_SERVER_ROUTES_H
#define SLIPWAY_GATEWAY_SERVER_ROUTES_H

#include "gateway/http/request.h"
#include "gateway/service/gateway.h"

/* A handler returns the job that works on the request, or NULL after it has filled *reply (which is
 * REPLY_INIT(0) before): the answer to a request without a body, or a refusal before the client has
 * sent it. */
typedef struct job *route_handler(struct gateway *gateway, const struct request *request,
                                  struct reply *reply);

/* What the handler of a job gives to job_start(). */
struct feeder request_feeder(const struct request *request);

/*
 * For gateway/server/server.c. One request, from its first line to its end:
 *
 *     route_open, route_begin, { route_continue }..., route_done
 *
 * A connection that ends early may leave out any of them but route_done. All are called on the
 * connection's HTTP thread.
 */
struct exchange_state;

/* The first line is there: `uri` as the client sent it, copied; NULL when it had none. */
struct exchange_state *route_open(const char *uri);

/* The headers are there, the body is not. */
enum MHD_Result route_begin(struct gateway *gateway, struct MHD_Connection *connection,
                            const char *method, struct exchange_state *state);
bool route_begun(const struct exchange_state *state);

/* A piece of the body (*size > 0; what is not taken is left in *size), or its end (*size == 0). */
enum MHD_Result route_continue(struct exchange_state *state, const char *data, size_t *size);

/* The request is over. `state` may be NULL. */
void route_done(struct exchange_state *state, bool complete);

#endif
