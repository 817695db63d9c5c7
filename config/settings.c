#include "config/settings.h"

#include "base/file.h"
#include "base/mem.h"
#include "config/settings_access.h"
#include "config/settings_keep.h"
#include "config/settings_mirrors.h"
#include "config/settings_table.h"
#include "config/settings_text.h"
#include "config/settings_tls.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

static enum errc as_settings(struct error *err)
{
    err->code = ERR_SETTINGS;
    return ERR_SETTINGS;
}

/* The host of a registry as references have it, owned. */
static enum errc registry_host(const char *key, char **host, struct error *err)
{
    struct net_authority parsed;
    enum errc rc = setting_authority(key, strlen(key), &parsed, err);
    if (rc != ERR_OK)
        return rc;
    if (parsed.has_port && parsed.port == 0)
        return fail(err, ERR_SETTINGS, 0, "must not have port 0");
    char *lower = xstrdup(strcasecmp(key, "index.docker.io") == 0 ? "docker.io" : key);
    for (char *at = lower; *at; at++)
        *at = (char)tolower((unsigned char)*at);
    *host = lower;
    return ERR_OK;
}

/* What the keys of one entry must be to each other. */
static enum errc check_registry(const struct registry_setting *entry, const char *path,
                                const struct setting_origin *origin, struct error *err)
{
    char key[SETTING_PATH_MAX];
    bool command = entry->password_command.count > 0;
    if (entry->username != NULL && entry->password.text == NULL && !command)
        return setting_refuse(origin, setting_path(key, path, "username"),
                              "needs a password, password_file, password_env or password_command "
                              "beside it",
                              err);
    if (entry->password.text != NULL && command)
        return setting_refuse(origin, setting_path(key, path, "password_command"),
                              "at most one of password, password_file, password_env and "
                              "password_command can be given",
                              err);
    if ((entry->password.text != NULL || command) && entry->username == NULL)
        return setting_refuse(origin,
                              setting_path(key, path, command ? "password_command" : "password"),
                              "needs a username beside it", err);
    if ((entry->client_certificate == NULL) != (entry->client_key == NULL))
        return setting_refuse(origin, path,
                              "client_certificate and client_key need each other beside them", err);
    if (entry->username != NULL && strchr(entry->username, ':') != NULL)
        return setting_refuse(origin, setting_path(key, path, "username"), "must not hold a colon",
                              err);
    for (size_t i = 0; i < entry->endpoints.count; i++) {
        struct setting_url url;
        if (setting_url(entry->endpoints.items[i], &url, err) != ERR_OK)
            return err->code;
        if (!url.https && !entry->plain_http && !net_host_is_loopback(url.authority.host))
            return setting_refuse(origin, setting_path(key, path, "endpoints"),
                                  "an http:// URL beyond loopback needs plain_http to be true",
                                  err);
    }
    return ERR_OK;
}

static enum errc read_registry(struct registry_setting *entry, const json_t *object,
                               const char *path, const struct setting_origin *origin,
                               struct error *err)
{
    if (setting_read_object(registry_rows, registry_row_count, entry, object, path, "", origin,
                            err) != ERR_OK)
        return err->code;
    return check_registry(entry, path, origin, err);
}

static enum errc read_registries(struct settings *settings, const json_t *object,
                                 const struct setting_origin *origin, struct error *err)
{
    size_t count = json_object_size(object);
    if (!json_is_object(object))
        return setting_refuse(origin, "registries", "must be an object", err);
    if (count > SETTINGS_REGISTRIES_MAX)
        return fail(err, ERR_SETTINGS, 0, "%s: registries: must have at most %d hosts",
                    origin->name, SETTINGS_REGISTRIES_MAX);
    settings->registries = xcalloc(count, sizeof *settings->registries);
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        char path[SETTING_PATH_MAX];
        setting_path(path, "registries", key);
        autofree char *host = NULL;
        if (registry_host(key, &host, err) != ERR_OK)
            return error_wrap(err, "%s: %s", origin->name, path);
        if (settings_registry(settings, host) != NULL)
            return setting_refuse(origin, path, "names the same host as an earlier key", err);
        struct registry_setting *entry = &settings->registries[settings->registry_count++];
        setting_defaults(registry_rows, registry_row_count, entry);
        entry->host = mem_take(&host);
        if (read_registry(entry, value, path, origin, err) != ERR_OK)
            return err->code;
    }
    return ERR_OK;
}

static json_t *print_registries(const struct settings *settings)
{
    json_t *registries = json_object();
    for (size_t i = 0; i < settings->registry_count; i++) {
        json_t *entry = json_object();
        setting_print(registry_rows, registry_row_count, &settings->registries[i], entry);
        json_object_set_new(registries, settings->registries[i].host, entry);
    }
    return registries;
}

/* Some row begins with "path.". */
static bool is_section(const char *path)
{
    size_t size = strlen(path);
    for (size_t i = 0; i < settings_row_count; i++)
        if (strncmp(settings_rows[i].path, path, size) == 0 && settings_rows[i].path[size] == '.')
            return true;
    return false;
}

