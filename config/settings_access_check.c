#include "base/mem.h"
#include "config/settings_access.h"
#include "config/settings_text.h"

#include <stdio.h>
#include <string.h>

static bool has(const struct setting_list *list, const char *text)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->items[i], text) == 0)
            return true;
    return false;
}

static bool begins(const char *name, const char *prefix)
{
    return strncmp(name, prefix, strlen(prefix)) == 0;
}

static bool is_everybody(const char *name)
{
    return strcmp(name, "anonymous") == 0 || strcmp(name, "authenticated") == 0;
}

/* A name that says what kind of client it is: only that source gives it. */
static bool is_reserved(const char *name)
{
    return is_everybody(name) || begins(name, "robot:") || begins(name, "cert:");
}

static bool is_group(const struct settings *settings, const char *name)
{
    for (size_t i = 0; i < settings->clients.groups.count; i++)
        if (strcmp(settings->clients.groups.items[i].name, name) == 0)
            return true;
    return false;
}

static bool mapping_gives(const struct settings *settings, const char *name)
{
    for (size_t i = 0; i < settings->clients.oidc_count; i++) {
        const struct oidc_setting *entry = &settings->clients.oidc[i];
        for (size_t j = 0; j < entry->mapping_count; j++)
            if (strcmp(entry->mappings[j].identity, name) == 0 ||
                has(&entry->mappings[j].groups, name))
                return true;
    }
    return false;
}

/* Somebody can be called so. */
static enum errc check_name(const struct settings *settings, const char *name, struct error *err)
{
    if (begins(name, "robot:") && name[strlen("robot:")] != '\0')
        return ERR_OK;
    if (begins(name, "cert:")) {
        if (settings->tls.client_ca)
            return ERR_OK;
        return fail(err, ERR_SETTINGS, 0, "\"%.300s\" needs tls.client_ca", name);
    }
    if (settings->clients.htpasswd || mapping_gives(settings, name))
        return ERR_OK;
    return fail(err, ERR_SETTINGS, 0,
                "nobody is called \"%.300s\": it is no group of clients.groups, nothing of "
                "clients.oidc, and there is no clients.htpasswd",
                name);
}

static enum errc check_names(const struct settings *settings, const struct setting_list *list,
                             bool rule, struct error *err)
{
    for (size_t i = 0; i < list->count; i++) {
        const char *name = list->items[i];
        if (rule && (is_everybody(name) || is_group(settings, name)))
            continue;
        if (!rule && is_everybody(name))
            return fail(err, ERR_SETTINGS, 0, "\"%s\" is for rules only", name);
        if (check_name(settings, name, err) != ERR_OK)
            return err->code;
    }
    for (size_t i = 1; i < list->count; i++)
        for (size_t j = 0; j < i; j++)
            if (strcmp(list->items[i], list->items[j]) == 0)
                return fail(err, ERR_SETTINGS, 0, "\"%.300s\" is there twice", list->items[i]);
    return ERR_OK;
}

static enum errc check_groups(const struct settings *settings, struct error *err)
{
    for (size_t i = 0; i < settings->clients.groups.count; i++) {
        const struct setting_named_list *group = &settings->clients.groups.items[i];
        if (is_reserved(group->name))
            return fail(err, ERR_SETTINGS, 0,
                        "clients.groups.%.300s: no group can have this name: it says who somebody "
                        "is",
                        group->name);
        if (check_names(settings, &group->list, false, err) != ERR_OK)
            return error_wrap(err, "clients.groups.%.300s", group->name);
    }
    return ERR_OK;
}

static bool rule_names(const struct settings *settings, const char *name)
{
    for (size_t i = 0; i < settings->policy_count; i++)
        if (has(&settings->policy[i].who, name))
            return true;
    return false;
}

