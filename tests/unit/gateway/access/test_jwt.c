#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* cmocka has a macro of that name. */
#undef fail

#include "base/base64.h"
#include "base/mem.h"
#include "gateway/access/jwt.h"
#include "tests/unit/gateway/access/jwt_vectors.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

#define ALL_ALGORITHMS ((1u << JWT_ALGORITHM_COUNT) - 1)
#define NOW 1700000100
/* RFC 8037, A.1. */
#define ED_PRIVATE "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"
#define ED_PUBLIC "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
#define CLAIMS                                                                                     \
    "{\"iss\":\"https://issuer.example\",\"aud\":\"gateway\",\"iat\":1700000000,"                  \
    "\"exp\":1700000300}"

static const char *const audiences[] = {"somewhere", "gateway"};

static struct jwks parse_keys(const char *text)
{
    struct jwks keys;
    struct error err = ERROR_INIT;
    assert_int_equal(jwks_parse(text, strlen(text), &keys, &err), ERR_OK);
    return keys;
}

static struct jwt_rules rules_for(const struct jwks *keys)
{
    return (struct jwt_rules){.keys = keys,
                              .algorithms = ALL_ALGORITHMS,
                              .issuer = "https://issuer.example",
                              .audiences = audiences,
                              .audience_count = 2,
                              .now_s = NOW,
                              .leeway_s = JWT_LEEWAY_S};
}

/* How the verification ends; its error has no part of the token. */
static enum jwt_check verify(const char *token, const struct jwt_rules *rules)
{
    autojson json_t *claims = NULL;
    struct error err = ERROR_INIT;
    enum jwt_check check = JWT_PASSED;
    if (jwt_verify(token, rules, &claims, &check, &err) == ERR_OK) {
        assert_true(json_is_object(claims));
        return JWT_PASSED;
    }
    assert_int_equal(err.code, ERR_UNAUTHENTICATED);
    assert_null(claims);
    assert_int_not_equal(check, JWT_PASSED);
    return check;
}

/* A token of these texts, signed with the Ed25519 key. */
static char *made(const char *header, const char *claims)
{
    size_t size = 0;
    uint8_t signature[64];
    size_t signature_size = sizeof signature;
    autofree uint8_t *raw = base64url_decode(ED_PRIVATE, strlen(ED_PRIVATE), &size);
    autofree char *first = base64url_encode(header, strlen(header));
    autofree char *second = base64url_encode(claims, strlen(claims));
    autofree char *text = xasprintf("%s.%s", first, second);
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, raw, size);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestSignInit(context, NULL, NULL, NULL, key), 1);
    assert_int_equal(
        EVP_DigestSign(context, signature, &signature_size, (const uint8_t *)text, strlen(text)),
        1);
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(key);
    autofree char *third = base64url_encode(signature, sizeof signature);
    return xasprintf("%s.%s", text, third);
}

static enum jwt_check verify_made(const char *header, const char *claims)
{
    struct jwks keys = parse_keys(VECTOR_KEYS);
    struct jwt_rules rules = rules_for(&keys);
    autofree char *token = made(header, claims);
    enum jwt_check check = verify(token, &rules);
    jwks_deinit(&keys);
    return check;
}

/* ---- what passes ---- */

static void each_algorithm_is_verified(void **state)
{
    (void)state;
    struct jwks keys = parse_keys(VECTOR_KEYS);
    assert_int_equal(keys.count, 4);
    for (size_t i = 0; i < JWT_ALGORITHM_COUNT; i++) {
        struct jwt_rules rules = rules_for(&keys);
        assert_int_equal(verify(vectors[i], &rules), JWT_PASSED);
        rules.algorithms = ALL_ALGORITHMS & ~JWT_BIT(i);
        assert_int_equal(verify(vectors[i], &rules), JWT_ALGORITHM);

        /* Another signature of the right length, and one that is cut. */
        rules.algorithms = ALL_ALGORITHMS;
        autofree char *changed = xstrdup(vectors[i]);
        char *signature = strrchr(changed, '.') + 1;
        signature[4] = signature[4] == 'A' ? 'B' : 'A';
        assert_int_equal(verify(changed, &rules), JWT_SIGNATURE);
        signature[4] = '\0';
        assert_int_equal(verify(changed, &rules), JWT_SIGNATURE);
    }
    jwks_deinit(&keys);
}

