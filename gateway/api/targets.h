/*
 * Targets as an operator sees them: GET /v1/targets, POST /v1/targets/NAME/pause and .../resume
 * (gateway/queue/push_targets.h). The shapes are described in docs/openapi.yaml.
 *
 * Who may: those that may control the gateway (gateway/service/control.h). The list is answered at
 * once, also while the store is broken; the others are jobs of the class JOB_BRIEF.
 */
#ifndef SLIPWAY_GATEWAY_API_TARGETS_H
#define SLIPWAY_GATEWAY_API_TARGETS_H

#include "gateway/service/handler.h"

/* Route handlers. */
struct job *targets_list(struct gateway *gateway, const struct request *request,
                         struct reply *reply);
struct job *target_pause(struct gateway *gateway, const struct request *request,
                         struct reply *reply);
struct job *target_resume(struct gateway *gateway, const struct request *request,
                          struct reply *reply);

#endif