/* The keys whose values are lists or objects of objects. */
static const struct nested {
    const char *section; /* NULL: at the top */
    const char *key;
    enum errc (*read)(struct settings *settings, const json_t *value,
                      const struct setting_origin *origin, struct error *err);
    json_t *(*print)(const struct settings *settings);
} nested[] = {
    {"keep", "rules", setting_keep_read, setting_keep_print},
    {"clients", "oidc", setting_oidc_read, setting_oidc_print},
    {NULL, "policy", setting_policy_read, setting_policy_print},
    {NULL, "registries", read_registries, print_registries},
    {NULL, "mirrors", setting_mirrors_read, setting_mirrors_print},
};
static const size_t nested_count = sizeof nested / sizeof nested[0];

static const struct nested *find_nested(const char *section, const char *key)
{
    for (size_t i = 0; i < nested_count; i++)
        if (strcmp(nested[i].section ? nested[i].section : "", section) == 0 &&
            strcmp(nested[i].key, key) == 0)
            return &nested[i];
    return NULL;
}

static enum errc read_section(struct settings *settings, const json_t *object, const char *prefix,
                              const struct setting_origin *origin, struct error *err)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        char path[SETTING_PATH_MAX];
        setting_path(path, prefix, key);
        /* A key with a dot is no way into a section: each key is one step of the path. */
        const struct setting_row *row =
            strchr(key, '.') ? NULL : setting_find(settings_rows, settings_row_count, path);
        const struct nested *list = find_nested(prefix, key);
        bool section = row == NULL && prefix[0] == '\0' && is_section(key);
        enum errc rc;
        if (list)
            rc = list->read(settings, value, origin, err);
        else if (section && !json_is_object(value))
            rc = setting_refuse(origin, path, "must be an object", err);
        else if (section)
            rc = read_section(settings, value, path, origin, err);
        else
            rc = setting_read(row, settings, value, path, origin, err);
        if (rc != ERR_OK)
            return rc;
    }
    return ERR_OK;
}

/* The superuser's data is the system's, anybody else's is in their home; NULL when there is none.
 */
static char *default_data(void)
{
    if (geteuid() == 0)
        return xstrdup("/var/lib/slipway");
    const char *base = getenv("XDG_DATA_HOME");
    if (base != NULL && base[0] == '/')
        return xasprintf("%s/slipway", base);
    const char *home = getenv("HOME");
    if (home != NULL && home[0] == '/')
        return xasprintf("%s/.local/share/slipway", home);
    return NULL;
}

static struct settings *new_settings(void)
{
    struct settings *settings = xcalloc(1, sizeof *settings);
    atomic_init(&settings->references, 1);
    setting_defaults(settings_rows, settings_row_count, settings);
    settings->data = default_data();
    return settings;
}

static enum errc parse(const char *data, size_t size, const struct setting_origin *origin,
                       struct settings **out, struct error *err)
{
    autojson json_t *root = NULL;
    if (json_parse(data, size, SETTINGS_FILE_LIMIT, origin->name, &root, err) != ERR_OK)
        return as_settings(err);
    if (!json_is_object(root))
        return fail(err, ERR_SETTINGS, 0, "%s: must be an object", origin->name);
    struct settings *settings = new_settings();
    if (read_section(settings, root, "", origin, err) != ERR_OK) {
        settings_free(settings);
        return err->code;
    }
    *out = settings;
    return ERR_OK;
}

enum errc settings_parse(const char *data, size_t size, const char *name, struct settings **out,
                         struct error *err)
{
    const struct setting_origin origin = {.name = name};
    return parse(data, size, &origin, out, err);
}

enum errc settings_load(const char *path, struct settings **out, struct error *err)
{
    if (path == NULL) {
        *out = new_settings();
        return ERR_OK;
    }
    char *data = NULL;
    size_t size = 0;
    if (file_read_all(path, SETTINGS_FILE_LIMIT, &data, &size, err) != ERR_OK)
        return as_settings(err);
    const char *slash = strrchr(path, '/');
    autofree char *folder = slash ? xstrndup(path, (size_t)(slash - path)) : NULL;
    const struct setting_origin origin = {.name = path, .folder = folder};
    enum errc rc = parse(data, size, &origin, out, err);
    explicit_bzero(data, size);
    free(data);
    return rc;
}

const struct settings *settings_ref(const struct settings *settings)
{
    atomic_fetch_add(&((struct settings *)(uintptr_t)settings)->references, 1);
    return settings;
}

void settings_free(const struct settings *held)
{
    struct settings *settings = (struct settings *)(uintptr_t)held;
    if (settings == NULL || atomic_fetch_sub(&settings->references, 1) > 1)
        return;
    for (size_t i = 0; i < settings->registry_count; i++) {
        setting_clear(registry_rows, registry_row_count, &settings->registries[i]);
        free(settings->registries[i].host);
    }
    free(settings->registries);
    setting_mirrors_clear(settings);
    setting_keep_clear(settings);
    setting_access_clear(settings);
    setting_clear(settings_rows, settings_row_count, settings);
    free(settings);
}

