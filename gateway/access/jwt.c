#include "gateway/access/jwt.h"

#include "base/base64.h"
#include "base/mem.h"

#include <math.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <string.h>
#include <strings.h>

#define ED25519_SIGNATURE 64

/* ---- its three parts ---- */

struct parts {
    const char *text;   /* borrowed */
    size_t signed_size; /* of it: header, ".", claims */
    json_t *header;
    json_t *claims;
    uint8_t *signature; /* owned */
    size_t signature_size;
};

static void parts_deinit(struct parts *parts)
{
    json_decref(parts->header);
    json_decref(parts->claims);
    free(parts->signature);
}
#define autoparts __attribute__((cleanup(parts_deinit)))

static enum errc refuse(enum jwt_check check, enum jwt_check *failed, struct error *err,
                        const char *why)
{
    if (failed)
        *failed = check;
    return fail(err, ERR_UNAUTHENTICATED, 0, "the token is refused: %s", why);
}

/* JSON's own message would quote the token. */
static json_t *parse_object(const char *text, size_t size)
{
    struct error ignored = ERROR_INIT;
    json_t *value = NULL;
    size_t decoded = 0;
    autofree char *json = base64url_decode(text, size, &decoded);
    if (json == NULL ||
        json_parse(json, decoded, JWT_SIZE_MAX, "the token", &value, &ignored) != ERR_OK)
        return NULL;
    if (json_is_object(value))
        return value;
    json_decref(value);
    return NULL;
}

static enum errc split(const char *token, struct parts *out, enum jwt_check *failed,
                       struct error *err)
{
    size_t size = strnlen(token, JWT_SIZE_MAX + 1);
    const char *first = memchr(token, '.', size);
    const char *second = first ? strchr(first + 1, '.') : NULL;
    if (size > JWT_SIZE_MAX)
        return refuse(JWT_FORM, failed, err, "it has more than 16 KiB");
    if (second == NULL || strchr(second + 1, '.') != NULL)
        return refuse(JWT_FORM, failed, err, "it has not three parts");
    out->text = token;
    out->signed_size = (size_t)(second - token);
    out->header = parse_object(token, (size_t)(first - token));
    out->claims = parse_object(first + 1, (size_t)(second - first - 1));
    out->signature =
        base64url_decode(second + 1, size - out->signed_size - 1, &out->signature_size);
    if (out->header == NULL || out->claims == NULL || out->signature == NULL)
        return refuse(JWT_FORM, failed, err,
                      "a part of it is no base64url, or no JSON object without duplicate members");
    return ERR_OK;
}

/* ---- the signature ---- */

static const EVP_MD *hash_of(enum jwt_algorithm algorithm)
{
    switch (algorithm) {
    case JWT_RS256:
    case JWT_PS256:
    case JWT_ES256:
        return EVP_sha256();
    case JWT_RS384:
    case JWT_ES384:
        return EVP_sha384();
    case JWT_RS512:
        return EVP_sha512();
    default:
        return NULL; /* Ed25519 hashes by itself */
    }
}

/* R and S as they are in a token (RFC 7518, 3.4), in DER as OpenSSL wants them; its size, 0 when
 * they are none. */
static int to_der(const uint8_t *raw, size_t size, enum jwt_algorithm algorithm, uint8_t **der)
{
    size_t half = algorithm == JWT_ES256 ? 32 : 48;
    if (size != 2 * half)
        return 0;
    ECDSA_SIG *signature = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(raw, (int)half, NULL);
    BIGNUM *s = BN_bin2bn(raw + half, (int)half, NULL);
    if (signature == NULL || r == NULL || s == NULL || ECDSA_SIG_set0(signature, r, s) != 1) {
        ECDSA_SIG_free(signature);
        BN_free(r);
        BN_free(s);
        return 0;
    }
    int written = i2d_ECDSA_SIG(signature, der);
    ECDSA_SIG_free(signature);
    return written > 0 ? written : 0;
}

