#include "gateway/http/client_address.h"

#include "base/buf.h"

#include <microhttpd.h>
#include <string.h>

#define FORWARDED_MAX ((size_t)64 << 10)

bool client_is_proxy(const struct net_address *peer, const struct client_proxies *proxies)
{
    for (size_t i = 0; i < proxies->count; i++)
        if (net_network_has(&proxies->networks[i], peer))
            return true;
    return false;
}

/* An address, perhaps with a port, an IPv6 one then in brackets. */
static bool parse_element(const char *text, size_t size, struct net_address *out)
{
    const char *colon = memchr(text, ':', size);
    if (size > 0 && text[0] == '[') {
        const char *end = memchr(text, ']', size);
        return end && net_address_parse(text + 1, (size_t)(end - text - 1), out);
    }
    if (colon && memchr(colon + 1, ':', size - (size_t)(colon - text) - 1) == NULL)
        size = (size_t)(colon - text);
    return net_address_parse(text, size, out);
}

struct net_address client_address_in(const struct net_address *peer,
                                     const struct client_proxies *proxies, const char *forwarded)
{
    struct net_address client = *peer;
    size_t end = strlen(forwarded);
    while (end > 0 && client_is_proxy(&client, proxies)) {
        size_t begin = end;
        while (begin > 0 && forwarded[begin - 1] != ',')
            begin--;
        const char *text = forwarded + begin;
        size_t size = end - begin;
        for (; size > 0 && (*text == ' ' || *text == '\t'); size--)
            text++;
        while (size > 0 && (text[size - 1] == ' ' || text[size - 1] == '\t'))
            size--;
        if (!parse_element(text, size, &client))
            break;
        end = begin > 0 ? begin - 1 : 0;
    }
    return net_address_site(&client);
}

static enum MHD_Result on_value(void *self, enum MHD_ValueKind kind, const char *key,
                                const char *value)
{
    (void)kind;
    struct buf *all = self;
    if (strcasecmp(key, "X-Forwarded-For") == 0)
        buf_format(all, "%s%s", all->size > 0 ? "," : "", value ? value : "");
    return MHD_YES;
}

struct net_address client_address(const struct net_address *peer,
                                  const struct client_proxies *proxies,
                                  const struct request *request)
{
    autobuf struct buf all = BUF_INIT(FORWARDED_MAX);
    if (client_is_proxy(peer, proxies))
        MHD_get_connection_values(request->connection, MHD_HEADER_KIND, on_value, &all);
    return client_address_in(peer, proxies, all.overflowed ? "" : buf_cstr(&all));
}
