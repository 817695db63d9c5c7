#include "gateway/access/certificates.h"

#include "base/mem.h"
#include "base/utf8.h"

#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <string.h>

#define NAME_PREFIX "cert:"

struct client_authority {
    X509_STORE *store;
};

/* ---- authorities ---- */

enum errc client_authority_parse(const char *pem, size_t size, struct client_authority **out,
                                 struct error *err)
{
    size_t count = 0;
    X509_STORE *store = X509_STORE_new();
    BIO *bio = size <= INT_MAX ? BIO_new_mem_buf(pem, (int)size) : NULL;
    for (X509 *one; store && bio && (one = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL;) {
        count += X509_STORE_add_cert(store, one) == 1;
        X509_free(one);
    }
    BIO_free(bio);
    ERR_clear_error();
    if (count == 0) {
        X509_STORE_free(store);
        return fail(err, ERR_SETTINGS, 0, "there is no certificate in PEM");
    }
    *out = xcalloc(1, sizeof **out);
    (*out)->store = store;
    return ERR_OK;
}

void client_authority_free(struct client_authority *authority)
{
    if (authority)
        X509_STORE_free(authority->store);
    free(authority);
}

/* ---- names ---- */

static bool is_plain(const unsigned char *text, size_t size)
{
    bool control = false;
    autofree char *copy = xstrndup((const char *)text, size);
    if (strlen(copy) != size)
        return false;
    for (const char *at = copy; *at;) {
        size_t step = utf8_next(at, &control);
        if (step == 0 || control)
            return false;
        at += step;
    }
    return true;
}

/* RFC 3986: a scheme and ":"; so that no URI reads like a subject. */
static bool is_uri(const ASN1_STRING *text)
{
    const char *bytes = (const char *)ASN1_STRING_get0_data(text);
    size_t size = (size_t)ASN1_STRING_length(text);
    if (!is_plain((const unsigned char *)bytes, size))
        return false;
    autofree char *uri = xstrndup(bytes, size);
    size_t scheme =
        strspn(uri, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+.-");
    return scheme > 0 && uri[scheme] == ':' && uri[scheme + 1] && strcspn(uri, " ") == size;
}

/* *out NULL: it has none. */
static enum errc uri_name(X509 *certificate, char **out, struct error *err)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    const ASN1_STRING *found = NULL;
    *out = NULL;
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type != GEN_URI)
            continue;
        if (found)
            fail(err, ERR_UNAUTHENTICATED, 0, "the client certificate has several URIs as names");
        found = name->d.uniformResourceIdentifier;
        if (!is_uri(found))
            fail(err, ERR_UNAUTHENTICATED, 0,
                 "the URI in the client certificate is none, or has control characters");
    }
    if (found && err->code == ERR_OK)
        *out = xasprintf(NAME_PREFIX "%.*s", ASN1_STRING_length(found),
                         (const char *)ASN1_STRING_get0_data(found));
    GENERAL_NAMES_free(names);
    return err->code;
}

static bool subject_is_plain(const X509_NAME *subject)
{
    for (int i = 0; i < X509_NAME_entry_count(subject); i++) {
        unsigned char *text = NULL;
        int size =
            ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, i)));
        bool plain = size >= 0 && is_plain(text, (size_t)size);
        OPENSSL_free(text);
        if (!plain)
            return false;
    }
    return X509_NAME_entry_count(subject) > 0;
}

static enum errc subject_name(const X509 *certificate, char **out, struct error *err)
{
    /* As RFC 2253, which RFC 4514 replaces; characters beyond ASCII stay as they are. */
    const unsigned long flags = XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB;
    const X509_NAME *subject = X509_get_subject_name(certificate);
    const char *text = NULL;
    if (!subject_is_plain(subject))
        return fail(err, ERR_UNAUTHENTICATED, 0,
                    "the subject of the client certificate is empty, or has control characters");
    BIO *bio = BIO_new(BIO_s_mem());
    long size = bio && X509_NAME_print_ex(bio, subject, 0, flags) >= 0
                    ? BIO_get_mem_data(bio, (char **)(uintptr_t)&text)
                    : 0;
    if (size > 0 && size <= IDENTITY_NAME_MAX)
        *out = xasprintf(NAME_PREFIX "%.*s", (int)size, text);
    BIO_free(bio);
    return size > 0 && size <= IDENTITY_NAME_MAX
               ? ERR_OK
               : fail(err, ERR_UNAUTHENTICATED, 0,
                      "the subject of the client certificate is longer than %d bytes",
                      IDENTITY_NAME_MAX);
}

