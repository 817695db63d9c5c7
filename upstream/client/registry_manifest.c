#include "upstream/client/registry_manifest.h"

#include "base/mem.h"
#include "image/manifest.h"
#include "upstream/auth/answer.h"

#include <string.h>

/* Without these, registries convert or refuse what they hold (distribution-spec, "Pulling
 * manifests"). */
static const char manifest_types[] = MEDIA_OCI_MANIFEST
    ", " MEDIA_OCI_INDEX ", " MEDIA_DOCKER_MANIFEST ", " MEDIA_DOCKER_LIST ", */*";

static enum errc manifest_url(const struct registry_client *client, const char *reference,
                              struct url *url, struct error *err)
{
    autofree char *suffix = xasprintf("manifests/%s", reference);
    return registry_client_url(client, suffix, url, err);
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
    error_wrap(err, "%s: Docker-Content-Digest", url_shown(url->text, shown));
    http_text_clean(&response->secrets, err);
    return err->code;
}

/* They stand in a message, or in a detail of one form or another. */
static void read_named(const struct http_response *response, struct manifest_answer *answer)
{
    static const char hexadecimal[] = "0123456789abcdef";
    const char *at = buf_cstr(&response->body);
    while (answer->named_count < MANIFEST_NAMED_MAX && (at = strstr(at, "sha"))) {
        size_t size = strcspn(at, ":");
        size += at[size] == ':';
        size += strspn(at + size, hexadecimal);
        autofree char *text = xstrndup(at, size);
        struct digest *digest = &answer->named[answer->named_count];
        struct error ignored = ERROR_INIT;
        answer->named_count += digest_parse(text, digest, &ignored) == ERR_OK;
        at += strlen("sha");
    }
}

static bool names_tag(const struct http_response *response, const char *tag)
{
    const char *value = NULL;
    while (tag && (value = http_header_next(response, "OCI-Tag", value)))
        if (strcmp(value, tag) == 0)
            return true;
    return false;
}

/* `tag` NULL: none goes along. */
static enum errc put(struct registry_client *client, const char *reference, const char *tag,
                     const struct manifest_bytes *manifest, struct manifest_answer *answer,
                     struct error *err)
{
    autourl struct url url = {0};
    autoresponse struct http_response response = HTTP_RESPONSE_INIT;
    *answer = (struct manifest_answer){0};
    if (manifest_url(client, reference, &url, err) != ERR_OK)
        return err->code;
    const struct http_body body = {.data = manifest->data, .fd = -1, .size = manifest->size};
    struct http_request request = {
        .method = "PUT",
        .content_type = manifest->media_type,
        .body = &body,
        .answer_limit_bytes = ANSWER_LIMIT_BYTES,
        .deadline = HTTP_COMMIT,
    };
    if (exchange(client, &url, &request, &response, err) != ERR_OK)
        return err->code;
    const struct question question = {.what = ASKED_PUT_MANIFEST,
                                      .method = "PUT",
                                      .reference = reference,
                                      .media_type = manifest->media_type,
                                      .manifest = manifest->data,
                                      .manifest_size = manifest->size};
    if (verdict_of(&question, &response).code != ERR_OK) {
        read_named(&response, answer);
        exchange_refused(client, &question, &url, &response, err);
        answer->kind_refused = err->hints & HINT_KIND;
        return err->code;
    }
    answer->tag_noted = names_tag(&response, tag);
    answer->subject_noted = http_header(&response, "OCI-Subject") != NULL;
    return read_digest_header(&url, &response, &answer->stored, err);
}

enum errc registry_manifest_put(struct registry_client *client, const char *reference,
                                const struct manifest_bytes *manifest,
                                struct manifest_answer *answer, struct error *err)
{
    return put(client, reference, NULL, manifest, answer, err);
}

enum errc registry_manifest_put_tagged(struct registry_client *client, const char *digest,
                                       const char *tag, const struct manifest_bytes *manifest,
                                       struct manifest_answer *answer, struct error *err)
{
    autofree char *reference = xasprintf("%s?tag=%s", digest, tag);
    return put(client, reference, tag, manifest, answer, err);
}

static enum errc manifest_request(struct registry_client *client, const char *method,
                                  struct url *url, struct http_response *response,
                                  struct error *err)
{
    struct http_request request = {
        .method = method,
        .accept = manifest_types,
        .answer_limit_bytes = MANIFEST_LIMIT_BYTES,
        .deadline = HTTP_ANSWER,
    };
    return exchange(client, url, &request, response, err);
}

static const struct question get_question = {.what = ASKED_MANIFEST, .method = "GET"};

/* *found false for a 404. */
static enum errc get(struct registry_client *client, struct url *url,
                     struct http_response *response, bool *found, struct error *err)
{
    if (manifest_request(client, "GET", url, response, err) != ERR_OK)
        return err->code;
    const struct verdict verdict = verdict_of(&get_question, response);
    if (verdict.code != ERR_OK)
        return exchange_refused(client, &get_question, url, response, err);
    char shown[URL_SHOWN_MAX];
    if (response->body_cut) {
        fail(err, ERR_REGISTRY_ANSWER, 0, "GET %s: more than %zu bytes are no manifest",
             url_shown(url->text, shown), MANIFEST_LIMIT_BYTES);
        http_text_clean(&response->secrets, err);
        return err->code;
    }
    *found = !(verdict.hints & HINT_ABSENT);
    return ERR_OK;
}

enum errc registry_manifest_digest(struct registry_client *client, const char *reference,
                                   struct digest *digest, struct error *err)
{
    autourl struct url url = {0};
    autoresponse struct http_response response = HTTP_RESPONSE_INIT;
    if (manifest_url(client, reference, &url, err) != ERR_OK ||
        manifest_request(client, "HEAD", &url, &response, err) != ERR_OK)
        return err->code;
    struct digest named = {0};
    const struct verdict verdict = verdict_of(&get_question, &response);
    bool absent = verdict.hints & HINT_ABSENT;
    if (verdict.code == ERR_OK && !absent &&
        read_digest_header(&url, &response, &named, err) != ERR_OK)
        return err->code;
    *digest = named;
    if (absent || named.algorithm != DIGEST_NONE)
        return ERR_OK;
    bool found = false;
    if (get(client, &url, &response, &found, err) != ERR_OK)
        return err->code;
    if (found)
        *digest = digest_of(DIGEST_SHA256, response.body.data, response.body.size);
    return ERR_OK;
}

enum errc registry_manifest_get(struct registry_client *client, const char *reference, char **data,
                                size_t *size, struct error *err)
{
    autourl struct url url = {0};
    autoresponse struct http_response response = HTTP_RESPONSE_INIT;
    bool found = false;
    if (manifest_url(client, reference, &url, err) != ERR_OK ||
        get(client, &url, &response, &found, err) != ERR_OK)
        return err->code;
    *size = found ? response.body.size : 0;
    *data = found ? buf_take(&response.body) : NULL;
    return ERR_OK;
}
