#include "config/settings_table.h"

#include "base/mem.h"

#include <assert.h>
#include <ctype.h>
#include <stddef.h>
#include <string.h>

#define KIB UINT64_C(1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)
#define TIB (1024 * GIB)
#define SECOND UINT64_C(1000)
#define MINUTE (60 * SECOND)
#define DAY (24 * 60 * MINUTE)

/* A choice is stored through an unsigned, see setting_set(). */
static_assert(sizeof(enum setting_upload) == sizeof(unsigned) &&
                  sizeof(enum setting_schema1) == sizeof(unsigned) &&
                  sizeof(enum setting_codec) == sizeof(unsigned) &&
                  sizeof(enum setting_effort) == sizeof(unsigned) &&
                  sizeof(enum setting_acknowledge) == sizeof(unsigned) &&
                  sizeof(enum setting_move) == sizeof(unsigned) &&
                  sizeof(enum log_level) == sizeof(unsigned) &&
                  sizeof(enum log_format) == sizeof(unsigned),
              "enums of settings are as wide as unsigned");

static const char *const codecs[] = {
    [SETTING_CODEC_KEEP] = "keep",
    [SETTING_CODEC_GZIP] = "gzip",
    [SETTING_CODEC_ZSTD] = "zstd",
    [SETTING_CODEC_NONE] = "none",
    NULL,
};
static const char *const efforts[] = {
    [SETTING_EFFORT_FAST] = "fast",
    [SETTING_EFFORT_BEST] = "best",
    NULL,
};
static const char *const levels[] = {
    [LOG_ERROR] = "error", [LOG_WARN] = "warn", [LOG_INFO] = "info", [LOG_DEBUG] = "debug", NULL,
};
static const char *const formats[] = {[LOG_TEXT] = "text", [LOG_JSON] = "json", NULL};
static const char *const uploads[] = {
    [UPLOAD_AUTO] = "auto",       [UPLOAD_PUT] = "put",   [UPLOAD_PATCH] = "patch",
    [UPLOAD_CHUNKED] = "chunked", [UPLOAD_POST] = "post", NULL,
};
static const char *const schema1[] = {
    [SCHEMA1_FALLBACK] = "fallback",
    [SCHEMA1_NEVER] = "never",
    NULL,
};
/* Beside the times that a duration may be; stored as 0. */
static const char *const forever[] = {"forever", NULL};
static const char *const never[] = {"never", NULL};
static const char *const off[] = {"off", NULL};
static const char *const drifts[] = {
    [SETTING_DRIFT_OVERWRITE] = "overwrite", [SETTING_DRIFT_LEAVE] = "leave", NULL};
static const char *const moves[] = {
    [SETTING_MOVE_ALWAYS] = "always",
    [SETTING_MOVE_NEVER] = "never",
    [SETTING_MOVE_SAME_DIGEST] = "same-digest",
    NULL,
};
static const char *const algorithms[] = {
    [SETTING_RS256] = "RS256", [SETTING_RS384] = "RS384",
    [SETTING_RS512] = "RS512", [SETTING_PS256] = "PS256",
    [SETTING_ES256] = "ES256", [SETTING_ES384] = "ES384",
    [SETTING_EDDSA] = "EdDSA", NULL,
};
const char *const setting_operations[] = {
    "pull", "push", "delete", "tag:move", "queue:read", "queue:control", "admin", "*", NULL,
};
static const char *const acknowledgements[] = {
    [SETTING_ACKNOWLEDGE_PUSHED] = "pushed",
    [SETTING_ACKNOWLEDGE_STORED] = "stored",
    NULL,
};

#define ROW(PATH, TYPE, OF, MEMBER, LEAST, MOST, INITIAL, CHOICES, PROSE)                          \
    {.path = (PATH),                                                                               \
     .type = (TYPE),                                                                               \
     .offset = offsetof(struct OF, MEMBER),                                                        \
     .least = (LEAST),                                                                             \
     .most = (MOST),                                                                               \
     .initial = (INITIAL),                                                                         \
     .choices = (CHOICES),                                                                         \
     .prose = (PROSE)},

