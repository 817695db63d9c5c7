#include "gateway/access/jwks.h"

#include "base/base64.h"
#include "base/json.h"
#include "base/mem.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <string.h>

#define EXPONENT_BYTES_MAX 8
#define RSA_BITS (JWT_BIT(JWT_RS256) | JWT_BIT(JWT_RS384) | JWT_BIT(JWT_RS512) | JWT_BIT(JWT_PS256))
#define COORDINATE_BYTES_MAX 48 /* of P-384 */

static const char *const algorithm_names[JWT_ALGORITHM_COUNT] = {
    [JWT_EDDSA] = "EdDSA", [JWT_RS256] = "RS256", [JWT_RS384] = "RS384", [JWT_RS512] = "RS512",
    [JWT_PS256] = "PS256", [JWT_ES256] = "ES256", [JWT_ES384] = "ES384",
};

bool jwt_algorithm_by_name(const char *name, enum jwt_algorithm *out)
{
    for (size_t i = 0; i < JWT_ALGORITHM_COUNT; i++) {
        if (strcmp(name, algorithm_names[i]) != 0)
            continue;
        *out = (enum jwt_algorithm)i;
        return true;
    }
    return false;
}

/* ---- numbers ---- */

struct bytes {
    uint8_t *data; /* owned */
    size_t size;
};

static void bytes_free(struct bytes *bytes)
{
    free(bytes->data);
}
#define autobytes __attribute__((cleanup(bytes_free)))

/* data NULL where the member is absent or no such text. */
static struct bytes member_bytes(const json_t *jwk, const char *name)
{
    struct bytes bytes = {NULL, 0};
    const char *text = json_text(jwk, name);
    if (text)
        bytes.data = base64url_decode(text, strlen(text), &bytes.size);
    return bytes;
}

/* ---- keys ---- */

static EVP_PKEY *build(const char *type, OSSL_PARAM_BLD *builder)
{
    EVP_PKEY *key = NULL;
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(builder);
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    if (params == NULL || context == NULL || EVP_PKEY_fromdata_init(context) != 1 ||
        EVP_PKEY_fromdata(context, &key, EVP_PKEY_PUBLIC_KEY, params) != 1)
        key = NULL;
    EVP_PKEY_CTX_free(context);
    OSSL_PARAM_free(params);
    return key;
}

static EVP_PKEY *build_rsa(const struct bytes *n, const struct bytes *e)
{
    EVP_PKEY *key = NULL;
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    BIGNUM *modulus = BN_bin2bn(n->data, (int)n->size, NULL);
    BIGNUM *exponent = BN_bin2bn(e->data, (int)e->size, NULL);
    if (builder && modulus && exponent && BN_is_odd(modulus) && BN_is_odd(exponent) &&
        !BN_is_one(exponent) && BN_num_bits(modulus) >= JWKS_RSA_BITS_MIN &&
        BN_num_bits(modulus) <= JWKS_RSA_BITS_MAX &&
        OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, modulus) == 1 &&
        OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, exponent) == 1)
        key = build("RSA", builder);
    BN_free(modulus);
    BN_free(exponent);
    OSSL_PARAM_BLD_free(builder);
    return key;
}

static EVP_PKEY *read_rsa(const json_t *jwk, unsigned *algorithms)
{
    autobytes struct bytes n = member_bytes(jwk, "n");
    autobytes struct bytes e = member_bytes(jwk, "e");
    if (n.data == NULL || e.data == NULL || n.size > JWKS_RSA_BITS_MAX / 8 ||
        e.size > EXPONENT_BYTES_MAX)
        return NULL;
    *algorithms = RSA_BITS;
    return build_rsa(&n, &e);
}

/* `size` bytes a coordinate, leading zeroes included (RFC 7518, 6.2.1.2). */
static EVP_PKEY *build_ec(const json_t *jwk, char *group, size_t size)
{
    autobytes struct bytes x = member_bytes(jwk, "x");
    autobytes struct bytes y = member_bytes(jwk, "y");
    uint8_t point[1 + 2 * COORDINATE_BYTES_MAX] = {POINT_CONVERSION_UNCOMPRESSED};
    EVP_PKEY *key = NULL;
    if (x.data == NULL || y.data == NULL || x.size != size || y.size != size)
        return NULL;
    memcpy(point + 1, x.data, size);
    memcpy(point + 1 + size, y.data, size);
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    if (builder &&
        OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME, group, 0) == 1 &&
        OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, point, 1 + 2 * size) ==
            1)
        key = build("EC", builder);
    OSSL_PARAM_BLD_free(builder);
    return key;
}

static EVP_PKEY *read_ec(const json_t *jwk, unsigned *algorithms)
{
    const char *curve = json_text(jwk, "crv");
    if (curve && strcmp(curve, "P-256") == 0) {
        *algorithms = JWT_BIT(JWT_ES256);
        return build_ec(jwk, "prime256v1", 32);
    }
    if (curve && strcmp(curve, "P-384") == 0) {
        *algorithms = JWT_BIT(JWT_ES384);
        return build_ec(jwk, "secp384r1", 48);
    }
    return NULL;
}

