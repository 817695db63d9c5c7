/*
 * The certificate that the gateway shows to clients of TLS, with its key. Another one may take its
 * place while connections come: each is shown the one that there was when it began, and keeps it.
 *
 *     server_certificate_read -> server_certificate_use... -> server_certificate_use(NULL)
 *
 * One for the process: libmicrohttpd calls back for a certificate without saying for which daemon.
 *
 * Any thread.
 */
#ifndef SLIPWAY_GATEWAY_HTTP_SERVER_CERTIFICATE_H
#define SLIPWAY_GATEWAY_HTTP_SERVER_CERTIFICATE_H

#include "base/error.h"

#include <gnutls/abstract.h>
#include <stdbool.h>

/* The gateway's own, and those of the authorities between it and the root. */
#define SERVER_CERTIFICATES_MAX 16
#define SERVER_CERTIFICATE_BYTES_MAX (1U << 20) /* of each file */

struct server_certificate;

/* PEM files. ERR_SETTINGS where they cannot be used, and where the key is not the certificate's. */
enum errc server_certificate_read(const char *certificate_path, const char *key_path,
                                  struct server_certificate **out, struct error *err);
void server_certificate_free(struct server_certificate *certificate); /* NULL is a no-op */

/* Connections that begin now are shown it; it is taken. NULL: there is none any more. */
void server_certificate_use(struct server_certificate *certificate);

/* Is its first one that which is shown now? */
bool server_certificate_is_shown(const struct server_certificate *certificate);

/* What MHD_OPTION_HTTPS_CERT_CALLBACK2 wants: a gnutls_certificate_retrieve_function3. Clients are
 * not told the names of the authorities of tls.client_ca, whose file may be written again: they
 * show the certificate that they have. */
int server_certificate_show(gnutls_session_t session, const struct gnutls_cert_retr_st *info,
                            gnutls_pcert_st **chain, unsigned *chain_size,
                            gnutls_ocsp_data_st **ocsp, unsigned *ocsp_size, gnutls_privkey_t *key,
                            unsigned *flags);

#endif