/* RFC 7515, A.2 and A.3: their claims have no audience, so that is what is missing in the end. */
static void the_examples_of_rfc_7515_are_verified(void **state)
{
    (void)state;
    static const char set[] =
        "{\"keys\":[{\"kty\":\"RSA\",\"e\":\"AQAB\",\"n\":"
        "\"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt"
        "0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXnd"
        "S5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJ"
        "H7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ\"},"
        "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
        "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}]}";
#define RFC_CLAIMS                                                                                 \
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnV"  \
    "lfQ"
    static const char rs256[] =
        "eyJhbGciOiJSUzI1NiJ9." RFC_CLAIMS
        ".cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2"
        "Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQ"
        "BMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6Ie"
        "YI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
    static const char es256[] =
        "eyJhbGciOiJFUzI1NiJ9." RFC_CLAIMS
        ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    struct jwks keys = parse_keys(set);
    struct jwt_rules rules = rules_for(&keys);
    assert_int_equal(verify(rs256, &rules), JWT_ISSUER);
    assert_int_equal(verify(es256, &rules), JWT_ISSUER);
    rules.issuer = "joe";
    assert_int_equal(verify(rs256, &rules), JWT_AUDIENCE);
    assert_int_equal(verify(es256, &rules), JWT_AUDIENCE);
    jwks_deinit(&keys);
}

static void what_is_signed_here_is_verified(void **state)
{
    (void)state;
    size_t size = 0;
    struct jwks keys = parse_keys(VECTOR_KEYS);
    struct jwt_rules rules = rules_for(&keys);
    autofree uint8_t *raw = base64url_decode(ED_PRIVATE, strlen(ED_PRIVATE), &size);
    autojson json_t *claims = json_loads(CLAIMS, 0, NULL);
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, raw, size);
    autofree char *token = jwt_sign("kind+jwt", "ed", key, claims);
    autofree char *other = jwt_sign("kind+jwt", "rsa", key, claims);
    assert_int_equal(verify(token, &rules), JWT_PASSED);
    assert_int_equal(verify(other, &rules), JWT_KEY);
    rules.type = "kind+jwt";
    assert_int_equal(verify(token, &rules), JWT_PASSED);
    rules.type = "JWT";
    assert_int_equal(verify(token, &rules), JWT_TYPE);
    EVP_PKEY_free(key);
    jwks_deinit(&keys);
}

/* ---- attacks ---- */

static void a_token_without_a_signature_is_refused(void **state)
{
    (void)state;
    static const char *const headers[] = {"{\"alg\":\"none\"}",
                                          "{\"alg\":\"None\"}",
                                          "{\"alg\":\"\"}",
                                          "{}",
                                          "{\"alg\":\"NONE\",\"kid\":\"ed\"}",
                                          "{\"alg\":[\"EdDSA\"]}"};
    struct jwks keys = parse_keys(VECTOR_KEYS);
    struct jwt_rules rules = rules_for(&keys);
    autofree char *claims = base64url_encode(CLAIMS, strlen(CLAIMS));
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
        autofree char *header = base64url_encode(headers[i], strlen(headers[i]));
        autofree char *token = xasprintf("%s.%s.", header, claims);
        assert_int_equal(verify(token, &rules), JWT_ALGORITHM);
        assert_int_equal(verify_made(headers[i], CLAIMS), JWT_ALGORITHM);
    }
    autofree char *header = base64url_encode("{\"alg\":\"EdDSA\"}", 15);
    autofree char *unsigned_token = xasprintf("%s.%s.", header, claims);
    assert_int_equal(verify(unsigned_token, &rules), JWT_SIGNATURE);
    jwks_deinit(&keys);
}

