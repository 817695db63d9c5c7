/*
 * What a registry is told of who pushes. Owned strings, NULL when absent; wiped by
 * registry_credentials_clear().
 */
#ifndef SLIPWAY_UPSTREAM_AUTH_CREDENTIALS_H
#define SLIPWAY_UPSTREAM_AUTH_CREDENTIALS_H

#include "image/digest.h"

struct registry_credentials {
    char *username;
    char *password;
    char *identity_token; /* OAuth2 refresh token */
    char *registry_token; /* sent as Bearer, as it is */
    char *origin; /* where they are from and what mends them, for messages; no part of them */
    bool expire;  /* they end by themselves: even a 403 may mean that they have; no part of them */
};

void registry_credentials_clear(struct registry_credentials *credentials);

/* A copy, owned: registry_credentials_clear. */
struct registry_credentials registry_credentials_copy(const struct registry_credentials *from);

/* No secret and no name is set: the push is anonymous. */
bool registry_credentials_empty(const struct registry_credentials *credentials);

/* SHA-256 over the secret and the user's name as one canonical JSON object (names in byte order,
 * absent ones left out, no blanks): names these credentials without holding them. The HMACs of
 * stored known locations depend on it: another form would make them all strangers. */
struct digest registry_credentials_digest(const struct registry_credentials *credentials);

/* Wipe and free a secret string; NULL is fine. */
void secret_free(char *secret);

/* Borrowed during the call. */
struct credentials_refusal {
    const struct registry_credentials *credentials;
    bool denied; /* by 403, which may be about something else */
};

/* Where credentials come from: asked once per push and target, and again, with `refused`, when a
 * registry refused them; `refused` is NULL before. Any thread that may wait. */
struct credentials_source {
    enum errc (*find)(void *self, const char *host, const char *path,
                      const struct credentials_refusal *refused, struct registry_credentials *out,
                      struct error *err);
    void *self;
};

#endif
