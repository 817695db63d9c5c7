/*
 * What the files of the transport share: transport.c (an exchange), transport_body.c (what it
 * sends and receives), transport_pool.c (the connections), transport_ahead.c (those that are opened
 * before somebody uses them), transport_lookup.c (where a name leads), transport_authorities.c
 * (whose certificates are good), transport_error.c (why an exchange failed). Nobody else includes
 * it.
 */
#ifndef SLIPWAY_NET_TRANSPORT_PRIVATE_H
#define SLIPWAY_NET_TRANSPORT_PRIVATE_H

#include "net/transport.h"
#include "net/url.h"

#include <curl/curl.h>
#include <openssl/types.h>
#include <pthread.h>
#include <sys/queue.h>

struct connection {
    struct transport *transport;
    CURL *easy;
    CURLM *multi;            /* holds the warm TCP connections */
    bool certificate_wanted; /* the server asked for one in the handshake of the exchange at hand */
    bool shares_authorities; /* of its transport: set for each exchange */
    /* while it is idle, under the pool's lock */
    TAILQ_ENTRY(connection) link;
    int64_t idle_since_ms;
};

struct transport {
    char *host;
    char *user_agent;
    char *unix_socket; /* NULL: none */
    char *ca_file;
    bool ca_of_environment;
    char *peer;
    char *ca_setting;
    char *plain_advice;
    char *client_certificate; /* NULL: none, as the key */
    char *client_key;
    unsigned idle_limit;
    long connect_timeout_ms;
    struct transport_times times; /* none is 0 */
    unsigned idle_count;          /* under the pool's lock */
    pthread_mutex_t authorities_lock;
    CURLSH *tls_sessions; /* of all its connections */
    pthread_mutex_t tls_sessions_lock;
    X509_STORE *authorities; /* as read last; NULL: not yet, or in vain */
    int64_t authorities_ms;  /* when */
};

/* One running exchange: what libcurl's callbacks work on. */
struct exchange {
    const struct transport *transport;
    const struct http_request *request;
    struct http_response *response;
    char *proxy;     /* NULL: none */
    bool connects;   /* it has opened a socket of its own */
    bool took_ahead; /* its connection is one that was opened ahead: `taken` */
    bool takes_none; /* of those */
    int taken;
    uint64_t body_at;
    const uint8_t *span; /* of the body's source: pulled and not sent yet */
    size_t span_size;
    size_t dropped;
    int64_t sent_ms; /* HTTP_COMMIT: when the last byte of the body had gone; 0: it has not */
    bool overdue;    /* HTTP_COMMIT: there was no answer in time */
    bool answer_given_up;
    bool address_refused;
    bool crowded;            /* there was no descriptor for a connection */
    struct error body_error; /* reading the body's file failed */
};

/* The request's method and body. */
void transport_set_method(CURL *easy, struct exchange *exchange);

/* Where the answer goes, and which addresses are connected to. */
void transport_set_callbacks(CURL *easy, struct exchange *exchange);

/* So little of the body has gone that it may be sent again without a question. */
bool transport_may_repeat(const struct exchange *exchange);

/* As socket(). With EMFILE also where it would take one of TRANSPORT_DESCRIPTORS_SPARE, after
 * everything idle was closed. */
int transport_socket(int family, int type, int protocol);
/* The same, and nothing is closed. */
int transport_spare_socket(int family, int type, int protocol);

/* Begin to connect `count` sockets to the address (RFC 5952 or dotted), without waiting. Fewer
 * where descriptors are short, or TRANSPORT_IDLE_MAX are open ahead already; none to an address
 * that needs a zone. */
void transport_open_ahead(const struct transport *transport, const char *address, int port,
                          unsigned count);
/* One of them that is connected, owned by the caller; -1: there is none. */
int transport_take_ahead(const struct transport *transport, const struct curl_sockaddr *address);
/* Close those of a transport (NULL: of all) that were opened so long ago. Returns how many. */
size_t transport_close_ahead(const struct transport *transport, int64_t age_ms);

/* Drive `easy` to its end on the connection. True when cancelled. */
bool transport_run(struct connection *connection, CURL *easy, const struct http_request *request,
                   CURLcode *code);

/* Give a new TLS connection the authorities of the transport, which all its connections share:
 * those of a system take 10 ms to read and 600 KB to hold, so they are read when a certificate has
 * to be verified, those of a setting at once. They are read anew when they are five minutes old.
 * False when they cannot be read; later, the certificate is refused with X509_V_ERR_STORE_LOOKUP.
 */
bool transport_set_authorities(struct transport *transport, SSL_CTX *context);

/* Where a host leads as the resolver here sees it: to public addresses only, to a private one among
 * others, or it does not say (in 10 s). No connection is made. */
enum lookup { LOOKUP_UNKNOWN, LOOKUP_PUBLIC, LOOKUP_PRIVATE };
enum lookup transport_lookup(struct connection *connection, const struct url *url,
                             struct cancel *cancel);

/* From libcurl's words to ours: which code, and what a person can do. `detail` is libcurl's error
 * buffer, may be ""; `proxy` is the proxy's URL, NULL when none was used. */
enum errc transport_fail(const struct connection *connection, const struct http_request *request,
                         const char *proxy, CURLcode code, const char *detail, struct error *err);

#endif
