/*
 * Lines of the log about pushes: their events, as docs/operations.md lists them. `push` is the id
 * of the push, `target` the text of the reference.
 */
#ifndef SLIPWAY_GATEWAY_PUSH_PUSH_LOG_H
#define SLIPWAY_GATEWAY_PUSH_PUSH_LOG_H

#include "image/digest.h"

void push_log_accepted(const char *push, const struct digest *manifest, size_t targets);

/* What became of a target. */
void push_log_pushed(const char *push, const char *target, const struct digest *digest,
                     uint64_t bytes_uploaded);
void push_log_failed(const char *push, const char *target, const struct error *why);
void push_log_superseded(const char *push, const char *target);
/* It is tried again at the next start: the registry is away, or the gateway stops. */
void push_log_postponed(const char *push, const char *target, const struct error *why);

/* At a start, so many pushes that were accepted earlier go on. */
void push_log_resumed(size_t pushes);

#endif
