#include "base/net.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#define PORT_DIGITS_MAX 5

/* ---- authorities ---- */

static bool parse_port(const char *text, size_t size, uint16_t *port)
{
    unsigned value = 0;
    if (size == 0 || size > PORT_DIGITS_MAX)
        return false;
    for (size_t i = 0; i < size; i++) {
        if (!isdigit((unsigned char)text[i]))
            return false;
        value = value * 10 + (unsigned)(text[i] - '0');
    }
    *port = (uint16_t)value;
    return value <= UINT16_MAX;
}

static bool host_valid(const struct net_authority *authority)
{
    struct in6_addr ignored;
    if (authority->bracketed)
        return inet_pton(AF_INET6, authority->host, &ignored) == 1;
    for (const char *at = authority->host; *at; at++)
        if (!isalnum((unsigned char)*at) && strchr(".-_", *at) == NULL)
            return false;
    return true;
}

bool net_authority_parse(const char *text, size_t size, struct net_authority *out)
{
    struct net_authority got = {.bracketed = size > 0 && text[0] == '['};
    const char *end = text + size;
    const char *host = text + got.bracketed;
    const char *stop = memchr(text, got.bracketed ? ']' : ':', size);
    if (stop == NULL && got.bracketed)
        return false;
    size_t host_size = (size_t)((stop ? stop : end) - host);
    const char *rest = stop ? stop + got.bracketed : end;
    if (host_size == 0 || host_size > NET_HOST_MAX)
        return false;
    for (size_t i = 0; i < host_size; i++)
        got.host[i] = (char)tolower((unsigned char)host[i]);
    got.has_port = rest < end;
    if (strlen(got.host) != host_size || !host_valid(&got) ||
        (got.has_port &&
         (*rest != ':' || !parse_port(rest + 1, (size_t)(end - rest - 1), &got.port))))
        return false;
    *out = got;
    return true;
}

bool net_names_host(const char *text, size_t size)
{
    static const char localhost[] = "localhost";
    return memchr(text, '.', size) || memchr(text, ':', size) ||
           (size == strlen(localhost) && memcmp(text, localhost, size) == 0);
}

/* ---- addresses ---- */

struct range {
    uint32_t network;
    uint32_t mask;
};

static const struct range loopback = {0x7F000000, 0xFF000000}; /* 127.0.0.0/8 */
static const struct range private_ranges[] = {
    {0x00000000, 0xFF000000}, /* 0.0.0.0/8: this host */
    {0x0A000000, 0xFF000000}, /* 10.0.0.0/8 */
    {0x64400000, 0xFFC00000}, /* 100.64.0.0/10: carrier-grade NAT */
    {0x7F000000, 0xFF000000}, /* 127.0.0.0/8 */
    {0xA9FE0000, 0xFFFF0000}, /* 169.254.0.0/16: link-local, cloud metadata services */
    {0xAC100000, 0xFFF00000}, /* 172.16.0.0/12 */
    {0xC0A80000, 0xFFFF0000}, /* 192.168.0.0/16 */
};

enum reach { REACH_LOOPBACK, REACH_PRIVATE, REACH_UNKNOWN };

static bool in_range(uint32_t address, const struct range *range)
{
    return (address & range->mask) == range->network;
}

static enum reach v4_reach(const struct in_addr *address)
{
    uint32_t host_order = ntohl(address->s_addr);
    if (in_range(host_order, &loopback))
        return REACH_LOOPBACK;
    for (size_t i = 0; i < sizeof private_ranges / sizeof private_ranges[0]; i++)
        if (in_range(host_order, &private_ranges[i]))
            return REACH_PRIVATE;
    return REACH_UNKNOWN;
}

/* A gateway on the way sends what goes there to an IPv4 address: NAT64 (RFC 6052; RFC 8215 is for
 * local networks only) and 6to4 (RFC 3056). Never loopback: that is of the gateway's machine. */
