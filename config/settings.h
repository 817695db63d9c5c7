/*
 * How slipway is told what to do: one JSON file, every key optional. docs/configuration.md
 * describes each key; the tables in settings.c hold path, type, limits, default and prose of each
 * in one row, from which validation, `slipway config` and that page come.
 *
 * An unknown key, a wrong type, a value out of its limits or an unreadable file is ERR_SETTINGS
 * with a message that names the key's path ("registries.r.example.com.chunk").
 *
 * Settings are read once at start and not changed afterwards: any thread may read them.
 */
#ifndef SLIPWAY_CONFIG_SETTINGS_H
#define SLIPWAY_CONFIG_SETTINGS_H

#include "base/json.h"
#include "base/log.h"

#include <stdint.h>

enum setting_upload { UPLOAD_AUTO, UPLOAD_PUT, UPLOAD_PATCH, UPLOAD_CHUNKED, UPLOAD_POST };
enum setting_schema1 { SCHEMA1_FALLBACK, SCHEMA1_NEVER };
enum setting_codec {
    SETTING_CODEC_KEEP,
    SETTING_CODEC_GZIP,
    SETTING_CODEC_ZSTD,
    SETTING_CODEC_NONE
};
enum setting_effort { SETTING_EFFORT_FAST, SETTING_EFFORT_BEST };

/* One entry of "registries", keyed by the host as it stands in references ("r.example.com:5000").
 */
struct registry_setting {
    char *host;
    char **endpoints; /* base URLs in the order they are tried; none = derived from the host */
    size_t endpoint_count;
    char *username; /* NULL when the configuration names none */
    char *password; /* already read from password_file or password_env; NULL when none */
    char *ca;       /* path of a PEM file; NULL = the system's */
    bool plain_http;
    enum setting_upload upload;
    uint64_t chunk_bytes;
    enum setting_schema1 schema1;
};

struct settings {
    char *listen; /* ADDR:PORT, [ADDR6]:PORT; port 0 = any free one */
    char *data;
    struct {
        char *certificate;
        char *key;
        char *client_ca;
    } tls; /* all NULL: plain HTTP */
    struct {
        uint64_t archive_bytes;
        unsigned uploads;
        unsigned pushes_per_registry;
        unsigned pushes;
    } limits;
    struct {
        enum setting_codec codec;
        enum setting_effort effort;
    } compression;
    struct registry_setting *registries;
    size_t registry_count;
    struct {
        bool anonymous; /* listening beyond loopback without client authentication is wanted */
    } clients;
    struct {
        enum log_level level;
        enum log_format format;
    } log;
};

/* Read `path`, or take the defaults when it is NULL. Relative paths in the file are relative to the
 * file's folder. Owned: settings_free. */
enum errc settings_load(const char *path, struct settings **out, struct error *err);
/* The same from memory; `name` stands in messages for the file. For tests and fuzzing. */
enum errc settings_parse(const char *data, size_t size, const char *name, struct settings **out,
                         struct error *err);
void settings_free(struct settings *settings);

/* Checks that span keys, after command-line options have been laid over: listening beyond loopback
 * needs clients.anonymous, tls needs both certificate and key. */
enum errc settings_check(const struct settings *settings, struct error *err);

/* Set one value from the command line, e.g. ("listen", "127.0.0.1:0", "--listen"): parsed and
 * checked as the file's would be; `origin` stands in messages. */
enum errc settings_override(struct settings *settings, const char *path, const char *value,
                            const char *origin, struct error *err);

/* The entry for a registry host, or NULL. */
const struct registry_setting *settings_registry(const struct settings *settings, const char *host);

/* The effective configuration with secrets as "(redacted)", owned. */
json_t *settings_print(const struct settings *settings);

/* "64MiB", "1GB", "512" to bytes. "30s", "5m", "1h", "250ms" to milliseconds. ERR_SETTINGS. */
enum errc settings_size(const char *text, uint64_t *bytes, struct error *err);
enum errc settings_duration(const char *text, int64_t *ms, struct error *err);

#endif