/* clang-format off */
/* X(path, type, struct, member, least, most, default, choices, prose) */
#define SETTINGS_TABLE(X)                                                                          \
    X("listen", SETTING_ADDRESS, settings, listen, 0, 0, "127.0.0.1:5000", NULL,                   \
      "IP address and port on which the gateway listens; port 0 takes a free one")                 \
    X("hosts", SETTING_HOSTS, settings, hosts, 1, 64, NULL, NULL,                                  \
      "names under which clients reach the gateway")                                               \
    X("data", SETTING_FOLDER, settings, data, 0, 0, NULL, NULL,                                    \
      "folder that holds the gateway's blobs and metadata")                                        \
    X("tls.certificate", SETTING_FILE, settings, tls.certificate, 0, 0, NULL, NULL,                \
      "PEM file with the gateway's certificate chain; with tls.key it turns on HTTPS")             \
    X("tls.key", SETTING_FILE, settings, tls.key, 0, 0, NULL, NULL,                                \
      "PEM file with the private key of tls.certificate")                                          \
    X("tls.client_ca", SETTING_FILE, settings, tls.client_ca, 0, 0, NULL, NULL,                    \
      "PEM file with the authorities whose certificates say who a client is")                      \
    X("limits.archive", SETTING_SIZE, settings, limits.archive_bytes, KIB, 1024 * TIB,             \
      "200GiB", NULL, "largest archive or layer that a client may send")                           \
    X("limits.free_space", SETTING_SIZE, settings, limits.free_space_bytes, 1, 1024 * TIB,         \
      NULL, NULL, "free room of the data folder's file system below which no body is taken")       \
    X("limits.uploads", SETTING_COUNT, settings, limits.uploads, 1, 1024, "16", NULL,              \
      "archives and layers that are received at the same time")                                    \
    X("limits.blobs", SETTING_COUNT, settings, limits.blobs, 1, 1024, "64", NULL,                  \
      "blobs of registry clients that are received at the same time")                              \
    X("limits.pushes_per_registry", SETTING_COUNT, settings, limits.pushes_per_registry,           \
      1, 256, "5", NULL, "large blobs on their way to one registry at the same time")              \
    X("limits.requests_per_registry", SETTING_COUNT, settings, limits.requests_per_registry,       \
      1, 256, "16", NULL, "small blobs on their way to one registry at the same time")             \
    X("limits.transfers", SETTING_COUNT, settings, limits.transfers, 1, 4096, "128", NULL,         \
      "transfers and requests at the same time to all registries")                                 \
    X("limits.pushes", SETTING_COUNT, settings, limits.pushes, 1, 1024, "64", NULL,                \
      "pushes that run at the same time")                                                          \
    X("limits.push_time", SETTING_DURATION, settings, limits.push_ms, SECOND, 30 * DAY, "24h",     \
      NULL, "how long a push may take that a client waits for")                                    \
    X("limits.push_copies", SETTING_SIZE, settings, limits.push_copies_bytes, 1, 1024 * TIB,       \
      "20GiB", NULL, "blobs that slipway push, by itself, leaves in its data folder")              \
    X("limits.upload_session", SETTING_DURATION, settings, limits.upload_idle_ms, SECOND,          \
      30 * DAY, "1h", NULL, "how long an unfinished blob waits for its client")                    \
    X("limits.upload_sessions", SETTING_COUNT, settings, limits.upload_sessions, 1, 1000000,       \
      "8192", NULL, "unfinished blobs of registry clients at the same time")                       \
    X("limits.upload_sessions_per_repository", SETTING_COUNT, settings,                            \
      limits.upload_sessions_per_repository, 1, 1000000, "2048", NULL,                             \
      "unfinished blobs at the same time in one repository")                                       \
    X("limits.upload_sessions_per_client", SETTING_COUNT, settings,                                \
      limits.upload_sessions_per_client, 1, 1000000, "512", NULL,                                  \
      "unfinished blobs at the same time that one address has begun")                              \
    X("store.map", SETTING_SIZE, settings, store.map_bytes, 64 * MIB, 16 * TIB, "32GiB", NULL,     \
      "most that the metadata may take")                                                           \
    X("queue.keep_trying", SETTING_DURATION, settings, queue.keep_trying_ms, SECOND, 3650 * DAY,   \
      "168h", forever, "how long a push after the answer is tried again")                          \
    X("queue.history_count", SETTING_COUNT, settings, queue.history_count, 0, 1000000, "10000",    \
      NULL, "pushes that are remembered after their end")                                          \
    X("queue.history_age", SETTING_DURATION, settings, queue.history_ms, SECOND, 3650 * DAY,       \
      "720h", NULL, "how long they are remembered")                                                \
    X("keep.grace", SETTING_DURATION, settings, keep.grace_ms, SECOND, 30 * DAY, "24h", NULL,      \
      "how long a blob stays that nothing needs, after somebody was told that it is there")        \
    X("keep.untagged", SETTING_DURATION, settings, keep.untagged_ms, SECOND, 3650 * DAY,           \
      "forever", forever, "how long a manifest stays that only its digest names")                  \
    X("keep.cache_size", SETTING_SIZE, settings, keep.cache_bytes, 1, 1024 * TIB, NULL, NULL,      \
      "what is kept of images that archives brought, once they are pushed")                        \
    X("keep.cache_age", SETTING_DURATION, settings, keep.cache_ms, SECOND, 3650 * DAY, "720h",     \
      forever, "how long such an image is kept after its last use")                                \
    X("keep.every", SETTING_DURATION, settings, keep.every_ms, SECOND, 30 * DAY, "1h", NULL,       \
      "how often what nobody needs is collected")                                                  \
    X("queue.reconcile", SETTING_DURATION, settings, queue.reconcile_ms, MINUTE, 3650 * DAY, "off", \
      off, "how often all targets of mirrors are asked whether they have their tags")                                                \
    X("compression.codec", SETTING_CHOICE, settings, compression.codec, 0, 0, "gzip", codecs,      \
      "how layers that arrive uncompressed are compressed")                                        \
    X("compression.effort", SETTING_CHOICE, settings, compression.effort, 0, 0, "fast", efforts,   \
      "whether speed or small layers matter more")                                                 \
    X("clients.htpasswd", SETTING_FILE, settings, clients.htpasswd, 0, 0, NULL, NULL,              \
      "file with the users and their passwords, as htpasswd -B writes it")                         \
    X("clients.groups", SETTING_LISTS, settings, clients.groups, 1, 1024, NULL, NULL,              \
      "groups of users, robots, CI identities and certificates, for the rules of policy")          \
    X("clients.token_ttl", SETTING_DURATION, settings, clients.token_ttl_ms, MINUTE, DAY, "1h",    \
      NULL, "how long a token of the gateway is good; a push has to end within it")                \
    X("clients.anonymous", SETTING_BOOL, settings, clients.anonymous, 0, 0, "false", NULL,         \
      "let policy stand without any source of identities: all clients are anonymous")              \
    X("clients.plain_http", SETTING_BOOL, settings, clients.plain_http, 0, 0, "false", NULL,       \
      "let the gateway listen beyond loopback without TLS")                                        \
    X("clients.trusted_proxies", SETTING_NETWORKS, settings, clients.trusted_proxies, 1,           \
      SETTINGS_PROXIES_MAX, NULL, NULL,                                                            \
      "proxies whose X-Forwarded-For says who their clients are")                                  \
    X("audit.file", SETTING_OUTPUT, settings, audit.file, 0, 0, NULL, NULL,                        \
      "file to which the audit events are appended, or - for stdout")                              \
    X("ops.listen", SETTING_ADDRESS, settings, ops.listen, 0, 0, NULL, NULL,                       \
      "IP address and port where health is answered, too, on connections of its own")              \
    X("log.level", SETTING_CHOICE, settings, log.level, 0, 0, "info", levels,                      \
      "the least important events that are logged")                                                \
    X("log.format", SETTING_CHOICE, settings, log.format, 0, 0, "text", formats,                   \
      "lines of text, or one JSON object a line")