/* The public key as the key of an HMAC: what fools a verifier that does as the token says. */
static void an_hmac_with_the_public_key_is_refused(void **state)
{
    (void)state;
    struct jwks keys = parse_keys(VECTOR_KEYS);
    struct jwt_rules rules = rules_for(&keys);
    static const char header[] = "{\"alg\":\"HS256\",\"kid\":\"ed\"}";
    size_t size = 0;
    uint8_t mac[32];
    autofree uint8_t *public = base64url_decode(ED_PUBLIC, strlen(ED_PUBLIC), &size);
    autofree char *first = base64url_encode(header, strlen(header));
    autofree char *second = base64url_encode(CLAIMS, strlen(CLAIMS));
    autofree char *text = xasprintf("%s.%s", first, second);
    assert_non_null(
        HMAC(EVP_sha256(), public, (int)size, (const uint8_t *)text, strlen(text), mac, NULL));
    autofree char *third = base64url_encode(mac, sizeof mac);
    autofree char *token = xasprintf("%s.%s", text, third);
    rules.algorithms = ~0u;
    assert_int_equal(verify(token, &rules), JWT_ALGORITHM);
    jwks_deinit(&keys);
}

static void the_key_decides_with_the_algorithm(void **state)
{
    (void)state;
    assert_int_equal(verify_made("{\"alg\":\"EdDSA\",\"kid\":\"ed\"}", CLAIMS), JWT_PASSED);
    assert_int_equal(verify_made("{\"alg\":\"EdDSA\"}", CLAIMS), JWT_PASSED);
    assert_int_equal(verify_made("{\"alg\":\"RS256\",\"kid\":\"ed\"}", CLAIMS), JWT_KEY);
    assert_int_equal(verify_made("{\"alg\":\"RS256\",\"kid\":\"rsa\"}", CLAIMS), JWT_SIGNATURE);
    assert_int_equal(verify_made("{\"alg\":\"EdDSA\",\"kid\":\"rsa\"}", CLAIMS), JWT_KEY);
    assert_int_equal(verify_made("{\"alg\":\"EdDSA\",\"kid\":\"gone\"}", CLAIMS), JWT_KEY);
    assert_int_equal(verify_made("{\"alg\":\"EdDSA\",\"kid\":1}", CLAIMS), JWT_FORM);
    assert_int_equal(verify_made("{\"alg\":\"EdDSA\",\"crit\":[\"exp\"],\"exp\":1}", CLAIMS),
                     JWT_FORM);
    assert_int_equal(verify_made("{\"alg\":\"EdDSA\",\"crit\":[]}", CLAIMS), JWT_FORM);
    /* A key that the token brings along is not looked at. */
    assert_int_equal(verify_made("{\"alg\":\"EdDSA\",\"kid\":\"x\",\"jwk\":{\"kty\":\"OKP\","
                                 "\"crv\":\"Ed25519\",\"x\":\"" ED_PUBLIC "\"}}",
                                 CLAIMS),
                     JWT_KEY);
}

static void the_claims_are_checked(void **state)
{
    (void)state;
    static const struct {
        const char *claims;
        enum jwt_check want;
    } cases[] = {
        {"\"iss\":\"https://issuer.example/\",\"aud\":\"gateway\",\"exp\":1700000300", JWT_ISSUER},
        {"\"iss\":[\"https://issuer.example\"],\"aud\":\"gateway\",\"exp\":1700000300", JWT_ISSUER},
        {"\"aud\":\"gateway\",\"exp\":1700000300", JWT_ISSUER},
#define BY "\"iss\":\"https://issuer.example\","
        {BY "\"exp\":1700000300", JWT_AUDIENCE},
        {BY "\"aud\":[],\"exp\":1700000300", JWT_AUDIENCE},
        {BY "\"aud\":\"gatewa\",\"exp\":1700000300", JWT_AUDIENCE},
        {BY "\"aud\":{\"gateway\":\"gateway\"},\"exp\":1700000300", JWT_AUDIENCE},
        {BY "\"aud\":[1,\"x\",\"gateway\"],\"exp\":1700000300", JWT_PASSED},
#define FOR_US BY "\"aud\":\"gateway\","
        {FOR_US "\"sub\":\"x\"", JWT_FORM},
        {FOR_US "\"exp\":\"1700000300\"", JWT_FORM},
        {FOR_US "\"exp\":null", JWT_FORM},
        {FOR_US "\"exp\":1700000300,\"nbf\":true", JWT_FORM},
        /* Sixty seconds of leeway, each way: now is 1700000100. */
        {FOR_US "\"exp\":1700000040", JWT_EXPIRED},
        {FOR_US "\"exp\":1700000040.5", JWT_PASSED},
        {FOR_US "\"exp\":-1", JWT_EXPIRED},
        {FOR_US "\"exp\":1700000300,\"nbf\":1700000160", JWT_PASSED},
        {FOR_US "\"exp\":1700000300,\"nbf\":1700000161", JWT_NOT_YET},
        {FOR_US "\"exp\":1700000300,\"iat\":1700000161", JWT_NOT_YET},
        {FOR_US "\"exp\":1e300", JWT_PASSED},
        {FOR_US "\"exp\":1700000040,\"exp\":1700000300", JWT_FORM}, /* twice */
        {FOR_US "\"exp\":1700000300,\"aud\":\"gateway\"", JWT_FORM},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        autofree char *claims = xasprintf("{%s}", cases[i].claims);
        enum jwt_check got = verify_made("{\"alg\":\"EdDSA\"}", claims);
        if (got != cases[i].want)
            print_error("%s\n", claims);
        assert_int_equal(got, cases[i].want);
    }
    assert_int_equal(verify_made("{\"alg\":\"EdDSA\"}", "[" CLAIMS "]"), JWT_FORM);
    assert_int_equal(verify_made("{\"alg\":\"EdDSA\",\"alg\":\"EdDSA\"}", CLAIMS), JWT_FORM);
}

