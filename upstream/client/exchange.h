/*
 * One authorised exchange with a registry: a request is sent with what proves who we are, a 401 is
 * answered with a new token once. Credentials that are refused are asked for anew (a helper may
 * give secrets that live for minutes), and what is other than before is used from then on.
 * Redirects are followed under the rules of net/url.h.
 *
 * `struct repository` is a repository at one endpoint as seen with some credentials: made once by a
 * push and shared by its threads. `struct registry_client` is one thread's way to it, with a
 * connection leased for its life, so that requests that belong together use one connection.
 */
#ifndef SLIPWAY_UPSTREAM_CLIENT_EXCHANGE_H
#define SLIPWAY_UPSTREAM_CLIENT_EXCHANGE_H

#include "base/via.h"
#include "upstream/auth/verdict.h"
#include "upstream/client/registry_host.h"

struct repository {
    struct endpoint *endpoint;
    const char *path; /* borrowed, as the first credentials, which are wiped by who made this */
    const struct registry_credentials *_Atomic credentials;
    char via[VIA_TEXT_MAX + 1]; /* what its registry is told: base/via.h; "" when just made */
    pthread_mutex_t lock;       /* guards what follows */
    struct renewed_credentials *renewed; /* owned; the youngest first: in use */
    struct http_secrets secrets;         /* the credentials, and what was sent of them so far */
    char *scope; /* the scope set tokens are asked for; grows when the registry wants more */
};

/* `path` "": none, and tokens are asked for without a scope. */
void repository_init(struct repository *repository, struct endpoint *endpoint, const char *path,
                     const struct registry_credentials *credentials);
void repository_deinit(struct repository *repository);

/* Ask for the scopes that the other one learned to ask for, too. */
void repository_learn(struct repository *repository, struct repository *from);

struct registry_client {
    struct repository *repository;
    struct connection *connection;
    struct cancel *cancel;  /* NULL: nothing stops it */
    const char *more_scope; /* asked for beside the repository's own scope; NULL: none */
    unsigned ahead;         /* connections that will be wanted right after a ping */
};

#define autoclient __attribute__((cleanup(registry_client_close)))
void registry_client_open(struct registry_client *client, struct repository *repository,
                          struct cancel *cancel);
void registry_client_close(struct registry_client *client);

/* BASE/v2/PATH/SUFFIX of the client's repository, or BASE/v2/ for a NULL suffix; owned text in a
 * zeroed `url`. */
enum errc registry_client_url(const struct registry_client *client, const char *suffix,
                              struct url *url, struct error *err);

/*
 * Send `request` (its url, authorization, stop and public_only are filled in here) to `url`, which
 * is the URL that answered afterwards: Location is relative to it. Neither an error's text nor one
 * that is taken from the response has a secret that was ever sent to this repository. Any final
 * status is ERR_OK, also 401 when a token does not help. Errors: the transport's, those of getting
 * a token, ERR_ADDRESS_REFUSED for a redirect that must not be followed, or too many.
 */
enum errc exchange(struct registry_client *client, struct url *url, struct http_request *request,
                   struct http_response *response, struct error *err);

/* As verdict_fail(), with advice about credentials for a 401 and 403. */
enum errc exchange_refused(const struct registry_client *client, const struct question *question,
                           const struct url *url, const struct http_response *response,
                           struct error *err);

/* Get ready to authorise without waiting for a 401: a token is fetched where one will be needed. */
enum errc exchange_authorize(struct registry_client *client, struct error *err);

#endif
