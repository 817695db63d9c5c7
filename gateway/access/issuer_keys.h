/*
 * The keys of one identity provider: from clients.oidc[].jwks_file, or from the issuer itself.
 *
 * A file is read at start and again when it changes (watched_file.h). The issuer is asked when keys
 * are wanted first: ISSUER/.well-known/openid-configuration, which has to name this issuer, says
 * where they are (OpenID Connect Discovery 1.0, 4); and again, once in ISSUER_FETCH_MS at most,
 * when a token names a key that is not among them. Keys that are there are kept whatever comes of
 * that. https and public addresses only, but for an issuer with `private` and for http to loopback,
 * as the configuration allows; no redirect is followed; an answer has JWKS_SIZE_MAX bytes at most
 * and ISSUER_ANSWER_MS.
 *
 * Threads: any that may block. One asks the issuer, the others wait for it where there are no keys
 * yet.
 */
#ifndef SLIPWAY_GATEWAY_ACCESS_ISSUER_KEYS_H
#define SLIPWAY_GATEWAY_ACCESS_ISSUER_KEYS_H

#include "config/settings_types.h"
#include "gateway/access/jwks.h"

#define ISSUER_FETCH_MS 60000
#define ISSUER_ANSWER_MS 5000

struct issuer_keys;

/* `setting` is borrowed until issuer_keys_close(). ERR_SETTINGS: there is a file, and it has no
 * keys. */
enum errc issuer_keys_open(const struct oidc_setting *setting, struct issuer_keys **out,
                           struct error *err);
void issuer_keys_close(struct issuer_keys *keys); /* NULL is a no-op */

struct key_set;
const struct jwks *key_set_keys(const struct key_set *set);
void key_set_unref(struct key_set *set); /* NULL is a no-op */

/* The keys as they are now; *out is owned (key_set_unref()). `seen`, which may be NULL, had not the
 * key that is wanted: newer ones are asked for, if it is time to, and *out may be `seen` again. An
 * error, those of net/transport.h, ERR_JSON_INVALID and the like, only where there are none. */
enum errc issuer_keys_get(struct issuer_keys *keys, const struct key_set *seen,
                          struct key_set **out, struct error *err);

#endif
