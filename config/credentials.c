#include "config/credentials.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/secret.h"
#include "config/credentials_helper.h"
#include "config/login_file.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

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
    if (file_read_all(path, LOGIN_FILE_BYTES_MAX, &data, &size, err) != ERR_OK) {
        if (err->sys == ENOENT || err->sys == ENOTDIR) {
            error_clear(err);
            return ERR_OK;
        }
        err->code = ERR_CREDENTIALS;
        return err->code;
    }
    enum errc rc = login_file_parse(data, size, path, root, err);
    explicit_bzero(data, size);
    return rc;
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
    if (login_file_helper(root, file, host, path, &helper, err) != ERR_OK)
        return err->code;
    const char *server = login_file_server(host);
    if (helper[0] != '\0' && credentials_helper_get(helper, server, out, err) != ERR_OK)
        return error_wrap(err, "%s", file);
    bool helped = !is_empty(out);
    if (!helped && login_file_entry(root, file, host, path, out, err) != ERR_OK)
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
