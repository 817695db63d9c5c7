#include "config/credentials.h"

#include "base/base64.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/secret.h"
#include "config/credentials_helper.h"

#include <errno.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define FILE_LIMIT ((size_t)1 << 20)
#define HUB "docker.io"
#define HUB_KEY "https://index.docker.io/v1/" /* under which Docker logs in to the Hub */

void credentials_clear(struct stored_credentials *credentials)
{
    secret_free(&credentials->username);
    secret_free(&credentials->password);
    secret_free(&credentials->identity_token);
    secret_free(&credentials->registry_token);
    secret_free(&credentials->origin);
}

/* Parse one file; *root stays NULL when there is none. */
static enum errc read_file(const char *path, json_t **root, struct error *err)
{
    autofree char *data = NULL;
    size_t size = 0;
    if (file_read_all(path, FILE_LIMIT, &data, &size, err) != ERR_OK) {
        if (err->sys == ENOENT || err->sys == ENOTDIR) {
            error_clear(err);
            return ERR_OK;
        }
        err->code = ERR_CREDENTIALS;
        return err->code;
    }
    enum errc rc = json_parse(data, size, FILE_LIMIT, path, root, err);
    explicit_bzero(data, size);
    if (rc != ERR_OK)
        /* Not the parser's words, which may quote a secret. */
        return fail(err, ERR_CREDENTIALS, 0, "%s is not valid JSON", path);
    if (!json_is_object(*root))
        return fail(err, ERR_CREDENTIALS, 0, "%s must hold a JSON object", path);
    return ERR_OK;
}

/* The file in the variable's folder, owned; NULL when the variable is not set. */
static char *path_below(const char *variable, const char *rest)
{
    const char *folder = getenv(variable);
    return folder != NULL && folder[0] ? xasprintf("%s/%s", folder, rest) : NULL;
}

/* Where podman and skopeo log in without XDG_RUNTIME_DIR, owned; NULL when nothing is there. Their
 * folder may be closed to other users, which is no failure of those. */
static char *login_of_user(void)
{
    char *path = xasprintf("/run/containers/%lu/auth.json", (unsigned long)getuid());
    if (access(path, F_OK) != 0) {
        free(path);
        return NULL;
    }
    return path;
}

/* Where logins are, in the order in which they are looked at; each owned, NULL when it has no
 * place. */
#define FILES 4

static void list_files(char *files[FILES])
{
    const char *named = getenv("REGISTRY_AUTH_FILE");
    files[0] = named && named[0] ? xstrdup(named) : NULL;
    files[1] = path_below("XDG_RUNTIME_DIR", "containers/auth.json");
    if (files[1] == NULL)
        files[1] = login_of_user();
    files[2] = path_below("XDG_CONFIG_HOME", "containers/auth.json");
    if (files[2] == NULL)
        files[2] = path_below("HOME", ".config/containers/auth.json");
    files[3] = path_below("DOCKER_CONFIG", "config.json");
    if (files[3] == NULL)
        files[3] = path_below("HOME", ".docker/config.json");
}

static bool is_hub(const char *host, size_t size)
{
    static const char *const names[] = {HUB, "index.docker.io", "registry-1.docker.io"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strlen(names[i]) == size && strncasecmp(names[i], host, size) == 0)
            return true;
    return false;
}

static bool same_host(const char *key, size_t size, const char *host)
{
    if (is_hub(key, size))
        return is_hub(host, strlen(host));
    return strlen(host) == size && strncasecmp(key, host, size) == 0;
}

static bool is_version(const char *path, size_t size)
{
    return size == 2 && path[0] == 'v' && (path[1] == '1' || path[1] == '2');
}

/* How well a key speaks of host/path: 0 not at all, then a legacy URL (also without its scheme),
 * the host, and the host with ever more of the path. */
static size_t match_key(const char *key, const char *host, const char *path)
{
    bool url = false;
    if (strncasecmp(key, "https://", 8) == 0 || strncasecmp(key, "http://", 7) == 0) {
        key = strstr(key, "//") + 2;
        url = true;
    }
    size_t host_size = strcspn(key, "/");
    if (!same_host(key, host_size, host))
        return 0;
    if (url)
        return 1;
    const char *prefix = key + host_size + (key[host_size] == '/');
    size_t size = strlen(prefix);
    while (size > 0 && prefix[size - 1] == '/')
        size--;
    if (size == 0)
        return 2;
    bool below = strncmp(path, prefix, size) == 0 && (path[size] == '/' || path[size] == '\0');
    if (below)
        return 2 + size;
    return is_version(prefix, size) ? 1 : 0;
}

/* The member of `object` whose key fits best, and the key; borrowed. NULL when none does. */
static json_t *best_match(json_t *object, const char *host, const char *path, const char **found)
{
    json_t *best = NULL;
    size_t best_score = 0;
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        size_t score = match_key(key, host, path);
        if (score > best_score) {
            best = value;
            best_score = score;
            *found = key;
        }
    }
    return best;
}

/* A member, borrowed; null, which Docker's own parser lets pass for anything, is none. */
static json_t *member(const json_t *object, const char *key)
{
    json_t *value = json_object_get(object, key);
    return json_is_null(value) ? NULL : value;
}

