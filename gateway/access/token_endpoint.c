#include "gateway/access/token_endpoint.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/secret.h"
#include "gateway/access/credentials_sent.h"
#include "gateway/access/requester.h"
#include "gateway/http/error_body.h"
#include "gateway/http/query.h"

#include <string.h>
#include <strings.h>

#define EXCHANGE "urn:ietf:params:oauth:grant-type:token-exchange"
#define TYPE_PREFIX "urn:ietf:params:oauth:token-type:"

/* What came with one request. */
struct ask {
    const struct token_endpoint *endpoint;
    struct net_address peer;
    struct requester by; /* without a caller: it is found out here */
    bool posted;
    char *query; /* owned; of a GET */
    struct credentials_sent credentials;
};

/* What was found out of who asks. */
struct asker {
    struct login login;
    int64_t now_s;
    int64_t ends_s;      /* its login, and so all tokens */
    const char *renewed; /* borrowed: the refresh token that it showed; NULL: another way */
    bool exchanged;
    const char *refusal; /* OAuth's word for what went wrong (RFC 6749, 5.2) */
};

/* ---- parameters ---- */

/* The only parameter of this name (RFC 6749, 3.2). */
static enum errc parameter(const struct query *query, const char *name, const char **out,
                           struct error *err)
{
    bool twice = false;
    const char *value = query_value(query, name, &twice);
    if (value == NULL || twice)
        return fail(err, ERR_BAD_REQUEST, 0, "the request for a token has %s %s",
                    twice ? "more than one" : "no", name);
    *out = value;
    return ERR_OK;
}

static bool is_set(const struct query *query, const char *name, const char *wanted)
{
    const char *value = query_value(query, name, NULL);
    return value && strcasecmp(value, wanted) == 0;
}

static enum errc read_scopes(const struct query *query, struct scopes *out, struct error *err)
{
    for (size_t i = 0; i < query->count; i++)
        if (strcmp(query->items[i].name, "scope") == 0 &&
            scopes_add(out, query->items[i].value, err) != ERR_OK)
            return err->code;
    return ERR_OK;
}

static enum errc read_body(struct job *job, struct buf *out, struct error *err)
{
    const struct source body = job_body(job);
    const uint8_t *data = NULL;
    size_t size = 0;
    do {
        if (source_pull(&body, &data, &size, err) != ERR_OK)
            return err->code;
        buf_append(out, data, size);
    } while (size > 0 && !out->overflowed);
    job_received(job);
    if (out->overflowed)
        return fail(err, ERR_BAD_REQUEST, 0, "the form has more than %zu bytes", TOKEN_FORM_MAX);
    return ERR_OK;
}

static enum errc read_form(struct job *job, struct query *out, struct error *err)
{
    struct buf body = BUF_INIT(TOKEN_FORM_MAX);
    if (read_body(job, &body, err) == ERR_OK && strlen(buf_cstr(&body)) < body.size)
        fail(err, ERR_BAD_REQUEST, 0, "the form has a NUL");
    if (err->code == ERR_OK)
        form_parse(buf_cstr(&body), out, err);
    if (body.data)
        explicit_bzero(body.data, body.size);
    buf_deinit(&body);
    return err->code;
}

static void wipe(struct query *query)
{
    for (size_t i = 0; i < query->count; i++)
        secret_free(&query->items[i].value);
    query_deinit(query);
}

/* ---- who asks ---- */

static enum errc by_password(const struct ask *ask, const char *name, const char *password,
                             struct asker *out, struct error *err)
{
    const struct sources *sources = ask->endpoint->sources;
    out->refusal = "invalid_grant";
    return sources->password(sources->self, name, password, &ask->peer, &out->login, err);
}

static enum errc by_form_password(const struct ask *ask, const struct query *form,
                                  struct asker *out, struct error *err)
{
    const char *name = NULL;
    const char *password = NULL;
    if (parameter(form, "username", &name, err) != ERR_OK ||
        parameter(form, "password", &password, err) != ERR_OK)
        return err->code;
    return by_password(ask, name, password, out, err);
}

