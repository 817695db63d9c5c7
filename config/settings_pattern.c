#include "config/settings_pattern.h"

#include "config/settings_text.h"
#include "config/settings_types.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || isdigit((unsigned char)c) || strchr("._-*", c) != NULL;
}

/* One component: a name's begins and ends with a letter or digit. */
static enum errc check_component(const char *at, size_t size, const char *also, struct error *err)
{
    if (size == 0)
        return fail(err, ERR_SETTINGS, 0, "must not have an empty component");
    for (size_t i = 0; i < size; i++)
        if (!is_name_char(at[i]) && strchr(also, at[i]) == NULL)
            return fail(err, ERR_SETTINGS, 0,
                        "must not hold \"%c\": names have lower-case letters, digits, \".\", "
                        "\"_\", \"-\" and \"/\"",
                        isprint((unsigned char)at[i]) ? at[i] : '?');
    if (strchr("._-:", at[0]) != NULL || strchr("._-:", at[size - 1]) != NULL)
        return fail(err, ERR_SETTINGS, 0,
                    "must not have a component that begins or ends with \".\", \"_\", \"-\" or "
                    "\":\"");
    return ERR_OK;
}

static enum errc count_wildcards(const char *pattern, struct setting_wildcards *out,
                                 struct error *err)
{
    struct setting_wildcards found = {0};
    for (const char *at = pattern; (at = strchr(at, '*')) != NULL;) {
        size_t stars = strspn(at, "*");
        if (stars > 2)
            return fail(err, ERR_SETTINGS, 0, "must not have more than two stars in a row");
        if (stars == 2)
            found.deep++;
        else
            found.single++;
        at += stars;
    }
    *out = found;
    return ERR_OK;
}

enum errc setting_pattern_check(const char *pattern, const char *first_also,
                                struct setting_wildcards *out, struct error *err)
{
    const char *also = first_also;
    if (strlen(pattern) > SETTING_PATTERN_MAX)
        return fail(err, ERR_SETTINGS, 0, "must have 1 to %d bytes", SETTING_PATTERN_MAX);
    for (const char *at = pattern;; at++) {
        size_t size = strcspn(at, "/");
        if (check_component(at, size, also, err) != ERR_OK)
            return err->code;
        at += size;
        if (*at == '\0')
            break;
        also = "";
    }
    return count_wildcards(pattern, out, err);
}

/* Another one would match no host, and a rule that denies would deny nothing. */
static bool is_wild_host(const char *host, size_t size)
{
    const char *end = host + size;
    const char *rest = *host == '[' ? memchr(host, ']', size) : host;
    if (rest == NULL || (rest > host && rest + 1 < end && rest[1] != ':'))
        return false;
    size_t colons = 0;
    for (const char *at = rest > host ? rest + 1 : rest; at < end; at++) {
        if (*at == '[' || *at == ']')
            return false;
        colons += *at == ':';
    }
    return colons <= 1;
}

enum errc setting_target_pattern_check(const char *target, struct setting_wildcards *out,
                                       struct error *err)
{
    size_t host = strcspn(target, "/");
    bool wild = memchr(target, '*', host) != NULL;
    bool whole = target[host] == '\0'; /* only "**" can stand for what has a slash */
    struct net_authority authority;
    if (whole ? strstr(target, "**") == NULL
              : !wild && (!net_names_host(target, host) ||
                          setting_authority(target, host, &authority, err) != ERR_OK ||
                          (authority.has_port && authority.port == 0)))
        return fail(err, ERR_SETTINGS, 0,
                    "must be HOST/REPOSITORY, with a host that has a \".\" or \":\" or is "
                    "localhost");
    if (!whole && wild && !is_wild_host(target, host))
        return fail(err, ERR_SETTINGS, 0,
                    "must have at most one port, and brackets around an IPv6 address only");
    if (!whole && strpbrk(target + host, ":@") != NULL)
        return fail(err, ERR_SETTINGS, 0, "must not have a tag or digest: those are kept");
    return wild ? setting_pattern_check(target, ":[]", out, err)
                : setting_pattern_check(target + host + 1, "", out, err);
}

enum errc setting_name_pattern_check(const char *pattern, const char *also, struct error *err)
{
    for (const char *at = pattern; *at; at++)
        if (!isalnum((unsigned char)*at) && strchr("._-*", *at) == NULL &&
            strchr(also, *at) == NULL)
            return fail(err, ERR_SETTINGS, 0, "must not hold \"%c\"",
                        isprint((unsigned char)*at) ? *at : '?');
    if (strstr(pattern, "***"))
        return fail(err, ERR_SETTINGS, 0, "must not have more than two stars in a row");
    return ERR_OK;
}
