#include "net/transport_private.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/net.h"
#include "base/secret.h"
#include "base/via.h"
#include "net/proxy.h"

#include <assert.h>
#include <errno.h>
#include <openssl/ssl.h>
#include <string.h>
#include <strings.h>

#define STALL_FLOOR_BYTES_S 1024L
#define WAIT_MAX_MS 60000
#define CONTINUE_MS 5000L
/* Registries read a blob once more before they acknowledge it: silence in proportion is no stall.
 */
#define COMMIT_BYTES_S (UINT64_C(16) << 20)
#define COMMIT_MORE_MAX_S (24 * 3600)

#define PRIVATE_REFUSED                                                                            \
    "%s %s: the registry leads to a host with a private address, which is refused"

void http_response_deinit(struct http_response *response)
{
    buf_deinit(&response->headers);
    buf_deinit(&response->body);
    free(response->proxy);
    http_secrets_deinit(&response->secrets);
}

static void response_reset(struct http_response *response, size_t body_limit)
{
    buf_clear(&response->headers);
    buf_clear(&response->body);
    response->headers.limit_bytes = HTTP_HEADERS_MAX;
    response->body.limit_bytes = body_limit;
    response->status = 0;
    response->body_cut = false;
    response->peer_private = false;
    free(response->proxy);
    response->proxy = NULL;
}

/* What a large body is given for its answer. */
static long commit_more_s(const struct http_request *request)
{
    uint64_t more_s = request->body ? request->body->size / COMMIT_BYTES_S : 0;
    return more_s < COMMIT_MORE_MAX_S ? (long)more_s : COMMIT_MORE_MAX_S;
}

static void set_limits(CURL *easy, const struct transport *transport,
                       const struct http_request *request)
{
    long stall_more_s = request->deadline == HTTP_COMMIT ? 0 : commit_more_s(request);
    long timeout_ms = request->timeout_ms;
    if (timeout_ms == 0 && request->deadline == HTTP_ANSWER)
        timeout_ms = (long)transport->times.answer_ms;
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, transport->connect_timeout_ms);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, STALL_FLOOR_BYTES_S);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, transport->times.stall_s + stall_more_s);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, timeout_ms);
    curl_easy_setopt(easy, CURLOPT_EXPECT_100_TIMEOUT_MS, CONTINUE_MS);
}

static void set_network(CURL *easy, const struct transport *transport,
                        const struct http_request *request, const char *proxy)
{
    if (request->identify && transport->client_certificate) {
        curl_easy_setopt(easy, CURLOPT_SSLCERT, transport->client_certificate);
        curl_easy_setopt(easy, CURLOPT_SSLKEY, transport->client_key);
    }
    if (transport->unix_socket)
        curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, transport->unix_socket);
    /* Both said, so that libcurl does not read the environment in its own way. */
    curl_easy_setopt(easy, CURLOPT_PROXY, proxy ? proxy : "");
    curl_easy_setopt(easy, CURLOPT_NOPROXY, "");
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    /* A name that resolves slowly must not hold up a cancel. */
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
}

/* on_tls() gives all connections the same; libcurl would read them for each. A proxy that speaks
 * TLS has others than the registry, which only libcurl tells apart. */
static void set_authorities(struct connection *connection, const char *proxy)
{
    const char *file = connection->transport->ca_file;
    bool proxy_has_own = proxy && strncasecmp(proxy, "https:", strlen("https:")) == 0;
    connection->shares_authorities = !proxy_has_own;
    if (!proxy_has_own) {
        curl_easy_setopt(connection->easy, CURLOPT_CAINFO, NULL);
        curl_easy_setopt(connection->easy, CURLOPT_CAPATH, NULL);
    } else if (file) {
        curl_easy_setopt(connection->easy, CURLOPT_CAINFO, file);
    }
}

static int on_certificate_wanted(SSL *ssl, void *arg)
{
    (void)ssl;
    struct connection *connection = arg;
    connection->certificate_wanted = true;
    return 1;
}

static CURLcode on_tls(CURL *easy, void *tls, void *arg)
{
    (void)easy;
    struct connection *connection = arg;
    SSL_CTX_set_cert_cb(tls, on_certificate_wanted, arg);
    bool good =
        !connection->shares_authorities || transport_set_authorities(connection->transport, tls);
    return good ? CURLE_OK : CURLE_SSL_CACERT_BADFILE;
}

static struct curl_slist *header_append(struct curl_slist *list, const char *name,
                                        const char *value)
{
    if (value == NULL)
        return list;
    char *line = xasprintf("%s: %s", name, value);
    struct curl_slist *longer = curl_slist_append(list, line);
    explicit_bzero(line, strlen(line)); /* may be credentials */
    free(line);
    return longer ? longer : list;
}

