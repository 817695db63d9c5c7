#include "upstream/client/exchange.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/retry_after.h"
#include "upstream/auth/answer.h"
#include "upstream/auth/token_fetch.h"
#include "upstream/client/retry.h"

#include <string.h>

#define REDIRECTS_MAX 5
/* A request with a body must not be the one that finds its token expired. */
#define TOKEN_LEFT_BODY_MS 30000
#define TOKEN_LEFT_MS 5000

/* Those before stay: somebody may be using them. */
struct renewed_credentials {
    struct renewed_credentials *next;
    struct registry_credentials value;
};

static void note_credentials(struct repository *repository)
{
    const struct registry_credentials *credentials = repository->credentials;
    char *basic = credentials->password
                      ? basic_authorization(credentials->username, credentials->password)
                      : NULL;
    http_secrets_add(&repository->secrets, basic, credentials->identity_token);
    http_secrets_add(&repository->secrets, NULL, credentials->registry_token);
    secret_free(basic);
}

/* `value` may be NULL. */
static void note_secrets(struct repository *repository, const char *value,
                         struct http_response *response)
{
    pthread_mutex_lock(&repository->lock);
    http_secrets_add(&repository->secrets, value, NULL);
    http_secrets_add_all(&response->secrets, &repository->secrets);
    pthread_mutex_unlock(&repository->lock);
}

static enum errc clean(struct repository *repository, struct error *err)
{
    pthread_mutex_lock(&repository->lock);
    http_text_clean(&repository->secrets, err);
    pthread_mutex_unlock(&repository->lock);
    return err->code;
}

void repository_init(struct repository *repository, struct endpoint *endpoint, const char *path,
                     const struct registry_credentials *credentials)
{
    *repository = (struct repository){
        .endpoint = endpoint,
        .path = path,
        .credentials = credentials,
        .scope = path[0] ? xasprintf("repository:%s:pull,push", path) : xstrdup(""),
    };
    pthread_mutex_init(&repository->lock, NULL);
    note_credentials(repository);
}

void repository_deinit(struct repository *repository)
{
    for (struct renewed_credentials *at = repository->renewed, *next; at; at = next) {
        next = at->next;
        registry_credentials_clear(&at->value);
        free(at);
    }
    pthread_mutex_destroy(&repository->lock);
    http_secrets_deinit(&repository->secrets);
    free(repository->scope);
}

static char *repository_scope(struct repository *repository)
{
    pthread_mutex_lock(&repository->lock);
    char *scope = xstrdup(repository->scope);
    pthread_mutex_unlock(&repository->lock);
    return scope;
}

static char *client_scope(const struct registry_client *client)
{
    autofree char *scope = repository_scope(client->repository);
    char *merged = client->more_scope ? scope_merge(scope, client->more_scope) : NULL;
    return merged ? merged : mem_take(&scope);
}

/* True when the scope set grew. */
static bool repository_widen(struct repository *repository, const char *more)
{
    pthread_mutex_lock(&repository->lock);
    char *merged = scope_merge(repository->scope, more);
    if (merged) {
        free(repository->scope);
        repository->scope = merged;
    }
    pthread_mutex_unlock(&repository->lock);
    return merged != NULL;
}

void repository_learn(struct repository *repository, struct repository *from)
{
    autofree char *scope = repository_scope(from);
    repository_widen(repository, scope);
}

void registry_client_open(struct registry_client *client, struct repository *repository,
                          struct cancel *cancel)
{
    *client = (struct registry_client){
        .repository = repository,
        .connection = transport_lease(repository->endpoint->host->transport),
        .cancel = cancel,
    };
}

void registry_client_close(struct registry_client *client)
{
    transport_return(client->connection);
    client->connection = NULL;
}

enum errc registry_client_url(const struct registry_client *client, const char *suffix,
                              struct url *url, struct error *err)
{
    const struct repository *repository = client->repository;
    const char *base = repository->endpoint->base.text;
    autofree char *text = suffix ? xasprintf("%s/v2/%s/%s", base, repository->path, suffix)
                                 : xasprintf("%s/v2/", base);
    return url_parse(text, url, err);
}

static bool same_credentials(const struct registry_credentials *a,
                             const struct registry_credentials *b)
{
    struct digest one = registry_credentials_digest(a);
    struct digest other = registry_credentials_digest(b);
    return digest_equal(&one, &other);
}

