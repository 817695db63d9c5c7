/*
 * Whose request it is: the address by which places are shared (gateway/http/places.h).
 *
 * That is the other end of the connection, unless it is a proxy that the gateway trusts. A proxy
 * adds the address that it was reached from at the end of X-Forwarded-For, so what is there is read
 * from the right, and what was sent by anybody but a trusted proxy is not looked at: the first
 * address that is no trusted proxy's is the client's. Where an element is no address, the proxy
 * that named it is the client.
 *
 * Of an IPv6 address the first 64 bits count: a network of one customer has so many addresses.
 */
#ifndef SLIPWAY_GATEWAY_HTTP_CLIENT_ADDRESS_H
#define SLIPWAY_GATEWAY_HTTP_CLIENT_ADDRESS_H

#include "gateway/http/request.h"

struct client_proxies {
    const struct net_network *networks;
    size_t count;
};

/* It is one of these. */
bool client_is_proxy(const struct net_address *peer, const struct client_proxies *proxies);

/* `peer` is the other end of the connection. */
struct net_address client_address(const struct net_address *peer,
                                  const struct client_proxies *proxies,
                                  const struct request *request);

/* The same for the values of X-Forwarded-For, in their order with commas between them. */
struct net_address client_address_in(const struct net_address *peer,
                                     const struct client_proxies *proxies, const char *forwarded);

#endif