static EVP_PKEY *read_okp(const json_t *jwk, unsigned *algorithms)
{
    const char *curve = json_text(jwk, "crv");
    autobytes struct bytes x = member_bytes(jwk, "x");
    if (curve == NULL || strcmp(curve, "Ed25519") != 0 || x.data == NULL || x.size != 32)
        return NULL;
    *algorithms = JWT_BIT(JWT_EDDSA);
    return EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, x.data, x.size);
}

/* ---- sets ---- */

static bool may_verify(const json_t *jwk)
{
    const json_t *use = json_object_get(jwk, "use");
    const json_t *operations = json_object_get(jwk, "key_ops");
    const json_t *operation = NULL;
    size_t i = 0;
    if (use && (!json_is_string(use) || strcmp(json_string_value(use), "sig") != 0))
        return false;
    json_array_foreach(operations, i, operation)
    {
        if (json_is_string(operation) && strcmp(json_string_value(operation), "verify") == 0)
            return true;
    }
    return operations == NULL;
}

/* What `alg` leaves of them; an algorithm that is not known leaves none. */
static unsigned narrow(const json_t *jwk, unsigned algorithms)
{
    const json_t *name = json_object_get(jwk, "alg");
    enum jwt_algorithm algorithm = JWT_EDDSA;
    if (name == NULL)
        return algorithms;
    if (!json_is_string(name) || !jwt_algorithm_by_name(json_string_value(name), &algorithm))
        return 0;
    return algorithms & JWT_BIT(algorithm);
}

static EVP_PKEY *read_key(const json_t *jwk, unsigned *algorithms)
{
    const char *type = json_text(jwk, "kty");
    if (type == NULL || !may_verify(jwk))
        return NULL;
    if (strcmp(type, "RSA") == 0)
        return read_rsa(jwk, algorithms);
    if (strcmp(type, "EC") == 0)
        return read_ec(jwk, algorithms);
    return strcmp(type, "OKP") == 0 ? read_okp(jwk, algorithms) : NULL;
}

static void add(struct jwks *jwks, const char *kid, EVP_PKEY *key, unsigned algorithms)
{
    jwks->items[jwks->count++] =
        (struct jwk){.kid = kid ? xstrdup(kid) : NULL, .key = key, .algorithms = algorithms};
}

static void add_jwk(struct jwks *jwks, const json_t *jwk)
{
    unsigned algorithms = 0;
    EVP_PKEY *key = read_key(jwk, &algorithms);
    algorithms = narrow(jwk, algorithms);
    if (key && algorithms)
        add(jwks, json_text(jwk, "kid"), key, algorithms);
    else
        EVP_PKEY_free(key);
}

enum errc jwks_parse(const void *data, size_t size, struct jwks *out, struct error *err)
{
    struct jwks jwks = {.count = 0};
    autojson json_t *root = NULL;
    const json_t *jwk = NULL;
    size_t i = 0;
    if (json_parse(data, size, JWKS_SIZE_MAX, "the key set", &root, err) != ERR_OK)
        return err->code;
    const json_t *keys = json_object_get(root, "keys");
    if (!json_is_array(keys))
        return fail(err, ERR_BAD_REQUEST, 0, "it is no key set: it has no list \"keys\"");
    if (json_array_size(keys) > JWKS_KEYS_MAX)
        return fail(err, ERR_BAD_REQUEST, 0, "the key set has %zu keys, the limit is %d",
                    json_array_size(keys), JWKS_KEYS_MAX);
    json_array_foreach(keys, i, jwk)
    {
        add_jwk(&jwks, jwk);
    }
    ERR_clear_error();
    if (jwks.count == 0)
        return fail(err, ERR_BAD_REQUEST, 0,
                    "none of the %zu keys of the key set can be used: RSA of at least %d bits, "
                    "P-256, P-384 and Ed25519 can, for signatures",
                    json_array_size(keys), JWKS_RSA_BITS_MIN);
    *out = jwks;
    return ERR_OK;
}

bool jwks_add_ed25519(struct jwks *jwks, const char *kid, const unsigned char raw[32])
{
    EVP_PKEY *key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, raw, 32);
    if (key == NULL || jwks->count == JWKS_KEYS_MAX) {
        EVP_PKEY_free(key);
        return false;
    }
    add(jwks, kid, key, JWT_BIT(JWT_EDDSA));
    return true;
}

void jwks_deinit(struct jwks *jwks)
{
    for (size_t i = 0; i < jwks->count; i++) {
        free(jwks->items[i].kid);
        EVP_PKEY_free(jwks->items[i].key);
    }
    jwks->count = 0;
}
