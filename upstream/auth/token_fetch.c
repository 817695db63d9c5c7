#include "upstream/auth/token_fetch.h"

#include "base/base64.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "upstream/auth/answer.h"
#include "upstream/auth/verdict.h"

#include <string.h>

#define TOKEN_ANSWER_LIMIT_BYTES ((size_t)256 << 10)
#define TOKEN_TEXT_MAX ((size_t)64 << 10)
#define LIFETIME_UNSAID_S 60
#define LIFETIME_MAX_S (24 * 3600)
#define CLIENT_ID "slipway"
#define REDIRECTS_MAX 5

char *basic_authorization(const char *username, const char *password)
{
    char *plain = xasprintf("%s:%s", username ? username : "", password ? password : "");
    char *encoded = base64_encode(plain, strlen(plain));
    char *value = xasprintf("Basic %s", encoded);
    secret_free(plain);
    secret_free(encoded);
    return value;
}

/* RFC 6750's b68token and what servers send beyond it; never a character that ends a header. */
static bool is_token_text(const char *text)
{
    size_t size = strlen(text);
    if (size == 0 || size > TOKEN_TEXT_MAX)
        return false;
    for (size_t i = 0; i < size; i++)
        if (text[i] <= 0x20 || text[i] > 0x7E)
            return false;
    return true;
}

static enum errc read_token(const struct url *url, const struct http_response *response,
                            struct token *out, struct error *err)
{
    char shown[URL_SHOWN_MAX];
    autojson json_t *answer = NULL;
    if (json_parse(response->body.data, response->body.size, TOKEN_ANSWER_LIMIT_BYTES,
                   "the answer of the token server", &answer, err) != ERR_OK)
        return fail(err, ERR_REGISTRY_ANSWER, 0, "the token server at %s sent no JSON",
                    url_shown(url->text, shown));
    const char *text = json_text(answer, "token");
    if (text == NULL || text[0] == '\0')
        text = json_text(answer, "access_token");
    if (text == NULL || !is_token_text(text))
        return fail(err, ERR_REGISTRY_ANSWER, 0, "the token server at %s sent no usable token",
                    url_shown(url->text, shown));
    json_int_t lifetime_s = json_integer_value(json_object_get(answer, "expires_in"));
    if (lifetime_s <= 0)
        lifetime_s = LIFETIME_UNSAID_S;
    if (lifetime_s > LIFETIME_MAX_S)
        lifetime_s = LIFETIME_MAX_S;
    out->text = xstrdup(text);
    out->expires_at_ms = clock_ms() + 1000 * (int64_t)lifetime_s;
    return ERR_OK;
}

static void http_base(const struct token_request *request, const struct url *url,
                      struct http_request *http)
{
    bool elsewhere = strcmp(url->host, request->endpoint->host) != 0;
    *http = (struct http_request){
        .method = "GET",
        .url = url->text,
        .answer_limit_bytes = TOKEN_ANSWER_LIMIT_BYTES,
        .identify = !elsewhere,
        .public_only = !request->endpoint_private && elsewhere,
        .cancel = request->cancel,
        .deadline = HTTP_ANSWER,
    };
}

static bool is_redirect(int status)
{
    return (status >= 301 && status <= 303) || status == 307 || status == 308;
}

/* `url` is where it went in the end. A POST stays one, but for 303, which asks for a GET. */
static enum errc send(const struct token_request *request, struct url *url,
                      struct http_request *http, struct http_response *response, struct error *err)
{
    char here[URL_SHOWN_MAX];
    char there[URL_SHOWN_MAX];
    for (int hop = 0; hop <= REDIRECTS_MAX; hop++) {
        autourl struct url next = {0};
        http->url = url->text;
        if (transport_exchange(request->connection, http, response, err) != ERR_OK)
            return err->code;
        const char *location = http_header(response, "Location");
        if (!is_redirect(response->status) || location == NULL ||
            (response->status == 303 && http->body))
            return ERR_OK;
        if (url_follow(url, location, request->endpoint_private, &next, err) != ERR_OK) {
            http_text_clean(&response->secrets, err);
            return err->code;
        }
        if (!url_same_origin(url, &next))
            return fail(err, ERR_ADDRESS_REFUSED, 0,
                        "%s leads to another server, %s, which is not sent the credentials",
                        url_shown(url->text, here), url_shown(next.text, there));
        url_move(&next, url);
    }
    return fail(err, ERR_ADDRESS_REFUSED, 0, "%s: more than %d redirects",
                url_shown(url->text, here), REDIRECTS_MAX);
}

