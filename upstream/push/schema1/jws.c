#include "upstream/push/schema1/jws.h"

#include "base/base64.h"
#include "base/mem.h"
#include "image/digest.h"

#include <assert.h>
#include <ctype.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>

#define COORDINATE_BYTES 32
#define POINT_BYTES (1 + 2 * COORDINATE_BYTES) /* SEC 1, 2.3.3: 0x04, x, y */
#define KID_BYTES 30
#define KID_TEXT_MAX 64

/* --- text forms --- */

/* 240 bits make 48 characters exactly, so no padding either. */
static void kid_text(const uint8_t bits[KID_BYTES], char text[KID_TEXT_MAX])
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    size_t used = 0;
    for (size_t character = 0; character < KID_BYTES * 8 / 5; character++) {
        unsigned value = 0;
        for (size_t bit = 5 * character; bit < 5 * character + 5; bit++)
            value = value << 1 | ((unsigned)bits[bit / 8] >> (7 - bit % 8) & 1u);
        if (character > 0 && character % 4 == 0)
            text[used++] = ':';
        text[used++] = alphabet[value];
    }
    text[used] = '\0';
}

/* --- keys --- */

static void key_free_at(EVP_PKEY **key)
{
    EVP_PKEY_free(*key);
}
#define autokey __attribute__((cleanup(key_free_at)))

enum errc jws_key_new(char **pem, struct error *err)
{
    autokey EVP_PKEY *key = EVP_EC_gen("P-256");
    BIO *bio = BIO_new(BIO_s_secmem());
    char *text = NULL;
    long size = 0;
    if (key && bio && PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1)
        size = BIO_get_mem_data(bio, &text);
    char *copy = size > 0 ? xstrndup(text, (size_t)size) : NULL;
    BIO_free(bio);
    if (copy == NULL)
        return fail(err, ERR_INTERNAL, 0, "OpenSSL made no P-256 key");
    *pem = copy;
    return ERR_OK;
}

static enum errc read_key(const char *pem, EVP_PKEY **out, struct error *err)
{
    char group[32] = "";
    BIO *bio = BIO_new_mem_buf(pem, -1);
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL) : NULL;
    BIO_free(bio);
    if (key && EVP_PKEY_get_group_name(key, group, sizeof group, NULL) == 1 &&
        strcmp(group, "prime256v1") == 0) {
        *out = key;
        return ERR_OK;
    }
    EVP_PKEY_free(key);
    return fail(err, ERR_SETTINGS, 0, "the trust key is no P-256 private key in PEM");
}

/* What a reader needs to verify: the JWK's members. */
struct public_key {
    char kid[KID_TEXT_MAX];
    uint8_t point[POINT_BYTES];
};

static enum errc describe_key(EVP_PKEY *key, struct public_key *out, struct error *err)
{
    unsigned char *spki = NULL;
    size_t size = 0;
    int spki_size = i2d_PUBKEY(key, &spki);
    if (spki_size <= 0 ||
        EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, out->point, POINT_BYTES,
                                        &size) != 1 ||
        size != POINT_BYTES || out->point[0] != 4) {
        OPENSSL_free(spki);
        return fail(err, ERR_INTERNAL, 0, "OpenSSL does not tell the public key");
    }
    struct digest digest = digest_of(DIGEST_SHA256, spki, (size_t)spki_size);
    OPENSSL_free(spki);
    kid_text(digest.bytes, out->kid);
    return ERR_OK;
}

/* --- signatures --- */

/* RFC 7518 section 3.4: r and s one after the other, each of 32 bytes. */
static bool flatten(const unsigned char *der, size_t size, uint8_t out[2 * COORDINATE_BYTES])
{
    ECDSA_SIG *signature = d2i_ECDSA_SIG(NULL, &der, (long)size);
    bool ok =
        signature &&
        BN_bn2binpad(ECDSA_SIG_get0_r(signature), out, COORDINATE_BYTES) == COORDINATE_BYTES &&
        BN_bn2binpad(ECDSA_SIG_get0_s(signature), out + COORDINATE_BYTES, COORDINATE_BYTES) ==
            COORDINATE_BYTES;
    ECDSA_SIG_free(signature);
    return ok;
}

static enum errc sign_es256(EVP_PKEY *key, const char *text, size_t size,
                            uint8_t out[2 * COORDINATE_BYTES], struct error *err)
{
    unsigned char der[128];
    size_t der_size = sizeof der;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool ok = context && EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key) == 1 &&
              EVP_DigestSign(context, der, &der_size, (const unsigned char *)text, size) == 1 &&
              flatten(der, der_size, out);
    EVP_MD_CTX_free(context);
    return ok ? ERR_OK : fail(err, ERR_INTERNAL, 0, "OpenSSL made no signature");
}

/* Where the object's last member ends: before the white space and brace that close it. */
static size_t format_length(const char *payload, size_t size)
{
    while (size > 0 && isspace((unsigned char)payload[size - 1]))
        size--;
    assert(size > 0 && payload[size - 1] == '}');
    size--;
    while (size > 0 && isspace((unsigned char)payload[size - 1]))
        size--;
    return size;
}

static void put_signature(const struct public_key *key, const char *signature,
                          const char *protected_header, struct buf *out)
{
    autofree char *x = base64url_encode(key->point + 1, COORDINATE_BYTES);
    autofree char *y = base64url_encode(key->point + 1 + COORDINATE_BYTES, COORDINATE_BYTES);
    buf_format(out,
               ",\n   \"signatures\": [\n      {\n         \"header\": {\n            \"jwk\": {\n"
               "               \"crv\": \"P-256\",\n               \"kid\": \"%s\",\n"
               "               \"kty\": \"EC\",\n               \"x\": \"%s\",\n"
               "               \"y\": \"%s\"\n            },\n            \"alg\": \"ES256\"\n"
               "         },\n         \"signature\": \"%s\",\n         \"protected\": \"%s\"\n"
               "      }\n   ]",
               key->kid, x, y, signature, protected_header);
}

enum errc jws_sign(const char *pem, const char *payload, size_t size, const char *time,
                   struct buf *out, struct error *err)
{
    autokey EVP_PKEY *key = NULL;
    struct public_key public_key;
    if (read_key(pem, &key, err) != ERR_OK || describe_key(key, &public_key, err) != ERR_OK)
        return err->code;
    size_t length = format_length(payload, size);
    autofree char *tail = base64url_encode(payload + length, size - length);
    autofree char *header = xasprintf(
        "{\"formatLength\":%zu,\"formatTail\":\"%s\",\"time\":\"%s\"}", length, tail, time);
    autofree char *protected_header = base64url_encode(header, strlen(header));
    autofree char *encoded = base64url_encode(payload, size);
    autofree char *text = xasprintf("%s.%s", protected_header, encoded);
    uint8_t raw[2 * COORDINATE_BYTES];
    if (sign_es256(key, text, strlen(text), raw, err) != ERR_OK)
        return err->code;
    autofree char *signature = base64url_encode(raw, sizeof raw);
    buf_append(out, payload, length);
    put_signature(&public_key, signature, protected_header, out);
    buf_append(out, payload + length, size - length);
    return ERR_OK;
}
