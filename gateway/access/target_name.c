#include "gateway/access/target_name.h"

#include "base/mem.h"
#include "base/net.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <string.h>

#define HUB "docker.io"

static bool is_hub(const char *host)
{
    static const char *const names[] = {HUB, "index.docker.io", "registry-1.docker.io",
                                        "registry.hub.docker.com"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(host, names[i]) == 0)
            return true;
    return false;
}

/* Of https and http. That both are left out makes one target of two at a host that has both: no
 * rule is got past by the other one. */
static bool is_implied(unsigned port)
{
    return port == 443 || port == 80;
}

/* As the system's resolver reads it: IPv4 in any of its forms, IPv6 in any spelling. */
static char *address_text(const struct net_authority *authority)
{
    struct net_address address;
    struct in_addr v4;
    char text[NET_ADDRESS_TEXT_MAX];
    if (authority->bracketed &&
        net_address_parse(authority->host, strlen(authority->host), &address)) {
        net_address_text(&address, text);
        return strchr(text, ':') ? xasprintf("[%s]", text) : xstrdup(text);
    }
    if (inet_aton(authority->host, &v4) != 1)
        return xstrdup(authority->host);
    inet_ntop(AF_INET, &v4, text, sizeof text);
    return xstrdup(text);
}

char *target_host(const char *host, size_t size)
{
    struct net_authority authority;
    if (!net_authority_parse(host, size, &authority)) {
        char *lower = xstrndup(host, size);
        for (char *at = lower; *at; at++)
            *at = (char)tolower((unsigned char)*at);
        return lower;
    }
    for (size_t name = strlen(authority.host); name > 1 && authority.host[name - 1] == '.'; name--)
        authority.host[name - 1] = '\0';
    autofree char *text = address_text(&authority);
    if (!authority.has_port || is_implied(authority.port))
        return is_hub(text) ? xstrdup(HUB) : mem_take(&text);
    return xasprintf("%s:%u", text, authority.port);
}

char *target_pattern(const char *pattern)
{
    size_t size = strcspn(pattern, "/");
    if (pattern[size] == '\0')
        return xstrdup(pattern);
    size_t host_size = size;
    const char *colon = memrchr(pattern, ':', size);
    bool wild = memchr(pattern, '*', size) != NULL;
    if (wild && colon && (strncmp(colon, ":443/", 5) == 0 || strncmp(colon, ":80/", 4) == 0))
        host_size = (size_t)(colon - pattern);
    autofree char *host = target_host(pattern, host_size);
    const char *path = pattern + size + 1;
    bool official =
        strcmp(host, HUB) == 0 && strchr(path, '/') == NULL && strstr(path, "**") == NULL;
    return xasprintf("%s/%s%s", host, official ? "library/" : "", path);
}

char *target_name(const char *registry, const char *path)
{
    autofree char *host = target_host(registry, strlen(registry));
    bool official = strcmp(host, HUB) == 0 && strchr(path, '/') == NULL;
    return xasprintf("%s/%s%s", host, official ? "library/" : "", path);
}
