/*
 * How slipway is told what to do: one JSON file, every key optional. docs/configuration.md
 * describes each key; settings_table.c holds path, type, limits, default and prose of each in one
 * row, through which parsing, defaults, overrides, checks and `slipway config` go.
 *
 * The file has at most 1 MiB. An unknown key, a wrong type, a value out of its limits or an
 * unreadable file is ERR_SETTINGS with a message that names the file and the key's path
 * ("registries.r.example.com.chunk") and never repeats a secret.
 *
 * Settings are read once at start and not changed afterwards: any thread may read them.
 */
#ifndef SLIPWAY_CONFIG_SETTINGS_H
#define SLIPWAY_CONFIG_SETTINGS_H

#include "base/json.h"
#include "base/limits.h"
#include "base/log.h"

#include <stdint.h>
#include <sys/socket.h>

#define SETTINGS_FILE_LIMIT ((size_t)1 << 20)
#define SETTINGS_REGISTRIES_MAX 1024
#define SETTINGS_MIRRORS_MAX 1024

enum setting_upload { UPLOAD_AUTO, UPLOAD_PUT, UPLOAD_PATCH, UPLOAD_CHUNKED, UPLOAD_POST };
enum setting_schema1 { SCHEMA1_FALLBACK, SCHEMA1_NEVER };
enum setting_codec {
    SETTING_CODEC_KEEP,
    SETTING_CODEC_GZIP,
    SETTING_CODEC_ZSTD,
    SETTING_CODEC_NONE
};
enum setting_effort { SETTING_EFFORT_FAST, SETTING_EFFORT_BEST };

/* One entry of "registries", keyed by the host as it stands in references ("r.example.com:5000"):
 * lower case, "index.docker.io" as "docker.io". A user name comes with a password and the other way
 * round. */
struct registry_setting {
    char *host;
    char **endpoints; /* base URLs in the order they are tried, no slash at the end; none = derived
                         from the host */
    size_t endpoint_count;
    char *username; /* NULL when the configuration names none */
    char *password; /* already read from password_file or password_env; NULL when none */
    char *ca;       /* path of a PEM file; NULL = the system's */
    bool plain_http;
    enum setting_upload upload;
    uint64_t chunk_bytes;
    int64_t retry_wait_ms;
    enum setting_schema1 schema1;
};

#define SETTING_PATTERN_MAX 255 /* bytes of a pattern; no name is longer */

/* One entry of "mirrors": gateway/push/mirrors.h says what patterns mean. */
enum setting_acknowledge { SETTING_ACKNOWLEDGE_PUSHED, SETTING_ACKNOWLEDGE_STORED };

struct mirror_target_setting {
    char *target; /* HOST/PATTERN, without tag and digest; no more wildcards of a kind than match */
    bool required;
};

struct mirror_setting {
    char *match;
    struct mirror_target_setting *targets; /* one to TARGETS_MAX */
    size_t target_count;
    enum setting_acknowledge acknowledge;
};

struct settings {
    char *listen; /* ADDR:PORT, [ADDR6]:PORT; port 0 = any free one */
    char *data;   /* NULL only when nothing says where: settings_check() refuses that */
    struct {
        char *certificate;
        char *key;
    } tls; /* all NULL: plain HTTP */
    struct {
        uint64_t archive_bytes;
        unsigned uploads;
        unsigned blobs; /* bodies of registry clients that are received at the same time */
        unsigned pushes_per_registry;
        unsigned pushes;
        int64_t upload_idle_ms; /* how long an upload session waits for its client */
    } limits;
    struct {
        enum setting_codec codec;
        enum setting_effort effort;
    } compression;
    struct registry_setting *registries;
    size_t registry_count;
    struct mirror_setting
        *mirrors; /* in the order of the file, which is that of their precedence */
    size_t mirror_count;
    struct {
        bool anonymous; /* listening beyond loopback without client authentication is wanted */
    } clients;
    struct {
        enum log_level level;
        enum log_format format;
    } log;
};

/* Read `path`, or take the defaults when it is NULL. Relative paths in the file are relative to the
 * file's folder. Passwords are read from their files and environment variables here. Owned:
 * settings_free. */
enum errc settings_load(const char *path, struct settings **out, struct error *err);
/* The same from memory; `name` stands in messages for the file, relative paths are relative to the
 * working folder. For tests and fuzzing. */
enum errc settings_parse(const char *data, size_t size, const char *name, struct settings **out,
                         struct error *err);
void settings_free(struct settings *settings);

/* Checks that span keys or look at the machine, after command-line options have been laid over:
 * listening beyond loopback needs clients.anonymous, tls needs both certificate and key, a PEM file
 * must be there and readable, data must be known. ERR_SETTINGS, naming the key. */
enum errc settings_check(const struct settings *settings, struct error *err);

/* Set one value from the command line, e.g. ("listen", "127.0.0.1:0", "--listen"): parsed and
 * checked as the file's would be; `origin` stands in messages. Relative paths are relative to the
 * working folder. Keys of "registries" and "mirrors" cannot be set so. */
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

/* "64MiB", "1GB", "512" to bytes. "30s", "5m", "1h", "250ms" to milliseconds. Whole numbers, no
 * spaces, less than 2^63. ERR_SETTINGS. */
enum errc settings_size(const char *text, uint64_t *bytes, struct error *err);
enum errc settings_duration(const char *text, int64_t *ms, struct error *err);

/* `listen` as the sockets want it: an IPv4 address or an IPv6 address in brackets, and a port.
 * ERR_SETTINGS; never when the text is the `listen` of settings that were parsed. */
enum errc settings_address(const char *text, struct sockaddr_storage *address, socklen_t *size,
                           struct error *err);

#endif
