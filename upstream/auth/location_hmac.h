/*
 * Whose credentials saw a blob in a repository: the HMAC of an location (store/known_locations.h).
 *
 * HMAC-SHA256 over the digest's text and the source repository, keyed with the digest of the
 * credentials, so that a push can tell the places that its own credentials opened from others
 * without anybody's credentials being stored. Anonymous pushes have no key and make no HMAC.
 */
#ifndef SLIPWAY_UPSTREAM_AUTH_ASSOCIATION_HMAC_H
#define SLIPWAY_UPSTREAM_AUTH_ASSOCIATION_HMAC_H

#include "store/known_locations.h"
#include "upstream/auth/credentials.h"

/* As sensitive as a password hash: kept in memory only, wiped with explicit_bzero(). */
struct location_key {
    char text[DIGEST_TEXT_MAX]; /* "" without credentials */
};

void location_key_make(const struct registry_credentials *credentials, struct location_key *out);

/* Set location->hmac from its digest and source. */
void location_sign(struct known_location *location, const struct location_key *key);

/* It was made with this key; with no key: it has no HMAC. Compares in constant time. */
bool location_matches(const struct known_location *location, const struct location_key *key);

#endif
