/*
 * What the gateway's token endpoint, and Basic on any other path, ask the sources of identity:
 * whose password is this, whose proof of an identity provider, and does what somebody logged in
 * with still count.
 *
 * An interface: the sources (users of clients.htpasswd, robots of the store, identity providers of
 * clients.oidc) fill in the functions, tests their own. `self` and all functions are there.
 *
 * Threads: all but the last two may block (a hash of a password costs 50 to 100 ms, keys of an
 * identity provider are fetched), so they are called from jobs only, by several at once.
 */
#ifndef SLIPWAY_GATEWAY_ACCESS_SOURCES_H
#define SLIPWAY_GATEWAY_ACCESS_SOURCES_H

#include "base/error.h"
#include "base/net.h"
#include "gateway/access/identity.h"

#define FINGERPRINT_MAX 65 /* bytes with the NUL; letters, digits, "-" and "_" */

/* Somebody who has logged in. login_deinit() frees what it has. */
struct login {
    struct identity identity;
    /* Of what was shown, an HMAC with a key that stays with the sources: another password, or a
     * robot made again under its old name, has another one. It goes into refresh tokens, and comes
     * back in still_valid(). "" where nothing is to be asked but the identity. */
    char fingerprint[FINGERPRINT_MAX];
    /* Tokens of this login end so many seconds after it, refreshed or not: the mapping's `ttl`,
     * what is left of a robot. 0: the gateway's own limit (30 days). */
    int64_t ttl_s;
};

#define LOGIN_INIT                                                                                 \
    {                                                                                              \
        .identity = IDENTITY_INIT                                                                  \
    }

static inline void login_deinit(struct login *login)
{
    identity_deinit(&login->identity);
}
#define autologin __attribute__((cleanup(login_deinit)))

struct sources {
    /* Name and password as they came with Basic or in a form, NUL-terminated, of any bytes; the
     * password may be a token of an identity provider (`docker login -u oidc`). `peer` is the
     * client's address, by which failed logins are slowed down. ERR_UNAUTHENTICATED, with a text
     * that does not tell an unknown name from a wrong password; or why nobody could say
     * (ERR_TOO_MANY...). */
    enum errc (*password)(void *self, const char *name, const char *password,
                          const struct net_address *peer, struct login *out, struct error *err);

    /* A compact JWS of an identity provider, up to JWT_SIZE_MAX (gateway/access/jwt.h).
     * ERR_UNAUTHENTICATED with which check failed, without the token. */
    enum errc (*jwt)(void *self, const char *jwt, const struct net_address *peer, struct login *out,
                     struct error *err);

    /* Is there still such a user, robot or mapping, and has it this fingerprint, which a refresh
     * token brought? Compared in constant time. Also false when that cannot be found out. */
    bool (*still_valid)(void *self, const struct identity *identity, const char *fingerprint);

    /* password() would be quick: it is known to be right. Does not block. */
    bool (*known)(void *self, const char *name, const char *password);

    /* After ERR_TOO_MANY: what Retry-After says. Does not block. */
    unsigned (*retry_after_s)(void *self, const struct net_address *peer);

    void *self;
};

#endif
