/*
 * Lines of the log about pushes: their events, as docs/operations.md lists them.
 */
#ifndef SLIPWAY_GATEWAY_PUSH_PUSH_LOG_H
#define SLIPWAY_GATEWAY_PUSH_PUSH_LOG_H

#include "store/push.h"

void push_log_accepted(const struct push *push);

/* What became of a target, `ms` after its push began there: its final state. */
void push_log_ended(const struct push *push, const struct push_target *target, uint64_t ms);
/* It is tried again, at target->next_s: the registry is away, or something else may pass. `again`:
 * for the same reason as before, which has been told. */
void push_log_waiting(const struct push *push, const struct push_target *target, uint64_t ms,
                      bool again);
/* Its final state, without having been begun. `push`: its id. */
void push_log_not_begun(const char *push, const struct push_target *target);

/* At a start, so many targets of pushes that were accepted earlier are PUSH_ORPHANED, or go on. */
void push_log_orphaned(size_t targets);
void push_log_resumed(size_t targets);

#endif
