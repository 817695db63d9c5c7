/*
 * Identities of client certificates: tls.client_ca.
 *
 * A certificate is somebody's when its chain leads to one of the authorities in the file, all of it
 * is within its time, and it may be shown by clients (RFC 5280, 4.2.1.12, where it says at all).
 * That whoever shows it has its key, the TLS handshake has shown. The name is "cert:" and the URI
 * among its alternative names, as SPIFFE has it, or, where there is none, its subject as RFC 4514
 * writes it ("CN=build-1,O=Example"). Refused are names with NUL or control characters, which other
 * programs cut or show otherwise; several URIs, of which nobody could say which one is meant; an
 * empty subject; and names longer than IDENTITY_NAME_MAX.
 *
 * A struct client_authority never changes; any thread may ask with it. A check takes some tenths of
 * a millisecond and does not block.
 */
#ifndef SLIPWAY_GATEWAY_ACCESS_CERTIFICATES_H
#define SLIPWAY_GATEWAY_ACCESS_CERTIFICATES_H

#include "base/error.h"
#include "gateway/access/identity.h"

#define CERTIFICATE_CHAIN_MAX 8
#define CLIENT_CA_BYTES_MAX ((size_t)1 << 20)

/* One certificate, DER; borrowed. */
struct certificate_bytes {
    const unsigned char *data;
    size_t size;
};

struct client_authority;

/* From PEM text. ERR_SETTINGS: there is no certificate in it. */
enum errc client_authority_parse(const char *pem, size_t size, struct client_authority **out,
                                 struct error *err);
void client_authority_free(struct client_authority *authority); /* NULL is a no-op */

/* Whose it is: of a chain as TLS brings it, the client's own first, at `now_s`. ERR_UNAUTHENTICATED
 * says what is wrong. *out is filled in on success. */
enum errc certificate_identity(const struct client_authority *authority,
                               const struct certificate_bytes *chain, size_t count, int64_t now_s,
                               struct identity *out, struct error *err);

/* Its name with "cert:", owned; nothing else of it is looked at. ERR_UNAUTHENTICATED. */
enum errc certificate_name(const struct certificate_bytes *certificate, char **out,
                           struct error *err);

#endif
