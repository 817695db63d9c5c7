/*
 * Signed tokens: nobody knows the private key, so nothing passes; errors have one line.
 */
#include "base/mem.h"
#include "gateway/access/jwt.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A public key whose private one was thrown away. */
static const struct jwks *keys(void)
{
    static const char text[] = "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"a\","
                               "\"x\":\"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4\","
                               "\"y\":\"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM\"},"
                               "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"b\","
                               "\"x\":\"PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw\"}]}";
    static struct jwks set;
    struct error err = ERROR_INIT;
    if (set.count == 0)
        assert(jwks_parse(text, sizeof text - 1, &set, &err) == ERR_OK && set.count == 2);
    return &set;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const audience = "gateway";
    const struct jwt_rules rules = {.keys = keys(),
                                    .algorithms = ~0u,
                                    .issuer = "https://issuer.example",
                                    .audiences = &audience,
                                    .audience_count = 1,
                                    .now_s = 1700000100};
    struct error err = ERROR_INIT;
    enum jwt_check check = JWT_PASSED;
    json_t *claims = NULL;
    char *issuer = NULL;
    autofree char *text = xstrndup((const char *)data, size);
    assert(jwt_verify(text, &rules, &claims, &check, &err) == ERR_UNAUTHENTICATED);
    assert(check != JWT_PASSED && claims == NULL && strpbrk(err.text, "\n\r\x1b") == NULL);
    if (jwt_claimed_issuer(text, &issuer, &err) == ERR_OK)
        assert(issuer != NULL);
    free(issuer);
    return 0;
}
