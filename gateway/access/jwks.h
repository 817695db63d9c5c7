/*
 * Keys that tokens are verified with: a JSON Web Key Set (RFC 7517), as an identity provider
 * publishes it, or the gateway's own keys.
 *
 * What a key may verify follows from the key: its type (RFC 7518, 6; RFC 8037, 2), narrowed by its
 * `alg`. A key with a `use` that is not "sig", with `key_ops` without "verify", of an unknown type
 * or curve, an RSA key of less than 2048 bits, one that is no valid key: none of them is taken, and
 * the others of the set stand. Symmetric keys are never taken.
 *
 * Ownership: jwks_deinit() frees what it has. Any thread may verify with one that nobody writes.
 */
#ifndef SLIPWAY_GATEWAY_ACCESS_JWKS_H
#define SLIPWAY_GATEWAY_ACCESS_JWKS_H

#include "base/error.h"

#define JWKS_SIZE_MAX ((size_t)256 << 10)
#define JWKS_KEYS_MAX 64
#define JWKS_RSA_BITS_MIN 2048
#define JWKS_RSA_BITS_MAX 8192 /* more would cost milliseconds each time */

/* RFC 7518, 3.1; RFC 8037, 3.1. */
enum jwt_algorithm {
    JWT_EDDSA, /* with Ed25519 */
    JWT_RS256,
    JWT_RS384,
    JWT_RS512,
    JWT_PS256,
    JWT_ES256,
    JWT_ES384,
};
#define JWT_ALGORITHM_COUNT 7
#define JWT_BIT(algorithm) (1u << (algorithm))

/* "RS256" and so on. False for any other name, "none" and "HS256" among them. */
bool jwt_algorithm_by_name(const char *name, enum jwt_algorithm *out);

struct evp_pkey_st; /* EVP_PKEY */

struct jwk {
    char *kid;               /* owned; NULL: it has none */
    struct evp_pkey_st *key; /* owned; public */
    unsigned algorithms;     /* bits: what it may verify */
};

struct jwks {
    struct jwk items[JWKS_KEYS_MAX];
    size_t count;
};

/* ERR_JSON_INVALID, ERR_JSON_TOO_LARGE; ERR_BAD_REQUEST for what is no set, has more than
 * JWKS_KEYS_MAX keys, or none that can be used. */
enum errc jwks_parse(const void *data, size_t size, struct jwks *out, struct error *err);

/* The public half of `raw`, the 32 bytes of an Ed25519 key (RFC 8032); false when there is no room.
 * `kid` is copied. */
bool jwks_add_ed25519(struct jwks *jwks, const char *kid, const unsigned char raw[32]);

void jwks_deinit(struct jwks *jwks);

#endif
