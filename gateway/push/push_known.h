/*
 * Pushes of what the store holds, with what is known of their targets because blobs were sent ahead
 * of their manifest (upstream/push/ahead.h).
 */
#ifndef SLIPWAY_GATEWAY_PUSH_PUSH_KNOWN_H
#define SLIPWAY_GATEWAY_PUSH_PUSH_KNOWN_H

#include "gateway/push/engine.h"
#include "upstream/push/ahead.h"
#include "upstream/push/push.h"

/* push_all(), for limits.pushes repositories at once; requests[i].known is filled and dropped here.
 * A push that fails because a blob is missing is made once more without that memory. `ahead` NULL:
 * nothing was sent ahead. Blocks; results[i] belongs to requests[i]. */
void push_known(struct engine *engine, struct ahead *ahead, struct push_request *requests,
                size_t count, struct cancel *cancel, struct push_result *results);

#endif
