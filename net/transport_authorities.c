#include "base/clock.h"
#include "base/lock.h"
#include "net/transport_private.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#define AUTHORITIES_MS 300000

static const char *file_of(const struct transport *transport)
{
    return transport->ca_file ? transport->ca_file : curl_version_info(CURLVERSION_NOW)->cainfo;
}

/* A system's are some 150 certificates. Reading them takes as long as a small push, and what turns
 * out to speak no TLS needs none: they are read when there is a certificate to be verified. */
static bool are_read_later(const struct transport *transport)
{
    return transport->ca_of_environment && file_of(transport) != NULL;
}

static bool is_empty(X509_STORE *store)
{
    X509_STORE_lock(store);
    int count = sk_X509_OBJECT_num(X509_STORE_get0_objects(store));
    X509_STORE_unlock(store);
    return count == 0;
}

static int verify(X509_STORE_CTX *chain, void *arg)
{
    struct transport *transport = arg;
    X509_STORE *store = X509_STORE_CTX_get0_store(chain);
    pthread_mutex_lock(&transport->authorities_lock);
    bool read = !is_empty(store) || X509_STORE_load_file(store, file_of(transport)) == 1;
    pthread_mutex_unlock(&transport->authorities_lock);
    ERR_clear_error();
    if (read)
        return X509_verify_cert(chain);
    X509_STORE_CTX_set_error(chain, X509_V_ERR_STORE_LOOKUP);
    return 0;
}

/* As libcurl does it: a chain may end at a certificate that is trusted though it is no root. */
static X509_STORE *read_authorities(const struct transport *transport)
{
    const curl_version_info_data *defaults = curl_version_info(CURLVERSION_NOW);
    const char *file = are_read_later(transport) ? NULL : file_of(transport);
    X509_STORE *store = X509_STORE_new();
    if (store == NULL)
        return NULL;
    bool read = file == NULL || X509_STORE_load_file(store, file) == 1;
    if (read && defaults->capath)
        read = X509_STORE_load_path(store, defaults->capath) == 1;
    ERR_clear_error();
    X509_STORE_set_flags(store, X509_V_FLAG_TRUSTED_FIRST | X509_V_FLAG_PARTIAL_CHAIN);
    if (read)
        return store;
    X509_STORE_free(store);
    return NULL;
}

bool transport_set_authorities(struct transport *transport, SSL_CTX *context)
{
    autolock pthread_mutex_t *held = lock_take(&transport->authorities_lock);
    int64_t now_ms = clock_ms();
    if (transport->authorities == NULL || now_ms - transport->authorities_ms >= AUTHORITIES_MS) {
        X509_STORE_free(transport->authorities);
        transport->authorities = read_authorities(transport);
        transport->authorities_ms = now_ms;
    }
    if (transport->authorities == NULL)
        return false;
    SSL_CTX_set1_cert_store(context, transport->authorities);
    if (are_read_later(transport))
        SSL_CTX_set_cert_verify_callback(context, verify, transport);
    return true;
}
