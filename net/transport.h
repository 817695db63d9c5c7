/*
 * HTTP exchanges with one registry: the home of libcurl.
 *
 * A transport is a pool of connections for one registry host and the settings they share. A
 * `struct connection` is one libcurl handle with the TCP connections it keeps warm (to the
 * registry, its token server, its storage). A thread leases one, does one exchange after another on
 * it, and returns it; requests that belong together (an upload session) therefore use one
 * connection.
 *
 * Lifecycle: transport_new; transport_lease .. transport_return, any thread; transport_free when
 * every lease is back. At most `idle_limit` returned connections are kept, and TRANSPORT_IDLE_MAX
 * over all transports: the one that was not used for the longest time makes room. Who runs for long
 * calls transport_close_idle() now and then. An idle one holds no large buffer and three to six
 * descriptors; one that sends a large body holds 256 KiB.
 *
 * Descriptors belong to all of the process. No exchange takes the last TRANSPORT_DESCRIPTORS_SPARE
 * of them (a quarter, where there are few): what is idle is closed first, and then it fails.
 *
 * Whoever knows that one exchange will be followed by many at once says so with it (`ahead`): their
 * TCP connections are opened while it waits for its answer. Those that nobody took are closed like
 * idle ones.
 *
 * An exchange is one request and its whole answer: HTTP/1.1 (RFC 9112), no redirects followed,
 * "Expect: 100-continue" only where `ask_first` says so, Content-Length always, TLS 1.2 or later.
 * Proxies are taken from the environment (net/proxy.h). A request that finds its kept connection
 * closed by the other side before a byte of the answer is sent once more on a fresh one.
 *
 * The process ignores SIGPIPE from the first transport_new() on (unless it handles it): TLS
 * libraries write to closed sockets.
 */
#ifndef SLIPWAY_NET_TRANSPORT_H
#define SLIPWAY_NET_TRANSPORT_H

#include "base/buf.h"
#include "base/cancel.h"
#include "base/stream.h"
#include "net/http_text.h"

#include <stdint.h>

/* Of an exchange; 0: the value that is named. */
struct transport_times {
    long stall_s;      /* 60: slower than 1 KiB/s for so long, it is given up */
    int64_t answer_ms; /* 2 minutes: HTTP_ANSWER */
    int64_t commit_ms; /* 15 minutes: HTTP_COMMIT */
};

struct transport_options {
    const char *host;       /* of the registry, for messages that name a setting; copied */
    const char *user_agent; /* copied */
    /* Where to connect in place of the URL's host, without a proxy; NULL: there. Copied. */
    const char *unix_socket;
    const char *ca_file; /* PEM; NULL = $SSL_CERT_FILE, else the system's; copied */
    /* For messages: what the other side is, what sets ca_file, and what to do where no TLS is
     * spoken; NULL = "registry" and its settings. Copied. */
    const char *peer;
    const char *ca_setting;
    const char *plain_advice;
    const char *client_certificate; /* PEM, as client_key: for requests that identify; copied */
    const char *client_key;
    unsigned idle_limit;
    long connect_timeout_ms; /* 0 = 30 s */
    struct transport_times times;
};

/* How long an exchange may take beside the stall limit, whatever comes meanwhile. A request says
 * which, or has a timeout_ms. */
enum http_deadline {
    HTTP_STALL = 1, /* for as long as it does not stall: bytes of a blob, streams. The limit grows
                    with the body, since some registries read it again before they answer. */
    HTTP_ANSWER,    /* answer_ms for all of it: ERR_TIMEOUT */
    HTTP_COMMIT, /* the body must not stall; once it has gone, commit_ms and more for a large one,
                    in which nothing need come: registries copy or scan a blob before they confirm
                    it. ERR_NO_ANSWER. */
};

#define TRANSPORT_IDLE_MAX 64
#define TRANSPORT_IDLE_MS 40000
#define TRANSPORT_AHEAD_MS 5000 /* shorter than servers wait for a first request */
#define TRANSPORT_DESCRIPTORS_SPARE 128

struct transport;
struct connection;
struct http_response;

struct transport *transport_new(const struct transport_options *options);
void transport_free(struct transport *transport);

/* Never waits and never fails: what may lease is decided elsewhere (upstream/client/back_off.h). */
struct connection *transport_lease(struct transport *transport);
void transport_return(struct connection *connection);

/* Close what has been idle for so long, of all transports: TRANSPORT_IDLE_MS now and then, 0 when
 * descriptors are wanted. Returns how many. Any thread. */