static struct curl_slist *headers_of(const struct http_request *request)
{
    /* Unless told otherwise libcurl waits for a 100 that many registries never send. */
    bool ask_first = request->ask_first && request->body;
    struct curl_slist *list =
        curl_slist_append(NULL, ask_first ? "Expect: 100-continue" : "Expect:");
    list = header_append(list, "Authorization", request->authorization);
    list = header_append(list, "Content-Type", request->content_type);
    list = header_append(list, "Content-Range", request->content_range);
    list = header_append(list, VIA_HEADER, request->via);
    return header_append(list, "Accept", request->accept);
}

static void headers_free(struct curl_slist *list)
{
    for (struct curl_slist *line = list; line; line = line->next)
        explicit_bzero(line->data, strlen(line->data));
    curl_slist_free_all(list);
}

/* *since_ms is when the cancel was seen first, 0 before. */
static bool must_end(const struct http_request *request, int64_t *since_ms)
{
    if (!cancel_requested(request->cancel))
        return false;
    int64_t now_ms = clock_ms();
    if (*since_ms == 0)
        *since_ms = now_ms;
    return now_ms - *since_ms >= request->stop_grace_ms;
}

static CURLcode result_of(CURLM *multi)
{
    CURLcode code = CURLE_OUT_OF_MEMORY;
    int left = 0;
    for (const CURLMsg *message; (message = curl_multi_info_read(multi, &left));)
        if (message->msg == CURLMSG_DONE)
            code = message->data.result;
    return code;
}

static void wake(void *self)
{
    const struct connection *connection = self;
    curl_multi_wakeup(connection->multi);
}

/* HTTP_COMMIT: the network has all of the body. */
static bool body_has_gone(CURL *easy, const struct http_request *request)
{
    curl_off_t sent = 0;
    curl_easy_getinfo(easy, CURLINFO_SIZE_UPLOAD_T, &sent);
    return (uint64_t)sent >= request->body->size;
}

static int64_t answer_left_ms(const struct connection *connection, const struct exchange *exchange)
{
    int64_t allowed_ms =
        connection->transport->times.commit_ms + 1000 * (int64_t)commit_more_s(exchange->request);
    return exchange->sent_ms + allowed_ms - clock_ms();
}

/* HTTP_COMMIT: from the last byte of the body on silence is no stall. True when it was too long. */
static bool is_overdue(struct connection *connection, struct exchange *exchange)
{
    const struct http_request *request = exchange->request;
    if (request->deadline != HTTP_COMMIT)
        return false;
    if (exchange->sent_ms == 0 && body_has_gone(connection->easy, request)) {
        exchange->sent_ms = clock_ms();
        curl_easy_setopt(connection->easy, CURLOPT_LOW_SPEED_LIMIT, 0L);
    }
    exchange->overdue = exchange->sent_ms > 0 && answer_left_ms(connection, exchange) <= 0;
    return exchange->overdue;
}

/* libcurl's own timers end a wait earlier. */
static int wait_ms(const struct connection *connection, const struct exchange *exchange)
{
    const struct http_request *request = exchange->request;
    int64_t wait_ms = WAIT_MAX_MS;
    if (exchange->sent_ms > 0 && answer_left_ms(connection, exchange) < wait_ms)
        wait_ms = answer_left_ms(connection, exchange) + 1;
    if (cancel_requested(request->cancel) && request->stop_grace_ms < wait_ms)
        wait_ms = request->stop_grace_ms + 1;
    return wait_ms > 0 ? (int)wait_ms : 0;
}

/* Drive `easy` to its end. True when cancelled. */
static bool run(struct connection *connection, CURL *easy, struct exchange *exchange,
                CURLcode *code)
{
    const struct http_request *request = exchange->request;
    bool cancelled = cancel_requested(request->cancel);
    int64_t seen_ms = 0;
    *code = CURLE_OUT_OF_MEMORY;
    if (curl_multi_add_handle(connection->multi, easy) != CURLM_OK)
        return false;
    struct cancel_watch watch = {.call = wake, .self = connection};
    if (request->cancel)
        cancel_watch(request->cancel, &watch);
    for (int running = 1; !cancelled; cancelled = must_end(request, &seen_ms)) {
        if (curl_multi_perform(connection->multi, &running) != CURLM_OK || running == 0 ||
            is_overdue(connection, exchange))
            break;
        curl_multi_poll(connection->multi, NULL, 0, wait_ms(connection, exchange), NULL);
    }
    if (request->cancel)
        cancel_unwatch(request->cancel, &watch);
    *code = result_of(connection->multi);
    curl_multi_remove_handle(connection->multi, easy);
    return cancelled;
}

