#include "upstream/upload_session.h"

#include "upstream/answer.h"

#define CANCEL_TIMEOUT_MS 2000
#define OPEN_GRACE_MS 500

bool upload_session_is_open(const struct upload_session *session)
{
    return session->url.text != NULL;
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
        err->status = response->status;
        return err->code;
    }
    return url_follow(url, location, endpoint_is_private(client->repository->endpoint),
                      &session->url, err);
}

enum errc upload_session_open(struct registry_client *client, struct upload_session *session,
                              struct error *err)
{
    autourl struct url url = {0};
    autoresponse struct http_response response = HTTP_RESPONSE_INIT;
    if (registry_client_url(client, "blobs/uploads/", &url, err) != ERR_OK)
        return err->code;
    const struct http_body nothing = {.data = "", .fd = -1, .size = 0};
    struct http_request request = {
        .method = "POST",
        .body = &nothing,
        .answer_limit_bytes = ANSWER_LIMIT_BYTES,
        .stop_grace_ms = OPEN_GRACE_MS, /* a session that nobody knows cannot be taken back */
    };
    if (exchange(client, &url, &request, &response, err) != ERR_OK)
        return err->code;
    if (response.status < 200 || response.status > 202)
        return exchange_refused(client, "POST", &url, &response, err);
    return upload_session_begin(client, &url, &response, session, err);
}

/* The client's stop may be why this is called, so it does not apply here; a time limit does. */
void upload_session_cancel(const struct registry_client *client, struct upload_session *session)
{
    if (!upload_session_is_open(session))
        return;
    autoclient struct registry_client last = {0};
    registry_client_open(&last, client->repository, NULL);
    autoresponse struct http_response response = HTTP_RESPONSE_INIT;
    struct error ignored = ERROR_INIT;
    struct http_request request = {
        .method = "DELETE",
        .answer_limit_bytes = ANSWER_LIMIT_BYTES,
        .timeout_ms = CANCEL_TIMEOUT_MS,
    };
    exchange(&last, &session->url, &request, &response, &ignored);
    upload_session_drop(session);
}

void upload_session_drop(struct upload_session *session)
{
    url_deinit(&session->url);
}
