/*
 * What the three files of the transport share: transport.c (an exchange), transport_pool.c (the
 * connections), transport_error.c (why an exchange failed). Nobody else includes it.
 */
#ifndef SLIPWAY_NET_TRANSPORT_PRIVATE_H
#define SLIPWAY_NET_TRANSPORT_PRIVATE_H

#include "net/transport.h"

#include <curl/curl.h>
#include <pthread.h>

struct connection {
    struct transport *transport;
    CURL *easy;
    CURLM *multi;            /* holds the warm TCP connections */
    struct connection *next; /* in the pool, under its lock */
};

struct transport {
    char *host;
    char *user_agent;
    char *ca_file;
    unsigned idle_limit;
    long connect_timeout_ms;
    long stall_s;
    pthread_mutex_t lock; /* guards what follows */
    struct connection *idle;
    unsigned idle_count;
};

/* From libcurl's words to ours: which code, and what a person can do. `detail` is libcurl's error
 * buffer, may be "". */
enum errc transport_fail(const struct connection *connection, const struct http_request *request,
                         CURLcode code, const char *detail, struct error *err);

#endif