bool transport_run(struct connection *connection, CURL *easy, const struct http_request *request,
                   CURLcode *code)
{
    struct exchange exchange = {.request = request};
    return run(connection, easy, &exchange, code);
}

static bool peer_is_private(CURL *easy)
{
    char *address = NULL;
    curl_easy_getinfo(easy, CURLINFO_PRIMARY_IP, &address);
    return address && net_host_is_private(address);
}

/* A kept connection, or one opened ahead, that the other side closed meanwhile shows as a failure
 * before any answer. */
static bool was_stale(CURL *easy, CURLcode code, const struct exchange *exchange)
{
    bool broke = code == CURLE_SEND_ERROR || code == CURLE_RECV_ERROR || code == CURLE_GOT_NOTHING;
    bool never_stood = code == CURLE_COULDNT_CONNECT || code == CURLE_SSL_CONNECT_ERROR;
    if (!broke && !(never_stood && exchange->took_ahead))
        return false;
    long connects = 0;
    curl_easy_getinfo(easy, CURLINFO_NUM_CONNECTS, &connects);
    bool kept = connects == 0 || exchange->took_ahead;
    return kept && exchange->response->headers.size == 0 && transport_may_repeat(exchange);
}

static void prepare(struct connection *connection, struct exchange *exchange,
                    struct curl_slist *headers, char detail[CURL_ERROR_SIZE])
{
    const struct http_request *request = exchange->request;
    CURL *easy = connection->easy;
    curl_easy_reset(easy);
    curl_easy_setopt(easy, CURLOPT_URL, request->url);
    curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, detail);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, connection->transport->user_agent);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
    set_network(easy, connection->transport, request, exchange->proxy);
    set_authorities(connection, exchange->proxy);
    set_limits(easy, connection->transport, request);
    connection->certificate_wanted = false;
    curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, on_tls);
    curl_easy_setopt(easy, CURLOPT_SSL_CTX_DATA, connection);
    transport_set_callbacks(easy, exchange);
    transport_set_method(easy, exchange);
}

static enum errc conclude(struct connection *connection, struct exchange *exchange, CURLcode code,
                          const char *detail, struct error *err)
{
    const struct http_request *request = exchange->request;
    char shown[URL_SHOWN_MAX];
    if (exchange->overdue)
        return fail(err, ERR_NO_ANSWER, 0,
                    "%s %s: all was sent, and for %lld s the registry has not answered",
                    request->method, url_shown(request->url, shown),
                    (long long)(clock_ms() - exchange->sent_ms) / 1000);
    if (exchange->body_error.code != ERR_OK) {
        *err = exchange->body_error;
        return error_wrap(err, "%s %s", request->method, url_shown(request->url, shown));
    }
    if (exchange->address_refused && code != CURLE_OK)
        return fail(err, ERR_ADDRESS_REFUSED, 0, PRIVATE_REFUSED, request->method,
                    url_shown(request->url, shown));
    if (exchange->crowded && code != CURLE_OK)
        return fail(err, ERR_IO, EMFILE, "%s %s: no connection", request->method,
                    url_shown(request->url, shown));
    if (code == CURLE_SSL_CACERT_BADFILE)
        detail = curl_easy_strerror(code);
    if (code != CURLE_OK && !(code == CURLE_WRITE_ERROR && exchange->answer_given_up))
        return transport_fail(connection, request, exchange->proxy, code, detail, err);
    long status = 0;
    curl_easy_getinfo(connection->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status == 407 && exchange->proxy)
        return transport_fail(connection, request, exchange->proxy, CURLE_HTTP_RETURNED_ERROR, "",
                              err);
    exchange->response->status = (int)status;
    if (exchange->proxy && strncasecmp(request->url, "https:", strlen("https:")) != 0)
        exchange->response->proxy = xstrdup(url_shown(exchange->proxy, shown));
    exchange->response->peer_private = exchange->proxy == NULL && peer_is_private(connection->easy);
    return ERR_OK;
}

/*
 * Where a request may not go if it is for public addresses only. Without a proxy a name is judged
 * when its socket is opened (on_open_socket), by the very address that is connected to. A proxy
 * resolves names itself: what the resolver here says is judged then, and where it says nothing only
 * a certificate can tell that the host is the one that was named.
 */
