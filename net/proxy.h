/*
 * Which proxy leads to a URL: the environment as docker, podman and other programs in Go read it.
 *
 * HTTPS_PROXY for https, HTTP_PROXY for http (not where REQUEST_METHOD is set: there the header
 * "Proxy" of a CGI request would be taken for it), then ALL_PROXY, each also in lower case. Their
 * value is a URL, or host and port of an http proxy. NO_PROXY names what is reached directly:
 *
 *     *                    everything
 *     example.com          the host and those below it
 *     .example.com         those below it; "*.example.com" is the same
 *     example.com:5000     at this port only
 *     10.0.0.1, ::1        an address
 *     10.0.0.0/8           addresses of a network
 *
 * with commas or blanks between. A host is compared as it stands in the URL: nothing is resolved.
 * Loopback hosts are always reached directly. Any thread.
 */
#ifndef SLIPWAY_NET_PROXY_H
#define SLIPWAY_NET_PROXY_H

#include "net/url.h"

/* The proxy's URL, which may hold a password, owned; NULL: none. */
char *proxy_for(const struct url *url);

/* `list` is a NO_PROXY. Pure. */
bool proxy_excepts(const char *list, const struct url *url);

#endif
