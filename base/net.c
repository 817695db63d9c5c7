#include "base/net.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <stdlib.h>
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

size_t net_userinfo_size(const char *text, size_t size)
{
    const char *at = memrchr(text, '@', size);
    struct net_authority ignored;
    size_t authority = 0;
    while (authority < size && strchr("/?#\\", text[authority]) == NULL)
        authority++;
    if (at == NULL || net_authority_parse(text, authority, &ignored))
        return 0;
    return (size_t)(at - text) + 1;
}

bool net_userinfo_is_plain(const char *url)
{
    const char *slashes = strstr(url, "://");
    const char *rest = slashes && strcspn(url, "@/") > (size_t)(slashes - url) ? slashes + 3 : url;
    const char *at = strrchr(rest, '@');
    return at == NULL || rest + strcspn(rest, "@/?#\\") == at;
}

void net_hide_userinfo(char *text)
{
    /* libcurl takes one slash for two, and some clients take backslashes. */
    static const char slashes[] = "/\\";
    for (char *at = text; (at = strpbrk(at, slashes)) != NULL;) {
        size_t run = strspn(at, slashes);
        bool begins = run > 1 || (at > text && at[-1] == ':');
        at += run;
        size_t hidden = begins ? net_userinfo_size(at, strcspn(at, " \t\r\n")) : 0;
        memmove(at, at + hidden, strlen(at + hidden) + 1);
    }
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
    {0xA83F8110, 0xFFFFFFFF}, /* 168.63.129.16: the host of a machine at Azure */
    {0xA9FE0000, 0xFFFF0000}, /* 169.254.0.0/16: link-local, cloud metadata services */
    {0xAC100000, 0xFFF00000}, /* 172.16.0.0/12 */
    {0xC0000000, 0xFFFFFF00}, /* 192.0.0.0/24: RFC 6890, Oracle's metadata service */
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
 * local networks only), its translated addresses (RFC 2765) and 6to4 (RFC 3056). Never loopback:
 * that is of the gateway's machine. */
static bool leads_to_private_v4(const struct in6_addr *address)
{
    static const uint8_t nat64[12] = {0x00, 0x64, 0xFF, 0x9B};
    static const uint8_t nat64_local[6] = {0x00, 0x64, 0xFF, 0x9B, 0x00, 0x01};
    static const uint8_t v4_compatible[12] = {0};
    static const uint8_t v4_translated[12] = {[8] = 0xFF, [9] = 0xFF};
    const uint8_t *bytes = address->s6_addr;
    bool last = memcmp(bytes, nat64, sizeof nat64) == 0 ||
                memcmp(bytes, v4_translated, sizeof v4_translated) == 0 ||
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

/* RFC 6761, and what distributions write into /etc/hosts. */
static enum reach name_reach(const char *name)
{
    static const char suffix[] = ".localhost";
    static const char *const names[] = {
        "localhost",  "localhost.localdomain",   "localhost4",    "localhost4.localdomain4",
        "localhost6", "localhost6.localdomain6", "ip6-localhost", "ip6-loopback",
    };
    size_t size = strlen(name);
    if (size > strlen(suffix) && strcmp(name + size - strlen(suffix), suffix) == 0)
        return REACH_LOOPBACK;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(name, names[i]) == 0)
            return REACH_LOOPBACK;
    return REACH_UNKNOWN;
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
    /* As the system's resolver reads numbers: one to four, decimal, octal or hexadecimal. */
    if (inet_aton(authority.host, &v4) == 1)
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

bool net_host_ends_in_number(const char *host)
{
    size_t size = strlen(host);
    if (size > 0 && host[size - 1] == '.')
        size--;
    size_t start = size;
    while (start > 0 && host[start - 1] != '.')
        start--;
    bool hexadecimal = size - start >= 2 && host[start] == '0' && (host[start + 1] | 0x20) == 'x';
    for (size_t i = hexadecimal ? start + 2 : start; i < size; i++)
        if (hexadecimal ? !isxdigit((unsigned char)host[i]) : !isdigit((unsigned char)host[i]))
            return false;
    return size > start;
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

/* ---- addresses as values ---- */

static const uint8_t v4_mapped[12] = {[10] = 0xFF, [11] = 0xFF};

static bool is_v4(const struct net_address *address)
{
    return memcmp(address->bytes, v4_mapped, sizeof v4_mapped) == 0;
}

static struct net_address mapped(const struct in_addr *v4)
{
    struct net_address out;
    memcpy(out.bytes, v4_mapped, sizeof v4_mapped);
    memcpy(out.bytes + sizeof v4_mapped, v4, sizeof *v4);
    return out;
}

struct net_address net_address_of(const struct sockaddr *address)
{
    struct net_address out = {{0}};
    if (address && address->sa_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, address, sizeof v4);
        return mapped(&v4.sin_addr);
    }
    if (address && address->sa_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, address, sizeof v6);
        memcpy(out.bytes, &v6.sin6_addr, sizeof out.bytes);
    }
    return out;
}

struct net_address net_address_site(const struct net_address *address)
{
    struct net_address out = *address;
    if (!is_v4(address))
        memset(out.bytes + 8, 0, 8);
    return out;
}

bool net_address_equal(const struct net_address *a, const struct net_address *b)
{
    return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

bool net_address_parse(const char *text, size_t size, struct net_address *out)
{
    char copy[NET_ADDRESS_TEXT_MAX];
    struct in_addr v4;
    if (size >= sizeof copy || memchr(text, '\0', size))
        return false;
    memcpy(copy, text, size);
    copy[size] = '\0';
    if (inet_pton(AF_INET, copy, &v4) == 1) {
        *out = mapped(&v4);
        return true;
    }
    return inet_pton(AF_INET6, copy, out->bytes) == 1;
}

const char *net_address_text(const struct net_address *address, char out[NET_ADDRESS_TEXT_MAX])
{
    bool v4 = is_v4(address);
    return inet_ntop(v4 ? AF_INET : AF_INET6, address->bytes + (v4 ? sizeof v4_mapped : 0), out,
                     NET_ADDRESS_TEXT_MAX);
}

bool net_network_parse(const char *text, struct net_network *out)
{
    struct net_network got = {.bits = 128};
    size_t size = strcspn(text, "/");
    if (!net_address_parse(text, size, &got.first))
        return false;
    if (text[size] == '/') {
        const char *digits = text + size + 1;
        unsigned first = strchr(text, ':') ? 0 : 96;
        size_t count = strlen(digits);
        if (count == 0 || count > 3 || digits[strspn(digits, "0123456789")] != '\0')
            return false;
        got.bits = first + (unsigned)strtoul(digits, NULL, 10);
        if (got.bits > 128)
            return false;
    }
    *out = got;
    return true;
}

bool net_network_has(const struct net_network *network, const struct net_address *address)
{
    size_t whole = network->bits / 8;
    unsigned rest = network->bits % 8;
    uint8_t mask = (uint8_t)(0xFF00U >> rest);
    if (memcmp(network->first.bytes, address->bytes, whole) != 0)
        return false;
    return rest == 0 || ((network->first.bytes[whole] ^ address->bytes[whole]) & mask) == 0;
}
