#include "net/proxy.h"

#include "base/mem.h"
#include "base/net.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#define SEPARATORS ", \t\r\n"

struct address {
    size_t bits; /* 0: none */
    uint8_t bytes[sizeof(struct in6_addr)];
};

static struct address parse_address(const char *text)
{
    struct address address = {0};
    if (inet_pton(AF_INET, text, address.bytes) == 1)
        address.bits = 32;
    else if (inet_pton(AF_INET6, text, address.bytes) == 1)
        address.bits = 128;
    return address;
}

static bool same_bits(const struct address *a, const struct address *b, size_t bits)
{
    if (a->bits == 0 || a->bits != b->bits || bits > a->bits)
        return false;
    size_t whole = bits / 8;
    unsigned rest = bits % 8;
    return memcmp(a->bytes, b->bytes, whole) == 0 &&
           (rest == 0 || (a->bytes[whole] ^ b->bytes[whole]) >> (8 - rest) == 0);
}

static bool is_in_network(const struct address *host, char *entry)
{
    char *slash = strchr(entry, '/');
    char *end = NULL;
    *slash = '\0';
    const struct address network = parse_address(entry);
    unsigned long bits = strtoul(slash + 1, &end, 10);
    return slash[1] >= '0' && slash[1] <= '9' && *end == '\0' && same_bits(host, &network, bits);
}

static bool is_below(const char *host, const char *domain)
{
    size_t size = strlen(host);
    size_t part = strlen(domain);
    return size > part && host[size - part - 1] == '.' && strcmp(host + size - part, domain) == 0;
}

static bool names(const char *entry, const char *host, uint16_t port)
{
    struct net_authority authority;
    bool below_only = false;
    if (strncmp(entry, "*.", 2) == 0)
        entry++;
    if (*entry == '.') {
        below_only = true;
        entry++;
    }
    if (!net_authority_parse(entry, strlen(entry), &authority) ||
        (authority.has_port && authority.port != port))
        return false;
    const struct address address = parse_address(host);
    const struct address named = parse_address(authority.host);
    if (address.bits > 0)
        return same_bits(&address, &named, address.bits);
    return is_below(host, authority.host) || (!below_only && strcmp(host, authority.host) == 0);
}

static bool excepts(char *entry, const char *host, uint16_t port)
{
    const struct address address = parse_address(host);
    const struct address named = parse_address(entry); /* IPv6 also without brackets */
    if (strcmp(entry, "*") == 0)
        return true;
    if (strchr(entry, '/'))
        return is_in_network(&address, entry);
    return named.bits > 0 ? same_bits(&address, &named, named.bits) : names(entry, host, port);
}

bool proxy_excepts(const char *list, const struct url *url)
{
    autofree char *copy = xstrdup(list);
    autofree char *host = xstrdup(url->host);
    size_t size = strlen(host);
    char *rest = NULL;
    bool found = false;
    if (size > 0 && host[size - 1] == '.')
        host[size - 1] = '\0';
    for (char *entry = strtok_r(copy, SEPARATORS, &rest); entry && !found;
         entry = strtok_r(NULL, SEPARATORS, &rest))
        found = excepts(entry, host, url->port);
    return found;
}

/* NULL when it is not set, or empty. */
static const char *variable(const char *upper, const char *lower)
{
    const char *value = getenv(upper);
    if (value == NULL || value[0] == '\0')
        value = getenv(lower);
    return value && value[0] ? value : NULL;
}

char *proxy_for(const struct url *url)
{
    const char *proxy = NULL;
    if (net_host_is_loopback(url->host))
        return NULL;
    if (url->tls)
        proxy = variable("HTTPS_PROXY", "https_proxy");
    else if (getenv("REQUEST_METHOD") == NULL)
        proxy = variable("HTTP_PROXY", "http_proxy");
    if (proxy == NULL)
        proxy = variable("ALL_PROXY", "all_proxy");
    const char *exceptions = variable("NO_PROXY", "no_proxy");
    bool direct = proxy == NULL || (exceptions && proxy_excepts(exceptions, url));
    return direct ? NULL : xstrdup(proxy);
}
