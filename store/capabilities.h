/*
 * What was learned about registries, so that nobody has to find it out again after a restart: how a
 * host takes uploads, and whether it speaks TLS. A host is named as in references
 * ("r.example.com:5000").
 *
 * Any thread.
 */
#ifndef SLIPWAY_STORE_LEARNED_H
#define SLIPWAY_STORE_LEARNED_H

#include "store/store.h"

#include <stdint.h>

/* The ways to send a blob, upstream/upload/upload_by.h. The numbers are stored on disk. */
enum upload_method {
    UPLOAD_METHOD_AUTO = 0, /* nothing is known */
    UPLOAD_METHOD_PUT = 1,
    UPLOAD_METHOD_PATCH = 2,
    UPLOAD_METHOD_CHUNKED = 3,
    UPLOAD_METHOD_POST = 4,
};
#define UPLOAD_METHODS 5

struct capabilities {
    enum upload_method way; /* the last one that worked with a whole blob */
    uint64_t body_limit;    /* a request's body is better not longer; 0: no limit is known */
    bool plain;             /* it answered without TLS where TLS had been tried first */
};

/* *found false, `out` untouched, when nothing is known of the host. */
enum errc capabilities_get(struct store *store, const char *host, bool *found,
                           struct capabilities *out, struct error *err);

/* Replaces what was known. Survives the process; a crash of the machine may undo it, which costs
 * one refused request. */
enum errc capabilities_put(struct store *store, const char *host,
                           const struct capabilities *capabilities, struct error *err);

#endif