static enum errc by_refresh_token(const struct ask *ask, const struct query *form,
                                  struct asker *out, struct error *err)
{
    const struct sources *sources = ask->endpoint->sources;
    autotoken struct token token = {.kind = TOKEN_REFRESH};
    if (parameter(form, "refresh_token", &out->renewed, err) != ERR_OK)
        return err->code;
    out->refusal = "invalid_grant";
    if (token_read(&ask->endpoint->issuer, TOKEN_REFRESH, out->renewed, out->now_s, &token, err) !=
        ERR_OK)
        return err->code;
    if (!sources->still_valid(sources->self, &token.identity, token.fingerprint))
        return fail(err, ERR_UNAUTHENTICATED, 0,
                    "the login of the refresh token has ended: log in again");
    identity_copy(&token.identity, &out->login.identity);
    out->ends_s = token.expires_s;
    return ERR_OK;
}

static enum errc by_exchange(const struct ask *ask, const struct query *form, struct asker *out,
                             struct error *err)
{
    const struct sources *sources = ask->endpoint->sources;
    const char *token = NULL;
    const char *type = NULL;
    if (parameter(form, "subject_token", &token, err) != ERR_OK ||
        parameter(form, "subject_token_type", &type, err) != ERR_OK)
        return err->code;
    if (strcmp(type, TYPE_PREFIX "jwt") != 0 && strcmp(type, TYPE_PREFIX "id_token") != 0)
        return fail(err, ERR_BAD_REQUEST, 0,
                    "the subject_token_type has to be " TYPE_PREFIX "jwt or " TYPE_PREFIX
                    "id_token");
    out->exchanged = true;
    out->refusal = "invalid_grant";
    return sources->jwt(sources->self, token, &ask->peer, &out->login, err);
}

static enum errc by_form(const struct ask *ask, const struct query *form, struct asker *out,
                         struct error *err)
{
    const char *grant = NULL;
    if (parameter(form, "grant_type", &grant, err) != ERR_OK)
        return err->code;
    if (strcmp(grant, "password") == 0)
        return by_form_password(ask, form, out, err);
    if (strcmp(grant, "refresh_token") == 0)
        return by_refresh_token(ask, form, out, err);
    if (strcmp(grant, EXCHANGE) == 0)
        return by_exchange(ask, form, out, err);
    out->refusal = "unsupported_grant_type";
    return fail(err, ERR_BAD_REQUEST, 0,
                "the grant_type has to be password, refresh_token or " EXCHANGE);
}

static enum errc find_asker(const struct ask *ask, const struct query *query, struct asker *out,
                            struct error *err)
{
    enum errc code = ERR_OK;
    int64_t login_s = TOKEN_LOGIN_S;
    if (ask->posted)
        code = by_form(ask, query, out, err);
    else if (ask->credentials.kind == CREDENTIALS_BASIC)
        code = by_password(ask, ask->credentials.name, ask->credentials.secret, out, err);
    if (code == ERR_OK && out->ends_s == 0) {
        if (out->login.ttl_s > 0 && out->login.ttl_s < login_s)
            login_s = out->login.ttl_s;
        out->ends_s = out->now_s + login_s;
    }
    return code;
}

/* ---- the answer ---- */

/* The name that the client wrote. */
static const char *name_shown(const struct ask *ask, const struct query *query)
{
    return ask->posted ? query_value(query, "username", NULL) : ask->credentials.name;
}

/* What was not looked at, or is no request for a token, has no line. */
static void tell(const struct ask *ask, const struct query *query, const struct asker *asker,
                 const struct error *err)
{
    bool given = err->code == ERR_OK;
    const struct audit_event event = {.action = AUDIT_TOKEN,
                                      .actor = given ? &asker->login.identity : NULL,
                                      .object = given ? NULL : name_shown(ask, query)};
    if (given || err->code == ERR_UNAUTHENTICATED)
        requester_tell(&ask->by, ask->endpoint->audit, event, err);
}

