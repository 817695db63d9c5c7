#include "upstream/client/registry.h"

#include "base/mem.h"
#include "upstream/auth/answer.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

static bool is_json(const struct http_response *response)
{
    const char *type = http_header(response, "Content-Type");
    return type && strncasecmp(type, "application/json", strlen("application/json")) == 0;
}

static enum errc not_a_registry(const struct url *url, const struct http_response *response,
                                struct error *err)
{
    struct answer answer;
    answer_read(response, &answer);
    char shown[URL_SHOWN_MAX];
    char server[100] = "";
    const char *told = http_header(response, "Server");
    const char *location = http_header(response, "Location");
    char where[URL_SHOWN_MAX] = "";
    if (told)
        http_text(&response->secrets, told, strlen(told), server, sizeof server);
    if (location)
        url_shown(location, where);
    fail(err, ERR_NOT_A_REGISTRY, 0,
         "GET %s: what answers there%s%s is not a registry: status %d%s%s%s%s%s%.200s%s",
         url_shown(url->text, shown), response->proxy ? ", or the proxy " : "",
         response->proxy ? response->proxy : "", response->status, server[0] ? " from " : "",
         server, location ? ", leading to " : "", where, answer.message[0] ? ", saying \"" : "",
         answer.message, answer.message[0] ? "\"" : "");
    http_text_clean(&response->secrets, err);
    err->status = response->status;
    return err->code;
}

/* Kerberos (Negotiate), Digest and the like. */
static enum errc unknown_scheme(const struct url *url, const struct http_response *response,
                                struct error *err)
{
    char shown[URL_SHOWN_MAX];
    char scheme[40];
    const char *wanted = http_header(response, "WWW-Authenticate");
    http_text(&response->secrets, wanted, strcspn(wanted, " ,"), scheme, sizeof scheme);
    fail(err, ERR_UNAUTHORIZED, 0,
         "GET %s: status %d: a login by \"%s\" is wanted there, which slipway does not know; it "
         "knows "
         "Basic and Bearer",
         url_shown(url->text, shown), response->status, scheme);
    http_text_clean(&response->secrets, err);
    err->status = response->status;
    return err->code;
}

/* The first request was led elsewhere, where no credentials go: nothing works there by this name.
 */
static enum errc has_moved(const struct endpoint *endpoint, const struct url *url,
                           const struct http_response *response, struct error *err)
{
    char base[URL_SHOWN_MAX];
    char there[URL_SHOWN_MAX];
    const char *name = endpoint->host->name;
    url_shown(endpoint->base.text, base);
    url_shown(url->text, there);
    if (!endpoint->base.tls && url->tls && strcmp(endpoint->base.host, url->host) == 0)
        fail(err, ERR_NOT_A_REGISTRY, 0,
             "the registry at %s leads from http to %s (status %d there); let registries.\"%s\""
             ".endpoints begin with https",
             base, there, response->status, name);
    else
        fail(err, ERR_NOT_A_REGISTRY, 0,
             "the registry at %s has moved: it leads to %s (status %d there), where no credentials "
             "were sent; push to that host, or set registries.\"%s\".endpoints to it",
             base, there, response->status, name);
    err->status = response->status;
    return err->code;
}

/* distribution-spec "Determining Support" asks for no more than a 200; a page for people is what
 * tells a web server apart. */
static bool looks_like_registry(const struct http_response *response)
{
    struct answer answer;
    answer_read(response, &answer);
    return answer.registry ||
           (response->status == 200 && (response->body.size == 0 || is_json(response)));
}

static const struct question ping_question = {.what = ASKED_PING, .method = "GET"};

static enum errc judge_ping(struct registry_client *client, const struct url *url,
                            const struct http_response *response, struct error *err)
{
    const enum errc code = verdict_of(&ping_question, response).code;
    bool challenged =
        code == ERR_UNAUTHORIZED && auth_scheme(client->repository->endpoint->auth) != AUTH_NONE;
    if (code != ERR_OK && code != ERR_UNAUTHORIZED && code != ERR_DENIED &&
        code != ERR_NOT_A_REGISTRY)
        return verdict_fail(&ping_question, url, response, err);
    bool led = !url_same_origin(url, &client->repository->endpoint->base);
    if (led && (code != ERR_OK || endpoint_is_guess(client->repository->endpoint)))
        return has_moved(client->repository->endpoint, url, response, err);
    if (!challenged && code == ERR_UNAUTHORIZED && http_header(response, "WWW-Authenticate"))
        return unknown_scheme(url, response, err);
    if (!challenged && !looks_like_registry(response))
        return code == ERR_DENIED ? exchange_refused(client, &ping_question, url, response, err)
                                  : not_a_registry(url, response, err);
    endpoint_answered(client->repository->endpoint);
    return ERR_OK;
}