static bool set_padding(EVP_PKEY_CTX *context, enum jwt_algorithm algorithm)
{
    if (algorithm == JWT_PS256)
        return EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) == 1 &&
               EVP_PKEY_CTX_set_rsa_pss_saltlen(context, RSA_PSS_SALTLEN_DIGEST) == 1;
    if (algorithm == JWT_RS256 || algorithm == JWT_RS384 || algorithm == JWT_RS512)
        return EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PADDING) == 1;
    return true;
}

static bool is_signed_by(const struct parts *parts, enum jwt_algorithm algorithm, EVP_PKEY *key)
{
    bool elliptic = algorithm == JWT_ES256 || algorithm == JWT_ES384;
    const uint8_t *signature = parts->signature;
    size_t size = parts->signature_size;
    uint8_t *der = NULL;
    EVP_PKEY_CTX *key_context = NULL;
    if (elliptic) {
        size = (size_t)to_der(parts->signature, parts->signature_size, algorithm, &der);
        signature = der;
    }
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool good = context && size > 0 &&
                EVP_DigestVerifyInit(context, &key_context, hash_of(algorithm), NULL, key) == 1 &&
                set_padding(key_context, algorithm) &&
                EVP_DigestVerify(context, signature, size, (const uint8_t *)parts->text,
                                 parts->signed_size) == 1;
    EVP_MD_CTX_free(context);
    OPENSSL_free(der);
    ERR_clear_error();
    return good;
}

static enum errc check_signature(const struct parts *parts, const struct jwt_rules *rules,
                                 enum jwt_algorithm algorithm, enum jwt_check *failed,
                                 struct error *err)
{
    const json_t *kid = json_object_get(parts->header, "kid");
    bool tried = false;
    if (kid && !json_is_string(kid))
        return refuse(JWT_FORM, failed, err, "its kid is no text");
    for (size_t i = 0; i < rules->keys->count; i++) {
        const struct jwk *jwk = &rules->keys->items[i];
        if ((jwk->algorithms & JWT_BIT(algorithm)) == 0)
            continue;
        if (kid && (jwk->kid == NULL || strcmp(jwk->kid, json_string_value(kid)) != 0))
            continue;
        tried = true;
        if (is_signed_by(parts, algorithm, jwk->key))
            return ERR_OK;
    }
    return tried ? refuse(JWT_SIGNATURE, failed, err, "its signature is not that of the key")
                 : refuse(JWT_KEY, failed, err, "no key has its kid and is for its algorithm");
}

static enum errc check_header(const struct parts *parts, const struct jwt_rules *rules,
                              enum jwt_algorithm *algorithm, enum jwt_check *failed,
                              struct error *err)
{
    const char *name = json_text(parts->header, "alg");
    const char *type = json_text(parts->header, "typ");
    if (json_object_get(parts->header, "crit") || json_object_get(parts->header, "b64"))
        return refuse(JWT_FORM, failed, err, "its header has critical members (crit)");
    if (name == NULL || !jwt_algorithm_by_name(name, algorithm) ||
        (rules->algorithms & JWT_BIT(*algorithm)) == 0)
        return refuse(JWT_ALGORITHM, failed, err, "its alg is none of those that are allowed");
    if (rules->type && (type == NULL || strcasecmp(type, rules->type) != 0))
        return refuse(JWT_TYPE, failed, err, "it is of another kind (typ)");
    return ERR_OK;
}

/* ---- the claims ---- */

/* A NumericDate (RFC 7519, 2), which may have a fraction. */
static bool read_time(const json_t *claims, const char *name, bool *there, double *out)
{
    const json_t *value = json_object_get(claims, name);
    *there = value != NULL;
    if (value == NULL)
        return true;
    *out = json_number_value(value);
    return json_is_number(value) && isfinite(*out);
}