#define REGISTRY_TABLE(X)                                                                          \
    X("endpoints", SETTING_URLS, registry_setting, endpoints, 1, 16, NULL, NULL,                   \
      "base URLs of the registry, in the order they are tried")                                    \
    X("username", SETTING_TEXT, registry_setting, username, 1, 1024, NULL, NULL,                   \
      "user name for the registry")                                                                \
    X("password", SETTING_SECRET, registry_setting, password, 1, 64 * KIB, NULL, NULL,             \
      "password of that user")                                                                     \
    X("password_file", SETTING_SECRET_FILE, registry_setting, password, 1, 64 * KIB, NULL, NULL,   \
      "file from which the password is read at start")                                             \
    X("password_env", SETTING_SECRET_ENV, registry_setting, password, 1, 64 * KIB, NULL, NULL,     \
      "environment variable from which the password is read at start")                             \
    X("password_command", SETTING_TEXTS, registry_setting, password_command, 1, 64, NULL, NULL,    \
      "program, with its arguments, that prints the password")                                     \
    X("ca", SETTING_FILE, registry_setting, ca, 0, 0, NULL, NULL,                                  \
      "PEM file with the authorities that sign the registry's certificate")                        \
    X("client_certificate", SETTING_FILE, registry_setting, client_certificate, 0, 0, NULL, NULL,  \
      "PEM file with the certificate that is shown to the registry")                               \
    X("client_key", SETTING_FILE, registry_setting, client_key, 0, 0, NULL, NULL,                  \
      "PEM file with the private key of client_certificate")                                       \
    X("plain_http", SETTING_BOOL, registry_setting, plain_http, 0, 0, "false", NULL,               \
      "allow HTTP without TLS to this registry")                                                   \
    X("upload", SETTING_CHOICE, registry_setting, upload, 0, 0, "auto", uploads,                   \
      "how blobs are sent")                                                                        \
    X("chunk", SETTING_SIZE, registry_setting, chunk_bytes, 64 * KIB, 5 * GIB, "95MiB", NULL,      \
      "size of one request when blobs are sent in pieces")                                         \
    X("retry_wait", SETTING_DURATION, registry_setting, retry_wait_ms, 10, 10 * MINUTE, "5s", NULL, \
      "wait after a first failed attempt; it grows by as much with each further one")              \
    X("schema1", SETTING_CHOICE, registry_setting, schema1, 0, 0, "never", schema1,             \
      "whether a registry that refuses newer manifests twice gets one of schema 1")

