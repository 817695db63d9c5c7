#include "upstream/upload/upload_by.h"

#include "base/mem.h"
#include "upstream/auth/answer.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Progress is told over the whole blob, whatever one request sends of it. */
struct part {
    const struct upload_blob *blob;
    uint64_t offset;
};

static void part_sent(void *arg, uint64_t bytes)
{
    const struct part *part = arg;
    part->blob->sent(part->blob->sent_arg, part->offset + bytes);
}

static struct http_body slice(const struct http_body *whole, uint64_t offset, uint64_t size)
{
    struct http_body body = *whole;
    if (body.data)
        body.data = (const char *)body.data + offset;
    else
        body.offset += offset;
    body.size = size;
    return body;
}

/* `size` bytes of the blob from the session's offset on; `ranged`: and say which they are. */
static enum errc send_part(struct upload *upload, const char *method, struct url *url,
                           uint64_t size, bool ranged, struct http_response *response,
                           struct error *err)
{
    const struct upload_blob *blob = upload->blob;
    struct part part = {.blob = blob, .offset = upload->session->offset};
    const struct http_body body = slice(blob->body, part.offset, size);
    char range[48];
    snprintf(range, sizeof range, "%" PRIu64 "-%" PRIu64, part.offset, part.offset + size - 1);
    /* docker-registry knows a session no more when the body of a chunk was broken off. */
    bool ends_first = ranged || strcmp(method, "POST") == 0;
    struct http_request request = {
        .method = method,
        .content_type = "application/octet-stream",
        .content_range = ranged && size > 0 ? range : NULL,
        .body = &body,
        .once = true,
        .stop_grace_ms = ends_first ? UPLOAD_OPEN_GRACE_MS : 0,
        .answer_limit_bytes = ANSWER_LIMIT_BYTES,
        .sent = blob->sent && size > 0 ? part_sent : NULL,
        .sent_arg = &part,
        .deadline = strcmp(method, "PATCH") == 0 ? HTTP_STALL : HTTP_COMMIT,
    };
    upload->body_bytes = size;
    return exchange(upload->client, url, &request, response, err);
}

static enum errc check_named_digest(const char *method, const struct url *url,
                                    const struct http_response *response,
                                    const struct digest *digest, struct error *err)
{
    const char *named = http_header(response, "Docker-Content-Digest");
    struct digest theirs;
    struct error ignored = ERROR_INIT;
    if (named == NULL || digest_parse(named, &theirs, &ignored) != ERR_OK ||
        theirs.algorithm != digest->algorithm || digest_equal(&theirs, digest))
        return ERR_OK;
    char shown[URL_SHOWN_MAX];
    char ours[DIGEST_TEXT_MAX];
    fail(err, ERR_PUSHED_DIGEST, 0, "%s %s: the registry stored %.136s, sent was %s", method,
         url_shown(url->text, shown), named, digest_text(digest, ours));
    http_text_clean(&response->secrets, err);
    return err->code;
}

static void note(struct upload *upload)
{
    upload_memo_note(upload->memo, upload->client->repository, upload->session);
}

static enum errc open_session(struct upload *upload, struct error *err)
{
    upload->stage = UPLOAD_OPENING;
    upload->body_bytes = 0;
    if (upload_session_is_open(upload->session))
        return ERR_OK;
    return upload_session_open(upload->client, upload->blob->digest->algorithm, upload->session,
                               err);
}

/* PUT with the digest and what is missing of the blob. */
static enum errc commit(struct upload *upload, struct error *err)
{
    const struct upload_blob *blob = upload->blob;
    const struct upload_session *session = upload->session;
    char text[DIGEST_TEXT_MAX];
    autourl struct url url = session->url;
    autoresponse struct http_response response = HTTP_RESPONSE_INIT;
    url.text = url_with_query(&session->url, "digest", digest_text(blob->digest, text));
    upload->stage = UPLOAD_COMMITTING;
    if (send_part(upload, "PUT", &url, blob->body->size - session->offset, session->offset > 0,
                  &response, err) != ERR_OK)
        return err->code;
    const struct question question = {.what = ASKED_COMMIT, .method = "PUT", .reference = text};
    if (verdict_of(&question, &response).code != ERR_OK)
        return exchange_refused(upload->client, &question, &url, &response, err);
    return check_named_digest("PUT", &url, &response, blob->digest, err);
}

