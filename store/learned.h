/*
 * What was learned about registries, so that nobody has to find it out again after a restart: how a
 * host takes uploads. A host is named as in references ("r.example.com:5000").
 *
 * Any thread.
 */
#ifndef SLIPWAY_STORE_LEARNED_H
#define SLIPWAY_STORE_LEARNED_H

#include "store/store.h"

#include <stdint.h>

/* The ways to send a blob, upstream/upload/upload_ways.h. The numbers are stored on disk. */
enum upload_way {
    UPLOAD_WAY_AUTO = 0, /* nothing is known */
    UPLOAD_WAY_PUT = 1,
    UPLOAD_WAY_PATCH = 2,
    UPLOAD_WAY_CHUNKED = 3,
    UPLOAD_WAY_POST = 4,
};
#define UPLOAD_WAYS 5

struct learned {
    enum upload_way way; /* the last one that worked with a whole blob */
    uint64_t body_limit; /* a request's body is better not longer; 0: no limit is known */
};

/* *found false, `out` untouched, when nothing is known of the host. */
enum errc learned_get(struct store *store, const char *host, bool *found, struct learned *out,
                      struct error *err);

/* Replaces what was known. Survives the process; a crash of the machine may undo it, which costs
 * one refused request. */
enum errc learned_put(struct store *store, const char *host, const struct learned *learned,
                      struct error *err);

#endif