#define MIRROR_TABLE(X)                                                                            \
    X("match", SETTING_TEXT, mirror_setting, match, 1, SETTING_PATTERN_MAX, NULL, NULL,            \
      "pattern of the repositories that go to these targets")                                      \
    X("acknowledge", SETTING_CHOICE, mirror_setting, acknowledge, 0, 0, "pushed",                  \
      acknowledgements, "whether a client waits until all targets have its image")               \
    X("confirm", SETTING_DURATION, mirror_setting, confirm_ms, 100, 30 * DAY, "60s", never,     \
      "after what time a HEAD of a tag has the targets asked whether they have it")

#define KEEP_TABLE(X)                                                                              \
    X("match", SETTING_TEXT, keep_setting, match, 1, SETTING_PATTERN_MAX, NULL, NULL,              \
      "pattern of the repositories that the rule is for")                                          \
    X("tags", SETTING_TEXT, keep_setting, tags, 1, SETTING_PATTERN_MAX, NULL, NULL,                \
      "pattern of the tags that it keeps")                                                         \
    X("last", SETTING_COUNT, keep_setting, last, 1, 10000, NULL, NULL,                             \
      "how many of those, the youngest")                                                           \
    X("age", SETTING_DURATION, keep_setting, age_ms, SECOND, 3650 * DAY, NULL, NULL,               \
      "how long each of those after it was put")

