/*
 * Whether tls.certificate and tls.key can serve: what is wrong with them shows when the
 * configuration is checked, not when the first client comes.
 */
#ifndef SLIPWAY_CONFIG_SETTINGS_TLS_H
#define SLIPWAY_CONFIG_SETTINGS_TLS_H

#include "base/error.h"

/* Both are PEM files that can be read. ERR_SETTINGS, naming key and file: one holds something else,
 * the private key has a passphrase, or it is not that of the first certificate. */
enum errc settings_tls_check(const char *certificate, const char *key, struct error *err);

#endif
