#include "gateway/access/token.h"

#include "base/base64.h"
#include "base/mem.h"

#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>

#define ID_BYTES 16

/* RFC 9068, 2.1, for access tokens. */
static const char *const types[] = {
    [TOKEN_ACCESS] = "at+jwt", [TOKEN_REFRESH] = "slipway-refresh+jwt"};

void token_deinit(struct token *token)
{
    identity_deinit(&token->identity);
    scopes_deinit(&token->scopes);
}

/* ---- the identity as a claim ---- */

static json_t *identity_json(const struct identity *identity)
{
    json_t *value = json_object();
    json_put_text(value, "kind", identity_kind_name(identity->kind));
    if (identity->name)
        json_put_text(value, "name", identity->name);
    if (identity->issuer)
        json_put_text(value, "issuer", identity->issuer);
    if (identity->claims)
        json_put_text(value, "claims", identity->claims);
    if (identity->group_count > 0) {
        json_t *groups = json_array();
        for (size_t i = 0; i < identity->group_count; i++)
            json_array_append_new(groups, json_string(identity->groups[i]));
        json_object_set_new(value, "groups", groups);
    }
    return value;
}

static char *copy_member(const json_t *value, const char *name)
{
    const char *text = json_text(value, name);
    return text ? xstrdup(text) : NULL;
}

/* False for what no identity_json() has written: an operator comes by a socket, never by a token.
 */
static bool read_identity(const json_t *value, struct identity *out)
{
    const char *kind = json_text(value, "kind");
    const json_t *groups = json_object_get(value, "groups");
    const json_t *group = NULL;
    size_t i = 0;
    if (kind == NULL || !identity_kind_by_name(kind, &out->kind) ||
        out->kind == IDENTITY_OPERATOR || json_array_size(groups) > IDENTITY_GROUPS_MAX)
        return false;
    out->name = copy_member(value, "name");
    out->issuer = copy_member(value, "issuer");
    out->claims = copy_member(value, "claims");
    out->groups = xcalloc(json_array_size(groups) + 1, sizeof *out->groups);
    json_array_foreach(groups, i, group)
    {
        if (json_is_string(group))
            out->groups[out->group_count++] = xstrdup(json_string_value(group));
    }
    return (out->name == NULL) == (out->kind == IDENTITY_ANONYMOUS);
}

/* ---- making ---- */

static bool make_id(struct token *token)
{
    unsigned char bytes[ID_BYTES];
    if (RAND_bytes(bytes, sizeof bytes) != 1)
        return false;
    autofree char *text = base64url_encode(bytes, sizeof bytes);
    snprintf(token->id, sizeof token->id, "%s", text);
    return true;
}

static json_t *claims_of(const struct token_issuer *issuer, const struct token *token)
{
    json_t *claims = json_object();
    json_put_text(claims, "iss", issuer->issuer);
    json_put_text(claims, "aud", issuer->service);
    json_put_text(claims, "sub", identity_text(&token->identity));
    json_put_number(claims, "iat", (uint64_t)token->issued_s);
    json_put_number(claims, "nbf", (uint64_t)token->issued_s);
    json_put_number(claims, "exp", (uint64_t)token->expires_s);
    json_put_text(claims, "jti", token->id);
    if (token->kind == TOKEN_ACCESS)
        json_object_set_new(claims, "access", scopes_json(&token->scopes));
    else
        json_put_text(claims, "login", token->fingerprint);
    json_object_set_new(claims, "identity", identity_json(&token->identity));
    return claims;
}

enum errc token_make(const struct token_issuer *issuer, struct token *token, char **text,
                     struct error *err)
{
    if (!make_id(token))
        return fail(err, ERR_INTERNAL, 0, "there are no random numbers for a token");
    autojson json_t *claims = claims_of(issuer, token);
    return token_keys_sign(issuer->keys, token->issued_s, types[token->kind], claims, text, err);
}

/* ---- reading ---- */

static enum errc read_claims(const json_t *claims, struct token *token, struct error *err)
{
    const char *login = json_text(claims, "login");
    const char *id = json_text(claims, "jti");
    token->issued_s = json_integer_value(json_object_get(claims, "iat"));
    token->expires_s = json_integer_value(json_object_get(claims, "exp"));
    snprintf(token->id, sizeof token->id, "%s", id ? id : "");
    snprintf(token->fingerprint, sizeof token->fingerprint, "%s", login ? login : "");
    if (!read_identity(json_object_get(claims, "identity"), &token->identity))
        return fail(err, ERR_UNAUTHENTICATED, 0, "the token is refused: it names nobody");
    return scopes_from_json(json_object_get(claims, "access"), &token->scopes, err);
}

enum errc token_read(const struct token_issuer *issuer, enum token_kind kind, const char *text,
                     int64_t now_s, struct token *out, struct error *err)
{
    struct token token = {.kind = kind};
    autojson json_t *claims = NULL;
    const struct jwt_rules rules = {.type = types[kind],
                                    .issuer = issuer->issuer,
                                    .audiences = &issuer->service,
                                    .audience_count = 1,
                                    .now_s = now_s,
                                    .leeway_s = TOKEN_LEEWAY_S};
    if (token_keys_verify(issuer->keys, text, &rules, &claims, NULL, err) != ERR_OK)
        return err->code;
    if (read_claims(claims, &token, err) != ERR_OK) {
        token_deinit(&token);
        return err->code;
    }
    *out = token;
    return ERR_OK;
}
