/*
 * A connection of the HTTP server that is nothing but a suspendable (gateway/http/suspendable.h):
 * it counts how often it was suspended and resumed, and a test waits for it as an HTTP thread
 * would.
 */
#ifndef SLIPWAY_TESTS_FAKE_CONNECTION_H
#define SLIPWAY_TESTS_FAKE_CONNECTION_H

#include "gateway/http/peer.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct fake_connection {
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    int suspended; /* as often as it was resumed when all is well: 0, or 1 meanwhile */
    unsigned suspends;
};

void fake_connection_init(struct fake_connection *connection);
struct suspendable fake_connection_suspendable(struct fake_connection *connection);
struct peer fake_connection_peer(struct fake_connection *connection); /* of no address */

bool fake_connection_suspended(struct fake_connection *connection);

/* False when it was not resumed within `ms`. */
bool fake_connection_wait(struct fake_connection *connection, int64_t ms);

#endif