#define MIRROR_TARGET_TABLE(X)                                                                     \
    X("target", SETTING_TEXT, mirror_target_setting, target, 1, SETTING_PATTERN_MAX, NULL, NULL,   \
      "host and repository, with the wildcards of match")                                          \
    X("name", SETTING_TEXT, mirror_target_setting, name, 1, SETTING_TARGET_NAME_MAX, NULL, NULL,   \
      "what the target is called in lists and metrics")                                            \
    X("required", SETTING_BOOL, mirror_target_setting, required, 0, 0, "true", NULL,               \
      "whether a push fails when this target does")                                                \
    X("on_drift", SETTING_CHOICE, mirror_target_setting, on_drift, 0, 0, "overwrite", drifts,      \
      "whether a tag there that somebody else has moved is left as it is")                         \
    X("move", SETTING_CHOICE, mirror_target_setting, move, 0, 0, "always", moves,                  \
      "whether a push may move a tag there that names another image")                              \
    X("immutable", SETTING_TEXTS, mirror_target_setting, immutable, 1, 64, NULL, NULL,             \
      "patterns of tags that no push moves there, whatever move says")

#define POLICY_TABLE(X)                                                                            \
    X("who", SETTING_TEXTS, policy_setting, who, 1, 64, NULL, NULL,                                \
      "names and groups that the rule is for, anonymous, authenticated")                           \
    X("may", SETTING_CHOICES, policy_setting, may, 0, 0, NULL, setting_operations,                 \
      "what they may do")                                                                          \
    X("repositories", SETTING_TEXTS, policy_setting, repositories, 1, 64, NULL, NULL,              \
      "patterns of the gateway's repositories in which they may do it")                            \
    X("targets", SETTING_TEXTS, policy_setting, targets, 1, 64, NULL, NULL,                        \
      "patterns of HOST/REPOSITORY to which they may push")                                        \
    X("deny", SETTING_BOOL, policy_setting, deny, 0, 0, "false", NULL,                             \
      "whether the rule refuses what it matches")

#define OIDC_TABLE(X)                                                                              \
    X("name", SETTING_TEXT, oidc_setting, name, 1, 63, NULL, NULL,                                 \
      "what the identity provider is called in logs")                                              \
    X("issuer", SETTING_TEXT, oidc_setting, issuer, 1, 1024, NULL, NULL,                           \
      "URL of the provider, as it stands in its tokens")                                           \
    X("audiences", SETTING_TEXTS, oidc_setting, audiences, 1, 16, NULL, NULL,                      \
      "audiences of which a token has to name one")                                                \
    X("jwks_file", SETTING_FILE, oidc_setting, jwks_file, 0, 0, NULL, NULL,                        \
      "file with the provider's keys, in place of asking it")                                      \
    X("algorithms", SETTING_CHOICES, oidc_setting, algorithms, 0, 0, "RS256, ES256", algorithms,   \
      "signatures that count")                                                                     \
    X("private", SETTING_BOOL, oidc_setting, private, 0, 0, "false", NULL,                         \
      "let the issuer have a private address")

#define MAPPING_TABLE(X)                                                                           \
    X("claims", SETTING_LISTS, mapping_setting, claims, 1, 32, NULL, NULL,                         \
      "claims that a token must have, each with a text or a list of globs")                        \
    X("identity", SETTING_TEXT, mapping_setting, identity, 1, SETTING_NAME_MAX, NULL, NULL,        \
      "what such a client is called in rules")                                                     \
    X("groups", SETTING_TEXTS, mapping_setting, groups, 1, 64, NULL, NULL,                         \
      "groups that it belongs to")                                                                 \
    X("ttl", SETTING_DURATION, mapping_setting, ttl_ms, MINUTE, 30 * DAY, "1h", NULL,              \
      "how long its login is good")
/* clang-format on */

