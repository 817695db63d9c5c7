/*
 * A handler of the gateway: as answer() of struct request_handler (gateway/http/exchange.h), with
 * the gateway at hand. It reads at most metadata and opens files; what takes longer is a job
 * (gateway/http/jobs.h).
 */
#ifndef SLIPWAY_GATEWAY_SERVICE_HANDLER_H
#define SLIPWAY_GATEWAY_SERVICE_HANDLER_H

#include "gateway/http/request.h"
#include "gateway/service/gateway.h"

typedef struct job *route_handler(struct gateway *gateway, const struct request *request,
                                  struct reply *reply);

#endif
