/*
 * A connection of the HTTP server as those see it who make it wait: suspended, it is left alone
 * until it is resumed, by any thread.
 *
 * Suspend first, then let others know that a resume is due, then look once more: a resume before
 * the suspend would be lost. A suspended connection lives on whatever its client does, so whoever
 * was told that a resume is due may still touch it, once.
 */
#ifndef SLIPWAY_GATEWAY_HTTP_FEEDER_H
#define SLIPWAY_GATEWAY_HTTP_FEEDER_H

struct feeder {
    void (*suspend)(void *connection);
    void (*resume)(void *connection);
    void *connection;
};

#endif