static void what_has_another_form_is_refused(void **state)
{
    (void)state;
    struct jwks keys = parse_keys(VECTOR_KEYS);
    struct jwt_rules rules = rules_for(&keys);
    autofree char *good = made("{\"alg\":\"EdDSA\"}", CLAIMS);
    autofree char *padded = xasprintf("%s=", good);
    autofree char *more = xasprintf("%s.", good);
    autofree char *spaced = xasprintf("%s ", good);
    /* 64 bytes leave four bits of the last character unused. */
    autofree char *stray = xstrdup(good);
    stray[strlen(stray) - 1]++;
    const char *const others[] = {"",      ".",    "..", "...",  "a.b",
                                  "a.b.c", padded, more, spaced, stray};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        assert_int_equal(verify(others[i], &rules), JWT_FORM);
    jwks_deinit(&keys);
}

/* Claims that make the token `over` bytes longer than the limit. */
static enum jwt_check verify_long(const struct jwt_rules *rules, size_t filler)
{
    autofree char *padding = xcalloc(1, filler + 1);
    memset(padding, 'x', filler);
    autofree char *claims = xasprintf("{" FOR_US "\"exp\":1700000300,\"x\":\"%s\"}", padding);
    autofree char *token = made("{\"alg\":\"EdDSA\"}", claims);
    enum jwt_check check = verify(token, rules);
    assert_int_equal(check == JWT_PASSED, strlen(token) <= JWT_SIZE_MAX);
    return check;
}

static void a_long_token_is_refused(void **state)
{
    (void)state;
    struct jwks keys = parse_keys(VECTOR_KEYS);
    struct jwt_rules rules = rules_for(&keys);
    assert_int_equal(verify_long(&rules, 12000), JWT_PASSED);
    assert_int_equal(verify_long(&rules, 12300), JWT_FORM);
    for (size_t filler = 12080; filler < 12120; filler++)
        verify_long(&rules, filler);
    jwks_deinit(&keys);
}

static void the_issuer_is_read_before(void **state)
{
    (void)state;
    char *issuer = NULL;
    struct error err = ERROR_INIT;
    assert_int_equal(jwt_claimed_issuer(vectors[0], &issuer, &err), ERR_OK);
    assert_string_equal(issuer, "https://issuer.example");
    free(issuer);
    assert_int_equal(jwt_claimed_issuer("x.y.z", &issuer, &err), ERR_UNAUTHENTICATED);
}

/* ---- key sets ---- */

static void expect_keys(const char *keys, int count)
{
    struct jwks set = {.count = 0};
    struct error err = ERROR_INIT;
    autofree char *text = xasprintf("{\"keys\":[%s]}", keys);
    enum errc code = jwks_parse(text, strlen(text), &set, &err);
    if ((int)set.count != count)
        print_error("%s\n", keys);
    assert_int_equal(set.count, count);
    assert_int_equal(code, count > 0 ? ERR_OK : ERR_BAD_REQUEST);
    jwks_deinit(&set);
}

