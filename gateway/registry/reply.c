#include "gateway/registry/registry.h"

#include "gateway/http/error_body.h"

/* ---- errors ---- */

/* Where the specification has another status or code than the rest of slipway. */
static const struct form {
    enum errc errc;
    int status;
    const char *code;
} forms[] = {
    {ERR_MANIFEST_INVALID, 400, "MANIFEST_INVALID"},
    {ERR_JSON_INVALID, 400, "MANIFEST_INVALID"},
    {ERR_JSON_TOO_LARGE, 413, "MANIFEST_INVALID"},
    {ERR_CONFIG_INVALID, 400, "MANIFEST_INVALID"},
    {ERR_ARCHIVE_TOO_LARGE, 413, "SIZE_INVALID"},
    {ERR_DIGEST_MISMATCH, 400, "DIGEST_INVALID"},
    {ERR_REFERENCE_INVALID, 400, "NAME_INVALID"},
    {ERR_CLIENT_GONE, 400, "BLOB_UPLOAD_INVALID"},
    {ERR_CLIENT_STALLED, 408, "BLOB_UPLOAD_INVALID"},
    {ERR_BAD_REQUEST, 400, "UNSUPPORTED"},
    {ERR_NOT_FOUND, 404, "UNSUPPORTED"},
    {ERR_METHOD, 405, "UNSUPPORTED"},
};

void v2_refuse_as(struct reply *reply, int status, const char *code, const struct error *err)
{
    reply_refuse(reply, status, error_body_as(code, err), err);
}

/* Of a 5xx most registry clients show only the status, so their users would not see which target
 * failed and why. It is 424 (RFC 4918, 11.4), or 403 when the registry itself said no; never its
 * 401, upon which a client would ask for a token. */
static bool is_target_failure(const struct error *err, int *status)
{
    enum party party = error_party(err->code);
    bool refused = err->status >= 400 && err->status < 500 && !error_retriable(err->code);
    *status = refused ? 403 : 424;
    return party == PARTY_REGISTRY || party == PARTY_NETWORK || party == PARTY_OPERATOR;
}

void v2_refuse(struct reply *reply, const struct error *err)
{
    int status;
    if (is_target_failure(err, &status)) {
        v2_refuse_as(reply, status, "DENIED", err);
        return;
    }
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        if (forms[i].errc == err->code) {
            v2_refuse_as(reply, forms[i].status, forms[i].code, err);
            return;
        }
    }
    reply_error(reply, err);
}

/* ---- headers and parameters ---- */

void v2_digest_header(struct reply *reply, const char *name, const struct digest *digest)
{
    char text[DIGEST_TEXT_MAX];
    reply_header(reply, name, "%s", digest_text(digest, text));
}

void v2_location(struct reply *reply, const char *repository, const char *kind,
                 const struct digest *digest)
{
    char text[DIGEST_TEXT_MAX];
    reply_header(reply, "Location", "/v2/%s/%s/%s", repository, kind, digest_text(digest, text));
}

enum errc v2_query_digest(const struct query *query, const char *name, struct digest *out,
                          struct error *err)
{
    bool twice = false;
    const char *text = query_value(query, name, &twice);
    if (text == NULL)
        return fail(err, ERR_DIGEST_INVALID, 0, "the parameter \"%s\" is missing", name);
    if (twice)
        return fail(err, ERR_DIGEST_INVALID, 0, "the parameter \"%s\" is there twice", name);
    return digest_parse(text, out, err);
}
