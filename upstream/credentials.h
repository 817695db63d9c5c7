/*
 * What a registry is told of who pushes. Owned strings, NULL when absent; wiped by
 * registry_credentials_clear().
 */
#ifndef SLIPWAY_UPSTREAM_CREDENTIALS_H
#define SLIPWAY_UPSTREAM_CREDENTIALS_H

#include "base/error.h"

struct registry_credentials {
    char *username;
    char *password;
    char *identity_token; /* OAuth2 refresh token */
    char *registry_token; /* sent as Bearer, as it is */
};

void registry_credentials_clear(struct registry_credentials *credentials);

/* Where credentials come from: asked once per push and target. Any thread. */
struct credentials_source {
    enum errc (*find)(void *self, const char *host, const char *path,
                      struct registry_credentials *out, struct error *err);
    void *self;
};

#endif
