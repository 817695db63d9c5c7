/* SHA256_CTX, whose state image/sha256_pair.h goes on with: EVP shows none. */
#define OPENSSL_API_COMPAT 0x10100000L

#include "image/digest.h"

#include "base/mem.h"
#include "image/sha256_pair.h"

#include <assert.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
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

static_assert(SHA256_CBLOCK == SHA256_BLOCK_BYTES, "a block");

struct digester {
    EVP_MD_CTX *context; /* NULL: `sha256` */
    SHA256_CTX sha256;
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
    must(digester->context ? EVP_DigestUpdate(digester->context, data, size) == 1
                           : SHA256_Update(&digester->sha256, data, size) == 1);
}

static bool pairs_pay;
static pthread_once_t pairs_once = PTHREAD_ONCE_INIT;

static void look_at_processor(void)
{
    pairs_pay = sha256_pair_supported() && !EVP_default_properties_is_fips_enabled(NULL);
}

struct digester *digester_new_pairable(enum digest_algorithm algorithm)
{
    pthread_once(&pairs_once, look_at_processor);
    if (algorithm != DIGEST_SHA256 || !pairs_pay)
        return digester_new(algorithm);
    struct digester *digester = xcalloc(1, sizeof *digester);
    digester->algorithm = algorithm;
    must(SHA256_Init(&digester->sha256) == 1);
    return digester;
}

/* Up to the next block of the stream; returns how many bytes that took, which may be all. */
static size_t complete_block(struct digester *digester, const uint8_t *data, size_t size)
{
    size_t begun = digester->sha256.num;
    size_t wanted = begun > 0 ? SHA256_BLOCK_BYTES - begun : 0;
    size_t n = wanted < size ? wanted : size;
    digester_update(digester, data, n);
    return n;
}

/* What SHA256_Update() would have counted: the length in bits, in two halves. */
static void count_blocks(SHA256_CTX *sha256, size_t blocks)
{
    uint64_t bits = (uint64_t)sha256->Nh << 32 | sha256->Nl;
    bits += (uint64_t)blocks * SHA256_BLOCK_BYTES * 8;
    sha256->Nl = (SHA_LONG)bits;
    sha256->Nh = (SHA_LONG)(bits >> 32);
}

void digester_update_pair(struct digester *one, const void *data, size_t size,
                          struct digester *other, const void *other_data, size_t other_size)
{
    const uint8_t *at = data;
    const uint8_t *other_at = other_data;
    size_t paired = 0;
    assert(one != other && !one->finished && !other->finished);
    if (one->context == NULL && other->context == NULL) {
        size_t n = complete_block(one, at, size);
        at += n;
        size -= n;
        n = complete_block(other, other_at, other_size);
        other_at += n;
        other_size -= n;
        size_t blocks = (size < other_size ? size : other_size) / SHA256_BLOCK_BYTES;
        paired = blocks * SHA256_BLOCK_BYTES;
        sha256_pair_blocks(one->sha256.h, other->sha256.h, at, other_at, blocks);
        count_blocks(&one->sha256, blocks);
        count_blocks(&other->sha256, blocks);
    }
    digester_update(one, at + paired, size - paired);
    digester_update(other, other_at + paired, other_size - paired);
}

struct digest digester_finish(struct digester *digester)
{
    assert(!digester->finished);
    struct digest digest = {.algorithm = digester->algorithm};
    must(digester->context ? EVP_DigestFinal_ex(digester->context, digest.bytes, NULL) == 1
                           : SHA256_Final(digest.bytes, &digester->sha256) == 1);
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
