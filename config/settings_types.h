/*
 * The settings as values. Owned by what config/settings.h returns; texts are NULL where nothing was
 * set, unless said otherwise.
 */
#ifndef SLIPWAY_CONFIG_SETTINGS_TYPES_H
#define SLIPWAY_CONFIG_SETTINGS_TYPES_H

#include "base/limits.h"
#include "base/log.h"
#include "base/pattern.h"

#include <stdatomic.h>
#include <stdint.h>

#define SETTINGS_REGISTRIES_MAX 1024
#define SETTINGS_MIRRORS_MAX 1024
#define SETTINGS_PROXIES_MAX 64
#define SETTINGS_POLICY_MAX 256
#define SETTINGS_OIDC_MAX 16
#define SETTINGS_MAPPINGS_MAX 256

enum setting_upload { UPLOAD_AUTO, UPLOAD_PUT, UPLOAD_PATCH, UPLOAD_CHUNKED, UPLOAD_POST };
enum setting_schema1 { SCHEMA1_FALLBACK, SCHEMA1_NEVER };
enum setting_codec {
    SETTING_CODEC_KEEP,
    SETTING_CODEC_GZIP,
    SETTING_CODEC_ZSTD,
    SETTING_CODEC_NONE
};
enum setting_effort { SETTING_EFFORT_FAST, SETTING_EFFORT_BEST };

/* Texts, owned by the settings. */
struct setting_list {
    char **items;
    size_t count;
};

/* An object whose values are lists of texts, in its order; no list is empty. */
#define SETTINGS_NAMES_MAX 1024 /* texts of such a list */
#define SETTING_NAME_MAX 255    /* bytes of its key */
struct setting_named_list {
    char *name;
    struct setting_list list;
};
struct setting_lists {
    struct setting_named_list *items;
    size_t count;
};

struct setting_secret {
    char *text; /* NULL when there is none */
    char *from; /* its key and where it was read: "password_file, /etc/slipway/ci.password" */
};

/* One entry of "registries", keyed by the host as it stands in references ("r.example.com:5000"):
 * lower case, "index.docker.io" as "docker.io". A user name comes with a password or a command for
 * it, and the other way round. */
struct registry_setting {
    char *host;
    struct setting_list endpoints;  /* base URLs in the order they are tried, no slash at the end;
                                       none = derived from the host */
    char *username;                 /* NULL when the configuration names none */
    struct setting_secret password; /* already read from password_file or password_env */
    struct setting_list password_command; /* program and arguments; instead of a password */
    char *ca;                             /* path of a PEM file; NULL = the system's */
    char *client_certificate;             /* path of a PEM file, as client_key; both or none */
    char *client_key;
    bool plain_http;
    enum setting_upload upload;
    uint64_t chunk_bytes;
    int64_t retry_wait_ms;
    enum setting_schema1 schema1;
};

#define SETTING_PATTERN_MAX PATTERN_MAX

/* One entry of "mirrors". */
enum setting_acknowledge { SETTING_ACKNOWLEDGE_PUSHED, SETTING_ACKNOWLEDGE_STORED };

enum setting_drift { SETTING_DRIFT_OVERWRITE, SETTING_DRIFT_LEAVE };

enum setting_move { SETTING_MOVE_ALWAYS, SETTING_MOVE_NEVER, SETTING_MOVE_SAME_DIGEST };

#define SETTING_TARGET_NAME_MAX 63 /* bytes; a default may be cut to it */

struct mirror_target_setting {
    char *target; /* HOST/PATTERN, without tag and digest; no more wildcards of a kind than match */
    bool required;
    char *name;                    /* as given: lower-case letters, digits and "-"; NULL: none */
    char *label;                   /* unique: the name or, without one, the host, "HOST-2", ... */
    enum setting_drift on_drift;   /* what becomes of a tag there that somebody else has moved */
    enum setting_move move;        /* may a push move a tag there? */
    struct setting_list immutable; /* patterns of tags that no push moves, whatever `move` says */
};

struct mirror_setting {
    char *match;
    struct mirror_target_setting *targets; /* one to TARGETS_MAX */
    size_t target_count;
    enum setting_acknowledge acknowledge;
    int64_t confirm_ms; /* 0: never */
};

#define SETTINGS_RULES_MAX 64

/* One entry of "keep.rules". */
struct keep_setting {
    char *match;
    char *tags;     /* NULL: all */
    unsigned last;  /* 0: it does not say */
    int64_t age_ms; /* 0: it does not say */
};

