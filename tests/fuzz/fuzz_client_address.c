/*
 * X-Forwarded-For behind a trusted proxy: what comes out is a client's site, and nothing that an
 * untrusted hop says changes it.
 */
#include "base/mem.h"
#include "gateway/http/client_address.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct net_address proxy = {{[10] = 0xFF, [11] = 0xFF, [12] = 10, [15] = 1}};
    const struct net_network network = {proxy, 104};
    const struct client_proxies proxies = {&network, 1};
    const struct client_proxies none = {NULL, 0};
    autofree char *text = xstrndup((const char *)data, size);
    const struct net_address client = client_address_in(&proxy, &proxies, text);
    const struct net_address site = net_address_site(&client);
    assert(net_address_equal(&client, &site));
    const struct net_address nobody = client_address_in(&proxy, &none, text);
    assert(net_address_equal(&nobody, &proxy));
    autofree char *more = xasprintf("203.0.113.1, %s", text);
    const struct net_address again = client_address_in(&proxy, &proxies, more);
    bool trusted = net_network_has(&network, &client);
    assert(trusted || net_address_equal(&client, &again));
    return 0;
}