const struct setting_row settings_rows[] = {SETTINGS_TABLE(ROW)};
const size_t settings_row_count = sizeof settings_rows / sizeof settings_rows[0];
const struct setting_row registry_rows[] = {REGISTRY_TABLE(ROW)};
const size_t registry_row_count = sizeof registry_rows / sizeof registry_rows[0];
const struct setting_row mirror_rows[] = {MIRROR_TABLE(ROW)};
const size_t mirror_row_count = sizeof mirror_rows / sizeof mirror_rows[0];
const struct setting_row mirror_target_rows[] = {MIRROR_TARGET_TABLE(ROW)};
const size_t mirror_target_row_count = sizeof mirror_target_rows / sizeof mirror_target_rows[0];
const struct setting_row keep_rows[] = {KEEP_TABLE(ROW)};
const size_t keep_row_count = sizeof keep_rows / sizeof keep_rows[0];
const struct setting_row policy_rows[] = {POLICY_TABLE(ROW)};
const size_t policy_row_count = sizeof policy_rows / sizeof policy_rows[0];
const struct setting_row oidc_rows[] = {OIDC_TABLE(ROW)};
const size_t oidc_row_count = sizeof oidc_rows / sizeof oidc_rows[0];
const struct setting_row mapping_rows[] = {MAPPING_TABLE(ROW)};
const size_t mapping_row_count = sizeof mapping_rows / sizeof mapping_rows[0];

const struct setting_row *setting_find(const struct setting_row *rows, size_t count,
                                       const char *path)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(rows[i].path, path) == 0)
            return &rows[i];
    return NULL;
}

const char *setting_path(char out[SETTING_PATH_MAX], const char *prefix, const char *key)
{
    int n = snprintf(out, SETTING_PATH_MAX, "%s%s%s", prefix, prefix[0] ? "." : "", key);
    for (int i = 0; i < n && i < SETTING_PATH_MAX - 1; i++)
        if (iscntrl((unsigned char)out[i]))
            out[i] = '?';
    return out;
}

enum errc setting_refuse(const struct setting_origin *origin, const char *path, const char *what,
                         struct error *err)
{
    return fail(err, ERR_SETTINGS, 0, "%s: %s: %s", origin->name, path, what);
}

enum errc setting_read(const struct setting_row *row, void *base, const json_t *value,
                       const char *path, const struct setting_origin *origin, struct error *err)
{
    if (row == NULL)
        return setting_refuse(origin, path, "unknown key", err);
    if (setting_set(row, base, value, origin, err) != ERR_OK)
        return error_wrap(err, "%s: %s", origin->name, path);
    return ERR_OK;
}

enum errc setting_read_object(const struct setting_row *rows, size_t count, void *base,
                              const json_t *object, const char *path, const char *beside,
                              const struct setting_origin *origin, struct error *err)
{
    const char *key;
    json_t *value;
    if (!json_is_object(object))
        return setting_refuse(origin, path, "must be an object", err);
    json_object_foreach((json_t *)object, key, value)
    {
        char at[SETTING_PATH_MAX];
        if (strcmp(key, beside) != 0 &&
            setting_read(setting_find(rows, count, key), base, value, setting_path(at, path, key),
                         origin, err) != ERR_OK)
            return err->code;
    }
    return ERR_OK;
}

void setting_print(const struct setting_row *rows, size_t count, const void *base, json_t *object)
{
    for (size_t i = 0; i < count; i++) {
        json_t *value = setting_get(&rows[i], base);
        const char *dot = strchr(rows[i].path, '.');
        if (value == NULL)
            continue;
        if (dot == NULL) {
            json_object_set_new(object, rows[i].path, value);
            continue;
        }
        autofree char *name = xstrndup(rows[i].path, (size_t)(dot - rows[i].path));
        json_t *section = json_object_get(object, name);
        if (section == NULL) {
            section = json_object();
            json_object_set_new(object, name, section);
        }
        json_object_set_new(section, dot + 1, value);
    }
}