/* Which signatures of an identity provider count. There is neither "none" nor any HS. */
enum setting_algorithm {
    SETTING_RS256,
    SETTING_RS384,
    SETTING_RS512,
    SETTING_PS256,
    SETTING_ES256,
    SETTING_ES384,
    SETTING_EDDSA,
};

/* One entry of "clients.oidc[].mappings": who has a token whose claims are so. */
struct mapping_setting {
    struct setting_lists claims; /* each claim with the globs of which one has to match; all have */
    char *identity;
    struct setting_list groups;
    int64_t ttl_ms;
};

/* One entry of "clients.oidc", an identity provider. */
struct oidc_setting {
    char *name;   /* unique */
    char *issuer; /* a URL as it stands in tokens; unique; https, or http to loopback */
    struct setting_list audiences;    /* one at least */
    char *jwks_file;                  /* NULL: the issuer is asked for its keys */
    unsigned algorithms;              /* bits 1 << enum setting_algorithm; never 0 */
    bool private;                     /* the issuer may have a private address */
    struct mapping_setting *mappings; /* one at least; the first that matches counts */
    size_t mapping_count;
};

/* One entry of "policy": gateway/access/policy.h says what it means. It has repositories, targets
 * or both. */
struct policy_setting {
    struct setting_list who;          /* one at least */
    unsigned may;                     /* bits 1 << enum operation (policy.h); 0: left out */
    struct setting_list repositories; /* patterns */
    struct setting_list targets;      /* patterns of HOST/REPOSITORY */
    bool deny;
};

struct settings {
    atomic_uint references;    /* settings_ref(), settings_free() */
    uint64_t overridden;       /* bit i: settings_rows[i] is the command line's */
    char *listen;              /* ADDR:PORT, [ADDR6]:PORT; port 0 = any free one */
    struct setting_list hosts; /* host names that are the gateway's, without ports */
    char *data; /* NULL only when nothing says where: settings_check() refuses that */
    struct {
        char *certificate;
        char *key;
        char *client_ca; /* PEM file; whose certificates say who a client is */
    } tls;               /* all NULL: plain HTTP */
    struct {
        uint64_t map_bytes; /* LMDB's map: the bound on the metadata */
    } store;
    struct {
        uint64_t archive_bytes;
        uint64_t free_space_bytes; /* 0: what the store takes by itself */
        unsigned uploads;
        unsigned blobs; /* bodies of registry clients that are received at the same time */
        unsigned pushes_per_registry;   /* large blobs on their way to it */
        unsigned requests_per_registry; /* small ones */
        unsigned transfers;
        unsigned pushes;
        int64_t push_ms;            /* how long a push may take that a client waits for */
        uint64_t push_copies_bytes; /* what `slipway push` leaves in its data folder */
        int64_t upload_idle_ms;     /* how long an upload session waits for its client */
        unsigned upload_sessions;
        unsigned upload_sessions_per_repository;
        unsigned upload_sessions_per_client;
    } limits;
    struct {
        int64_t keep_trying_ms; /* 0: for ever */
        unsigned history_count;
        int64_t history_ms;
        int64_t reconcile_ms; /* 0: never by itself */
    } queue;
    struct {
        int64_t grace_ms;
        int64_t untagged_ms;  /* 0: for ever */
        uint64_t cache_bytes; /* 0: any number */
        int64_t cache_ms;     /* 0: for ever */
        int64_t every_ms;
        struct keep_setting *rules; /* in the order of the file, by which they are called */
        size_t rule_count;
    } keep;
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
        bool anonymous;              /* a policy without any source of identities is wanted */
        bool plain_http;             /* listening beyond loopback without TLS is wanted */
        char *htpasswd;              /* path; NULL: there are no users */
        struct setting_lists groups; /* names of each: users, "robot:NAME", ... */
        int64_t token_ttl_ms;
        struct oidc_setting *oidc;
        size_t oidc_count;
        struct setting_list trusted_proxies; /* each for net_network_parse() */
    } clients;
    struct policy_setting *policy; /* in the order of the file, by which rules are called */
    size_t policy_count;           /* 0: everybody may do everything */
    struct {
        char *file; /* path, "-" for stdout; NULL: there is none */
    } audit;
    struct {
        char *listen; /* as the other; NULL: nowhere */
    } ops;
    struct {
        enum log_level level;
        enum log_format format;
    } log;
};

#endif
