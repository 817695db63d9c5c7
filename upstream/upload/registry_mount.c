#include "upstream/upload/registry_mount.h"

#include "base/log.h"
#include "base/mem.h"
#include "upstream/auth/answer.h"

static enum errc mount_url(const struct registry_client *client, const struct digest *digest,
                           const char *from, struct url *out, struct error *err)
{
    autourl struct url url = {0};
    char text[DIGEST_TEXT_MAX];
    if (registry_client_url(client, "blobs/uploads/", &url, err) != ERR_OK)
        return err->code;
    char *plain = url.text;
    url.text = url_with_query(&url, "mount", digest_text(digest, text));
    free(plain);
    autofree char *whole = url_with_query(&url, "from", from);
    return url_parse(whole, out, err);
}

static enum errc post(struct registry_client *client, const struct digest *digest, const char *from,
                      bool *mounted, struct upload_session *session, struct error *err)
{
    autourl struct url url = {0};
    autoresponse struct http_response response = HTTP_RESPONSE_INIT;
    if (mount_url(client, digest, from, &url, err) != ERR_OK)
        return err->code;
    if (upload_session_post(client, &url, &response, err) != ERR_OK)
        return err->code;
    const struct question question = {.what = ASKED_MOUNT, .method = "POST"};
    if (verdict_of(&question, &response).code != ERR_OK)
        return exchange_refused(client, &question, &url, &response, err);
    *mounted = response.status == 201;
    return *mounted ? ERR_OK : upload_session_begin(client, &url, &response, session, err);
}

enum errc registry_mount(struct registry_client *client, const struct digest *digest,
                         const char *from, bool *mounted, struct upload_session *session,
                         struct error *err)
{
    autofree char *scope = xasprintf("repository:%s:pull", from);
    struct error refused = ERROR_INIT;
    client->more_scope = scope;
    if (exchange_authorize(client, &refused) != ERR_OK) {
        log_debug("no token to pull from %s too: %s", from, refused.text);
        client->more_scope = NULL;
    }
    enum errc code = cancel_check(client->cancel, err);
    if (code == ERR_OK)
        code = post(client, digest, from, mounted, session, err);
    client->more_scope = NULL;
    return code;
}
