/*
 * Whether certificates and private keys can serve: what is wrong with them shows when the
 * configuration is checked, not when the first client or registry comes.
 */
#ifndef SLIPWAY_CONFIG_SETTINGS_TLS_H
#define SLIPWAY_CONFIG_SETTINGS_TLS_H

#include "base/error.h"

/* A setting, or an option, and the PEM file that it names. */
struct named_file {
    const char *name; /* for messages */
    const char *path;
};

/* Both can be read. ERR_SETTINGS, naming setting and file: one holds something else, the private
 * key has a passphrase, or it is not that of the first certificate. */
enum errc settings_tls_check(struct named_file certificate, struct named_file key,
                             struct error *err);

/* ERR_SETTINGS when the file is not there or has no certificate. */
enum errc settings_ca_check(struct named_file ca, struct error *err);

#endif
