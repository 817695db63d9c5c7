/*
 * Key sets of identity providers: within their limits, and each key that is taken is one of those
 * that are allowed.
 */
#include "gateway/access/jwks.h"

#include "base/json.h"

#include <assert.h>
#include <openssl/evp.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error err = ERROR_INIT;
    struct jwks keys;
    if (jwks_parse(data, size, &keys, &err) != ERR_OK) {
        assert(strpbrk(err.text, "\n\r\x1b") == NULL);
        return 0;
    }
    assert(keys.count > 0 && keys.count <= JWKS_KEYS_MAX);
    for (size_t i = 0; i < keys.count; i++) {
        int bits = EVP_PKEY_get_bits(keys.items[i].key);
        assert(keys.items[i].algorithms != 0);
        if (EVP_PKEY_is_a(keys.items[i].key, "RSA"))
            assert(bits >= JWKS_RSA_BITS_MIN && bits <= JWKS_RSA_BITS_MAX);
        else
            assert(bits == 256 || bits == 384 || bits == 253);
    }
    jwks_deinit(&keys);
    return 0;
}