#define OKP "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"" ED_PUBLIC "\""

static void keys_that_cannot_be_used_are_left_out(void **state)
{
    (void)state;
    expect_keys(OKP "}", 1);
    expect_keys(OKP "}," OKP ",\"kid\":\"b\"}", 2);
    expect_keys(OKP ",\"use\":\"sig\",\"alg\":\"EdDSA\",\"key_ops\":[\"sign\",\"verify\"]}", 1);
    expect_keys(OKP ",\"use\":\"enc\"}", 0);
    expect_keys(OKP ",\"use\":1}", 0);
    expect_keys(OKP ",\"alg\":\"RS256\"}", 0);
    expect_keys(OKP ",\"alg\":\"HS256\"}", 0);
    expect_keys(OKP ",\"key_ops\":[\"sign\"]}", 0);
    expect_keys(OKP ",\"key_ops\":\"verify\"}", 0);
    expect_keys("{\"kty\":\"oct\",\"k\":\"AAAA\"},1,null,[]," OKP "}", 1);
    expect_keys(VECTOR_WEAK_RSA, 0);
    expect_keys("{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}", 0);
    expect_keys("{\"kty\":\"OKP\",\"crv\":\"X25519\",\"x\":\"" ED_PUBLIC "\"}", 0);
    expect_keys("{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AAAA\"}", 0);
    /* Not on the curve; a coordinate cut; another curve's. */
    expect_keys(
        "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" ED_PUBLIC "\",\"y\":\"" ED_PUBLIC "\"}", 0);
    expect_keys("{\"kty\":\"EC\",\"crv\":\"P-256\","
                "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\",\"y\":\"AAAA\"}",
                0);
    expect_keys("{\"kty\":\"EC\",\"crv\":\"P-384\","
                "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
                "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}",
                0);
    expect_keys("", 0);
}

static void a_set_has_limits(void **state)
{
    (void)state;
    struct jwks set = {.count = 0};
    struct error err = ERROR_INIT;
    for (size_t count = JWKS_KEYS_MAX - 1; count <= JWKS_KEYS_MAX + 1; count++) {
        autofree char *keys = xcalloc(1, count * sizeof OKP "}," + 1);
        for (size_t i = 0; i < count; i++)
            strcat(keys, i > 0 ? "," OKP "}" : OKP "}");
        expect_keys(keys, count <= JWKS_KEYS_MAX ? (int)count : 0);
    }
    autofree char *large = xcalloc(1, JWKS_SIZE_MAX + 2);
    memset(large, ' ', JWKS_SIZE_MAX + 1);
    memcpy(large, "{\"keys\":[" OKP "}]}", strlen("{\"keys\":[" OKP "}]}"));
    assert_int_equal(jwks_parse(large, JWKS_SIZE_MAX, &set, &err), ERR_OK);
    jwks_deinit(&set);
    assert_int_equal(jwks_parse(large, JWKS_SIZE_MAX + 1, &set, &err), ERR_JSON_TOO_LARGE);
    assert_int_equal(jwks_parse("[]", 2, &set, &err), ERR_BAD_REQUEST);
    assert_int_equal(jwks_parse("{\"keys\":{}}", 11, &set, &err), ERR_BAD_REQUEST);
    assert_int_equal(jwks_parse("{", 1, &set, &err), ERR_JSON_INVALID);
}

int main(void)
{
    json_start();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_algorithm_is_verified),
        cmocka_unit_test(the_examples_of_rfc_7515_are_verified),
        cmocka_unit_test(what_is_signed_here_is_verified),
        cmocka_unit_test(a_token_without_a_signature_is_refused),
        cmocka_unit_test(an_hmac_with_the_public_key_is_refused),
        cmocka_unit_test(the_key_decides_with_the_algorithm),
        cmocka_unit_test(the_claims_are_checked),
        cmocka_unit_test(what_has_another_form_is_refused),
        cmocka_unit_test(a_long_token_is_refused),
        cmocka_unit_test(the_issuer_is_read_before),
        cmocka_unit_test(keys_that_cannot_be_used_are_left_out),
        cmocka_unit_test(a_set_has_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
