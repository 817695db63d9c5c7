#include "upstream/upload/upload_session.h"

#include "upstream/auth/answer.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define CANCEL_TIMEOUT_MS 2000

bool upload_session_is_open(const struct upload_session *session)
{
    return session->url.text != NULL;
}

/* Digits and nothing after them. */
static bool parse_number(const char *text, uint64_t *out)
{
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 18 || text[digits] != '\0')
        return false;
    *out = strtoull(text, NULL, 10);
    return true;
}

bool upload_range_parse(const char *range, uint64_t *bytes)
{
    if (range == NULL)
        return false;
    if (strncasecmp(range, "bytes", 5) == 0 && (range[5] == '=' || range[5] == ' '))
        range += 6;
    range += strspn(range, " ");
    if (strncmp(range, "0-", 2) != 0)
        return false;
    uint64_t last = 0;
    if (strcmp(range + 2, "-1") != 0 && !parse_number(range + 2, &last))
        return false;
    *bytes = last == 0 ? 0 : last + 1;
    return true;
}

static enum errc follow(struct registry_client *client, const struct url *url,
                        const struct http_response *response, const char *location,
                        struct upload_session *session, struct error *err)
{
    autourl struct url next = {0};
    if (url_follow(url, location, endpoint_is_private(client->repository->endpoint), &next, err) !=
        ERR_OK) {
        http_text_clean(&response->secrets, err);
        return err->code;
    }
    url_move(&next, &session->url);
    return ERR_OK;
}

static void note_chunk_least(const struct http_response *response, struct upload_session *session)
{
    const char *least = http_header(response, "OCI-Chunk-Min-Length");
    if (least)
        parse_number(least, &session->chunk_least);
}

enum errc upload_session_begin(struct registry_client *client, const struct url *url,
                               const struct http_response *response, struct upload_session *session,
                               struct error *err)
{
    const char *location = http_header(response, "Location");
    char shown[URL_SHOWN_MAX];
    if (location == NULL) {
        fail(err, ERR_REGISTRY_ANSWER, 0, "POST %s: status %d without a Location",
             url_shown(url->text, shown), response->status);
        http_text_clean(&response->secrets, err);
        err->status = response->status;
        return err->code;
    }
    if (follow(client, url, response, location, session, err) != ERR_OK)
        return err->code;
    session->offset = 0;
    session->doubted = false;
    session->chunk_least = 0;
    note_chunk_least(response, session);
    return ERR_OK;
}

enum errc upload_session_post(struct registry_client *client, struct url *url,
                              struct http_response *response, struct error *err)
{
    const struct http_body nothing = {.data = "", .fd = -1, .size = 0};
    struct http_request request = {
        .method = "POST",
        .body = &nothing,
        .answer_limit_bytes = ANSWER_LIMIT_BYTES,
        .stop_grace_ms = UPLOAD_OPEN_GRACE_MS,
        .deadline = HTTP_ANSWER,
    };
    return exchange(client, url, &request, response, err);
}

enum errc upload_session_open(struct registry_client *client, enum digest_algorithm algorithm,
                              struct upload_session *session, struct error *err)
{
    autourl struct url url = {0};
    autoresponse struct http_response response = HTTP_RESPONSE_INIT;
    if (registry_client_url(client, "blobs/uploads/", &url, err) != ERR_OK)
        return err->code;
    if (algorithm != DIGEST_SHA256) {
        char *plain = url.text;
        url.text = url_with_query(&url, "digest-algorithm", digest_algorithm_name(algorithm));
        free(plain);
    }
    if (upload_session_post(client, &url, &response, err) != ERR_OK)
        return err->code;
    const struct question question = {.what = ASKED_SESSION, .method = "POST"};
    if (verdict_of(&question, &response).code != ERR_OK)
        return exchange_refused(client, &question, &url, &response, err);
    return upload_session_begin(client, &url, &response, session, err);
}

enum errc upload_session_sent(struct registry_client *client, const struct url *url,
                              const struct http_response *response, uint64_t sent,
                              struct upload_session *session, struct error *err)
{
    const char *location = http_header(response, "Location");
    if (location && follow(client, url, response, location, session, err) != ERR_OK)
        return err->code;
    note_chunk_least(response, session);
    session->offset += sent;
    session->said = session->offset;
    upload_range_parse(http_header(response, "Range"), &session->said);
    /* One byte is "0-0", as nothing is. */
    if (session->said != session->offset && session->offset > 1)
        session->doubted = true;
    return ERR_OK;
}

enum errc upload_session_ask(struct registry_client *client, uint64_t size,
                             struct upload_session *session, bool *known, struct error *err)
{
    autourl struct url url = {0};
    autoresponse struct http_response response = HTTP_RESPONSE_INIT;
    if (url_parse(session->url.text, &url, err) != ERR_OK)
        return err->code;
    struct http_request request = {
        .method = "GET", .answer_limit_bytes = ANSWER_LIMIT_BYTES, .deadline = HTTP_ANSWER};
    if (exchange(client, &url, &request, &response, err) != ERR_OK)
        return err->code;
    uint64_t there = 0;
    const struct question question = {.what = ASKED_OFFSET, .method = "GET"};
    const struct verdict verdict = verdict_of(&question, &response);
    if (verdict.code != ERR_OK)
        return exchange_refused(client, &question, &url, &response, err);
    *known = !(verdict.hints & HINT_ABSENT) &&
             upload_range_parse(http_header(&response, "Range"), &there) && there <= size;
    if (!*known)
        return ERR_OK;
    const char *location = http_header(&response, "Location");
    if (location && follow(client, &url, &response, location, session, err) != ERR_OK)
        return err->code;
    session->offset = there;
    return ERR_OK;
}

/* A stop may be why this is called, so none applies; a time limit does. */
void upload_session_cancel(struct repository *repository, struct upload_session *session)
{
    if (!upload_session_is_open(session))
        return;
    autoclient struct registry_client client = {0};
    registry_client_open(&client, repository, NULL);
    autoresponse struct http_response response = HTTP_RESPONSE_INIT;
    struct error ignored = ERROR_INIT;
    struct http_request request = {
        .method = "DELETE",
        .answer_limit_bytes = ANSWER_LIMIT_BYTES,
        .timeout_ms = CANCEL_TIMEOUT_MS,
    };
    exchange(&client, &session->url, &request, &response, &ignored);
    upload_session_drop(session);
}

void upload_session_drop(struct upload_session *session)
{
    url_deinit(&session->url);
    *session = (struct upload_session){0};
}
