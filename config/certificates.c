#include "config/certificates.h"

#include "base/mem.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const below_home[] = {".config/containers/certs.d", ".config/docker/certs.d"};
static const char *const of_system[] = {"/etc/containers/certs.d", "/etc/docker/certs.d"};

void certificates_clear(struct stored_certificates *certificates)
{
    free(certificates->ca);
    free(certificates->certificate);
    free(certificates->key);
    *certificates = (struct stored_certificates){0};
}

static bool has_suffix(const char *name, const char *suffix)
{
    size_t size = strlen(name);
    size_t part = strlen(suffix);
    return size > part && strcmp(name + size - part, suffix) == 0;
}

/* Owned; NULL when no such file is there. */
static char *key_of(const char *folder, const char *certificate)
{
    size_t size = strlen(certificate) - strlen(".cert");
    autofree char *path = xasprintf("%s/%.*s.key", folder, (int)size, certificate);
    return access(path, F_OK) == 0 ? mem_take(&path) : NULL;
}

static void take(const char *folder, const char *name, struct stored_certificates *out)
{
    if (has_suffix(name, ".crt") && (out->ca == NULL || strcmp(name, "ca.crt") == 0)) {
        free(out->ca);
        out->ca = xasprintf("%s/%s", folder, name);
    }
    if (!has_suffix(name, ".cert") || out->certificate)
        return;
    out->key = key_of(folder, name);
    if (out->key)
        out->certificate = xasprintf("%s/%s", folder, name);
}

/* False when the folder is not there. */
static bool look_into(const char *folder, struct stored_certificates *out)
{
    struct dirent **entries = NULL;
    int count = scandir(folder, &entries, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        take(folder, entries[i]->d_name, out);
        free(entries[i]);
    }
    free(entries);
    return count >= 0;
}

struct stored_certificates certificates_find(const char *host)
{
    struct stored_certificates found = {0};
    const char *home = getenv("HOME");
    bool seen = host[0] == '.' || strchr(host, '/'); /* no name of a folder here */
    for (size_t i = 0; i < 2 && !seen && home && home[0]; i++) {
        autofree char *folder = xasprintf("%s/%s/%s", home, below_home[i], host);
        seen = look_into(folder, &found);
    }
    for (size_t i = 0; i < 2 && !seen; i++) {
        autofree char *folder = xasprintf("%s/%s", of_system[i], host);
        seen = look_into(folder, &found);
    }
    return found;
}
