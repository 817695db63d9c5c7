/*
 * Logins with the passwords of clients.htpasswd: what they may cost, and whom they may hold up.
 *
 * A password that was right within the last minutes is known (login_cache.h) and costs
 * microseconds; so HTTP threads ask logins_known() first, and only what that does not know is a job
 * that calls logins_verify(). There:
 * - an address after too many failures is refused before anything is computed (login_delays.h);
 * - LOGINS_AT_ONCE passwords are verified at a time, so wrong ones cost at most so many cores;
 * - LOGINS_WAITING_MAX wait their turn, LOGINS_WAITING_PER_ADDRESS of one address, for at most
 *   LOGINS_WAIT_MS; one more is refused at once. When its turn comes, what waited looks again at
 *   what is known and who is delayed: fifty requests with one good password are one bcrypt.
 *
 * Both refusals are ERR_TOO_MANY (429); logins_retry_after_s() is for their Retry-After.
 *
 * Known logins count only while the file of the users was looked at within LOGINS_FRESH_MS, which
 * is done by whoever verifies: a user that was taken out of the file is out two seconds later.
 *
 * Threads: any. logins_verify() blocks; the others do not.
 */
#ifndef SLIPWAY_GATEWAY_ACCESS_LOGINS_H
#define SLIPWAY_GATEWAY_ACCESS_LOGINS_H

#include "base/net.h"
#include "gateway/access/htpasswd.h"

#define LOGINS_AT_ONCE 2
#define LOGINS_WAITING_MAX 64
#define LOGINS_WAITING_PER_ADDRESS 32
#define LOGINS_WAIT_MS 10000
#define LOGINS_FRESH_MS 2000

struct logins;

/* `users` is borrowed until logins_free(); NULL: there are none, and nobody's password is right. */
struct logins *logins_new(struct htpasswd *users);
void logins_free(struct logins *logins); /* when no call runs; NULL is a no-op */

/* The password is right, and known to be. False says nothing. */
bool logins_known(struct logins *logins, const char *name, const char *password);

/* ERR_UNAUTHENTICATED, with one text for a name that there is not and a wrong password, and counted
 * as a failure of the address; ERR_TOO_MANY. */
enum errc logins_verify(struct logins *logins, const char *name, const char *password,
                        const struct net_address *peer, struct error *err);

/* ---- for the other sources, whose failures count as well ---- */

/* ERR_TOO_MANY while the address has to wait. */
enum errc logins_admit(struct logins *logins, const struct net_address *peer, struct error *err);
void logins_failed(struct logins *logins, const struct net_address *peer);

/* What a 429 says in Retry-After: 1 to 60. */
unsigned logins_retry_after_s(struct logins *logins, const struct net_address *peer);

#endif
