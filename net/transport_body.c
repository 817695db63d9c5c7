#include "net/transport_private.h"

#include "base/file.h"
#include "base/log.h"
#include "base/net.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define UPLOAD_BUFFER_BYTES (256L << 10)
#define SMALL_BODY_BYTES (64L << 10)
/* What is read and dropped of an answer that is too long, so that the connection stays usable. */
#define ANSWER_DROP_MAX ((size_t)1 << 20)
/* A kept connection that was closed shows within what the socket buffers take. One that took more
 * broke: then the caller has to ask what arrived, and not to be sent everything again unasked. */
#define REPEAT_BODY_MAX ((uint64_t)8 << 20)

static size_t on_header(char *data, size_t one, size_t size, void *arg)
{
    (void)one;
    struct exchange *exchange = arg;
    struct buf *headers = &exchange->response->headers;
    size_t used = size;
    while (used > 0 && strchr("\r\n \t", data[used - 1]))
        used--;
    /* A status line begins another answer: after a 100, or when the request is sent again. */
    if (used >= 5 && strncmp(data, "HTTP/", 5) == 0) {
        buf_clear(headers);
        buf_clear(&exchange->response->body);
    } else if (used > 0 && memchr(data, '\0', used) == NULL &&
               headers->size + used + 1 <= headers->limit_bytes) {
        buf_append(headers, data, used);
        buf_append(headers, "", 1);
    }
    return size;
}

static size_t on_answer(char *data, size_t one, size_t size, void *arg)
{
    (void)one;
    struct exchange *exchange = arg;
    const struct http_request *request = exchange->request;
    if (request->received &&
        request->received(request->received_arg, exchange->response, data, size))
        return size;
    struct buf *body = &exchange->response->body;
    size_t room = body->limit_bytes - body->size;
    size_t kept = size < room ? size : room;
    buf_append(body, data, kept);
    if (kept == size)
        return size;
    exchange->response->body_cut = true;
    exchange->dropped += size - kept;
    if (exchange->dropped <= ANSWER_DROP_MAX)
        return size;
    exchange->answer_given_up = true;
    return 0;
}

/* A source gives spans of its own size. */
static size_t read_source(struct exchange *exchange, char *out, size_t size)
{
    const struct http_body *body = exchange->request->body;
    if (exchange->span_size == 0 && source_pull(body->source, &exchange->span, &exchange->span_size,
                                                &exchange->body_error) != ERR_OK)
        return CURL_READFUNC_ABORT;
    if (exchange->span_size == 0 && body->size != HTTP_SIZE_UNKNOWN) {
        fail(&exchange->body_error, ERR_IO, 0, "the body ends after %llu of %llu bytes",
             (unsigned long long)exchange->body_at, (unsigned long long)body->size);
        return CURL_READFUNC_ABORT;
    }
    size_t n = size < exchange->span_size ? size : exchange->span_size;
    memcpy(out, exchange->span, n);
    exchange->span += n;
    exchange->span_size -= n;
    return n;
}

static size_t read_body(struct exchange *exchange, char *out, size_t size)
{
    const struct http_body *body = exchange->request->body;
    if (body->data) {
        memcpy(out, (const char *)body->data + exchange->body_at, size);
        return size;
    }
    if (body->source)
        return read_source(exchange, out, size);
    size_t got = 0;
    struct error *err = &exchange->body_error;
    if (file_read_at(body->fd, out, size, body->offset + exchange->body_at, &got, err) != ERR_OK)
        return CURL_READFUNC_ABORT;
    if (got == 0) {
        /* Ending early would leave the registry waiting for the rest. */
        fail(err, ERR_BLOB_CORRUPT, 0, "the blob ends after %llu of %llu bytes",
             (unsigned long long)exchange->body_at, (unsigned long long)body->size);
        return CURL_READFUNC_ABORT;
    }
    return got;
}

