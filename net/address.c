#include "net/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

struct range {
    uint32_t network;
    uint32_t mask;
};

static const struct range private_ranges[] = {
    {0x00000000, 0xFF000000}, /* 0.0.0.0/8: this host */
    {0x0A000000, 0xFF000000}, /* 10.0.0.0/8 */
    {0x64400000, 0xFFC00000}, /* 100.64.0.0/10: carrier-grade NAT */
    {0x7F000000, 0xFF000000}, /* 127.0.0.0/8 */
    {0xA9FE0000, 0xFFFF0000}, /* 169.254.0.0/16: link-local, cloud metadata services */
    {0xAC100000, 0xFFF00000}, /* 172.16.0.0/12 */
    {0xC0A80000, 0xFFFF0000}, /* 192.168.0.0/16 */
};

static bool v4_is_private(uint32_t address)
{
    for (size_t i = 0; i < sizeof private_ranges / sizeof private_ranges[0]; i++)
        if ((address & private_ranges[i].mask) == private_ranges[i].network)
            return true;
    return false;
}

static uint32_t v4_inside(const struct in6_addr *address)
{
    uint32_t v4;
    memcpy(&v4, address->s6_addr + 12, sizeof v4);
    return ntohl(v4);
}

static bool v6_is_private(const struct in6_addr *address)
{
    if (IN6_IS_ADDR_V4MAPPED(address))
        return v4_is_private(v4_inside(address));
    return IN6_IS_ADDR_UNSPECIFIED(address) || IN6_IS_ADDR_LOOPBACK(address) ||
           IN6_IS_ADDR_LINKLOCAL(address) || (address->s6_addr[0] & 0xFE) == 0xFC;
}

bool address_is_private(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, address, sizeof v4);
        return v4_is_private(ntohl(v4.sin_addr.s_addr));
    }
    if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, address, sizeof v6);
        return v6_is_private(&v6.sin6_addr);
    }
    return false;
}

static bool name_is_loopback(const char *host)
{
    static const char suffix[] = ".localhost";
    size_t size = strlen(host);
    return strcasecmp(host, "localhost") == 0 ||
           (size >= sizeof suffix && strcasecmp(host + size - (sizeof suffix - 1), suffix) == 0);
}

bool address_host_is_private(const char *host)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (inet_pton(AF_INET, host, &v4) == 1)
        return v4_is_private(ntohl(v4.s_addr));
    if (inet_pton(AF_INET6, host, &v6) == 1)
        return v6_is_private(&v6);
    return name_is_loopback(host);
}

bool address_host_is_loopback(const char *host)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (inet_pton(AF_INET, host, &v4) == 1)
        return (ntohl(v4.s_addr) >> 24) == 127;
    if (inet_pton(AF_INET6, host, &v6) == 1)
        return IN6_IS_ADDR_LOOPBACK(&v6) ||
               (IN6_IS_ADDR_V4MAPPED(&v6) && (v4_inside(&v6) >> 24) == 127);
    return name_is_loopback(host);
}
