#include "config/settings_text.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define KIBI UINT64_C(1024)
#define KILO UINT64_C(1000)

struct unit {
    const char *name;
    uint64_t factor;
};

/* Binary units from the largest: setting_size_text() takes the first that divides. */
static const struct unit size_units[] = {
    {"TiB", KIBI *KIBI *KIBI *KIBI},
    {"GiB", KIBI *KIBI *KIBI},
    {"MiB", KIBI *KIBI},
    {"KiB", KIBI},
    {"B", 1},
    {"", 1},
    {"kB", KILO},
    {"KB", KILO},
    {"MB", KILO *KILO},
    {"GB", KILO *KILO *KILO},
    {"TB", KILO *KILO *KILO *KILO},
    {NULL, 0},
};

/* From the largest, as above. */
static const struct unit time_units[] = {
    {"h", 3600 * KILO}, {"m", 60 * KILO}, {"s", KILO}, {"ms", 1}, {NULL, 0},
};

/* Digits, then one of the units; false when it is anything else or more than `most`. */
static bool parse_quantity(const char *text, const struct unit *units, uint64_t most, uint64_t *out)
{
    uint64_t number = 0;
    const char *at = text;
    for (; isdigit((unsigned char)*at); at++) {
        uint64_t digit = (uint64_t)(*at - '0');
        if (number > (most - digit) / 10)
            return false;
        number = number * 10 + digit;
    }
    if (at == text)
        return false;
    while (units->name != NULL && strcmp(units->name, at) != 0)
        units++;
    if (units->name == NULL || number > most / units->factor)
        return false;
    *out = number * units->factor;
    return true;
}

enum errc settings_size(const char *text, uint64_t *bytes, struct error *err)
{
    if (!parse_quantity(text, size_units, INT64_MAX, bytes))
        return fail(err, ERR_SETTINGS, 0,
                    "must be a size: a whole number and B, KiB, MiB, GiB, TiB, kB, MB, GB or TB, "
                    "like \"64MiB\"");
    return ERR_OK;
}

enum errc settings_duration(const char *text, int64_t *ms, struct error *err)
{
    uint64_t parsed = 0;
    if (!parse_quantity(text, time_units, INT64_MAX, &parsed))
        return fail(err, ERR_SETTINGS, 0,
                    "must be a time: a whole number and ms, s, m or h, like \"30s\"");
    *ms = (int64_t)parsed;
    return ERR_OK;
}

static const char *quantity_text(uint64_t number, const struct unit *units,
                                 char out[SETTING_SIZE_TEXT_MAX])
{
    while (number % units->factor != 0)
        units++;
    snprintf(out, SETTING_SIZE_TEXT_MAX, "%" PRIu64 "%s", number / units->factor, units->name);
    return out;
}

const char *setting_size_text(uint64_t bytes, char out[SETTING_SIZE_TEXT_MAX])
{
    return quantity_text(bytes, size_units, out);
}

const char *setting_duration_text(uint64_t ms, char out[SETTING_SIZE_TEXT_MAX])
{
    return quantity_text(ms, time_units, out);
}

enum errc setting_authority(const char *text, size_t size, struct net_authority *out,
                            struct error *err)
{
    if (net_authority_parse(text, size, out))
        return ERR_OK;
    return fail(err, ERR_SETTINGS, 0,
                "must name a host, with or without a port from 0 to 65535 behind a colon");
}

static bool printable(const char *text)
{
    for (; *text; text++)
        if (!isgraph((unsigned char)*text) || strchr("\"<>\\^`{|}", *text) != NULL)
            return false;
    return true;
}

enum errc setting_url(const char *text, struct setting_url *out, struct error *err)
{
    struct setting_url parsed = {.https = strncasecmp(text, "https://", 8) == 0};
    if (!parsed.https && strncasecmp(text, "http://", 7) != 0)
        return fail(err, ERR_SETTINGS, 0, "must be a URL that starts with https:// or http://");
    const char *authority = text + (parsed.https ? 8 : 7);
    if (!printable(text))
        return fail(err, ERR_SETTINGS, 0, "must be a URL without spaces and special characters");
    if (strpbrk(text, "?#") != NULL)
        return fail(err, ERR_SETTINGS, 0, "must be a URL without a query and a fragment");
    size_t size = strcspn(authority, "/");
    if (memchr(authority, '@', size) != NULL)
        return fail(err, ERR_SETTINGS, 0, "must be a URL without a user name and a password");
    if (setting_authority(authority, size, &parsed.authority, err) != ERR_OK)
        return err->code;
    if (parsed.authority.has_port && parsed.authority.port == 0)
        return fail(err, ERR_SETTINGS, 0, "must not have port 0");
    *out = parsed;
    return ERR_OK;
}

enum errc settings_address(const char *text, struct sockaddr_storage *address, socklen_t *size,
                           struct error *err)
{
    struct net_authority parsed;
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    if (setting_authority(text, strlen(text), &parsed, err) != ERR_OK || !parsed.has_port)
        return fail(err, ERR_SETTINGS, 0, "must be ADDRESS:PORT, like \"127.0.0.1:5000\"");
    v4.sin_port = v6.sin6_port = htons(parsed.port);
    struct sockaddr_storage found = {0};
    if (text[0] != '[' && inet_pton(AF_INET, parsed.host, &v4.sin_addr) == 1)
        memcpy(&found, &v4, sizeof v4);
    else if (text[0] == '[' && inet_pton(AF_INET6, parsed.host, &v6.sin6_addr) == 1)
        memcpy(&found, &v6, sizeof v6);
    else
        return fail(err, ERR_SETTINGS, 0,
                    "must be an IP address, not a name, and a port, like \"127.0.0.1:5000\"");
    *size = found.ss_family == AF_INET ? sizeof v4 : sizeof v6;
    *address = found;
    return ERR_OK;
}
