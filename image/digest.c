#include "image/digest.h"

#include "base/mem.h"

#include <assert.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    size_t size;
} algorithms[] = {
    [DIGEST_NONE] = {"none", 0},
    [DIGEST_SHA256] = {"sha256", 32},
    [DIGEST_SHA512] = {"sha512", 64},
};
#define ALGORITHM_COUNT (sizeof algorithms / sizeof algorithms[0])

struct digester {
    EVP_MD_CTX *context;
    enum digest_algorithm algorithm;
    bool finished;
};

/* EVP_sha256() looks its implementation up at each use; fetched once, a use costs nothing. */
static EVP_MD *fetched[ALGORITHM_COUNT];
static pthread_once_t fetch_once = PTHREAD_ONCE_INIT;

/* Hashing fails only without memory or with an OpenSSL that is not whole: nothing to go on with. */
static void must(bool ok)
{
    if (ok)
        return;
    fputs("slipway: OpenSSL cannot hash\n", stderr);
    abort();
}

static void fetch(void)
{
    fetched[DIGEST_SHA256] = EVP_MD_fetch(NULL, "SHA256", NULL);
    fetched[DIGEST_SHA512] = EVP_MD_fetch(NULL, "SHA512", NULL);
    must(fetched[DIGEST_SHA256] && fetched[DIGEST_SHA512]);
}

static const EVP_MD *method(enum digest_algorithm algorithm)
{
    assert(algorithm == DIGEST_SHA256 || algorithm == DIGEST_SHA512);
    pthread_once(&fetch_once, fetch);
    return fetched[algorithm];
}

size_t digest_size(enum digest_algorithm algorithm)
{
    assert(algorithm < ALGORITHM_COUNT);
    return algorithms[algorithm].size;
}

const char *digest_algorithm_name(enum digest_algorithm algorithm)
{
    assert(algorithm < ALGORITHM_COUNT);
    return algorithms[algorithm].name;
}

static enum digest_algorithm find_algorithm(const char *name, size_t size)
{
    for (unsigned i = DIGEST_SHA256; i < ALGORITHM_COUNT; i++)
        if (strlen(algorithms[i].name) == size && memcmp(algorithms[i].name, name, size) == 0)
            return (enum digest_algorithm)i;
    return DIGEST_NONE;
}

enum digest_algorithm digest_algorithm_find(const char *name)
{
    return find_algorithm(name, strlen(name));
}

static int nibble(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool hex_to_bytes(const char *hex, size_t size, uint8_t *out)
{
    for (size_t i = 0; i < size; i++) {
        int high = nibble(hex[2 * i]);
        int low = high < 0 ? -1 : nibble(hex[2 * i + 1]);
        if (low < 0)
            return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return hex[2 * size] == '\0';
}

static enum errc parse(const char *algorithm, size_t algorithm_size, const char *hex,
                       struct digest *out, struct error *err)
{
    struct digest digest = {.algorithm = find_algorithm(algorithm, algorithm_size)};
    int shown = algorithm_size < 40 ? (int)algorithm_size : 40;
    if (digest.algorithm == DIGEST_NONE)
        return fail(err, ERR_DIGEST_INVALID, 0,
                    "digest \"%.*s:%.40s\": the algorithm is neither sha256 nor sha512", shown,
                    algorithm, hex);
    size_t size = digest_size(digest.algorithm);
    if (!hex_to_bytes(hex, size, digest.bytes))
        return fail(err, ERR_DIGEST_INVALID, 0,
                    "digest \"%.*s:%.140s\": want exactly %zu lower-case hex digits", shown,
                    algorithm, hex, 2 * size);
    *out = digest;
    return ERR_OK;
}

enum errc digest_parse(const char *text, struct digest *out, struct error *err)
{
    if (text == NULL)
        return fail(err, ERR_DIGEST_INVALID, 0, "no digest");
    const char *colon = strchr(text, ':');
    if (colon == NULL)
        return fail(err, ERR_DIGEST_INVALID, 0, "digest \"%.140s\" has no \"algorithm:\" in front",
                    text);
    return parse(text, (size_t)(colon - text), colon + 1, out, err);
}

enum errc digest_parse_parts(const char *algorithm, const char *hex, struct digest *out,
                             struct error *err)
{
    return parse(algorithm, strlen(algorithm), hex, out, err);
}

static void write_hex(const uint8_t *bytes, size_t size, char *text)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < size; i++) {
        text[2 * i] = digits[bytes[i] >> 4];
        text[2 * i + 1] = digits[bytes[i] & 15];
    }
    text[2 * size] = '\0';
}

