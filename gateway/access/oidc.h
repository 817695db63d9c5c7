/*
 * Tokens of identity providers: clients.oidc.
 *
 * The token's `iss` says which entry it is judged by; then its signature, `iss`, `aud`, `exp`,
 * `nbf` and `iat` are checked (jwt.h) with the entry's algorithms and the issuer's keys
 * (issuer_keys.h), and its claims mapped (claims.h). A token that is good and that no mapping
 * matches is nobody's.
 *
 * Threads: any that may block.
 */
#ifndef SLIPWAY_GATEWAY_ACCESS_OIDC_H
#define SLIPWAY_GATEWAY_ACCESS_OIDC_H

#include "config/settings_types.h"
#include "gateway/access/sources.h"

struct oidc;

/* `issuers` is borrowed until oidc_close(); there may be none. ERR_SETTINGS. */
enum errc oidc_open(const struct oidc_setting *issuers, size_t count, struct oidc **out,
                    struct error *err);
void oidc_close(struct oidc *oidc); /* NULL is a no-op */

/* ERR_UNAUTHENTICATED says which check failed; others, why the keys could not be had. */
enum errc oidc_login(struct oidc *oidc, const char *jwt, struct login *out, struct error *err);

/* Is there a mapping to this identity with this fingerprint? */
bool oidc_stands(const struct oidc *oidc, const struct identity *identity, const char *fingerprint);

#endif