static enum errc send_chunk(struct upload *upload, uint64_t size, bool ranged, struct error *err)
{
    struct upload_session *session = upload->session;
    autourl struct url url = session->url;
    autoresponse struct http_response response = HTTP_RESPONSE_INIT;
    url.text = xstrdup(session->url.text);
    upload->stage = UPLOAD_SENDING;
    if (send_part(upload, "PATCH", &url, size, ranged, &response, err) != ERR_OK)
        return err->code;
    const struct question question = {.what = ASKED_CHUNK, .method = "PATCH"};
    if (verdict_of(&question, &response).code != ERR_OK)
        return exchange_refused(upload->client, &question, &url, &response, err);
    return upload_session_sent(upload->client, &url, &response, size, session, err);
}

/* Chunks of a size that the registry may raise with any answer; 0: all at once. */
static enum errc patch(struct upload *upload, uint64_t chunk_bytes, struct error *err)
{
    struct upload_session *session = upload->session;
    uint64_t size = upload->blob->body->size;
    while (session->offset < size) {
        uint64_t left = size - session->offset;
        uint64_t chunk = chunk_bytes > session->chunk_least ? chunk_bytes : session->chunk_least;
        bool all = chunk_bytes == 0 || chunk >= left;
        bool ranged = chunk_bytes > 0 || session->offset > 0;
        if (send_chunk(upload, all ? left : chunk, ranged, err) != ERR_OK)
            return err->code;
        note(upload);
    }
    return ERR_OK;
}

/* end-4b. A 202 says that the registry knows only sessions, and opened one. */
static enum errc post(struct upload *upload, struct error *err)
{
    const struct upload_blob *blob = upload->blob;
    struct registry_client *client = upload->client;
    char text[DIGEST_TEXT_MAX];
    autourl struct url plain = {0};
    autourl struct url url = {0};
    autoresponse struct http_response response = HTTP_RESPONSE_INIT;
    upload->stage = UPLOAD_COMMITTING;
    if (registry_client_url(client, "blobs/uploads/", &plain, err) != ERR_OK)
        return err->code;
    url = plain;
    url.text = url_with_query(&plain, "digest", digest_text(blob->digest, text));
    if (send_part(upload, "POST", &url, blob->body->size, false, &response, err) != ERR_OK)
        return err->code;
    const struct question question = {.what = ASKED_POST_BLOB, .method = "POST", .reference = text};
    if (verdict_of(&question, &response).code == ERR_OK)
        return check_named_digest("POST", &url, &response, blob->digest, err);
    if (response.status == 202 &&
        upload_session_begin(client, &url, &response, upload->session, err) != ERR_OK)
        return err->code;
    return exchange_refused(client, &question, &url, &response, err);
}

enum errc upload_by(struct upload *upload, enum upload_method way, uint64_t chunk_bytes,
                    struct error *err)
{
    if (way == UPLOAD_METHOD_POST) {
        upload_session_cancel(upload->client->repository, upload->session);
        return post(upload, err);
    }
    if (open_session(upload, err) != ERR_OK)
        return err->code;
    note(upload);
    bool pieces = way == UPLOAD_METHOD_CHUNKED;
    if (way != UPLOAD_METHOD_PUT && patch(upload, pieces ? chunk_bytes : 0, err) != ERR_OK)
        return err->code;
    return commit(upload, err);
}

enum errc upload_piece(struct upload *upload, uint64_t size, struct error *err)
{
    return open_session(upload, err) == ERR_OK ? send_chunk(upload, size, true, err) : err->code;
}
