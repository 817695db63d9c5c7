/*
 * When a server wants to be asked again: Retry-After, RFC 9110 section 10.2.3.
 */
#ifndef SLIPWAY_NET_RETRY_AFTER_H
#define SLIPWAY_NET_RETRY_AFTER_H

#include "net/transport.h"

#define RETRY_AFTER_MAX_S 86400

/* Seconds or a date, as milliseconds from the answer's Date, else from `now_s` (clock_wall_s()), 0
 * to RETRY_AFTER_MAX_S * 1000; -1 when there is none that can be read. */
int64_t retry_after_ms(const struct http_response *response, int64_t now_s);

#endif
