/*
 * Whom a request is of: the connection that it came on, and the client's address.
 *
 * The address is what places are shared by. It is that of the other end of the connection, or what
 * a trusted proxy says (gateway/http/client_address.h). A value; any thread.
 */
#ifndef SLIPWAY_GATEWAY_HTTP_PEER_H
#define SLIPWAY_GATEWAY_HTTP_PEER_H

#include "base/net.h"
#include "gateway/http/suspendable.h"

struct connections;

#define REQUEST_ID_HEADER "X-Request-Id"
#define REQUEST_ID_MAX 129

struct peer {
    struct suspendable connection;
    struct net_address address;
    struct connections
        *table;  /* where it can be ended by (gateway/http/connections.h); NULL: not */
    uint64_t id; /* of the connection in it */
    char request_id[REQUEST_ID_MAX]; /* that the answer has */
};

#endif
