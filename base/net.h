/*
 * Hosts, ports and network addresses, judged by what they say: nothing is resolved. Pure functions.
 */
#ifndef SLIPWAY_BASE_NET_H
#define SLIPWAY_BASE_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define NET_HOST_MAX 255

/* RFC 3986 section 3.2 without userinfo: "host", "host:port", "[v6]" or "[v6]:port". */
struct net_authority {
    char host[NET_HOST_MAX + 1]; /* in lower case, without brackets */
    bool bracketed;              /* an IPv6 address */
    bool has_port;
    uint16_t port;
};

/* `size` bytes of text. False when the host is no IPv6 address between brackets and not made of
 * letters, digits, ".", "-" and "_" else, or the port is none from 0 to 65535. */
bool net_authority_parse(const char *text, size_t size, struct net_authority *out);

/* How many of the `size` bytes behind a URL's "//" are userinfo (RFC 3986 section 3.2.1), its "@"
 * included; 0: none. A user or password in which a "/", "?" or "#" was left as it is makes no URL,
 * and counts as well: up to the last "@". */
size_t net_userinfo_size(const char *text, size_t size);

/* A URL, or what stands behind the "//" of one, has no "@" but the one before its host. With
 * another one, as of a password that is written as it is ("/" and "#" too), programs would take
 * different parts of it for the host, and one of them would show the rest. */
bool net_userinfo_is_plain(const char *url);

/* Takes the userinfo out of every URL in a text for people, in place: "https://u:p@host/x" becomes
 * "https://host/x". */
void net_hide_userinfo(char *text);

/* The first component of a repository's name (`size` bytes) is a host: it has a "." or ":", or is
 * "localhost" in lower case. */
bool net_names_host(const char *text, size_t size);

/*
 * A host in any case, with brackets and a port or without, with a dot at its end or without.
 * Loopback: localhost, its like in /etc/hosts and the names below it, 127.0.0.0/8, ::1. Private:
 * those and 0.0.0.0/8, link-local and site-local addresses, RFC 1918, RFC 6598, RFC 4193 and RFC
 * 8215, and where clouds serve metadata. An IPv4 address counts in each form that inet_aton()
 * reads ("127.1", "0x7f000001", "2130706433"), and when it is mapped into IPv6; an IPv6 address
 * that leads to a private one by NAT64 (64:ff9b::/96) or 6to4 (2002::/16), or is IPv4-compatible or
 * -translated, is private. Other names are neither: where they lead is known only when they are
 * resolved.
 */
bool net_host_is_loopback(const char *host);
bool net_host_is_private(const char *host);

/* The last label is a number: the host is an IPv4 address, or no host (WHATWG URL, "ends in a
 * number"). */
bool net_host_ends_in_number(const char *host);

/* Of IPv4 and IPv6; any other family is false. */
bool net_address_is_private(const struct sockaddr *address);

/* Who is at the other end: an IPv6 address, or an IPv4 address as it is mapped into IPv6 (RFC 4291,
 * 2.5.5.2). Of other families, and of nobody, it is zeroes. */
struct net_address {
    uint8_t bytes[16];
};

/* All addresses that begin with so many bits. */
struct net_network {
    struct net_address first;
    unsigned bits;
};

struct net_address net_address_of(const struct sockaddr *address); /* NULL is nobody */
/* What one customer has: of an IPv6 address the first 64 bits, zeroes behind them; IPv4 as it is.
 */
struct net_address net_address_site(const struct net_address *address);
bool net_address_equal(const struct net_address *a, const struct net_address *b);

/* `size` bytes of text: an address of either family, without brackets, port and zone. */
bool net_address_parse(const char *text, size_t size, struct net_address *out);

#define NET_ADDRESS_TEXT_MAX 46
const char *net_address_text(const struct net_address *address, char out[NET_ADDRESS_TEXT_MAX]);

/* An address, alone or with a slash and how many of its first bits count. */
bool net_network_parse(const char *text, struct net_network *out);
bool net_network_has(const struct net_network *network, const struct net_address *address);

#endif
