/*
 * How slipway is told what to do: one JSON file, every key optional. docs/configuration.md
 * describes each key; settings_table.c holds path, type, limits, default and prose of each in one
 * row, through which parsing, defaults, overrides, checks and `slipway config` go.
 *
 * The file has at most 1 MiB. An unknown key, a wrong type, a value out of its limits or an
 * unreadable file is ERR_SETTINGS with a message that names the file and the key's path
 * ("registries.r.example.com.chunk") and never repeats a secret.
 *
 * Settings are not changed once they are checked: any thread may read them. Whoever needs them for
 * as long as others may come in their place (runtime_settings()) has a reference.
 */
#ifndef SLIPWAY_CONFIG_SETTINGS_H
#define SLIPWAY_CONFIG_SETTINGS_H

#include "base/json.h"
#include "config/settings_types.h"

#define SETTINGS_FILE_LIMIT ((size_t)1 << 20)

/* Read `path`, or take the defaults when it is NULL. Relative paths in the file are relative to the
 * file's folder. Passwords are read from their files and environment variables here. Owned:
 * settings_free. */
enum errc settings_load(const char *path, struct settings **out, struct error *err);
/* The same from memory; `name` stands in messages for the file, relative paths are relative to the
 * working folder. For tests and fuzzing. */
enum errc settings_parse(const char *data, size_t size, const char *name, struct settings **out,
                         struct error *err);
/* Give back a reference; the last one frees them. NULL is a no-op. */
void settings_free(const struct settings *settings);
/* One reference more. */
const struct settings *settings_ref(const struct settings *settings);

static inline void settings_cleanup(const struct settings **settings)
{
    settings_free(*settings);
}
#define autosettings __attribute__((cleanup(settings_cleanup)))

/* A password from a file of 1 to 64 KiB: one newline at its end is not part of it. Owned, a secret.
 */
enum errc settings_password_file(const char *path, char **out, struct error *err);

/* Checks that span keys or look at the machine, after command-line options have been laid over:
 * setting_access_check(), tls needs both certificate and key, which must fit each other, a PEM
 * file must be there and readable, data must be known.
 * ERR_SETTINGS, naming the key. */
enum errc settings_check(const struct settings *settings, struct error *err);

/* Set one value from the command line, e.g. ("listen", "127.0.0.1:0", "--listen"): parsed and
 * checked as the file's would be; `origin` stands in messages. Relative paths are relative to the
 * working folder. Keys of lists, and of "registries", cannot be set so. */
enum errc settings_override(struct settings *settings, const char *path, const char *value,
                            const char *origin, struct error *err);

/* The entry for a registry host, in any case of letters, or NULL. Borrowed. */
const struct registry_setting *settings_registry(const struct settings *settings, const char *host);

/* The effective configuration in the form of the file, secrets as "(redacted)", owned. */
json_t *settings_print(const struct settings *settings);

/* What there is to set, for a terminal: each key with its values, default and a line of prose.
 * Owned.
 */
char *settings_describe(void);

#endif
