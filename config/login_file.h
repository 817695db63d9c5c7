/*
 * A login file of docker (config.json) or podman (auth.json) as a value: what it says for a host.
 * Which files there are, and asking the helpers that they name, is config/credentials.h, where the
 * format is described, too.
 *
 * Pure functions of any thread. Messages name `file` and the entry, never a secret.
 */
#ifndef SLIPWAY_CONFIG_LOGIN_FILE_H
#define SLIPWAY_CONFIG_LOGIN_FILE_H

#include "base/json.h"
#include "config/credentials.h"

#define LOGIN_FILE_BYTES_MAX ((size_t)1 << 20)

/* The file's bytes as an owned JSON object. ERR_CREDENTIALS for anything else. */
enum errc login_file_parse(const char *data, size_t size, const char *file, json_t **out,
                           struct error *err);

/* The name of the helper to ask for `host` and repository `path`, borrowed from `root`, not
 * checked;
 * "" when there is none. ERR_CREDENTIALS for a member that is no text. */
enum errc login_file_helper(const json_t *root, const char *file, const char *host,
                            const char *path, const char **name, struct error *err);

/* What helpers know `host` as: the Docker Hub has a name of its own there. Borrowed. */
const char *login_file_server(const char *host);

/* What `auths` has for `host` and `path`: fills `out`, which is all NULL before and stays so when
 * there is nothing. ERR_CREDENTIALS for an entry that cannot be read. */
enum errc login_file_entry(const json_t *root, const char *file, const char *host, const char *path,
                           struct stored_credentials *out, struct error *err);

#endif