static void answer_refusal(struct reply *reply, const struct asker *asker, const struct error *err)
{
    if (err->code != ERR_BAD_REQUEST && err->code != ERR_UNAUTHENTICATED) {
        reply_error(reply, err);
        return;
    }
    autofree char *text = error_body(err);
    json_t *body = json_loads(text, 0, NULL);
    json_put_text(body, "error", asker->refusal);
    json_put_text(body, "error_description", err->text);
    reply_refuse(reply, error_http_status(err->code), json_compact_take(body), err);
    if (err->code == ERR_UNAUTHENTICATED)
        reply_header(reply, "WWW-Authenticate", "Basic realm=\"slipway\"");
}

static enum errc make_access(const struct ask *ask, const struct asker *asker,
                             struct scopes *scopes, json_t *body, struct error *err)
{
    const struct token_endpoint *endpoint = ask->endpoint;
    char when[CLOCK_TEXT_MAX];
    struct token token = {
        .kind = TOKEN_ACCESS, .identity = asker->login.identity, .issued_s = asker->now_s};
    autosecret char *text = NULL;
    scopes_limit(scopes, &endpoint->rights, &token.identity);
    token.scopes = *scopes;
    token.expires_s = token.issued_s + endpoint->token_ttl_s;
    if (token.expires_s > asker->ends_s)
        token.expires_s = asker->ends_s;
    if (token_make(&endpoint->issuer, &token, &text, err) != ERR_OK)
        return err->code;
    autofree char *granted = scopes_text(scopes);
    json_put_text(body, "token", text);
    json_put_text(body, "access_token", text);
    json_put_text(body, "token_type", "Bearer");
    if (asker->exchanged)
        json_put_text(body, "issued_token_type", TYPE_PREFIX "access_token");
    json_put_number(body, "expires_in", (uint64_t)(token.expires_s - token.issued_s));
    json_put_text(body, "issued_at", clock_text_of(token.issued_s, when));
    json_put_text(body, "scope", granted);
    return ERR_OK;
}

static enum errc make_refresh(const struct ask *ask, const struct asker *asker, json_t *body,
                              struct error *err)
{
    struct token token = {.kind = TOKEN_REFRESH,
                          .identity = asker->login.identity,
                          .issued_s = asker->now_s,
                          .expires_s = asker->ends_s};
    autosecret char *text = NULL;
    memcpy(token.fingerprint, asker->login.fingerprint, sizeof token.fingerprint);
    if (token_make(&ask->endpoint->issuer, &token, &text, err) == ERR_OK)
        json_put_text(body, "refresh_token", text);
    return err->code;
}

static enum errc make_body(const struct ask *ask, const struct query *query,
                           const struct asker *asker, json_t *body, struct error *err)
{
    struct scopes scopes = {.count = 0};
    enum errc code = read_scopes(query, &scopes, err);
    if (code == ERR_OK)
        code = make_access(ask, asker, &scopes, body, err);
    scopes_deinit(&scopes);
    if (code != ERR_OK || asker->login.identity.kind == IDENTITY_ANONYMOUS)
        return code;
    if (asker->renewed)
        json_put_text(body, "refresh_token", asker->renewed);
    else if (is_set(query, "offline_token", "true") || is_set(query, "access_type", "offline"))
        return make_refresh(ask, asker, body, err);
    return ERR_OK;
}

