/*
 * How long an address waits after logins that failed.
 *
 * After LOGIN_FAILURES_FREE of them the next has to wait a second, after each further one twice as
 * long, at most LOGIN_DELAY_MAX_MS. LOGIN_FORGOTTEN_MS after the last one all are forgotten; a
 * login that goes well does not change them, since whoever has one account could try others in
 * between. Addresses count as net_address_site() has them. There is room for LOGIN_ADDRESSES_MAX;
 * where it is full the one of four goes whose last failure is longest ago.
 *
 * Threads: any; one lock inside, held for some comparisons. HTTP threads may ask.
 */
#ifndef SLIPWAY_GATEWAY_ACCESS_LOGIN_DELAYS_H
#define SLIPWAY_GATEWAY_ACCESS_LOGIN_DELAYS_H

#include "base/net.h"

#define LOGIN_FAILURES_FREE 5
#define LOGIN_DELAY_MAX_MS 60000
#define LOGIN_FORGOTTEN_MS (10 * 60 * 1000)
#define LOGIN_ADDRESSES_MAX 4096

struct login_delays;

struct login_delays *login_delays_new(void);
void login_delays_free(struct login_delays *delays); /* NULL is a no-op */

/* So long from `now_ms` (clock_ms()) on; 0: not at all. */
int64_t login_delays_left_ms(struct login_delays *delays, const struct net_address *peer,
                             int64_t now_ms);
void login_delays_failed(struct login_delays *delays, const struct net_address *peer,
                         int64_t now_ms);

#endif
