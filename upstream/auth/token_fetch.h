/*
 * One token from a registry's token server: the Docker token specification ("Token Authentication
 * Implementation" and "OAuth2 Token Authentication" of the distribution project).
 *
 * With an identity token: POST of an OAuth2 refresh_token grant; servers that do not know it (400,
 * 401, 404, 405) are asked by GET. Else GET, with Basic for a user and password, without for an
 * anonymous token. The answer's token is `token` or `access_token`; `expires_in` missing is 60 s;
 * less than that, which no server should say, is believed: a body must not be what finds out.
 *
 * Redirects (301, 302, 303, 307, 308) are followed within the origin of the token server, where the
 * credentials may go along.
 */
#ifndef SLIPWAY_UPSTREAM_AUTH_TOKEN_FETCH_H
#define SLIPWAY_UPSTREAM_AUTH_TOKEN_FETCH_H

#include "net/transport.h"
#include "net/url.h"
#include "upstream/auth/challenge.h"
#include "upstream/auth/credentials.h"
#include "upstream/auth/tokens.h"

struct token_request {
    struct connection *connection;
    struct cancel *cancel;
    const struct url
        *endpoint; /* of the registry: the rules for where it may send us, url_follow */
    bool endpoint_private;
    const char *host; /* the registry's, for messages and for the settings they name */
    const char *realm;
    const char *service; /* "" when the challenge had none */
    const char *scope;   /* space separated */
    const struct registry_credentials *credentials;
    void (*busy)(void *self, const struct http_response *response); /* 429 or 503; NULL: nobody */
    void *self;                                                     /* wants to know */
};

/* ERR_UNAUTHORIZED names registry, user and where credentials are set; ERR_DENIED,
 * ERR_ADDRESS_REFUSED (the realm), ERR_REGISTRY_ANSWER (no usable token), and the transport's. */
enum errc token_fetch(const struct token_request *request, struct token *out, struct error *err);

/* "Basic " and the base64 of user and password; owned: secret_free. */
char *basic_authorization(const char *username, const char *password);

#endif