static void run(struct job *job, void *self)
{
    const struct ask *ask = self;
    const struct sources *sources = ask->endpoint->sources;
    struct error err = ERROR_INIT;
    struct reply reply = REPLY_INIT(200);
    struct query query = {.count = 0};
    struct asker asker = {
        .login = LOGIN_INIT, .now_s = clock_wall_s(), .refusal = "invalid_request"};
    autojson json_t *body = json_object();
    enum errc code =
        ask->posted ? read_form(job, &query, &err) : form_parse(ask->query, &query, &err);
    if (code == ERR_OK && find_asker(ask, &query, &asker, &err) == ERR_OK) {
        asker.refusal = "invalid_scope";
        make_body(ask, &query, &asker, body, &err);
    }
    if (err.code == ERR_OK)
        reply_json(&reply, json_compact(body));
    else
        answer_refusal(&reply, &asker, &err);
    if (err.code == ERR_TOO_MANY)
        reply_retry_after(&reply, sources->retry_after_s(sources->self, &ask->peer));
    tell(ask, &query, &asker, &err);
    reply_header(&reply, "Cache-Control", "no-store");
    login_deinit(&asker.login);
    wipe(&query);
    job_answer(job, &reply);
}

/* ---- requests ---- */

static void ask_free(void *self)
{
    struct ask *ask = self;
    if (ask->endpoint->release)
        ask->endpoint->release(ask->endpoint->owner);
    credentials_sent_deinit(&ask->credentials);
    requester_deinit(&ask->by);
    free(ask->query);
    free(ask);
}

static bool is_form(const struct request *request)
{
    static const char form[] = "application/x-www-form-urlencoded";
    const char *type = request_header(request, "Content-Type");
    return type && strncasecmp(type, form, sizeof form - 1) == 0 &&
           strchr(" \t;", type[sizeof form - 1]) != NULL;
}

/* A token does not get another: with one in Authorization there is nobody to ask. */
static enum errc check_request(const struct request *request, struct credentials_sent *credentials,
                               struct error *err)
{
    bool posted = strcmp(request->method, "POST") == 0;
    if (!posted && strcmp(request->method, "GET") != 0)
        return fail(err, ERR_METHOD, 0, "a token is asked for by GET or POST");
    if (posted && !is_form(request))
        return fail(err, ERR_NOT_FOUND, 0,
                    "a body that is no form (application/x-www-form-urlencoded) gets no token: "
                    "ask by GET");
    if (credentials_sent_read(request, credentials, err) != ERR_OK)
        return err->code;
    if (!posted && credentials->kind == CREDENTIALS_BEARER)
        return fail(err, ERR_UNAUTHENTICATED, 0,
                    "a token gets no other token by GET: send a name and a password");
    return ERR_OK;
}

/* Guesses stand where they do on other paths, and keep nobody from what is quick. */
static enum job_class class_of(const struct ask *ask)
{
    const struct sources *sources = ask->endpoint->sources;
    const struct credentials_sent *sent = &ask->credentials;
    if (ask->posted)
        return JOB_FORM;
    return sent->kind == CREDENTIALS_NONE || sources->known(sources->self, sent->name, sent->secret)
               ? JOB_BRIEF
               : JOB_ADMIT;
}

struct job *token_endpoint_answer(const struct token_endpoint *endpoint,
                                  const struct request *request, struct reply *reply)
{
    const struct asker unknown = {.refusal = "invalid_request"};
    struct error err = ERROR_INIT;
    struct job *job = NULL;
    struct ask *ask = xcalloc(1, sizeof *ask);
    ask->endpoint = endpoint;
    if (endpoint->hold)
        endpoint->hold(endpoint->owner);
    ask->peer = request->peer.address;
    audit_origin_of(request, &ask->by.origin);
    ask->posted = strcmp(request->method, "POST") == 0;
    ask->query = xstrdup(request->query);
    if (check_request(request, &ask->credentials, &err) == ERR_OK) {
        const struct job_work work = {
            .class = class_of(ask), .run = run, .free = ask_free, .self = ask};
        if (job_start(endpoint->jobs, &work, request->peer, &job, &err) == ERR_OK)
            return job;
    }
    ask_free(ask);
    answer_refusal(reply, &unknown, &err);
    if (err.code == ERR_METHOD)
        reply_header(reply, "Allow", "GET, POST");
    return NULL;
}