static bool leads_to_private_v4(const struct in6_addr *address)
{
    static const uint8_t nat64[12] = {0x00, 0x64, 0xFF, 0x9B};
    static const uint8_t nat64_local[6] = {0x00, 0x64, 0xFF, 0x9B, 0x00, 0x01};
    static const uint8_t v4_compatible[12] = {0};
    const uint8_t *bytes = address->s6_addr;
    bool last = memcmp(bytes, nat64, sizeof nat64) == 0 ||
                memcmp(bytes, v4_compatible, sizeof v4_compatible) == 0;
    if (memcmp(bytes, nat64_local, sizeof nat64_local) == 0)
        return true;
    if (!last && !(bytes[0] == 0x20 && bytes[1] == 0x02))
        return false;
    struct in_addr v4;
    memcpy(&v4, bytes + (last ? 12 : 2), sizeof v4);
    return v4_reach(&v4) != REACH_UNKNOWN;
}

static enum reach v6_reach(const struct in6_addr *address)
{
    if (IN6_IS_ADDR_V4MAPPED(address)) {
        struct in_addr v4;
        memcpy(&v4, address->s6_addr + 12, sizeof v4);
        return v4_reach(&v4);
    }
    if (IN6_IS_ADDR_LOOPBACK(address))
        return REACH_LOOPBACK;
    bool local = IN6_IS_ADDR_UNSPECIFIED(address) || IN6_IS_ADDR_LINKLOCAL(address) ||
                 IN6_IS_ADDR_SITELOCAL(address) || (address->s6_addr[0] & 0xFE) == 0xFC ||
                 leads_to_private_v4(address);
    return local ? REACH_PRIVATE : REACH_UNKNOWN;
}

static enum reach name_reach(const char *name)
{
    static const char suffix[] = ".localhost";
    size_t size = strlen(name);
    bool below = size > strlen(suffix) && strcmp(name + size - strlen(suffix), suffix) == 0;
    return below || strcmp(name, suffix + 1) == 0 ? REACH_LOOPBACK : REACH_UNKNOWN;
}

static enum reach host_reach(const char *host)
{
    struct net_authority authority;
    struct in_addr v4;
    struct in6_addr v6;
    if (inet_pton(AF_INET6, host, &v6) == 1) /* without brackets: its colons begin no port */
        return v6_reach(&v6);
    if (!net_authority_parse(host, strlen(host), &authority))
        return REACH_UNKNOWN;
    char *last = authority.host + strlen(authority.host) - 1;
    if (*last == '.')
        *last = '\0';
    if (authority.bracketed && inet_pton(AF_INET6, authority.host, &v6) == 1)
        return v6_reach(&v6);
    if (inet_pton(AF_INET, authority.host, &v4) == 1)
        return v4_reach(&v4);
    return name_reach(authority.host);
}

bool net_host_is_loopback(const char *host)
{
    return host_reach(host) == REACH_LOOPBACK;
}

bool net_host_is_private(const char *host)
{
    return host_reach(host) != REACH_UNKNOWN;
}

bool net_address_is_private(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, address, sizeof v4);
        return v4_reach(&v4.sin_addr) != REACH_UNKNOWN;
    }
    if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, address, sizeof v6);
        return v6_reach(&v6.sin6_addr) != REACH_UNKNOWN;
    }
    return false;
}

static void v6_client(const struct in6_addr *address, char *out, size_t size)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr network = {0};
    if (IN6_IS_ADDR_V4MAPPED(address)) {
        snprintf(out, size, "%s", inet_ntop(AF_INET, &address->s6_addr[12], text, sizeof text));
        return;
    }
    memcpy(&network, address, 8);
    snprintf(out, size, "%s/64", inet_ntop(AF_INET6, &network, text, sizeof text));
}

void net_address_client(const struct sockaddr *address, char *out, size_t size)
{
    char text[INET_ADDRSTRLEN];
    out[0] = '\0';
    if (address && address->sa_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, address, sizeof v4);
        snprintf(out, size, "%s", inet_ntop(AF_INET, &v4.sin_addr, text, sizeof text));
    } else if (address && address->sa_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, address, sizeof v6);
        v6_client(&v6.sin6_addr, out, size);
    }
}
