#include "gateway/http/server_certificate.h"

#include "base/file.h"
#include "base/lock.h"
#include "base/mem.h"
#include "base/secret.h"

#include <gnutls/x509.h>
#include <pthread.h>

struct server_certificate {
    gnutls_x509_crt_t chain[SERVER_CERTIFICATES_MAX];
    unsigned count;
    gnutls_x509_privkey_t key;
};

static struct {
    pthread_mutex_t lock;
    struct server_certificate *certificate; /* NULL: there is none */
} shown = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- reading ---- */

static enum errc wrong(struct error *err, const char *path, int status)
{
    return fail(err, ERR_SETTINGS, 0, "%s: %s", path, gnutls_strerror(status));
}

static enum errc read_chain(struct server_certificate *certificate, const char *path,
                            struct error *err)
{
    autofree char *pem = NULL;
    size_t size = 0;
    if (file_read_all(path, SERVER_CERTIFICATE_BYTES_MAX, &pem, &size, err) != ERR_OK)
        return err->code = ERR_SETTINGS;
    const gnutls_datum_t text = {(unsigned char *)pem, (unsigned)size};
    unsigned count = SERVER_CERTIFICATES_MAX;
    int status = gnutls_x509_crt_list_import(certificate->chain, &count, &text, GNUTLS_X509_FMT_PEM,
                                             GNUTLS_X509_CRT_LIST_IMPORT_FAIL_IF_EXCEED);
    if (status < 0)
        return wrong(err, path, status);
    certificate->count = (unsigned)status;
    return ERR_OK;
}

static enum errc read_key(struct server_certificate *certificate, const char *path,
                          struct error *err)
{
    autosecret char *pem = NULL;
    size_t size = 0;
    if (file_read_all(path, SERVER_CERTIFICATE_BYTES_MAX, &pem, &size, err) != ERR_OK)
        return err->code = ERR_SETTINGS;
    const gnutls_datum_t text = {(unsigned char *)pem, (unsigned)size};
    int status = gnutls_x509_privkey_init(&certificate->key);
    if (status >= 0)
        status = gnutls_x509_privkey_import2(certificate->key, &text, GNUTLS_X509_FMT_PEM, NULL, 0);
    return status < 0 ? wrong(err, path, status) : ERR_OK;
}

/* Credentials that take both find out whether they belong together. */
static enum errc check_match(const struct server_certificate *certificate, const char *path,
                             struct error *err)
{
    gnutls_certificate_credentials_t both = NULL;
    int status = gnutls_certificate_allocate_credentials(&both);
    if (status < 0)
        return wrong(err, path, status);
    status =
        gnutls_certificate_set_x509_key(both, (gnutls_x509_crt_t *)(uintptr_t)certificate->chain,
                                        (int)certificate->count, certificate->key);
    gnutls_certificate_free_credentials(both);
    return status < 0 ? wrong(err, path, status) : ERR_OK;
}

enum errc server_certificate_read(const char *certificate_path, const char *key_path,
                                  struct server_certificate **out, struct error *err)
{
    struct server_certificate *certificate = xcalloc(1, sizeof *certificate);
    if (read_chain(certificate, certificate_path, err) != ERR_OK ||
        read_key(certificate, key_path, err) != ERR_OK ||
        check_match(certificate, key_path, err) != ERR_OK) {
        server_certificate_free(certificate);
        return error_wrap(err, "tls");
    }
    *out = certificate;
    return ERR_OK;
}

void server_certificate_free(struct server_certificate *certificate)
{
    if (certificate == NULL)
        return;
    for (unsigned i = 0; i < certificate->count; i++)
        gnutls_x509_crt_deinit(certificate->chain[i]);
    if (certificate->key)
        gnutls_x509_privkey_deinit(certificate->key);
    free(certificate);
}

void server_certificate_use(struct server_certificate *certificate)
{
    pthread_mutex_lock(&shown.lock);
    struct server_certificate *before = shown.certificate;
    shown.certificate = certificate;
    pthread_mutex_unlock(&shown.lock);
    server_certificate_free(before);
}

/* ---- showing ---- */

bool server_certificate_is_shown(const struct server_certificate *certificate)
{
    autolock pthread_mutex_t *held = lock_take(&shown.lock);
    return shown.certificate &&
           gnutls_x509_crt_equals(shown.certificate->chain[0], certificate->chain[0]);
}

/* Copies, which end with the connection. */
static int copy_key(const struct server_certificate *certificate, gnutls_privkey_t *out)
{
    int status = gnutls_privkey_init(out);
    if (status < 0)
        return status;
    status = gnutls_privkey_import_x509(*out, certificate->key, GNUTLS_PRIVKEY_IMPORT_COPY);
    if (status < 0)
        gnutls_privkey_deinit(*out);
    return status;
}

static int copy_chain(const struct server_certificate *certificate, gnutls_pcert_st **out)
{
    gnutls_pcert_st *chain = gnutls_calloc(certificate->count, sizeof *chain);
    int status = chain ? 0 : GNUTLS_E_MEMORY_ERROR;
    unsigned done = 0;
    while (status >= 0 && done < certificate->count) {
        status = gnutls_pcert_import_x509(&chain[done], certificate->chain[done], 0);
        done += status >= 0;
    }
    if (status >= 0) {
        *out = chain;
        return 0;
    }
    for (unsigned i = 0; i < done; i++)
        gnutls_pcert_deinit(&chain[i]);
    gnutls_free(chain);
    return status;
}

int server_certificate_show(gnutls_session_t session, const struct gnutls_cert_retr_st *info,
                            gnutls_pcert_st **chain, unsigned *chain_size,
                            gnutls_ocsp_data_st **ocsp, unsigned *ocsp_size, gnutls_privkey_t *key,
                            unsigned *flags)
{
    (void)info;
    (void)ocsp;
    autolock pthread_mutex_t *held = lock_take(&shown.lock);
    const struct server_certificate *certificate = shown.certificate;
    gnutls_certificate_send_x509_rdn_sequence(session, 1);
    if (certificate == NULL || copy_key(certificate, key) < 0)
        return -1;
    if (copy_chain(certificate, chain) < 0) {
        gnutls_privkey_deinit(*key);
        return -1;
    }
    *chain_size = certificate->count;
    *ocsp_size = 0;
    *flags = GNUTLS_CERT_RETR_DEINIT_ALL;
    return 0;
}