static enum errc judge(struct connection *connection, const struct http_request *request,
                       const struct url *url, bool proxied, struct error *err)
{
    char shown[URL_SHOWN_MAX];
    enum lookup found = LOOKUP_UNKNOWN;
    if (!request->public_only)
        return ERR_OK;
    if (net_host_is_private(url->host))
        found = LOOKUP_PRIVATE;
    else if (proxied)
        found = transport_lookup(connection, url, request->cancel);
    url_shown(request->url, shown);
    if (found == LOOKUP_PRIVATE)
        return fail(err, ERR_ADDRESS_REFUSED, 0, PRIVATE_REFUSED, request->method, shown);
    if (found == LOOKUP_UNKNOWN && proxied && !url->tls)
        return fail(err, ERR_ADDRESS_REFUSED, 0,
                    "%s %s: the registry leads to a host that cannot be resolved here, through a "
                    "proxy and without TLS, which is refused",
                    request->method, shown);
    return ERR_OK;
}

/* `proxy` is owned. */
static enum errc find_way(struct connection *connection, const struct http_request *request,
                          char **proxy, struct error *err)
{
    autourl struct url url = {0};
    struct error wrong = ERROR_INIT;
    if (url_parse(request->url, &url, request->public_only ? err : &wrong) != ERR_OK)
        return request->public_only ? err->code : ERR_OK; /* libcurl may know it all the same */
    autofree char *way = connection->transport->unix_socket ? NULL : proxy_for(&url);
    if (way && !net_userinfo_is_plain(way))
        return fail(err, ERR_SETTINGS, 0, "the proxy of slipway's environment %s",
                    USERINFO_NOT_PLAIN);
    if (judge(connection, request, &url, way != NULL, err) != ERR_OK)
        return err->code;
    *proxy = mem_take(&way);
    return ERR_OK;
}

enum errc transport_exchange(struct connection *connection, const struct http_request *request,
                             struct http_response *response, struct error *err)
{
    assert(request->deadline != 0 || request->timeout_ms > 0);
    struct exchange exchange = {
        .transport = connection->transport, .request = request, .response = response};
    char detail[CURL_ERROR_SIZE] = "";
    char shown[URL_SHOWN_MAX];
    int64_t start_ms = clock_ms();
    response_reset(response, request->answer_limit_bytes);
    http_secrets_add(&response->secrets, request->authorization, request->secret);
    if (find_way(connection, request, &exchange.proxy, err) != ERR_OK)
        return err->code;
    if (exchange.proxy)
        http_secrets_add_proxy(&response->secrets, exchange.proxy);
    /* What cannot be sent again needs a connection that is known to be good. */
    exchange.takes_none = request->body && request->body->source;
    struct curl_slist *headers = headers_of(request);
    CURLcode code = CURLE_OK;
    prepare(connection, &exchange, headers, detail);
    bool cancelled = run(connection, connection->easy, &exchange, &code);
    bool again = request->body == NULL || request->body->source == NULL;
    if (!cancelled && again && was_stale(connection->easy, code, &exchange)) {
        exchange.body_at = 0;
        exchange.sent_ms = 0;
        exchange.takes_none = true;
        set_limits(connection->easy, connection->transport, request);
        curl_easy_setopt(connection->easy, CURLOPT_FRESH_CONNECT, 1L);
        cancelled = run(connection, connection->easy, &exchange, &code);
    }
    enum errc result = cancelled ? cancel_check(request->cancel, err)
                                 : conclude(connection, &exchange, code, detail, err);
    /* The handle outlives what this frame lent it. */
    curl_easy_setopt(connection->easy, CURLOPT_HTTPHEADER, NULL);
    curl_easy_setopt(connection->easy, CURLOPT_ERRORBUFFER, NULL);
    headers_free(headers);
    secret_free(&exchange.proxy);
    if (result != ERR_OK)
        http_text_clean(&response->secrets, err);
    if (result != ERR_OK || !log_enabled(LOG_DEBUG))
        return result;
    url_shown(request->url, shown);
    http_text_strike(&response->secrets, shown, sizeof shown);
    log_debug("%s %s: %d in %lld ms", request->method, shown, response->status,
              (long long)(clock_ms() - start_ms));
    return result;
}

const char *http_header_next(const struct http_response *response, const char *name,
                             const char *previous)
{
    const char *at = buf_cstr(&response->headers);
    const char *end = at + response->headers.size;
    size_t size = strlen(name);
    if (previous)
        at = previous + strlen(previous) + 1;
    for (; at < end; at += strlen(at) + 1)
        if (strncasecmp(at, name, size) == 0 && at[size] == ':')
            return at + size + 1 + strspn(at + size + 1, " \t");
    return NULL;
}

const char *http_header(const struct http_response *response, const char *name)
{
    return http_header_next(response, name, NULL);
}
