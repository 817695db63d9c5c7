/*
 * GET /metrics: OpenMetrics text (base/metrics.h), also at ops.listen. What an operator is alerted
 * by comes from the push queue, what the process itself takes from the kernel; both are read when
 * they are asked for. No disk is touched, so it is answered while the store is broken.
 *
 * Labels are names of targets in the configuration (all others are "other", with one that is called
 * so) and words of slipway's own: no repository, tag or digest.
 */
#ifndef SLIPWAY_GATEWAY_SERVER_METRICS_PAGE_H
#define SLIPWAY_GATEWAY_SERVER_METRICS_PAGE_H

#include "gateway/service/handler.h"

/* Before the first request; the gateway is borrowed as long as its runtime has metrics. */
void metrics_page_open(struct gateway *gateway);
/* Route handler. */
struct job *metrics_page_get(struct gateway *gateway, const struct request *request,
                             struct reply *reply);

#endif
