/*
 * Which network addresses are private: loopback, link-local, the ranges of RFC 1918, RFC 6598 and
 * RFC 4193, and "this host". A registry on the public internet has no business sending slipway
 * there; see url_follow() and http_request.public_only.
 */
#ifndef SLIPWAY_NET_ADDRESS_H
#define SLIPWAY_NET_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>

/* IPv4, IPv6 and IPv4 mapped into IPv6; any other family is false. */
bool address_is_private(const struct sockaddr *address);

/* A host as it stands in a URL, without brackets: true for a private literal, "localhost" and names
 * below it. Other names are false: where they lead is known only when they are resolved. */
bool address_host_is_private(const char *host);

/* The same, for loopback only. */
bool address_host_is_loopback(const char *host);

#endif
