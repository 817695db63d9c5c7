/*
 * From the path and method of a request to its handler.
 */
#ifndef SLIPWAY_GATEWAY_SERVER_ROUTES_H
#define SLIPWAY_GATEWAY_SERVER_ROUTES_H

#include "gateway/http/exchange.h"
#include "gateway/service/handler.h"

/* answer() of a request_handler whose `self` is a struct gateway. */
struct job *route(void *gateway, const struct request *request, struct reply *reply);

/* The same of ops.listen: what tells how the gateway is, and nothing else. */
struct job *route_ops(void *gateway, const struct request *request, struct reply *reply);

/* show() of both. */
struct path_shown route_show(const char *path);

#endif