static enum errc ping(struct registry_client *client, struct error *err)
{
    autourl struct url url = {0};
    autoresponse struct http_response response = HTTP_RESPONSE_INIT;
    if (registry_client_url(client, NULL, &url, err) != ERR_OK)
        return err->code;
    struct http_request request = {.method = "GET",
                                   .answer_limit_bytes = ANSWER_LIMIT_BYTES,
                                   .deadline = HTTP_ANSWER,
                                   .ahead = client->ahead};
    if (exchange(client, &url, &request, &response, err) != ERR_OK ||
        judge_ping(client, &url, &response, err) != ERR_OK)
        return err->code;
    /* A token for one repository need not open /v2/; a password opens all or nothing. */
    bool basic = auth_scheme(client->repository->endpoint->auth) == AUTH_BASIC;
    if (response.status == 401 && basic)
        return exchange_refused(client, &ping_question, &url, &response, err);
    return ERR_OK;
}

enum errc registry_probe(struct registry_client *client, struct error *err)
{
    return ping(client, err) == ERR_OK ? exchange_authorize(client, err) : err->code;
}

enum errc registry_ping(struct registry_client *client, struct error *err)
{
    struct endpoint *endpoint = client->repository->endpoint;
    bool basic = auth_scheme(endpoint->auth) == AUTH_BASIC;
    if (basic || !atomic_load(&endpoint->answered))
        return registry_probe(client, err);
    return exchange_authorize(client, err);
}

bool registry_shuts_out(struct endpoint *endpoint, const struct registry_credentials *credentials,
                        struct cancel *cancel)
{
    struct error err = ERROR_INIT;
    struct repository nowhere;
    autourl struct url url = {0};
    autoresponse struct http_response response = HTTP_RESPONSE_INIT;
    struct http_request request = {
        .method = "GET", .answer_limit_bytes = ANSWER_LIMIT_BYTES, .deadline = HTTP_ANSWER};
    repository_init(&nowhere, endpoint, "", credentials);
    struct registry_client client;
    registry_client_open(&client, &nowhere, cancel);
    if (registry_client_url(&client, NULL, &url, &err) == ERR_OK &&
        exchange(&client, &url, &request, &response, &err) == ERR_OK)
        err.code = response.status == 401   ? ERR_UNAUTHORIZED
                   : response.status == 403 ? ERR_DENIED
                                            : ERR_OK;
    registry_client_close(&client);
    repository_deinit(&nowhere);
    return err.code == ERR_UNAUTHORIZED || err.code == ERR_DENIED;
}

static bool names_another(const struct http_response *response, const struct digest *digest)
{
    const char *text = http_header(response, "Docker-Content-Digest");
    struct digest named;
    struct error ignored = ERROR_INIT;
    return text && digest_parse(text, &named, &ignored) == ERR_OK &&
           named.algorithm == digest->algorithm && !digest_equal(&named, digest);
}

enum errc registry_blob_exists(struct registry_client *client, const struct digest *digest,
                               bool *exists, struct error *err)
{
    autourl struct url url = {0};
    autoresponse struct http_response response = HTTP_RESPONSE_INIT;
    char text[DIGEST_TEXT_MAX];
    autofree char *suffix = xasprintf("blobs/%s", digest_text(digest, text));
    if (registry_client_url(client, suffix, &url, err) != ERR_OK)
        return err->code;
    struct http_request request = {
        .method = "HEAD", .answer_limit_bytes = ANSWER_LIMIT_BYTES, .deadline = HTTP_ANSWER};
    if (exchange(client, &url, &request, &response, err) != ERR_OK)
        return err->code;
    const struct question question = {.what = ASKED_BLOB, .method = "HEAD", .reference = text};
    const struct verdict verdict = verdict_of(&question, &response);
    if (verdict.code != ERR_OK)
        return exchange_refused(client, &question, &url, &response, err);
    *exists = !(verdict.hints & HINT_ABSENT) && !names_another(&response, digest);
    return ERR_OK;
}
