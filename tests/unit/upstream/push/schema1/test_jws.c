#include "upstream/push/schema1/jws.h"

#include "base/json.h"
#include "base/mem.h"

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define TIME "2024-01-02T03:04:05Z"

static char *new_key(void)
{
    struct error err = ERROR_INIT;
    char *pem = NULL;
    if (jws_key_new(&pem, &err) != ERR_OK)
        fail_msg("%s", err.text);
    return pem;
}

/* base64url to owned bytes. */
static uint8_t *decode(const char *text, size_t *size)
{
    size_t length = strlen(text);
    size_t padding = (4 - length % 4) % 4;
    autofree char *padded = xcalloc(length + padding + 1, 1);
    for (size_t i = 0; i < length + padding; i++)
        padded[i] = i >= length ? '=' : text[i] == '-' ? '+' : text[i] == '_' ? '/' : text[i];
    uint8_t *out = xcalloc(length + 4, 1);
    int n = EVP_DecodeBlock(out, (const unsigned char *)padded, (int)(length + padding));
    assert_true(n > 0);
    *size = (size_t)n - padding;
    return out;
}

/* Verified as a reader would: the signed text is put together again from the document alone. */
static bool verify(const char *pem, const char *document)
{
    struct error err = ERROR_INIT;
    autojson json_t *root = NULL;
    assert_int_equal(json_parse(document, strlen(document), 1 << 20, "document", &root, &err),
                     ERR_OK);
    const json_t *signature = json_array_get(json_object_get(root, "signatures"), 0);
    const char *protected_header = json_text(signature, "protected");

    size_t size = 0;
    autofree uint8_t *header_text = decode(protected_header, &size);
    autojson json_t *header = NULL;
    assert_int_equal(json_parse(header_text, size, 4096, "header", &header, &err), ERR_OK);
    assert_string_equal(json_text(header, "time"), TIME);
    size_t length = (size_t)json_integer_value(json_object_get(header, "formatLength"));
    size_t tail_size = 0;
    autofree uint8_t *tail = decode(json_text(header, "formatTail"), &tail_size);

    autofree unsigned char *payload = xcalloc(length + tail_size, 1);
    memcpy(payload, document, length);
    memcpy(payload + length, tail, tail_size);
    autofree unsigned char *encoded = xcalloc(2 * (length + tail_size) + 8, 1);
    EVP_EncodeBlock(encoded, payload, (int)(length + tail_size));
    for (unsigned char *c = encoded; *c; c++)
        *c = *c == '+' ? '-' : *c == '/' ? '_' : *c == '=' ? '\0' : *c;
    autofree char *text = xasprintf("%s.%s", protected_header, (char *)encoded);

    size_t raw_size = 0;
    autofree uint8_t *raw = decode(json_text(signature, "signature"), &raw_size);
    assert_int_equal(raw_size, 64);
    ECDSA_SIG *pair = ECDSA_SIG_new();
    ECDSA_SIG_set0(pair, BN_bin2bn(raw, 32, NULL), BN_bin2bn(raw + 32, 32, NULL));
    unsigned char *der = NULL;
    int der_size = i2d_ECDSA_SIG(pair, &der);
    BIO *bio = BIO_new_mem_buf(pem, -1);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, key), 1);
    bool good = EVP_DigestVerify(context, der, (size_t)der_size, (const unsigned char *)text,
                                 strlen(text)) == 1;
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(key);
    BIO_free(bio);
    OPENSSL_free(der);
    ECDSA_SIG_free(pair);
    return good;
}

static void test_a_signature_verifies(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    autofree char *pem = new_key();
    autofree char *other = new_key();
    /* r and s have a leading zero byte now and then: many signatures find a padding mistake. */
    for (int i = 0; i < 600; i++) {
        autobuf struct buf document = BUF_INIT(1 << 16);
        autofree char *payload = xasprintf("{\n   \"a\": %d\n}", i);
        if (jws_sign(pem, payload, strlen(payload), TIME, &document, &err) != ERR_OK)
            fail_msg("%s", err.text);
        assert_true(verify(pem, buf_cstr(&document)));
        assert_false(verify(other, buf_cstr(&document)));
    }
}

static void test_where_the_payload_ends(void **state)
{
    (void)state;
    static const char *const payloads[] = {"{\"a\":1}", "{\n   \"a\": \"}\"\n}", "{\"a\":{}}\n\n",
                                           "{\"a\":1 \t\r\n } \n"};
    struct error err = ERROR_INIT;
    autofree char *pem = new_key();
    for (size_t i = 0; i < sizeof payloads / sizeof payloads[0]; i++) {
        autobuf struct buf document = BUF_INIT(1 << 16);
        assert_int_equal(jws_sign(pem, payloads[i], strlen(payloads[i]), TIME, &document, &err),
                         ERR_OK);
        assert_true(verify(pem, buf_cstr(&document)));
    }
}

static EVP_PKEY *read_pem(const char *pem)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    BIO_free(bio);
    return key;
}

static void test_kid_names_the_key(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    autofree char *pem = new_key();
    EVP_PKEY *key = read_pem(pem);
    unsigned char *spki = NULL;
    int spki_size = i2d_PUBKEY(key, &spki);
    unsigned char hash[EVP_MAX_MD_SIZE];
    assert_int_equal(EVP_Digest(spki, (size_t)spki_size, hash, NULL, EVP_sha256(), NULL), 1);
    OPENSSL_free(spki);
    EVP_PKEY_free(key);

    /* Base32 the other way round: from the last character on, by division. */
    char kid[60] = "";
    BIGNUM *number = BN_bin2bn(hash, 30, NULL);
    for (int at = 58; at >= 0; at--)
        kid[at] = at % 5 == 4 ? ':' : "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[BN_div_word(number, 32)];
    BN_free(number);

    autobuf struct buf document = BUF_INIT(1 << 16);
    autofree char *member = xasprintf("\"kid\": \"%s\"", kid);
    assert_int_equal(jws_sign(pem, "{\"a\":1}", 7, TIME, &document, &err), ERR_OK);
    assert_non_null(strstr(buf_cstr(&document), member));
    assert_null(strstr(buf_cstr(&document), "\"d\"")); /* the private part stays here */
}

static char *key_of_another_curve(void)
{
    EVP_PKEY *key = EVP_EC_gen("P-384");
    BIO *bio = BIO_new(BIO_s_mem());
    char *text = NULL;
    assert_int_equal(PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL), 1);
    long size = BIO_get_mem_data(bio, &text);
    char *pem = xstrndup(text, (size_t)size);
    BIO_free(bio);
    EVP_PKEY_free(key);
    return pem;
}

static void test_keys_that_are_none(void **state)
{
    (void)state;
    autofree char *other = key_of_another_curve();
    const char *const keys[] = {"", "not a key", other};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        struct error err = ERROR_INIT;
        autobuf struct buf document = BUF_INIT(1 << 16);
        assert_int_equal(jws_sign(keys[i], "{\"a\":1}", 7, TIME, &document, &err), ERR_SETTINGS);
        assert_int_equal(document.size, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_signature_verifies),
        cmocka_unit_test(test_where_the_payload_ends),
        cmocka_unit_test(test_kid_names_the_key),
        cmocka_unit_test(test_keys_that_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
