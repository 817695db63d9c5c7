#include "upstream/auth/auth.h"

#include "base/lock.h"
#include "base/mem.h"
#include "upstream/auth/token_fetch.h"
#include "upstream/auth/tokens.h"

#include <string.h>

#define SCOPE_SET_MAX ((size_t)16 << 10)
static const char bearer[] = "Bearer ";

struct auth {
    struct tokens *tokens;
    pthread_mutex_t lock;       /* guards what follows */
    struct challenge challenge; /* scheme AUTH_NONE: nothing was asked for */
    struct http_secrets told;   /* what its registry had been sent, and may repeat in it */
};

struct auth *auth_new(void)
{
    struct auth *auth = xcalloc(1, sizeof *auth);
    auth->tokens = tokens_new();
    pthread_mutex_init(&auth->lock, NULL);
    return auth;
}

void auth_free(struct auth *auth)
{
    if (auth == NULL)
        return;
    tokens_free(auth->tokens);
    http_secrets_deinit(&auth->told);
    pthread_mutex_destroy(&auth->lock);
    free(auth);
}

bool auth_learn(struct auth *auth, const struct http_response *response, struct challenge *out)
{
    struct challenge_list list = {.count = 0};
    const char *field = NULL;
    while ((field = http_header_next(response, "WWW-Authenticate", field)))
        challenge_parse(field, &list);
    const struct challenge *chosen = challenge_choose(&list);
    if (chosen == NULL)
        return false;
    pthread_mutex_lock(&auth->lock);
    auth->challenge = *chosen;
    http_secrets_deinit(&auth->told);
    auth->told = (struct http_secrets){0};
    http_secrets_add_all(&auth->told, &response->secrets);
    pthread_mutex_unlock(&auth->lock);
    if (out)
        *out = *chosen;
    return true;
}

static struct challenge known_challenge(struct auth *auth)
{
    autolock pthread_mutex_t *held = lock_take(&auth->lock);
    return auth->challenge;
}

enum auth_scheme auth_scheme(struct auth *auth)
{
    autolock pthread_mutex_t *held = lock_take(&auth->lock);
    return auth->challenge.scheme;
}

static enum errc run_fetch(void *self, struct token *out, struct error *err)
{
    return token_fetch(self, out, err);
}

static char *token_key(const struct auth_request *request)
{
    struct digest digest = registry_credentials_digest(request->credentials);
    char text[DIGEST_TEXT_MAX];
    return xasprintf("%s %s", digest_hex(&digest, text), request->scope);
}

static enum errc bearer_value(struct auth *auth, const struct auth_request *request,
                              const struct challenge *challenge, char **value, struct error *err)
{
    struct token_request fetch = {
        .connection = request->connection,
        .cancel = request->cancel,
        .endpoint = request->endpoint,
        .endpoint_private = request->endpoint_private,
        .host = request->host,
        .realm = challenge->realm,
        .service = challenge->service,
        .scope = request->scope,
        .credentials = request->credentials,
        .busy = request->busy,
        .self = request->self,
    };
    autofree char *key = token_key(request);
    const struct token_fetch how = {.run = run_fetch, .self = &fetch};
    char *token = NULL;
    if (tokens_get(auth->tokens, key, request->least_ms, request->cancel, &how, &token, err) !=
        ERR_OK) {
        autolock pthread_mutex_t *held = lock_take(&auth->lock);
        http_text_clean(&auth->told, err);
        return err->code;
    }
    *value = xasprintf("%s%s", bearer, token);
    secret_free(token);
    return ERR_OK;
}

enum errc auth_value(struct auth *auth, const struct auth_request *request, char **value,
                     struct error *err)
{
    const struct registry_credentials *credentials = request->credentials;
    struct challenge challenge = known_challenge(auth);
    *value = NULL;
    if (challenge.scheme == AUTH_NONE)
        return ERR_OK;
    if (credentials->registry_token)
        *value = xasprintf("%s%s", bearer, credentials->registry_token);
    else if (challenge.scheme == AUTH_BEARER)
        return bearer_value(auth, request, &challenge, value, err);
    else if (challenge.scheme == AUTH_BASIC && credentials->password)
        *value = basic_authorization(credentials->username, credentials->password);
    return ERR_OK;
}

bool auth_refused(struct auth *auth, const struct auth_request *request, const char *value)
{
    if (request->credentials->registry_token || auth_scheme(auth) != AUTH_BEARER)
        return false;
    if (strncmp(value, bearer, sizeof bearer - 1) != 0)
        return true; /* it asks for another scheme than it did */
    autofree char *key = token_key(request);
    tokens_drop(auth->tokens, key, value + sizeof bearer - 1);
    return true;
}

static bool has_scope(const char *set, const char *scope, size_t size)
{
    for (const char *at = set; *at;) {
        size_t one = strcspn(at, " ");
        if (one == size && strncmp(at, scope, size) == 0)
            return true;
        at += one + strspn(at + one, " ");
    }
    return false;
}

char *scope_merge(const char *scope, const char *more)
{
    autobuf struct buf merged = BUF_INIT(SCOPE_SET_MAX);
    buf_text(&merged, scope);
    for (const char *at = more + strspn(more, " "); *at;) {
        size_t size = strcspn(at, " ");
        if (!has_scope(buf_cstr(&merged), at, size)) {
            if (merged.size > 0)
                buf_append(&merged, " ", 1);
            buf_append(&merged, at, size);
        }
        at += size + strspn(at + size, " ");
    }
    if (merged.overflowed || merged.size == strlen(scope))
        return NULL;
    return buf_take(&merged);
}
