/*
 * URLs as a registry client meets them: the base URL of an endpoint, the Location of an upload
 * session, the realm of a token server.
 *
 * Only http and https. A URL with userinfo is refused: what it holds would travel to other hosts.
 * Fragments are dropped. Length is limited to URL_MAX bytes.
 *
 * `struct url` owns its text: url_deinit. Not shared between threads while it changes.
 */
#ifndef SLIPWAY_NET_URL_H
#define SLIPWAY_NET_URL_H

#include "base/error.h"

#include <stdint.h>

#define URL_MAX 16384
#define URL_HOST_MAX 256

/* Behind what has such a URL, of which no part can be shown (net_userinfo_is_plain()). */
#define USERINFO_NOT_PLAIN                                                                         \
    "has an \"@\" that is not the one before its host: in a user, a password and a path \"@\" is " \
    "written %40, \"/\" %2F, \"?\" %3F and \"#\" %23"

struct url {
    char *text; /* owned; NULL in a zeroed value */
    bool tls;
    char host[URL_HOST_MAX]; /* lower case, without brackets and port */
    uint16_t port;           /* the effective one */
};

#define autourl __attribute__((cleanup(url_deinit)))

/* ERR_REGISTRY_ANSWER says what is wrong with it. */
enum errc url_parse(const char *text, struct url *out, struct error *err);

/* The same for what a person gave: userinfo is taken out of it. *user and *password are decoded and
 * owned, NULL when there is none. */
enum errc url_parse_user(const char *text, struct url *out, char **user, char **password,
                         struct error *err);

void url_deinit(struct url *url);
void url_move(struct url *from, struct url *to);

/* Scheme, host and port are equal: credentials for one are credentials for the other. */
bool url_same_origin(const struct url *a, const struct url *b);

/*
 * Where `location` (absolute or relative, RFC 3986 section 5) leads from `from`, under the rules
 * for what a registry may tell a client to do:
 * - never from https to http: ERR_ADDRESS_REFUSED;
 * - not to another host that is loopback or private, unless `from_private` says that the registry
 *   itself is there: ERR_ADDRESS_REFUSED. Host names are judged when they are resolved, by
 *   http_request.public_only.
 * The query is kept as it came. ERR_REGISTRY_ANSWER when it is no URL.
 */
enum errc url_follow(const struct url *from, const char *location, bool from_private,
                     struct url *out, struct error *err);

/* The URL with "key=value" added to its query, value percent-encoded; owned. */
char *url_with_query(const struct url *url, const char *key, const char *value);

/* For people: without userinfo, query and fragment, cut to fit; returns `shown`. Any text. */
#define URL_SHOWN_MAX 400
const char *url_shown(const char *text, char shown[URL_SHOWN_MAX]);

#endif
