#include "config/login_file.h"

#include "base/base64.h"
#include "base/mem.h"
#include "base/secret.h"

#include <string.h>
#include <strings.h>

#define HUB "docker.io"
#define HUB_KEY "https://index.docker.io/v1/" /* under which Docker logs in to the Hub */

enum errc login_file_parse(const char *data, size_t size, const char *file, json_t **out,
                           struct error *err)
{
    autojson json_t *root = NULL;
    if (json_parse(data, size, LOGIN_FILE_BYTES_MAX, file, &root, err) != ERR_OK)
        /* Not the parser's words, which may quote a secret. */
        return fail(err, ERR_CREDENTIALS, 0, "%s is not valid JSON", file);
    if (!json_is_object(root))
        return fail(err, ERR_CREDENTIALS, 0, "%s must hold a JSON object", file);
    *out = json_incref(root);
    return ERR_OK;
}

static bool is_hub(const char *host, size_t size)
{
    static const char *const names[] = {HUB, "index.docker.io", "registry-1.docker.io"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strlen(names[i]) == size && strncasecmp(names[i], host, size) == 0)
            return true;
    return false;
}

const char *login_file_server(const char *host)
{
    return is_hub(host, strlen(host)) ? HUB_KEY : host;
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

enum errc login_file_helper(const json_t *root, const char *file, const char *host,
                            const char *path, const char **name, struct error *err)
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

enum errc login_file_entry(const json_t *root, const char *file, const char *host, const char *path,
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