/* The name of the helper to ask, borrowed from `root`; "" when there is none. */
static enum errc helper_name(json_t *root, const char *file, const char *host, const char *path,
                             const char **name, struct error *err)
{
    json_t *helpers = member(root, "credHelpers");
    const char *key = "";
    if (helpers != NULL && !json_is_object(helpers))
        return fail(err, ERR_CREDENTIALS, 0, "%s: credHelpers must be an object", file);
    json_t *chosen = best_match(helpers, host, path, &key);
    if (chosen != NULL && !json_is_string(chosen))
        return fail(err, ERR_CREDENTIALS, 0, "%s: credHelpers, entry %s: must be a string", file,
                    key);
    if (chosen == NULL)
        chosen = member(root, "credsStore");
    if (chosen != NULL && !json_is_string(chosen))
        return fail(err, ERR_CREDENTIALS, 0, "%s: credsStore must be a string", file);
    *name = chosen ? json_string_value(chosen) : "";
    return ERR_OK;
}

/* A member that must be text if it is there; NULL when it is absent or empty. */
static enum errc entry_text(const json_t *entry, const char *key, const char **text,
                            struct error *err)
{
    const json_t *value = member(entry, key);
    if (value != NULL && !json_is_string(value))
        return fail(err, ERR_CREDENTIALS, 0, "%s must be a string", key);
    *text = json_string_length(value) > 0 ? json_string_value(value) : NULL;
    return ERR_OK;
}

/* "user:password" into two owned strings; what is empty stays NULL. */
static enum errc split_auth(const char *auth, struct stored_credentials *out, struct error *err)
{
    autosecret char *text = NULL;
    if (!base64_decode_text(auth, &text))
        return fail(err, ERR_CREDENTIALS, 0, "auth is not base64");
    const char *colon = strchr(text, ':');
    if (colon == NULL)
        return fail(err, ERR_CREDENTIALS, 0, "auth is not user:password");
    out->username = colon > text ? xstrndup(text, (size_t)(colon - text)) : NULL;
    out->password = colon[1] ? xstrdup(colon + 1) : NULL;
    return ERR_OK;
}

static char *copy(const char *text)
{
    return text ? xstrdup(text) : NULL;
}

static enum errc read_entry(const json_t *entry, struct stored_credentials *out, struct error *err)
{
    const char *auth;
    const char *username;
    const char *password;
    const char *identity_token;
    const char *registry_token;
    if (!json_is_object(entry))
        return fail(err, ERR_CREDENTIALS, 0, "must be an object");
    if (entry_text(entry, "auth", &auth, err) != ERR_OK ||
        entry_text(entry, "username", &username, err) != ERR_OK ||
        entry_text(entry, "password", &password, err) != ERR_OK ||
        entry_text(entry, "identitytoken", &identity_token, err) != ERR_OK ||
        entry_text(entry, "registrytoken", &registry_token, err) != ERR_OK)
        return err->code;
    struct stored_credentials found = {0};
    if (auth != NULL && split_auth(auth, &found, err) != ERR_OK)
        return err->code;
    if (auth == NULL) {
        found.username = copy(username);
        found.password = copy(password);
    }
    found.identity_token = copy(identity_token);
    found.registry_token = copy(registry_token);
    *out = found;
    return ERR_OK;
}

static enum errc find_entry(json_t *root, const char *file, const char *host, const char *path,
                            struct stored_credentials *out, struct error *err)
{
    json_t *auths = member(root, "auths");
    const char *key = "";
    if (auths != NULL && !json_is_object(auths))
        return fail(err, ERR_CREDENTIALS, 0, "%s: auths must be an object", file);
    const json_t *entry = best_match(auths, host, path, &key);
    if (entry != NULL && read_entry(entry, out, err) != ERR_OK)
        return error_wrap(err, "%s: auths, entry %s", file, key);
    return ERR_OK;
}

static bool is_empty(const struct stored_credentials *found)
{
    return !found->username && !found->password && !found->identity_token && !found->registry_token;
}

/* What one file says; nothing where it is not there. */
static enum errc find_in(const char *file, const char *host, const char *path,
                         struct stored_credentials *out, struct error *err)
{
    autojson json_t *root = NULL;
    const char *helper = "";
    if (read_file(file, &root, err) != ERR_OK)
        return err->code;
    if (root == NULL)
        return ERR_OK;
    if (helper_name(root, file, host, path, &helper, err) != ERR_OK)
        return err->code;
    const char *server = is_hub(host, strlen(host)) ? HUB_KEY : host;
    if (helper[0] != '\0' && credentials_helper_get(helper, server, out, err) != ERR_OK)
        return error_wrap(err, "%s", file);
    bool helped = !is_empty(out);
    if (!helped && find_entry(root, file, host, path, out, err) != ERR_OK)
        return err->code;
    if (!is_empty(out))
        out->origin = helped ? xasprintf("docker-credential-%s, which %s names", helper, file)
                             : xstrdup(file);
    return ERR_OK;
}

enum errc credentials_find(const char *host, const char *path, struct stored_credentials *out,
                           struct error *err)
{
    char *files[FILES];
    struct stored_credentials found = {0};
    enum errc code = ERR_OK;
    list_files(files);
    for (size_t i = 0; i < FILES && code == ERR_OK && is_empty(&found); i++)
        if (files[i])
            code = find_in(files[i], host, path, &found, err);
    for (size_t i = 0; i < FILES; i++)
        free(files[i]);
    if (code == ERR_OK)
        *out = found;
    return code;
}
