/*
 * Signed tokens: a compact JWS (RFC 7515) with the claims of a JWT (RFC 7519), verified with a set
 * of keys.
 *
 * The algorithm comes from whoever asks and from the key, never from the token alone: the header's
 * `alg` has to be one of those that are allowed and one that the key is for. So "none" passes
 * nowhere, and there is no HMAC that a public key could be taken for the key of.
 *
 * Strict where two readers could see two tokens: base64url of one spelling only, JSON without
 * duplicate members, no `crit` (RFC 7515, 4.1.11: nothing that it could name is understood here).
 * `kid` picks the keys; a token without one is tried with each that fits.
 *
 * Times are seconds since the epoch. `exp` is mandatory; `nbf` and `iat` count where they are.
 *
 * Errors are ERR_UNAUTHENTICATED; they say which check failed and have no text of the token, so
 * they can be logged. Any thread; a verification takes up to some tenths of a millisecond.
 */
#ifndef SLIPWAY_GATEWAY_ACCESS_JWT_H
#define SLIPWAY_GATEWAY_ACCESS_JWT_H

#include "base/json.h"
#include "gateway/access/jwks.h"

#define JWT_SIZE_MAX ((size_t)16 << 10)
#define JWT_LEEWAY_S 60 /* for the clocks of strangers */

struct jwt_rules {
    const struct jwks *keys;
    unsigned algorithms; /* bits (JWT_BIT): those that are allowed */
    const char *type;    /* the header's `typ` has to be this; NULL: any, or none */
    const char *issuer;
    const char *const *audiences; /* one of them has to be among those of the token */
    size_t audience_count;
    int64_t now_s;
    int64_t leeway_s;
};

/* Which check failed, for counters, and for who can fetch newer keys. */
enum jwt_check {
    JWT_PASSED,
    JWT_FORM, /* it is no such token */
    JWT_ALGORITHM,
    JWT_TYPE,
    JWT_KEY, /* no key has its kid, or fits */
    JWT_SIGNATURE,
    JWT_ISSUER,
    JWT_AUDIENCE,
    JWT_EXPIRED,
    JWT_NOT_YET,
};

/* The claims, owned, of a token that passes all checks. `failed` may be NULL. */
enum errc jwt_verify(const char *token, const struct jwt_rules *rules, json_t **claims,
                     enum jwt_check *failed, struct error *err);

/* Who the token says that it is of, owned, with nothing verified: to find the rules for it. */
enum errc jwt_claimed_issuer(const char *token, char **issuer, struct error *err);

/* A token with these claims, owned, signed with an Ed25519 key; NULL when OpenSSL cannot. */
char *jwt_sign(const char *type, const char *kid, struct evp_pkey_st *key, const json_t *claims);

#endif