static enum errc check_times(const json_t *claims, const struct jwt_rules *rules,
                             enum jwt_check *failed, struct error *err)
{
    double expires = 0;
    double begins = 0;
    double issued = 0;
    bool has_end = false;
    bool has_begin = false;
    bool has_issue = false;
    const double now = (double)rules->now_s;
    const double leeway = (double)rules->leeway_s;
    if (!read_time(claims, "exp", &has_end, &expires) ||
        !read_time(claims, "nbf", &has_begin, &begins) ||
        !read_time(claims, "iat", &has_issue, &issued))
        return refuse(JWT_FORM, failed, err, "its exp, nbf or iat is no time");
    if (!has_end)
        return refuse(JWT_FORM, failed, err, "it has no exp");
    if (now >= expires + leeway)
        return refuse(JWT_EXPIRED, failed, err, "it has expired (exp)");
    if ((has_begin && now + leeway < begins) || (has_issue && now + leeway < issued))
        return refuse(JWT_NOT_YET, failed, err,
                      "it is of the future (nbf, iat): is a clock wrong?");
    return ERR_OK;
}

static bool is_audience(const struct jwt_rules *rules, const json_t *name)
{
    for (size_t i = 0; i < rules->audience_count && json_is_string(name); i++)
        if (strcmp(json_string_value(name), rules->audiences[i]) == 0)
            return true;
    return false;
}

static bool has_audience(const json_t *claims, const struct jwt_rules *rules)
{
    const json_t *audience = json_object_get(claims, "aud");
    const json_t *one = NULL;
    size_t i = 0;
    json_array_foreach(audience, i, one)
    {
        if (is_audience(rules, one))
            return true;
    }
    return is_audience(rules, audience);
}

static enum errc check_claims(const json_t *claims, const struct jwt_rules *rules,
                              enum jwt_check *failed, struct error *err)
{
    const char *issuer = json_text(claims, "iss");
    if (issuer == NULL || strcmp(issuer, rules->issuer) != 0)
        return refuse(JWT_ISSUER, failed, err, "it is of another issuer (iss)");
    if (!has_audience(claims, rules))
        return refuse(JWT_AUDIENCE, failed, err, "it is for another audience (aud)");
    return check_times(claims, rules, failed, err);
}

/* ---- all of it ---- */

enum errc jwt_verify(const char *token, const struct jwt_rules *rules, json_t **claims,
                     enum jwt_check *failed, struct error *err)
{
    enum jwt_algorithm algorithm = JWT_EDDSA;
    autoparts struct parts parts = {.text = NULL};
    if (split(token, &parts, failed, err) != ERR_OK ||
        check_header(&parts, rules, &algorithm, failed, err) != ERR_OK ||
        check_signature(&parts, rules, algorithm, failed, err) != ERR_OK ||
        check_claims(parts.claims, rules, failed, err) != ERR_OK)
        return err->code;
    *claims = json_incref(parts.claims);
    if (failed)
        *failed = JWT_PASSED;
    return ERR_OK;
}

enum errc jwt_claimed_issuer(const char *token, char **issuer, struct error *err)
{
    autoparts struct parts parts = {.text = NULL};
    if (split(token, &parts, NULL, err) != ERR_OK)
        return err->code;
    const char *text = json_text(parts.claims, "iss");
    if (text == NULL)
        return refuse(JWT_FORM, NULL, err, "it has no iss");
    *issuer = xstrdup(text);
    return ERR_OK;
}

static char *encode_json(const json_t *value)
{
    autofree char *text = json_compact(value);
    return base64url_encode(text, strlen(text));
}

char *jwt_sign(const char *type, const char *kid, EVP_PKEY *key, const json_t *claims)
{
    uint8_t signature[ED25519_SIGNATURE];
    size_t size = sizeof signature;
    autojson json_t *header = json_object();
    json_put_text(header, "alg", "EdDSA");
    json_put_text(header, "typ", type);
    json_put_text(header, "kid", kid);
    autofree char *first = encode_json(header);
    autofree char *second = encode_json(claims);
    autofree char *text = xasprintf("%s.%s", first, second);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool good = context && EVP_DigestSignInit(context, NULL, NULL, NULL, key) == 1 &&
                EVP_DigestSign(context, signature, &size, (const uint8_t *)text, strlen(text)) == 1;
    EVP_MD_CTX_free(context);
    if (!good)
        return NULL;
    autofree char *third = base64url_encode(signature, size);
    return xasprintf("%s.%s", text, third);
}
