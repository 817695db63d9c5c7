/*
 * One question to a credential helper, a program docker-credential-NAME on the PATH: `get` with the
 * server on stdin, JSON or an error text on stdout.
 *
 * Any thread; it waits, see config/program.h. The helper's stderr is discarded.
 */
#ifndef SLIPWAY_CONFIG_CREDENTIALS_HELPER_H
#define SLIPWAY_CONFIG_CREDENTIALS_HELPER_H

#include "config/credentials.h"

/* Fills the members of `out`, all NULL when the helper holds nothing for `server`. ERR_CREDENTIALS
 * naming the helper: a name with other characters than letters, digits, ".", "_" and "-", no such
 * program, a failure (with its first line), over 256 KiB, no such answer, too late. */
enum errc credentials_helper_get(const char *name, const char *server,
                                 struct stored_credentials *out, struct error *err);

#endif