const char *digest_text(const struct digest *digest, char text[DIGEST_TEXT_MAX])
{
    assert(digest->algorithm != DIGEST_NONE);
    const char *name = digest_algorithm_name(digest->algorithm);
    size_t prefix = strlen(name);
    memcpy(text, name, prefix);
    text[prefix] = ':';
    write_hex(digest->bytes, digest_size(digest->algorithm), text + prefix + 1);
    return text;
}

const char *digest_hex(const struct digest *digest, char text[DIGEST_TEXT_MAX])
{
    assert(digest->algorithm != DIGEST_NONE);
    write_hex(digest->bytes, digest_size(digest->algorithm), text);
    return text;
}

const char *digest_short(const struct digest *digest, char text[DIGEST_SHORT_MAX])
{
    assert(digest->algorithm != DIGEST_NONE);
    write_hex(digest->bytes, (DIGEST_SHORT_MAX - 1) / 2, text);
    return text;
}

bool digest_equal(const struct digest *a, const struct digest *b)
{
    return digest_compare(a, b) == 0;
}

int digest_compare(const struct digest *a, const struct digest *b)
{
    if (a->algorithm != b->algorithm)
        return a->algorithm < b->algorithm ? -1 : 1;
    return memcmp(a->bytes, b->bytes, digest_size(a->algorithm));
}

struct digest digest_of(enum digest_algorithm algorithm, const void *data, size_t size)
{
    struct digest digest = {.algorithm = algorithm};
    must(EVP_Digest(data, size, digest.bytes, NULL, method(algorithm), NULL) == 1);
    return digest;
}

const char *hmac_hex(const void *key, size_t key_size, const char *text,
                     char hex[HMAC_HEX_SIZE + 1])
{
    assert(key_size <= INT_MAX);
    uint8_t bytes[HMAC_HEX_SIZE / 2];
    must(HMAC(method(DIGEST_SHA256), key, (int)key_size, (const uint8_t *)text, strlen(text), bytes,
              NULL) != NULL);
    write_hex(bytes, sizeof bytes, hex);
    return hex;
}

bool hmac_hex_equal(const char *a, const char *b)
{
    return CRYPTO_memcmp(a, b, HMAC_HEX_SIZE) == 0;
}

struct digester *digester_new(enum digest_algorithm algorithm)
{
    struct digester *digester = xcalloc(1, sizeof *digester);
    digester->algorithm = algorithm;
    digester->context = EVP_MD_CTX_new();
    must(digester->context && EVP_DigestInit_ex2(digester->context, method(algorithm), NULL) == 1);
    return digester;
}

void digester_update(struct digester *digester, const void *data, size_t size)
{
    assert(!digester->finished);
    must(EVP_DigestUpdate(digester->context, data, size) == 1);
}

struct digest digester_finish(struct digester *digester)
{
    assert(!digester->finished);
    struct digest digest = {.algorithm = digester->algorithm};
    must(EVP_DigestFinal_ex(digester->context, digest.bytes, NULL) == 1);
    digester->finished = true;
    return digest;
}

void digester_free(struct digester *digester)
{
    if (digester == NULL)
        return;
    EVP_MD_CTX_free(digester->context);
    free(digester);
}
