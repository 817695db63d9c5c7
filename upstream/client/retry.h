/*
 * Trying again: how often, after how long, and after which errors.
 *
 * RETRY_ATTEMPTS attempts. The wait after the Nth failed one is N times the base wait and up to a
 * quarter of that more, so that those who failed together do not come back together: 5 to 6.25 s,
 * 10 to 12.5 s, 15 to 18.75 s, 20 to 25 s. It is longer when the registry asked for more
 * (upstream/client/gate.h). Each second of it is told in the words "Retrying in N seconds". A wait
 * ends within STOP_POLL_MS of the stop.
 *
 * An error is worth another attempt when the table of base/error.h says so. It does not for
 * unauthorized, denied, unsupported, an answer that is not a registry's, no space left, a corrupt
 * blob and cancelled.
 */
#ifndef SLIPWAY_UPSTREAM_CLIENT_RETRY_H
#define SLIPWAY_UPSTREAM_CLIENT_RETRY_H

#include "net/transport.h"
#include "upstream/client/gate.h"

#define RETRY_ATTEMPTS 5
#define RETRY_WAIT_MS 5000 /* base wait where nothing else is set */

struct retry {
    const char *what; /* for the log: "r.example.com/team/app:1.0 layer 0123456789ab"; borrowed */
    struct gate *gate;
    int64_t base_ms;
    const struct stop *stop;
    /* One attempt. */
    enum errc (*attempt)(void *self, struct error *err);
    /* Is it worth another one? NULL: error_retriable(). */
    bool (*helps)(void *self, const struct error *err);
    /* "Retrying in N seconds"; NULL: nobody listens. */
    void (*tell)(void *self, const char *words);
    void *self;
};

/* Attempts until one succeeds, none helps, or RETRY_ATTEMPTS were made; *attempts counts them. The
 * error is that of the last attempt, or ERR_CANCELLED. */
enum errc retry_run(const struct retry *retry, unsigned *attempts, struct error *err);

/* The wait after `failed` attempts; `jitter` is any number, the whole range of which gives the
 * whole range of waits. */
int64_t retry_wait_ms(int64_t base_ms, unsigned failed, uint32_t jitter);

#endif
