/*
 * What a client without sufficient credentials is told (RFC 9110, 11.6.1; RFC 6750, 3; distribution
 * docs/spec/auth/token.md): where it gets a token, and for what.
 *
 *     Bearer realm="https://gateway.example.com/token",service="...",scope="repository:a:pull,push"
 *
 * The realm is the gateway as the client reached it: Host, or what a trusted proxy says of it. A
 * loopback address is said as "localhost", since crane takes no address for that. Whatever
 * strangers sent, the value is one line with one pair of quotes around each part.
 */
#ifndef SLIPWAY_GATEWAY_ACCESS_CHALLENGE_H
#define SLIPWAY_GATEWAY_ACCESS_CHALLENGE_H

#include "gateway/http/request.h"

#define TOKEN_PATH "/token"
#define CHALLENGE_PART_MAX 600 /* bytes; more is cut */

/* "https://HOST[:PORT]", owned. `https`: the gateway itself speaks TLS. `fallback` (HOST[:PORT]) is
 * for a client that names no host. */
char *challenge_origin(const struct request *request, bool https, const char *fallback);
/* The same of the three headers (NULL: not there, or not to be believed). Pure. */
char *challenge_origin_of(const char *host, const char *forwarded_host, const char *forwarded_proto,
                          bool https, const char *fallback);

enum challenge_error {
    CHALLENGE_NO_TOKEN,           /* there were no credentials */
    CHALLENGE_INVALID_TOKEN,      /* they do not count */
    CHALLENGE_INSUFFICIENT_SCOPE, /* a wider token would do */
};

/* The header's value, owned. `scope` is scope_text()'s, NULL for none. */
char *challenge_text(const char *origin, const char *service, const char *scope,
                     enum challenge_error error);

#endif
