#include "base/clock.h"
#include "base/lock.h"
#include "net/transport_private.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#define AUTHORITIES_MS 300000

/* As libcurl does it: a chain may end at a certificate that is trusted though it is no root. */
static X509_STORE *read_authorities(const struct transport *transport)
{
    const curl_version_info_data *defaults = curl_version_info(CURLVERSION_NOW);
    const char *file = transport->ca_file ? transport->ca_file : defaults->cainfo;
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
    return true;
}