/* True when there are others than the refused ones by now. */
static bool repository_renew(struct repository *repository,
                             const struct credentials_refusal *refused)
{
    const struct registry_host *host = repository->endpoint->host;
    if (endpoint_is_guess(repository->endpoint) ||
        !registry_host_allows(host, repository->endpoint))
        return false; /* with TLS, if at all */
    struct renewed_credentials *fresh = xcalloc(1, sizeof *fresh);
    struct error err = ERROR_INIT;
    if (registries_credentials(host->registries, host->name, repository->path, refused,
                               &fresh->value, &err) != ERR_OK)
        log_info("%s/%s: no other credentials: %s", host->name, repository->path, err.text);
    bool others = !registry_credentials_empty(&fresh->value) &&
                  !same_credentials(&fresh->value, refused->credentials);
    if (!others) {
        registry_credentials_clear(&fresh->value);
        free(fresh);
        return false;
    }
    pthread_mutex_lock(&repository->lock);
    fresh->next = repository->renewed;
    repository->renewed = fresh;
    repository->credentials = &fresh->value;
    note_credentials(repository);
    pthread_mutex_unlock(&repository->lock);
    return true;
}

/* The registry, or its token server, asks for patience. */
static void on_busy(void *self, const struct http_response *response)
{
    struct endpoint *endpoint = self;
    back_off_refused(&endpoint->host->back_off, retry_after_ms(response, clock_wall_s()));
}

static struct auth_request auth_request_of(const struct registry_client *client, const char *scope,
                                           bool has_body)
{
    const struct repository *repository = client->repository;
    struct endpoint *endpoint = repository->endpoint;
    return (struct auth_request){
        .connection = client->connection,
        .cancel = client->cancel,
        .endpoint = &endpoint->base,
        .endpoint_private = endpoint_is_private(endpoint),
        .host = endpoint->host->name,
        .credentials = repository->credentials,
        .scope = scope,
        .least_ms = has_body ? TOKEN_LEFT_BODY_MS : TOKEN_LEFT_MS,
        .busy = on_busy,
        .self = endpoint,
    };
}

/* The value for Authorization; `asked` is how it was asked for. */
static enum errc authorize(const struct registry_client *client, const char *scope, bool has_body,
                           struct auth_request *asked, char **value, struct error *err)
{
    struct repository *repository = client->repository;
    *asked = auth_request_of(client, scope, has_body);
    enum errc code = auth_value(repository->endpoint->auth, asked, value, err);
    const struct credentials_refusal refused = {asked->credentials, code == ERR_DENIED};
    bool may_have_ended =
        code == ERR_UNAUTHORIZED || (refused.denied && asked->credentials->expire);
    if (!may_have_ended || !repository_renew(repository, &refused))
        return code;
    error_clear(err);
    *asked = auth_request_of(client, scope, has_body);
    return auth_value(repository->endpoint->auth, asked, value, err);
}

/* A registry, or what stands before it, that does not know its own name: a Location without the
 * port by which it was reached, for one. To come back later does not help. */
static enum errc explain_led(const struct endpoint *endpoint, const struct url *url,
                             struct error *err)
{
    char base[URL_SHOWN_MAX];
    bool led =
        strcmp(url->host, endpoint->base.host) == 0 && !url_same_origin(url, &endpoint->base);
    if (!led || (err->code != ERR_CONNECT && err->code != ERR_TLS))
        return err->code;
    err->code = ERR_ADDRESS_REFUSED;
    return error_wrap(
        err,
        "the registry at %s leads to another port of its host (Location), where it does "
        "not answer; a proxy before it has to pass on Host with the port, and the scheme "
        "(X-Forwarded-Proto)",
        url_shown(endpoint->base.text, base));
}

/* One request to one URL; credentials go along only where `authorize` says so. */
static enum errc send_once(struct registry_client *client, const struct url *url, const char *value,
                           struct http_request *request, struct http_response *response,
                           struct error *err)
{
    struct endpoint *endpoint = client->repository->endpoint;
    bool elsewhere = strcmp(url->host, endpoint->base.host) != 0;
    note_secrets(client->repository, value, response);
    http_secrets_add_query(&response->secrets, url->text);
    request->url = url->text;
    request->authorization = value;
    request->cancel = client->cancel;
    request->identify = !elsewhere;
    request->via = elsewhere || client->repository->via[0] == '\0' ? NULL : client->repository->via;
    request->public_only = elsewhere && !endpoint_is_private(endpoint);
    enum errc code = transport_exchange(client->connection, request, response, err);
    request->authorization = NULL;
    bool spoke = code == ERR_OK || code == ERR_CERTIFICATE;
    if (!elsewhere && (spoke || error_party(code) == PARTY_NETWORK))
        endpoint_was_tried(endpoint, spoke);
    if (code == ERR_OK && verdict_is_busy(response))
        on_busy(endpoint, response);
    if (!elsewhere && code == ERR_OK && response->peer_private)
        atomic_store(&endpoint->private_seen, true);
    return code;
}

