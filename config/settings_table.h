/*
 * The keys of the configuration, one row each: everything that is known of a key. Parsing,
 * defaults, command-line overrides, checks, printing, freeing and the test of
 * docs/configuration.md go through these rows, so a key is added in one place.
 *
 * The rows are constant; any thread may read them. The settings they work on belong to one thread
 * until they are handed out.
 */
#ifndef SLIPWAY_CONFIG_SETTINGS_TABLE_H
#define SLIPWAY_CONFIG_SETTINGS_TABLE_H

#include "base/json.h"
#include "config/settings_types.h"

enum setting_type {
    SETTING_TEXT,        /* char *: a string of `least` to `most` bytes */
    SETTING_ADDRESS,     /* char *: ADDR:PORT */
    SETTING_FOLDER,      /* char *: a path; it need not exist */
    SETTING_FILE,        /* char *: a path; settings_check() wants it readable */
    SETTING_OUTPUT,      /* char *: a path; it need not exist; or "-" for stdout */
    SETTING_BOOL,        /* bool */
    SETTING_COUNT,       /* unsigned, `least` to `most` */
    SETTING_SIZE,        /* uint64_t, `least` to `most` bytes */
    SETTING_DURATION,    /* int64_t, `least` to `most` milliseconds */
    SETTING_CHOICE,      /* an enum: the index into `choices` */
    SETTING_CHOICES,     /* unsigned: bit i for `choices`[i]; a last choice "*" is all others */
    SETTING_URLS,        /* struct setting_list: `least` to `most` base URLs */
    SETTING_HOSTS,       /* struct setting_list: `least` to `most` hosts without ports */
    SETTING_NETWORKS,    /* struct setting_list: `least` to `most` of net_network_parse() */
    SETTING_TEXTS,       /* struct setting_list: `least` to `most` texts */
    SETTING_LISTS,       /* struct setting_lists: an object of `least` to `most` lists of texts */
    SETTING_SECRET,      /* struct setting_secret: the value itself */
    SETTING_SECRET_FILE, /* the same, read from the file that the value names */
    SETTING_SECRET_ENV,  /* the same, read from the environment variable that the value names */
};

struct setting_row {
    const char *path; /* "limits.archive"; in the entry of a list relative to it: "chunk" */
    enum setting_type type;
    size_t offset; /* of the member in the struct that the row is of */
    uint64_t least;
    uint64_t most;
    const char *initial; /* the default as text; NULL = none, or computed (data) */
    const char *const *choices;
    const char *prose; /* one line */
};

/* The rows of struct settings, struct registry_setting, ... */
extern const struct setting_row settings_rows[];
extern const size_t settings_row_count;
extern const struct setting_row registry_rows[];
extern const size_t registry_row_count;
extern const struct setting_row keep_rows[];
extern const size_t keep_row_count;
extern const struct setting_row mirror_rows[];
extern const size_t mirror_row_count;
extern const struct setting_row mirror_target_rows[];
extern const size_t mirror_target_row_count;
extern const struct setting_row policy_rows[];
extern const size_t policy_row_count;
extern const struct setting_row oidc_rows[];
extern const size_t oidc_row_count;
extern const struct setting_row mapping_rows[];
extern const size_t mapping_row_count;

/* The names of operations in rules, in the order of enum operation (gateway/access/policy.h), then
 * "*". */
#define SETTING_OPERATION_COUNT 7
extern const char *const setting_operations[SETTING_OPERATION_COUNT + 2];

/* NULL when there is no such key. */
const struct setting_row *setting_find(const struct setting_row *rows, size_t count,
                                       const char *path);

/* Where a value comes from. */
struct setting_origin {
    const char *name;   /* file or option, for messages */
    const char *folder; /* of relative paths; NULL = the working folder */
};

/* "prefix.key" for messages and for the table, without control characters, cut to fit; returns
 * `out`. */
#define SETTING_PATH_MAX 400
const char *setting_path(char out[SETTING_PATH_MAX], const char *prefix, const char *key);

/* ERR_SETTINGS: "FILE: PATH: WHAT". */
enum errc setting_refuse(const struct setting_origin *origin, const char *path, const char *what,
                         struct error *err);

/* setting_set() whose errors say where the value stands; `row` NULL is an unknown key. */
enum errc setting_read(const struct setting_row *row, void *base, const json_t *value,
                       const char *path, const struct setting_origin *origin, struct error *err);

/* setting_read() of all members of `object` but the one called `beside`; anything but an object is
 * refused. The caller has set the defaults. */
enum errc setting_read_object(const struct setting_row *rows, size_t count, void *base,
                              const json_t *object, const char *path, const char *beside,
                              const struct setting_origin *origin, struct error *err);

/* Check `value` and store a copy in `base`, the struct that the row is of, in place of what was
 * there; only a secret must not be there already. ERR_SETTINGS says what is wrong with the value,
 * not where it stands. */
enum errc setting_set(const struct setting_row *row, void *base, const json_t *value,
                      const struct setting_origin *origin, struct error *err);

/* The same for a value that is text on a command line: a number, "true", or as in the file. */
enum errc setting_set_text(const struct setting_row *row, void *base, const char *text,
                           const struct setting_origin *origin, struct error *err);

/* The defaults of all rows into zeroed memory. */
void setting_defaults(const struct setting_row *rows, size_t count, void *base);

/* The value as it would stand in the file, owned; NULL when there is none, or when another row
 * shows it (the secret of password_file is shown by password). Secrets are "(redacted)". */
json_t *setting_get(const struct setting_row *row, const void *base);

/* The values of all rows into `object`, "a.b" as member b of an object a. */
void setting_print(const struct setting_row *rows, size_t count, const void *base, json_t *object);

/* Free what all rows hold, secrets wiped. */
void setting_clear(const struct setting_row *rows, size_t count, void *base);

#endif
