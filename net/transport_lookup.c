#include "base/mem.h"
#include "base/net.h"
#include "net/transport_private.h"

/* A proxy reaches hosts that the resolver here has never heard of: it is not waited for long. */
#define LOOKUP_MS 10000L

struct asked {
    bool any;
    bool private;
};

/* The resolver's addresses come one after the other, as none of them gets a socket. */
static curl_socket_t on_address(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    (void)purpose;
    struct asked *asked = arg;
    asked->any = true;
    asked->private |= net_address_is_private(&address->addr);
    return CURL_SOCKET_BAD;
}

enum lookup transport_lookup(struct connection *connection, const struct url *url,
                             struct cancel *cancel)
{
    struct asked asked = {0};
    CURL *easy = curl_easy_init();
    if (easy == NULL)
        return LOOKUP_UNKNOWN;
    const struct http_request request = {.method = "GET", .url = url->text, .cancel = cancel};
    curl_easy_setopt(easy, CURLOPT_URL, url->text);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
    curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, LOOKUP_MS);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_address);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, &asked);
    CURLcode ignored = CURLE_OK;
    transport_run(connection, easy, &request, &ignored);
    curl_easy_cleanup(easy);
    if (asked.private)
        return LOOKUP_PRIVATE;
    return asked.any ? LOOKUP_PUBLIC : LOOKUP_UNKNOWN;
}
