/*
 * POST, GET and DELETE of /v1/targets/NAME/reconcile and /v1/targets/NAME/backfill: begin one and
 * wait for its end, how far it is, end it (gateway/reconcile/sweeps.h). The shapes are described in
 * docs/openapi.yaml. A POST is a job of the class JOB_PUSH, and its client's going ends the sweep.
 */
#ifndef SLIPWAY_GATEWAY_API_SWEEPS_H
#define SLIPWAY_GATEWAY_API_SWEEPS_H

#include "gateway/service/handler.h"

/* Route handlers. */
struct job *target_reconcile(struct gateway *gateway, const struct request *request,
                             struct reply *reply);
struct job *target_backfill(struct gateway *gateway, const struct request *request,
                            struct reply *reply);

#endif
