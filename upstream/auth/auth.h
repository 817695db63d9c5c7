/*
 * How slipway proves to one endpoint who it is: Basic (RFC 7617), Bearer with a token server (the
 * Docker token specification), or a registry token sent as it is.
 *
 * An endpoint's 401 says which (auth_learn); that is kept and applies to every later request, whose
 * value for Authorization comes from auth_value(). Tokens are kept by scope set and credentials,
 * and fetched once for all threads that wait for one (upstream/auth/tokens.h).
 *
 * A scope set is a text of scopes with a space between: "repository:team/app:pull,push".
 *
 * Threads: any; one lock inside, not held during an exchange.
 */
#ifndef SLIPWAY_UPSTREAM_AUTH_AUTH_H
#define SLIPWAY_UPSTREAM_AUTH_AUTH_H

#include "net/transport.h"
#include "net/url.h"
#include "upstream/auth/challenge.h"
#include "upstream/auth/credentials.h"

struct auth;

struct auth *auth_new(void);
void auth_free(struct auth *auth);

/* Take in the challenges of an answer. False when it has none that slipway can answer; then what
 * was known stays. *out (may be NULL) is the chosen one. */
bool auth_learn(struct auth *auth, const struct http_response *response, struct challenge *out);

/* What is asked for, AUTH_NONE until an answer said so. */
enum auth_scheme auth_scheme(struct auth *auth);

struct auth_request {
    struct connection *connection; /* a token is fetched with it */
    struct cancel *cancel;
    const struct url *endpoint;
    bool endpoint_private;
    const char *host;
    const struct registry_credentials *credentials;
    const char *scope;
    int64_t least_ms; /* for how long the token must still be good */
    void (*busy)(void *self, const struct http_response *response); /* as in token_request */
    void *self;
};

/* The value of Authorization, owned: secret_free; NULL when nothing is to be sent. Errors: those of
 * token_fetch(). */
enum errc auth_value(struct auth *auth, const struct auth_request *request, char **value,
                     struct error *err);

/* The registry refused `value`. True when there is another one to try: a new token. */
bool auth_refused(struct auth *auth, const struct auth_request *request, const char *value);

/* `scope` and what `more` has beyond it, owned; NULL when that is nothing. */
char *scope_merge(const char *scope, const char *more);

#endif
