#include "config/settings_stamp.h"

#include <string.h>
#include <sys/stat.h>

/* FNV-1a, 64 bits */
#define START UINT64_C(0xcbf29ce484222325)
#define PRIME UINT64_C(0x100000001b3)

static void add_bytes(uint64_t *stamp, const void *data, size_t size)
{
    const unsigned char *bytes = data;
    for (size_t i = 0; i < size; i++)
        *stamp = (*stamp ^ bytes[i]) * PRIME;
}

/* With its end, so that two texts are not one. */
static void add_text(uint64_t *stamp, const char *text)
{
    add_bytes(stamp, text ? text : "", text ? strlen(text) + 1 : 1);
}

static void add_file(uint64_t *stamp, const char *path)
{
    struct stat about;
    if (path == NULL)
        return;
    add_text(stamp, path);
    if (stat(path, &about) != 0)
        return;
    const uint64_t told[] = {(uint64_t)about.st_dev,          (uint64_t)about.st_ino,
                             (uint64_t)about.st_size,         (uint64_t)about.st_mtim.tv_sec,
                             (uint64_t)about.st_mtim.tv_nsec, (uint64_t)about.st_ctim.tv_sec,
                             (uint64_t)about.st_ctim.tv_nsec};
    add_bytes(stamp, told, sizeof told);
}

static void add_registry(uint64_t *stamp, const struct registry_setting *registry)
{
    static const char file[] = "password_file, ";
    const char *from = registry->password.from;
    add_file(stamp, registry->ca);
    add_file(stamp, registry->client_certificate);
    add_file(stamp, registry->client_key);
    if (from && strncmp(from, file, sizeof file - 1) == 0)
        add_file(stamp, from + sizeof file - 1);
}

uint64_t settings_stamp(const char *path, const struct settings *settings)
{
    uint64_t stamp = START;
    add_file(&stamp, path);
    add_file(&stamp, settings->tls.certificate);
    add_file(&stamp, settings->tls.key);
    add_file(&stamp, settings->tls.client_ca);
    for (size_t i = 0; i < settings->registry_count; i++)
        add_registry(&stamp, &settings->registries[i]);
    return stamp;
}

uint64_t settings_registry_stamp(const struct registry_setting *registry)
{
    uint64_t stamp = START;
    add_text(&stamp, registry->username);
    add_text(&stamp, registry->password.text);
    for (size_t i = 0; i < registry->password_command.count; i++)
        add_text(&stamp, registry->password_command.items[i]);
    add_registry(&stamp, registry);
    return stamp ? stamp : 1;
}
