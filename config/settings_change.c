#include "config/settings_change.h"

#include "config/settings.h"
#include "config/settings_stamp.h"
#include "config/settings_table.h"

#include <string.h>

/* Sockets, pools, files that are open, and what is handed to threads at their start. */
static const char *const fixed[] = {
    "listen",
    "data",
    "limits.free_space",
    "limits.uploads",
    "limits.blobs",
    "limits.pushes_per_registry",
    "limits.requests_per_registry",
    "limits.transfers",
    "limits.pushes",
    "limits.upload_sessions",
    "limits.upload_sessions_per_repository",
    "limits.upload_sessions_per_client",
    "store.map",
    "clients.trusted_proxies",
    "audit.file",
    "ops.listen",
    "log.format",
};

/* Whether there is one; which one may change. */
static const char *const fixed_presence[] = {"tls.certificate", "tls.key", "tls.client_ca"};

static bool same(const json_t *a, const json_t *b)
{
    return a == b || (a && b && json_equal(a, b));
}

static void put(const struct setting_row *row, struct settings *settings, const json_t *value)
{
    static const struct setting_origin origin = {.name = "the configuration before"};
    struct error ignored = ERROR_INIT; /* it was set before */
    if (value) {
        setting_set(row, settings, value, &origin, &ignored);
        return;
    }
    setting_clear(row, 1, settings);
    if (row->type == SETTING_SIZE)
        *(uint64_t *)(void *)((char *)settings + row->offset) = 0;
}

static void keep(const char *name, bool presence, struct settings *next, const struct settings *now,
                 json_t *names)
{
    const struct setting_row *row = setting_find(settings_rows, settings_row_count, name);
    autojson json_t *wanted = setting_get(row, next);
    autojson json_t *kept = setting_get(row, now);
    if (same(wanted, kept) || (presence && wanted && kept))
        return;
    if ((now->overridden >> (row - settings_rows) & 1) == 0)
        json_array_append_new(names, json_string(name));
    put(row, next, kept);
}

json_t *settings_keep_fixed(struct settings *next, const struct settings *now)
{
    json_t *names = json_array();
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++)
        keep(fixed[i], false, next, now, names);
    for (size_t i = 0; i < sizeof fixed_presence / sizeof fixed_presence[0]; i++)
        keep(fixed_presence[i], true, next, now, names);
    next->overridden = now->overridden;
    return names;
}

static bool same_registries(const struct settings *a, const struct settings *b)
{
    if (a->registry_count != b->registry_count)
        return false;
    for (size_t i = 0; i < a->registry_count; i++) {
        const struct registry_setting *other = settings_registry(b, a->registries[i].host);
        if (other == NULL ||
            settings_registry_stamp(&a->registries[i]) != settings_registry_stamp(other))
            return false;
    }
    return true;
}

static void add(json_t *names, const char *section, const char *key)
{
    char path[SETTING_PATH_MAX];
    json_array_append_new(names, json_string(setting_path(path, section, key)));
}

/* Sections are looked into. */
static void compare(json_t *a, json_t *b, const char *section, json_t *names)
{
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach(a, key, value)
    {
        json_t *other = json_object_get(b, key);
        if (same(value, other))
            continue;
        if (section[0] == '\0' && json_is_object(value) && json_is_object(other) &&
            strcmp(key, "registries") != 0)
            compare(value, other, key, names);
        else
            add(names, section, key);
    }
    json_object_foreach(b, key, value)
    {
        if (json_object_get(a, key) == NULL)
            add(names, section, key);
    }
}

json_t *settings_changes(const struct settings *now, const struct settings *next)
{
    autojson json_t *a = settings_print(now);
    autojson json_t *b = settings_print(next);
    json_t *names = json_array();
    bool printed = same(json_object_get(a, "registries"), json_object_get(b, "registries"));
    compare(a, b, "", names);
    if (printed && !same_registries(now, next))
        add(names, "", "registries");
    return names;
}
