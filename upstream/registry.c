#include "upstream/registry.h"

#include "base/mem.h"
#include "image/manifest.h"
#include "upstream/answer.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Without these, registries convert or refuse what they hold (distribution-spec, "Pulling
 * manifests"). */
static const char manifest_types[] = MEDIA_OCI_MANIFEST
    ", " MEDIA_OCI_INDEX ", " MEDIA_DOCKER_MANIFEST ", " MEDIA_DOCKER_LIST ", */*";

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
    const char *server = http_header(response, "Server");
    const char *location = http_header(response, "Location");
    char where[URL_SHOWN_MAX] = "";
    if (location)
        url_shown(location, where);
    fail(err, ERR_NOT_A_REGISTRY, 0,
         "GET %s: what answers there is not a registry: status %d%s%.100s%s%s%s%.200s%s",
         url_shown(url->text, shown), response->status, server ? " from " : "",
         server ? server : "", location ? ", leading to " : "", where,
         answer.message[0] ? ", saying \"" : "", answer.message, answer.message[0] ? "\"" : "");
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

static enum errc judge_ping(struct registry_client *client, const struct url *url,
                            const struct http_response *response, struct error *err)
{
    int status = response->status;
    bool challenged = status == 401 && auth_scheme(client->repository->endpoint->auth) != AUTH_NONE;
    if (status == 429 || status >= 500)
        return answer_fail("GET", url, response, err);
    if (!challenged && !looks_like_registry(response))
        return status == 403 ? exchange_refused(client, "GET", url, response, err)
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
    struct http_request request = {.method = "GET", .answer_limit_bytes = ANSWER_LIMIT_BYTES};
    if (exchange(client, &url, &request, &response, err) != ERR_OK ||
        judge_ping(client, &url, &response, err) != ERR_OK)
        return err->code;
    /* A token for one repository need not open /v2/; a password opens all or nothing. */
    bool basic = auth_scheme(client->repository->endpoint->auth) == AUTH_BASIC;
    if (response.status == 401 && basic)
        return exchange_refused(client, "GET", &url, &response, err);
    return ERR_OK;
}

enum errc registry_ping(struct registry_client *client, struct error *err)
{
    struct endpoint *endpoint = client->repository->endpoint;
    bool basic = auth_scheme(endpoint->auth) == AUTH_BASIC;
    if ((basic || !atomic_load(&endpoint->answered)) && ping(client, err) != ERR_OK)
        return err->code;
    return exchange_authorize(client, err);
}

static bool size_agrees(const struct http_response *response, uint64_t size)
{
    const char *length = http_header(response, "Content-Length");
    return length == NULL || strtoull(length, NULL, 10) == size;
}

enum errc registry_blob_exists(struct registry_client *client, const struct digest *digest,
                               uint64_t size, bool *exists, struct error *err)
{
    autourl struct url url = {0};
    autoresponse struct http_response response = HTTP_RESPONSE_INIT;
    char text[DIGEST_TEXT_MAX];
    autofree char *suffix = xasprintf("blobs/%s", digest_text(digest, text));
    if (registry_client_url(client, suffix, &url, err) != ERR_OK)
        return err->code;
    struct http_request request = {.method = "HEAD", .answer_limit_bytes = ANSWER_LIMIT_BYTES};
    if (exchange(client, &url, &request, &response, err) != ERR_OK)
        return err->code;
    switch (response.status) {
    case 200:
        *exists = size_agrees(&response, size);
        return ERR_OK;
    case 401:
    case 403:
    case 404:
    case 405:
        *exists = false;
        return ERR_OK;
    default:
        return exchange_refused(client, "HEAD", &url, &response, err);
    }
}

static enum errc read_digest_header(const struct url *url, const struct http_response *response,
                                    struct digest *out, struct error *err)
{
    const char *text = http_header(response, "Docker-Content-Digest");
    *out = (struct digest){0};
    if (text == NULL || text[0] == '\0')
        return ERR_OK;
    char shown[URL_SHOWN_MAX];
    if (digest_parse(text, out, err) == ERR_OK)
        return ERR_OK;
    err->code = ERR_REGISTRY_ANSWER;
    return error_wrap(err, "%s: Docker-Content-Digest", url_shown(url->text, shown));
}

enum errc registry_manifest_put(struct registry_client *client, const char *reference,
                                const struct manifest_bytes *manifest, struct digest *stored,
                                struct error *err)
{
    autourl struct url url = {0};
    autoresponse struct http_response response = HTTP_RESPONSE_INIT;
    autofree char *suffix = xasprintf("manifests/%s", reference);
    if (registry_client_url(client, suffix, &url, err) != ERR_OK)
        return err->code;
    const struct http_body body = {.data = manifest->data, .fd = -1, .size = manifest->size};
    struct http_request request = {
        .method = "PUT",
        .content_type = manifest->media_type,
        .body = &body,
        .answer_limit_bytes = ANSWER_LIMIT_BYTES,
    };
    if (exchange(client, &url, &request, &response, err) != ERR_OK)
        return err->code;
    if (response.status < 200 || response.status > 204)
        return exchange_refused(client, "PUT", &url, &response, err);
    return read_digest_header(&url, &response, stored, err);
}

static enum errc manifest_request(struct registry_client *client, const char *method,
                                  struct url *url, struct http_response *response,
                                  struct error *err)
{
    struct http_request request = {
        .method = method,
        .accept = manifest_types,
        .answer_limit_bytes = MANIFEST_LIMIT_BYTES,
    };
    return exchange(client, url, &request, response, err);
}

static enum errc digest_by_get(struct registry_client *client, struct url *url,
                               enum digest_algorithm algorithm, struct digest *digest,
                               struct error *err)
{
    autoresponse struct http_response response = HTTP_RESPONSE_INIT;
    if (manifest_request(client, "GET", url, &response, err) != ERR_OK)
        return err->code;
    if (response.status == 404)
        return ERR_OK;
    if (response.status != 200)
        return exchange_refused(client, "GET", url, &response, err);
    char shown[URL_SHOWN_MAX];
    if (response.body_cut)
        return fail(err, ERR_REGISTRY_ANSWER, 0, "GET %s: more than %zu bytes are no manifest",
                    url_shown(url->text, shown), MANIFEST_LIMIT_BYTES);
    *digest = digest_of(algorithm, response.body.data, response.body.size);
    return ERR_OK;
}

enum errc registry_manifest_digest(struct registry_client *client, const char *reference,
                                   struct digest *digest, struct error *err)
{
    autourl struct url url = {0};
    autoresponse struct http_response response = HTTP_RESPONSE_INIT;
    autofree char *suffix = xasprintf("manifests/%s", reference);
    if (registry_client_url(client, suffix, &url, err) != ERR_OK ||
        manifest_request(client, "HEAD", &url, &response, err) != ERR_OK)
        return err->code;
    struct digest named = {0};
    if (response.status == 200 && read_digest_header(&url, &response, &named, err) != ERR_OK)
        return err->code;
    *digest = named;
    if (response.status == 404 || named.algorithm != DIGEST_NONE)
        return ERR_OK;
    return digest_by_get(client, &url, DIGEST_SHA256, digest, err);
}
