/*
 * Whom a request is of: the connection that it came on, and the client's address.
 *
 * The address is that of the other end of the connection, or what a trusted proxy says
 * (gateway/http/client_address.h). Places (gateway/http/jobs.h) are shared by it, unless it is
 * known who the client is: then by `share`, which is the same wherever that client comes from, so
 * that a CI job on many machines does not take all places, and those behind one address do not
 * count as one. A value; any thread.
 */
#ifndef SLIPWAY_GATEWAY_HTTP_PEER_H
#define SLIPWAY_GATEWAY_HTTP_PEER_H

#include "base/net.h"
#include "gateway/http/suspendable.h"

#define PEER_SHARE_PREFIX 0x01

struct connections;

#define REQUEST_ID_HEADER "X-Request-Id"
#define REQUEST_ID_MAX 129

struct peer {
    struct suspendable connection;
    struct net_address address;
    bool known; /* who it is: then there is a `share` */
    struct net_address
        share; /* in PEER_SHARE_PREFIX/8, which is nobody's address (RFC 4291, 2.4) */
    struct connections
        *table;  /* where it can be ended by (gateway/http/connections.h); NULL: not */
    uint64_t id; /* of the connection in it */
    char request_id[REQUEST_ID_MAX]; /* that the answer has */
};

#endif