enum errc settings_override(struct settings *settings, const char *path, const char *value,
                            const char *origin_name, struct error *err)
{
    const struct setting_origin origin = {.name = origin_name};
    const struct setting_row *row = setting_find(settings_rows, settings_row_count, path);
    if (row == NULL)
        return setting_refuse(&origin, path, "unknown key", err);
    if (setting_set_text(row, settings, value, &origin, err) != ERR_OK)
        return error_wrap(err, "%s: %s", origin_name, path);
    assert(settings_row_count <= 64);
    settings->overridden |= UINT64_C(1) << (row - settings_rows);
    return ERR_OK;
}

const struct registry_setting *settings_registry(const struct settings *settings, const char *host)
{
    for (size_t i = 0; i < settings->registry_count; i++)
        if (strcasecmp(settings->registries[i].host, host) == 0)
            return &settings->registries[i];
    return NULL;
}

static enum errc check_files(const struct setting_row *rows, size_t count, const void *base,
                             const char *prefix, struct error *err)
{
    for (size_t i = 0; i < count; i++) {
        if (rows[i].type != SETTING_FILE)
            continue;
        const char *path = *(char *const *)((const char *)base + rows[i].offset);
        if (path == NULL)
            continue;
        char key[SETTING_PATH_MAX];
        autofd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        struct stat about;
        if (fd < 0 || fstat(fd, &about) != 0)
            return fail(err, ERR_SETTINGS, errno, "%s: open %s",
                        setting_path(key, prefix, rows[i].path), path);
        if (!S_ISREG(about.st_mode))
            return fail(err, ERR_SETTINGS, 0, "%s: %s is not a file",
                        setting_path(key, prefix, rows[i].path), path);
    }
    return ERR_OK;
}

static enum errc check_tls(const struct settings *settings, struct error *err)
{
    bool certificate = settings->tls.certificate != NULL;
    bool key = settings->tls.key != NULL;
    if (certificate != key)
        return fail(err, ERR_SETTINGS, 0, "tls.%s needs tls.%s beside it",
                    certificate ? "certificate" : "key", certificate ? "key" : "certificate");
    return ERR_OK;
}

static enum errc check_registry_files(const struct registry_setting *entry, const char *prefix,
                                      struct error *err)
{
    char first[SETTING_PATH_MAX];
    char second[SETTING_PATH_MAX];
    if (entry->ca &&
        settings_ca_check((struct named_file){setting_path(first, prefix, "ca"), entry->ca}, err) !=
            ERR_OK)
        return err->code;
    if (entry->client_key == NULL)
        return ERR_OK;
    return settings_tls_check(
        (struct named_file){setting_path(first, prefix, "client_certificate"),
                            entry->client_certificate},
        (struct named_file){setting_path(second, prefix, "client_key"), entry->client_key}, err);
}

enum errc settings_check(const struct settings *settings, struct error *err)
{
    if (settings->data == NULL)
        return fail(err, ERR_SETTINGS, 0,
                    "data: must be set: neither XDG_DATA_HOME nor HOME names a folder");
    if (check_tls(settings, err) != ERR_OK || setting_access_check(settings, err) != ERR_OK ||
        check_files(settings_rows, settings_row_count, settings, "", err) != ERR_OK)
        return err->code;
    if (settings->tls.key &&
        settings_tls_check((struct named_file){"tls.certificate", settings->tls.certificate},
                           (struct named_file){"tls.key", settings->tls.key}, err) != ERR_OK)
        return err->code;
    if (settings->tls.client_ca &&
        settings_ca_check((struct named_file){"tls.client_ca", settings->tls.client_ca}, err) !=
            ERR_OK)
        return err->code;
    for (size_t i = 0; i < settings->clients.oidc_count; i++) {
        char prefix[SETTING_PATH_MAX];
        snprintf(prefix, sizeof prefix, "clients.oidc[%zu]", i);
        if (check_files(oidc_rows, oidc_row_count, &settings->clients.oidc[i], prefix, err) !=
            ERR_OK)
            return err->code;
    }
    for (size_t i = 0; i < settings->registry_count; i++) {
        char prefix[SETTING_PATH_MAX];
        const struct registry_setting *entry = &settings->registries[i];
        setting_path(prefix, "registries", entry->host);
        if (check_files(registry_rows, registry_row_count, entry, prefix, err) != ERR_OK ||
            check_registry_files(entry, prefix, err) != ERR_OK)
            return err->code;
    }
    return ERR_OK;
}

json_t *settings_print(const struct settings *settings)
{
    json_t *root = json_object();
    setting_print(settings_rows, settings_row_count, settings, root);
    for (size_t i = 0; i < nested_count; i++) {
        json_t *value = nested[i].print(settings);
        json_t *into = nested[i].section ? json_object_get(root, nested[i].section) : root;
        if (value)
            json_object_set_new(into, nested[i].key, value);
    }
    return root;
}