static enum errc name_of(X509 *certificate, char **out, struct error *err)
{
    autofree char *name = NULL;
    if (uri_name(certificate, &name, err) != ERR_OK ||
        (name == NULL && subject_name(certificate, &name, err) != ERR_OK))
        return err->code;
    if (strlen(name) > IDENTITY_NAME_MAX)
        return fail(err, ERR_UNAUTHENTICATED, 0,
                    "the name of the client certificate is longer than %d bytes",
                    IDENTITY_NAME_MAX);
    *out = mem_take(&name);
    return ERR_OK;
}

/* NULL when it is none, or has something behind it. */
static X509 *decode(const struct certificate_bytes *bytes)
{
    const unsigned char *at = bytes->data;
    X509 *certificate = bytes->size <= LONG_MAX ? d2i_X509(NULL, &at, (long)bytes->size) : NULL;
    if (certificate && at != bytes->data + bytes->size) {
        X509_free(certificate);
        certificate = NULL;
    }
    return certificate;
}

enum errc certificate_name(const struct certificate_bytes *certificate, char **out,
                           struct error *err)
{
    X509 *decoded = decode(certificate);
    if (decoded)
        name_of(decoded, out, err);
    else
        fail(err, ERR_UNAUTHENTICATED, 0, "the client certificate cannot be read");
    X509_free(decoded);
    ERR_clear_error();
    return err->code;
}

/* ---- chains ---- */

static enum errc verify(const struct client_authority *authority, X509 *own,
                        STACK_OF(X509) * others, int64_t now_s, struct error *err)
{
    X509_STORE_CTX *context = X509_STORE_CTX_new();
    if (context == NULL || X509_STORE_CTX_init(context, authority->store, own, others) != 1) {
        X509_STORE_CTX_free(context);
        return fail(err, ERR_INTERNAL, 0, "OpenSSL has no room to verify a certificate");
    }
    X509_STORE_CTX_set_time(context, 0, (time_t)now_s);
    X509_STORE_CTX_set_purpose(context, X509_PURPOSE_SSL_CLIENT);
    if (X509_verify_cert(context) != 1)
        fail(err, ERR_UNAUTHENTICATED, 0, "the client certificate does not count: %s",
             X509_verify_cert_error_string(X509_STORE_CTX_get_error(context)));
    X509_STORE_CTX_free(context);
    return err->code;
}

static enum errc identify(const struct client_authority *authority, STACK_OF(X509) * chain,
                          int64_t now_s, struct identity *out, struct error *err)
{
    X509 *own = sk_X509_value(chain, 0);
    char *name = NULL;
    if (verify(authority, own, chain, now_s, err) != ERR_OK || name_of(own, &name, err) != ERR_OK)
        return err->code;
    *out = (struct identity){.kind = IDENTITY_CERTIFICATE, .name = name};
    return ERR_OK;
}

enum errc certificate_identity(const struct client_authority *authority,
                               const struct certificate_bytes *chain, size_t count, int64_t now_s,
                               struct identity *out, struct error *err)
{
    if (count == 0 || count > CERTIFICATE_CHAIN_MAX)
        return fail(err, ERR_UNAUTHENTICATED, 0,
                    "a chain of client certificates has 1 to %d of them", CERTIFICATE_CHAIN_MAX);
    STACK_OF(X509) *decoded = sk_X509_new_null();
    for (size_t i = 0; i < count && err->code == ERR_OK; i++) {
        X509 *one = decode(&chain[i]);
        if (one == NULL || decoded == NULL || sk_X509_push(decoded, one) == 0) {
            X509_free(one);
            fail(err, ERR_UNAUTHENTICATED, 0, "the client certificate cannot be read");
        }
    }
    if (err->code == ERR_OK)
        identify(authority, decoded, now_s, out, err);
    sk_X509_pop_free(decoded, X509_free);
    ERR_clear_error();
    return err->code;
}
