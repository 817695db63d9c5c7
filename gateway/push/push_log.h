/*
 * Lines of the log about pushes: their events, as docs/operations.md lists them.
 */
#ifndef SLIPWAY_GATEWAY_PUSH_PUSH_LOG_H
#define SLIPWAY_GATEWAY_PUSH_PUSH_LOG_H

#include "store/push.h"

void push_log_accepted(const struct push *push);

/* What became of a target, `ms` after its push began there: it has the image, or failed for good.
 */
void push_log_ended(const struct push *push, const struct push_target *target, uint64_t ms);
/* `push`: its id. */
void push_log_superseded(const char *push, const struct push_target *target);
/* It is tried again at the next start: the registry is away, or the gateway stops. */
void push_log_postponed(const struct push *push, const struct push_target *target, uint64_t ms);

/* At a start, so many pushes that were accepted earlier go on. */
void push_log_resumed(size_t pushes);

#endif
