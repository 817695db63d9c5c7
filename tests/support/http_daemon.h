/*
 * A libmicrohttpd daemon for unit tests of what runs on its threads, and a client for it that sends
 * bytes as they are.
 */
#ifndef SLIPWAY_TESTS_HTTP_DAEMON_H
#define SLIPWAY_TESTS_HTTP_DAEMON_H

#include "base/buf.h"
#include "gateway/http/reply.h"
#include "gateway/http/request.h"

struct http_daemon {
    struct MHD_Daemon *daemon;
    uint16_t port;
    /* Fills the reply to a request without a body; called at its end, on the daemon's thread. */
    void (*answer)(void *self, const struct request *request, struct reply *reply);
    void *self;
    struct file_reads *reads; /* may be NULL */
};

/* `answer` and `self` are set. */
void http_daemon_start(struct http_daemon *daemon);
void http_daemon_stop(struct http_daemon *daemon);

/* All that comes after `request` until the connection ends: say Connection: close. */
void http_daemon_ask(const struct http_daemon *daemon, const char *request, struct buf *out);

#endif
