#include "config/settings_tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <unistd.h>

/* OpenSSL would ask the terminal. */
static int no_passphrase(char *out, int size, int writing, void *arg)
{
    (void)writing;
    (void)arg;
    if (size > 0)
        out[0] = '\0';
    return -1;
}

static X509 *read_certificate(const char *path)
{
    BIO *file = BIO_new_file(path, "r");
    X509 *certificate = file ? PEM_read_bio_X509(file, NULL, no_passphrase, NULL) : NULL;
    BIO_free(file);
    return certificate;
}

static EVP_PKEY *read_key(const char *path)
{
    BIO *file = BIO_new_file(path, "r");
    EVP_PKEY *key = file ? PEM_read_bio_PrivateKey(file, NULL, no_passphrase, NULL) : NULL;
    BIO_free(file);
    return key;
}

enum errc settings_tls_check(struct named_file certificate, struct named_file key,
                             struct error *err)
{
    X509 *first = read_certificate(certificate.path);
    EVP_PKEY *pair = read_key(key.path);
    if (first == NULL)
        fail(err, ERR_SETTINGS, 0, "%s: %s holds no certificate in PEM", certificate.name,
             certificate.path);
    else if (pair == NULL)
        fail(err, ERR_SETTINGS, 0,
             "%s: %s holds no private key in PEM that can be read without a passphrase", key.name,
             key.path);
    else if (X509_check_private_key(first, pair) != 1)
        fail(err, ERR_SETTINGS, 0, "%s: %s is not the private key of the first certificate in %s",
             key.name, key.path, certificate.path);
    X509_free(first);
    EVP_PKEY_free(pair);
    ERR_clear_error();
    return err->code;
}

enum errc settings_ca_check(struct named_file ca, struct error *err)
{
    if (access(ca.path, R_OK) != 0)
        return fail(err, ERR_SETTINGS, errno, "%s: open %s", ca.name, ca.path);
    X509 *first = read_certificate(ca.path);
    if (first == NULL)
        fail(err, ERR_SETTINGS, 0, "%s: %s holds no certificate in PEM", ca.name, ca.path);
    X509_free(first);
    ERR_clear_error();
    return err->code;
}