static void add_query(struct url *url, const char *key, const char *value)
{
    char *longer = url_with_query(url, key, value);
    free(url->text);
    url->text = longer;
}

/* Each scope is a parameter of its own. */
static void add_scopes(struct url *url, const char *scope)
{
    autofree char *copy = xstrdup(scope);
    char *rest = NULL;
    for (char *one = strtok_r(copy, " ", &rest); one; one = strtok_r(NULL, " ", &rest))
        add_query(url, "scope", one);
}

static enum errc by_get(const struct token_request *request, const struct url *realm,
                        struct http_response *response, struct error *err)
{
    const struct registry_credentials *credentials = request->credentials;
    const char *secret =
        credentials->password ? credentials->password : credentials->identity_token;
    autourl struct url url = *realm;
    url.text = xstrdup(realm->text);
    if (request->service[0])
        add_query(&url, "service", request->service);
    add_scopes(&url, request->scope);
    if (credentials->username && secret)
        add_query(&url, "account", credentials->username);
    char *basic = secret ? basic_authorization(credentials->username, secret) : NULL;
    struct http_request http;
    http_base(request, &url, &http);
    http.authorization = basic;
    enum errc code = send(request, &url, &http, response, err);
    secret_free(basic);
    return code;
}

static void form_add(struct buf *form, const char *key, const char *value)
{
    if (form->size > 0)
        buf_text(form, "&");
    buf_text(form, key);
    buf_text(form, "=");
    buf_query_escape(form, value);
}

static enum errc by_post(const struct token_request *request, const struct url *realm,
                         struct http_response *response, struct error *err)
{
    struct buf form = BUF_INIT((size_t)1 << 20);
    form_add(&form, "grant_type", "refresh_token");
    if (request->service[0])
        form_add(&form, "service", request->service);
    form_add(&form, "client_id", CLIENT_ID);
    if (request->scope[0])
        form_add(&form, "scope", request->scope);
    form_add(&form, "refresh_token", request->credentials->identity_token);
    const struct http_body body = {.data = buf_cstr(&form), .fd = -1, .size = form.size};
    struct http_request http;
    http_base(request, realm, &http);
    http.method = "POST";
    http.content_type = "application/x-www-form-urlencoded";
    http.body = &body;
    http.secret = request->credentials->identity_token;
    autourl struct url url = *realm;
    url.text = xstrdup(realm->text);
    enum errc code = send(request, &url, &http, response, err);
    secret_free(buf_take(&form));
    return code;
}

enum errc token_fetch(const struct token_request *request, struct token *out, struct error *err)
{
    autourl struct url realm = {0};
    autoresponse struct http_response response = HTTP_RESPONSE_INIT;
    if (url_follow(request->endpoint, request->realm, request->endpoint_private, &realm, err) !=
        ERR_OK)
        return error_wrap(err, "token server of %s", request->host);

    bool by_get_next = true;
    struct question question = {.what = ASKED_TOKEN, .method = "GET"};
    if (request->credentials->identity_token) {
        if (by_post(request, &realm, &response, err) != ERR_OK)
            return error_wrap(err, "token server of %s", request->host);
        by_get_next = verdict_of(&question, &response).hints & HINT_METHOD;
        question.method = by_get_next ? "GET" : "POST";
    }
    if (by_get_next && by_get(request, &realm, &response, err) != ERR_OK)
        return error_wrap(err, "token server of %s", request->host);

    if (verdict_of(&question, &response).code == ERR_OK)
        return read_token(&realm, &response, out, err);
    if (request->busy && verdict_is_busy(&response))
        request->busy(request->self, &response);
    verdict_fail(&question, &realm, &response, err);
    error_wrap(err, "token server of %s", request->host);
    if (err->code == ERR_UNAUTHORIZED || err->code == ERR_DENIED)
        answer_explain_credentials(request->host, request->credentials, err);
    return err->code;
}
