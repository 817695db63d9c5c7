#include "upstream/upload.h"

#include "base/log.h"
#include "upstream/answer.h"
#include "upstream/registry.h"

#include <stdio.h>

static enum errc check_named_digest(const struct url *url, const struct http_response *response,
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
    return fail(err, ERR_PUSHED_DIGEST, 0, "PUT %s: the registry stored %.136s, sent was %s",
                url_shown(url->text, shown), named, digest_text(digest, ours));
}

static enum errc commit_in_one_put(struct registry_client *client,
                                   const struct upload_session *session,
                                   const struct upload_blob *blob, struct error *err)
{
    char text[DIGEST_TEXT_MAX];
    autourl struct url url = session->url;
    url.text = url_with_query(&session->url, "digest", digest_text(blob->digest, text));
    autoresponse struct http_response response = HTTP_RESPONSE_INIT;
    struct http_request request = {
        .method = "PUT",
        .content_type = "application/octet-stream",
        .body = blob->body,
        .answer_limit_bytes = ANSWER_LIMIT_BYTES,
        .sent = blob->sent,
        .sent_arg = blob->sent_arg,
    };
    if (exchange(client, &url, &request, &response, err) != ERR_OK)
        return err->code;
    int status = response.status;
    if (status == 200 || status == 201 || status == 202 || status == 204)
        return check_named_digest(&url, &response, blob->digest, err);
    return exchange_refused(client, "PUT", &url, &response, err);
}

/* The answer may have got lost while the blob arrived: these ends do not say. */
static bool end_is_doubtful(const struct error *err)
{
    return err->status >= 500 || err->status == 404 || err->code == ERR_TIMEOUT ||
           err->code == ERR_CONNECTION_LOST;
}

static bool arrived_anyway(struct registry_client *client, const struct upload_blob *blob)
{
    bool exists = false;
    struct error ignored = ERROR_INIT;
    return registry_blob_exists(client, blob->digest, blob->body->size, &exists, &ignored) ==
               ERR_OK &&
           exists;
}

enum errc upload_blob(struct registry_client *client, struct upload_session *session,
                      const struct upload_blob *blob, struct error *err)
{
    struct upload_session own = {0};
    if (session == NULL)
        session = &own;
    if (!upload_session_is_open(session) && upload_session_open(client, session, err) != ERR_OK)
        return err->code;
    enum errc code = commit_in_one_put(client, session, blob, err);
    if (code != ERR_OK && end_is_doubtful(err) && arrived_anyway(client, blob)) {
        log_info("the blob arrived although its upload ended with: %s", err->text);
        error_clear(err);
        code = ERR_OK;
    }
    if (code != ERR_OK)
        upload_session_cancel(client, session);
    upload_session_drop(session);
    return code;
}
