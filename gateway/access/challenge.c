#include "gateway/access/challenge.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/net.h"

#include <string.h>
#include <strings.h>

/* ---- where the client is ---- */

/* The first of several: each proxy adds its own behind. */
static bool parse_first(const char *text, struct net_authority *out)
{
    if (text == NULL)
        return false;
    text += strspn(text, " \t");
    return net_authority_parse(text, strcspn(text, ", \t"), out);
}

static bool is_loopback_address(const struct net_authority *authority)
{
    return net_host_is_loopback(authority->host) &&
           (authority->bracketed || net_host_ends_in_number(authority->host));
}

static char *origin_text(const char *scheme, const struct net_authority *authority)
{
    bool loopback = is_loopback_address(authority);
    bool brackets = authority->bracketed && !loopback;
    struct buf out = BUF_INIT(2 * NET_HOST_MAX);
    buf_format(&out, "%s://%s%s%s", scheme, brackets ? "[" : "",
               loopback ? "localhost" : authority->host, brackets ? "]" : "");
    if (authority->has_port)
        buf_format(&out, ":%u", (unsigned)authority->port);
    return buf_take(&out);
}

char *challenge_origin_of(const char *host, const char *forwarded_host, const char *forwarded_proto,
                          bool https, const char *fallback)
{
    struct net_authority authority;
    const char *scheme = https ? "https" : "http";
    if (forwarded_proto && strcasecmp(forwarded_proto, "https") == 0)
        scheme = "https";
    else if (forwarded_proto && strcasecmp(forwarded_proto, "http") == 0)
        scheme = "http";
    if (parse_first(forwarded_host, &authority) || parse_first(host, &authority) ||
        parse_first(fallback, &authority))
        return origin_text(scheme, &authority);
    return xasprintf("%s://localhost", scheme);
}

char *challenge_origin(const struct request *request, bool https, const char *fallback)
{
    const char *host = NULL;
    const char *proto = NULL;
    if (request->proxied) {
        host = request_header(request, "X-Forwarded-Host");
        proto = request_header(request, "X-Forwarded-Proto");
    }
    return challenge_origin_of(request_header(request, "Host"), host, proto, https, fallback);
}

/* ---- what it is told ---- */

/* Of what could end the quotes or the line nothing is left. */
static void add_part(struct buf *out, const char *name, const char *value)
{
    buf_format(out, "%s=\"", name);
    for (size_t i = 0; i < CHALLENGE_PART_MAX && value[i]; i++) {
        bool plain = value[i] >= ' ' && value[i] <= '~' && value[i] != '"' && value[i] != '\\';
        buf_append(out, plain ? &value[i] : "?", 1);
    }
    buf_text(out, "\"");
}

char *challenge_text(const char *origin, const char *service, const char *scope,
                     enum challenge_error error)
{
    static const char *const errors[] = {[CHALLENGE_INVALID_TOKEN] = "invalid_token",
                                         [CHALLENGE_INSUFFICIENT_SCOPE] = "insufficient_scope"};
    struct buf out = BUF_INIT((size_t)8 << 10);
    autofree char *realm = xasprintf("%s" TOKEN_PATH, origin);
    add_part(&out, "Bearer realm", realm);
    add_part(&out, ",service", service);
    if (scope)
        add_part(&out, ",scope", scope);
    if (error != CHALLENGE_NO_TOKEN)
        add_part(&out, ",error", errors[error]);
    return buf_take(&out);
}
