/*
 * Certificates for registries where docker and podman look for them: a folder certs.d/HOST with
 *
 *     NAME.crt               an authority that signs the registry's certificate ("ca.crt" first)
 *     NAME.cert, NAME.key    what slipway shows to a registry that wants to know who comes
 *
 * all in PEM. HOST has the port, if the reference has one. The first of these folders that is there
 * counts: $HOME/.config/containers/certs.d, $HOME/.config/docker/certs.d, /etc/containers/certs.d,
 * /etc/docker/certs.d. Of several files of a kind the first by name is used. Nothing is opened:
 * what cannot be read shows when it is used. Any thread.
 */
#ifndef SLIPWAY_CONFIG_CERTIFICATES_H
#define SLIPWAY_CONFIG_CERTIFICATES_H

/* Paths, each owned, NULL when there is none; a certificate has its key. */
struct stored_certificates {
    char *ca;
    char *certificate;
    char *key;
};

/* `host` as in references. */
struct stored_certificates certificates_find(const char *host);

void certificates_clear(struct stored_certificates *certificates);

#endif
