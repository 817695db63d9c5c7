#include "gateway/server/guard.h"

#include "base/net.h"

#include <string.h>

#define HTTP_PORT 80
#define HTTPS_PORT 443

/* ---- whose name is it ---- */

static bool is_listed(const struct setting_list *hosts, const char *host)
{
    for (size_t i = 0; i < hosts->count; i++)
        if (strcmp(hosts->items[i], host) == 0)
            return true;
    return false;
}

static bool is_address(const struct net_authority *authority)
{
    return authority->bracketed || authority->host[strspn(authority->host, "0123456789.")] == '\0';
}

/* In lower case, without the dot that a full name may end with. */
static bool parse_authority(const char *text, struct net_authority *out)
{
    if (!net_authority_parse(text, strlen(text), out))
        return false;
    size_t size = strlen(out->host);
    if (size > 1 && out->host[size - 1] == '.')
        out->host[size - 1] = '\0';
    return true;
}

static bool host_is_ours(const void *self, const char *value)
{
    const struct settings *settings = self;
    struct net_authority authority;
    if (!parse_authority(value, &authority))
        return false;
    if (net_host_is_loopback(authority.host) || is_listed(&settings->hosts, authority.host))
        return true;
    if (net_host_is_loopback(settings->listen))
        return false;
    return is_address(&authority) || settings->hosts.count == 0;
}

/* ---- who sent it ---- */

struct sender {
    const struct settings *settings;
    const char *host; /* of the request, NULL: none */
};

/* An origin without a port has that of its scheme, and a Host without one has that of either. */
static bool same_port(const struct net_authority *origin, bool https,
                      const struct net_authority *host)
{
    unsigned port = origin->has_port ? origin->port : https ? HTTPS_PORT : HTTP_PORT;
    return host->has_port ? host->port == port : port == HTTP_PORT || port == HTTPS_PORT;
}

/* "http://name:port"; "null" and what is no origin are nobody's. */
static bool origin_is_ours(const void *self, const char *value)
{
    const struct sender *sender = self;
    struct net_authority origin;
    struct net_authority host;
    bool https = strncasecmp(value, "https://", 8) == 0;
    if (!https && strncasecmp(value, "http://", 7) != 0)
        return false;
    if (!parse_authority(strstr(value, "//") + 2, &origin))
        return false;
    if (is_listed(&sender->settings->hosts, origin.host))
        return true;
    return sender->host && parse_authority(sender->host, &host) &&
           strcmp(host.host, origin.host) == 0 && same_port(&origin, https, &host);
}

static bool site_is_ours(const void *self, const char *value)
{
    (void)self;
    return strcmp(value, "same-origin") == 0 || strcmp(value, "none") == 0;
}

static bool only_reads(const char *method)
{
    return strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0 ||
           strcmp(method, "OPTIONS") == 0;
}

enum errc guard_sender(const struct settings *settings, const struct request *request,
                       struct error *err)
{
    const struct sender sender = {settings, request_header(request, "Host")};
    if (!request_headers_fit(request, "Host", host_is_ours, settings))
        return fail(err, ERR_FORBIDDEN, 0,
                    "the gateway is not known as \"%.255s\": reach it by an address or localhost, "
                    "or list the name in its configuration (hosts)",
                    sender.host);
    if (only_reads(request->method))
        return ERR_OK;
    if (!request_headers_fit(request, "Origin", origin_is_ours, &sender))
        return fail(err, ERR_FORBIDDEN, 0,
                    "a web page of \"%.255s\" sent this, which is not the gateway's origin",
                    request_header(request, "Origin"));
    if (!request_headers_fit(request, "Sec-Fetch-Site", site_is_ours, NULL))
        return fail(err, ERR_FORBIDDEN, 0, "a web page of another site sent this (Sec-Fetch-Site)");
    return ERR_OK;
}

/* ---- what it brings ---- */

static bool is_type(const char *value, const char *type)
{
    size_t size = strlen(type);
    value += strspn(value, " \t");
    return strncasecmp(value, type, size) == 0 &&
           (type[size - 1] == '/' || strchr(" \t;,", value[size]) != NULL);
}

static bool is_no_form(const void *self, const char *value)
{
    (void)self;
    return !is_type(value, "text/plain") && !is_type(value, "multipart/");
}

static bool is_not_encoded(const void *self, const char *value)
{
    (void)self;
    return !is_type(value, "application/x-www-form-urlencoded");
}

enum errc guard_body(const struct request *request, bool documents, const char *wanted,
                     struct error *err)
{
    if (request_headers_fit(request, "Content-Type", is_no_form, NULL) &&
        (!documents || request_headers_fit(request, "Content-Type", is_not_encoded, NULL)))
        return ERR_OK;
    return fail(err, ERR_MEDIA_TYPE, 0,
                "a body of the media type \"%.100s\" may be a web form: send it with the header "
                "Content-Type: %s",
                request_header(request, "Content-Type"), wanted);
}