/* After a refusal: is there something else to send? */
static bool can_do_better(struct registry_client *client, const struct auth_request *asked,
                          const char *value, const struct http_response *response)
{
    struct repository *repository = client->repository;
    struct auth *auth = repository->endpoint->auth;
    const struct credentials_refusal refused = {asked->credentials, response->status == 403};
    if (refused.denied)
        return value && asked->credentials->expire && repository_renew(repository, &refused);
    autofree struct challenge *challenge = xcalloc(1, sizeof *challenge);
    bool learned = auth_learn(auth, response, challenge);
    if (learned)
        endpoint_answered(repository->endpoint);
    if (value == NULL)
        return learned;
    /* What is wanted for one request is not asked for in all others. */
    if (learned && client->more_scope && strcmp(challenge->error, "insufficient_scope") == 0)
        return false;
    if (learned && client->more_scope == NULL && repository_widen(repository, challenge->scope))
        return true;
    return auth_refused(auth, asked, value) || repository_renew(repository, &refused);
}

static enum errc send_authorized(struct registry_client *client, const struct url *url,
                                 struct http_request *request, struct http_response *response,
                                 struct error *err)
{
    bool known = false; /* how the registry wants to be told who asks */
    for (int attempt = 0;; attempt++) {
        autofree char *scope = client_scope(client);
        struct auth_request asked;
        char *value = NULL;
        if (authorize(client, scope, request->body != NULL, &asked, &value, err) != ERR_OK)
            return err->code;
        enum errc code = send_once(client, url, value, request, response, err);
        bool refused = code == ERR_OK && (response->status == 401 || response->status == 403);
        bool late =
            attempt > 0 && (known || attempt > 1 || value == NULL || !asked.credentials->expire);
        bool again = refused && !late && can_do_better(client, &asked, value, response);
        known = value != NULL;
        secret_free(value);
        if (!again)
            return code;
    }
}

static bool is_redirect(const struct http_request *request, int status)
{
    bool reads = strcmp(request->method, "GET") == 0 || strcmp(request->method, "HEAD") == 0;
    if (status == 307 || status == 308) /* RFC 9110 15.4.8, 15.4.9: same method, same body */
        return true;
    return reads && (status == 301 || status == 302 || status == 303);
}

static enum errc send_and_follow(struct registry_client *client, struct url *url,
                                 struct http_request *request, struct http_response *response,
                                 struct error *err)
{
    struct endpoint *endpoint = client->repository->endpoint;
    for (int hop = 0; hop <= REDIRECTS_MAX; hop++) {
        enum errc code = url_same_origin(url, &endpoint->base)
                             ? send_authorized(client, url, request, response, err)
                             : send_once(client, url, NULL, request, response, err);
        if (code != ERR_OK)
            return explain_led(endpoint, url, err);
        const char *location = http_header(response, "Location");
        if (!is_redirect(request, response->status) || location == NULL)
            return ERR_OK;
        struct url next = {0};
        if (url_follow(url, location, endpoint_is_private(endpoint), &next, err) != ERR_OK)
            return err->code;
        url_move(&next, url);
        request->ahead = 0;
    }
    char shown[URL_SHOWN_MAX];
    return fail(err, ERR_ADDRESS_REFUSED, 0, "%s %s: more than %d redirects", request->method,
                url_shown(url->text, shown), REDIRECTS_MAX);
}

enum errc exchange(struct registry_client *client, struct url *url, struct http_request *request,
                   struct http_response *response, struct error *err)
{
    enum errc code = send_and_follow(client, url, request, response, err);
    return code == ERR_OK ? ERR_OK : clean(client->repository, err);
}

enum errc exchange_refused(const struct registry_client *client, const struct question *question,
                           const struct url *url, const struct http_response *response,
                           struct error *err)
{
    const struct repository *repository = client->repository;
    verdict_fail(question, url, response, err);
    bool anonymous = registry_credentials_empty(repository->credentials);
    bool denied = err->code == ERR_DENIED && anonymous;
    bool challenged = http_header(response, "WWW-Authenticate") != NULL;
    if (verdict_may_be_proxys(response))
        return err->code;
    if (denied && !challenged)
        answer_mention_credentials(repository->endpoint->host->name, err);
    else if (err->code == ERR_UNAUTHORIZED || denied)
        answer_explain_credentials(repository->endpoint->host->name, repository->credentials, err);
    return err->code;
}

enum errc exchange_authorize(struct registry_client *client, struct error *err)
{
    autofree char *scope = client_scope(client);
    struct auth_request asked;
    char *value = NULL;
    enum errc code = authorize(client, scope, false, &asked, &value, err);
    secret_free(value);
    return code == ERR_OK ? ERR_OK : clean(client->repository, err);
}