size_t transport_close_idle(int64_t idle_ms);

/* The bytes of a request: memory, a range of a file that is read with pread, or a source. Borrowed.
 * Registries are always sent a Content-Length, so a source without a known size is for other
 * gateways only; what comes from a source cannot be sent a second time. */
struct http_body {
    const void *data;            /* NULL: take them from source or fd */
    const struct source *source; /* NULL: take them from fd */
    int fd;
    uint64_t offset; /* in the file */
    uint64_t size;   /* HTTP_SIZE_UNKNOWN: chunked transfer coding */
};
#define HTTP_SIZE_UNKNOWN UINT64_MAX

struct http_request {
    const char *method;
    const char *url;
    const char *authorization; /* field values, NULL when not sent */
    const char *secret;        /* in the body, NULL when there is none: see net/http_text.h */
    const char *content_type;
    const char *content_range;
    const char *accept;
    const char *via;              /* base/via.h */
    const struct http_body *body; /* NULL: none, and no Content-Length */
    bool
        ask_first; /* the body waits for a 100, 5 s at most: a refusal comes before it, and is read,
                      while over TLS one in the middle of a body is lost with the connection */
    bool once; /* a body that began to leave is not sent a second time: the caller asks first what
                  arrived */
    size_t answer_limit_bytes; /* of the answer's body; what is over it is dropped */
    enum http_deadline deadline;
    long timeout_ms;  /* for the whole exchange, in place of answer_ms; 0: the deadline's */
    bool identify;    /* show the client certificate, if one is asked for */
    bool public_only; /* to no private address, also through a proxy: ERR_ADDRESS_REFUSED */
    unsigned ahead;   /* where it had to connect, so many further connections are opened to the same
                         address while it is answered: for exchanges that begin within
                         TRANSPORT_AHEAD_MS */
    struct cancel *cancel;
    long stop_grace_ms; /* once sent, wait so long for its answer all the same: for a request that
                           opens what has to be taken back */
    void (*sent)(void *arg, uint64_t bytes); /* body bytes handed to the network so far, or NULL; */
    void *sent_arg;                          /* starts again at 0 when the body does */
    /* Bytes of the answer's body as they come; the status line and headers are in `response`. True:
     * they are taken; false: they are collected in response->body. NULL: all are collected. */
    bool (*received)(void *arg, const struct http_response *response, const void *data,
                     size_t size);
    void *received_arg;
};

#define HTTP_HEADERS_MAX ((size_t)64 << 10)

struct http_response {
    int status;
    struct buf headers; /* "Name: value" lines, each ended by NUL; bounded by HTTP_HEADERS_MAX */
    struct buf body;
    bool body_cut;     /* there was more than answer_limit_bytes */
    bool peer_private; /* the server has a private address; false through a proxy */
    char *proxy; /* owned; its URL as it may be shown, where the answer may be its own: to http.
                    NULL: there was none, or it only passed on what it could not read */
    struct http_secrets secrets; /* of all its requests: not to be told to anybody */
};

#define autoresponse __attribute__((cleanup(http_response_deinit)))
#define HTTP_RESPONSE_INIT                                                                         \
    {                                                                                              \
        .headers = {.limit_bytes = HTTP_HEADERS_MAX }                                              \
    }
void http_response_deinit(struct http_response *response);

/*
 * Do it. Any status is ERR_OK; what was in `response` before is replaced, also on failure, but for
 * its secrets, which gather: an answer may have led here with those of another request. Errors:
 * ERR_HOST_UNKNOWN, ERR_CONNECT, ERR_TIMEOUT, ERR_NO_ANSWER, ERR_CERTIFICATE, ERR_TLS,
 * ERR_CONNECTION_LOST, ERR_ADDRESS_REFUSED, ERR_NOT_A_REGISTRY (no HTTP), ERR_SETTINGS (the CA
 * file), ERR_IO (the body's file, or no descriptor is left), ERR_CANCELLED. Messages name method
 * and URL (without query) and what can be done.
 */
enum errc transport_exchange(struct connection *connection, const struct http_request *request,
                             struct http_response *response, struct error *err);

/* The first field of that name (any case), borrowed until the response changes; NULL when absent.
 */
const char *http_header(const struct http_response *response, const char *name);

/* The next field of that name after `previous` (NULL: the first): for fields that come several
 * times. */
const char *http_header_next(const struct http_response *response, const char *name,
                             const char *previous);

#endif