static enum errc check_mapping(const struct settings *settings,
                               const struct mapping_setting *mapping, struct error *err)
{
    if (is_reserved(mapping->identity))
        return fail(err, ERR_SETTINGS, 0,
                    "identity: must not be anonymous or authenticated, nor begin with \"robot:\" "
                    "or \"cert:\"");
    if (is_group(settings, mapping->identity))
        return fail(err, ERR_SETTINGS, 0, "identity: a group of clients.groups is called so");
    for (size_t i = 0; i < mapping->groups.count; i++) {
        const char *group = mapping->groups.items[i];
        if (is_reserved(group) || (!is_group(settings, group) && !rule_names(settings, group)))
            return fail(err, ERR_SETTINGS, 0,
                        "groups: there is no group \"%.300s\" in clients.groups or policy", group);
    }
    return ERR_OK;
}

static enum errc check_mappings(const struct settings *settings, struct error *err)
{
    for (size_t i = 0; i < settings->clients.oidc_count; i++)
        for (size_t j = 0; j < settings->clients.oidc[i].mapping_count; j++)
            if (check_mapping(settings, &settings->clients.oidc[i].mappings[j], err) != ERR_OK)
                return error_wrap(err, "clients.oidc[%zu].mappings[%zu]", i, j);
    return ERR_OK;
}

static bool lists_robot(const struct setting_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        if (begins(list->items[i], "robot:"))
            return true;
    return false;
}

/* Robots are in the store; that the configuration names one says that there are some. */
static bool names_robot(const struct settings *settings)
{
    for (size_t i = 0; i < settings->policy_count; i++)
        if (lists_robot(&settings->policy[i].who))
            return true;
    for (size_t i = 0; i < settings->clients.groups.count; i++)
        if (lists_robot(&settings->clients.groups.items[i].list))
            return true;
    return false;
}

static enum errc check_sources(const struct settings *settings, struct error *err)
{
    const char *source = settings->clients.htpasswd         ? "clients.htpasswd"
                         : settings->clients.oidc_count > 0 ? "clients.oidc"
                         : settings->tls.client_ca          ? "tls.client_ca"
                                                            : NULL;
    if (settings->policy_count == 0 && source)
        return fail(err, ERR_SETTINGS, 0,
                    "%s: needs a policy beside it, which says what its clients may do", source);
    if (settings->policy_count > 0 && source == NULL && !names_robot(settings) &&
        !settings->clients.anonymous)
        return fail(
            err, ERR_SETTINGS, 0,
            "policy: needs clients.htpasswd, clients.oidc, tls.client_ca or a \"robot:NAME\" "
            "beside it; set clients.anonymous to true if all clients are to be anonymous");
    return ERR_OK;
}

static enum errc check_listen(const struct settings *settings, struct error *err)
{
    struct net_authority parsed;
    if (setting_authority(settings->listen, strlen(settings->listen), &parsed, err) != ERR_OK)
        return error_wrap(err, "listen");
    if (net_host_is_loopback(parsed.host))
        return ERR_OK;
    if (settings->policy_count == 0)
        return fail(err, ERR_SETTINGS, 0,
                    "listen: %s can be reached from other machines and nothing says who may do "
                    "what; set policy",
                    settings->listen);
    if (settings->tls.certificate == NULL && !settings->clients.plain_http)
        return fail(
            err, ERR_SETTINGS, 0,
            "listen: %s can be reached from other machines, which would send passwords and "
            "images over plain HTTP; set tls.certificate and tls.key, or clients.plain_http "
            "to true if something in front of the gateway does TLS",
            settings->listen);
    return ERR_OK;
}

enum errc setting_access_check(const struct settings *settings, struct error *err)
{
    if (settings->tls.client_ca && settings->tls.certificate == NULL)
        return fail(err, ERR_SETTINGS, 0, "tls.client_ca needs tls.certificate beside it");
    if (check_listen(settings, err) != ERR_OK || check_sources(settings, err) != ERR_OK ||
        check_groups(settings, err) != ERR_OK || check_mappings(settings, err) != ERR_OK)
        return err->code;
    for (size_t i = 0; i < settings->policy_count; i++)
        if (check_names(settings, &settings->policy[i].who, true, err) != ERR_OK)
            return error_wrap(err, "policy[%zu].who", i);
    return ERR_OK;
}
