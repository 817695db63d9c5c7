/*
 * The listening socket: accepts connections and hands each over to the HTTP server once its client
 * has sent its first byte.
 *
 * That byte is why there is a listener. Registry clients try HTTPS first, also where plain HTTP is
 * what they are told to use. The ClientHello that they send need not contain a newline, so an HTTP
 * server would wait for the rest of a line until its timeout, and the client for an answer. On a
 * plain port, a connection that begins as a TLS handshake record does (RFC 8446, 5.1) is answered
 * in plain HTTP and ended, so that its client goes on with HTTP; containerd does so only where it
 * sees an HTTP answer. On a TLS port the same is done the other way round, for what begins with a
 * letter as an HTTP method does. The byte is only looked at (MSG_PEEK).
 *
 * Limits: at most `waiting_max` connections wait for their first byte; one more, and the oldest is
 * closed. Each waits `timeout_ms` at most. When there is no descriptor for a connection,
 * make_room() is called, and where that gives none back the oldest that waits is closed; that is
 * logged once a minute.
 *
 * Threads: one of its own, which alone touches the sockets until they are handed over.
 */
#ifndef SLIPWAY_GATEWAY_HTTP_LISTENER_H
#define SLIPWAY_GATEWAY_HTTP_LISTENER_H

#include "base/error.h"

#include <stdint.h>
#include <sys/socket.h>

struct listener;

struct listener_options {
    const struct sockaddr_storage *address; /* IPv4, IPv6, or of a unix socket: made with mode 0600,
                                               where nothing is */
    socklen_t address_size;
    const char *tls_answer; /* to a client that speaks TLS; borrowed; NULL where TLS is spoken */
    const char
        *plain_answer; /* to one that speaks plain HTTP; the same, NULL where that is spoken */
    size_t waiting_max;
    int64_t timeout_ms;
    /* A connection that was accepted at `since_ms`; `socket` is taken. On the listener's thread,
     * and never blocks. */
    void (*connected)(void *self, int socket, const struct sockaddr *address, socklen_t size,
                      int64_t since_ms);
    void *self;
    size_t (*make_room)(void); /* closes what can be spared and says how much; NULL: nobody can */
};

/* Listens when it returns. ERR_SETTINGS when the address cannot be bound, ERR_IO. */
enum errc listener_open(const struct listener_options *options, struct listener **out,
                        struct error *err);

/* The port (of a unix socket 0), also where any free one was asked for. */
uint16_t listener_port(const struct listener *listener);

/* Takes no more; connections that wait for their first byte are closed. NULL is a no-op. */
void listener_close(struct listener *listener);

#endif