static size_t on_body(char *out, size_t one, size_t capacity, void *arg)
{
    (void)one;
    struct exchange *exchange = arg;
    const struct http_request *request = exchange->request;
    uint64_t left = request->body->size - exchange->body_at;
    size_t size = left < capacity ? (size_t)left : capacity;
    if (size == 0)
        return 0;
    size_t got = read_body(exchange, out, size);
    if (got == CURL_READFUNC_ABORT)
        return got;
    exchange->body_at += got;
    if (request->sent)
        request->sent(request->sent_arg, exchange->body_at);
    return got;
}

bool transport_may_repeat(const struct exchange *exchange)
{
    return exchange->body_at <= (exchange->request->once ? 0 : REPEAT_BODY_MAX);
}

static int on_seek(void *arg, curl_off_t offset, int origin)
{
    struct exchange *exchange = arg;
    const struct http_body *body = exchange->request->body;
    if (origin != SEEK_SET || offset < 0 || (uint64_t)offset > body->size || body->source)
        return CURL_SEEKFUNC_CANTSEEK;
    if (!transport_may_repeat(exchange))
        return CURL_SEEKFUNC_FAIL;
    exchange->body_at = (uint64_t)offset;
    return CURL_SEEKFUNC_OK;
}

static curl_socket_t on_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    (void)purpose;
    struct exchange *exchange = arg;
    if (exchange->request->public_only && exchange->proxy == NULL &&
        net_address_is_private(&address->addr)) {
        exchange->address_refused = true;
        return CURL_SOCKET_BAD;
    }
    int fd = exchange->takes_none ? -1 : transport_take_ahead(exchange->transport, address);
    exchange->took_ahead = fd >= 0;
    exchange->taken = fd;
    exchange->connects = false;
    if (fd >= 0)
        return fd;
    fd = transport_socket(address->family, address->socktype, address->protocol);
    exchange->crowded = fd < 0 && errno == EMFILE;
    exchange->connects = fd >= 0;
    return fd;
}

/* The exchange's own connection stands, and its request is about to leave. */
static int on_connected(void *arg, char *address, char *own_address, int port, int own_port)
{
    struct exchange *exchange = arg;
    unsigned count = exchange->request->ahead;
    if (exchange->connects) {
        log_debug("%s port %d: connected from %s port %d, %u connections are opened ahead", address,
                  port, own_address, own_port, count);
        transport_open_ahead(exchange->transport, address, port, count);
    }
    exchange->connects = false;
    return CURL_PREREQFUNC_OK;
}

static int on_socket(void *arg, curl_socket_t fd, curlsocktype purpose)
{
    (void)purpose;
    const struct exchange *exchange = arg;
    bool connected = exchange->took_ahead && fd == exchange->taken;
    return connected ? CURL_SOCKOPT_ALREADY_CONNECTED : CURL_SOCKOPT_OK;
}

void transport_set_method(CURL *easy, struct exchange *exchange)
{
    const struct http_request *request = exchange->request;
    if (strcmp(request->method, "HEAD") == 0)
        curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    else if (strcmp(request->method, "GET") != 0)
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
    if (request->body == NULL)
        return;
    bool large = request->body->size > SMALL_BODY_BYTES;
    curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
    bool known = request->body->size != HTTP_SIZE_UNKNOWN;
    curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE,
                     known ? (curl_off_t)request->body->size : (curl_off_t)-1);
    curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_READDATA, exchange);
    curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, on_seek);
    curl_easy_setopt(easy, CURLOPT_SEEKDATA, exchange);
    curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE,
                     large ? UPLOAD_BUFFER_BYTES : SMALL_BODY_BYTES);
    if (large && request->body->data == NULL && request->body->source == NULL)
        posix_fadvise(request->body->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
}

void transport_set_callbacks(CURL *easy, struct exchange *exchange)
{
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, exchange);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_answer);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, exchange);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, exchange);
    curl_easy_setopt(easy, CURLOPT_SOCKOPTFUNCTION, on_socket);
    curl_easy_setopt(easy, CURLOPT_SOCKOPTDATA, exchange);
    if (exchange->request->ahead > 0) {
        curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_connected);
        curl_easy_setopt(easy, CURLOPT_PREREQDATA, exchange);
    }
}
