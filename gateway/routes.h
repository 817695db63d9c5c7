/*
 * From a request to the code that answers it: the table of endpoints, the parsing of their
 * parameters, replies in JSON. Runs on the HTTP threads and never blocks.
 */
#ifndef SLIPWAY_GATEWAY_ROUTES_H
#define SLIPWAY_GATEWAY_ROUTES_H

#include "gateway/uploads.h"

#include <microhttpd.h>

/* The headers are there, the body is not: answer, or refuse before the client sends a byte, or set
 * *context for what follows. */
enum MHD_Result route_begin(struct uploads *uploads, struct MHD_Connection *connection,
                            const char *method, const char *path, void **context);

/* A piece of the body (*size > 0; what is not taken is left in *size), or its end (*size == 0). */
enum MHD_Result route_continue(void *context, const char *data, size_t *size);

/* The request is over. `context` may be NULL. */
void route_done(void *context, bool complete);

#endif
