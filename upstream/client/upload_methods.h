/*
 * Which way a registry is sent blobs: the methods of ways, what was learned about the registry, and
 * where to go on from a refusal. Decisions only; the sending is in upstream/upload/upload_by.h.
 *
 * The methods, in the order in which they are tried where nothing is known:
 *
 *     put      POST, PUT with the whole body
 *     patch    POST, PATCH with the whole body, empty PUT
 *     chunked  POST, PATCH after PATCH with a chunk each, empty PUT
 *     post     POST with the whole body
 *
 * What is learned is a way for whole bodies and a limit for the body of one request. A body over
 * the limit goes in chunks of at most that limit, whatever the way. The limit comes from refusals
 * for size (413): the next lower cap of those that people configure is tried, so it is found in a
 * few requests that are refused by their Content-Length, and only once
 * (upstream/client/host_capabilities.h).
 *
 * One methods belongs to one registry host and is used by all its uploads; any thread.
 */
#ifndef SLIPWAY_UPSTREAM_CLIENT_UPLOAD_METHODS_H
#define SLIPWAY_UPSTREAM_CLIENT_UPLOAD_METHODS_H

#include "upstream/client/host_capabilities.h"

#include <stdatomic.h>

#define UPLOAD_CHUNK_DEFAULT ((uint64_t)95 << 20)

struct upload_methods {
    struct host_capabilities *learned; /* borrowed */
    enum upload_method selector;       /* of the configuration */
    uint64_t chunk_bytes;
    atomic_uint doubted; /* ways, a bit each */
};

/* `chunk_bytes` 0 is the default. */
void upload_methods_init(struct upload_methods *methods, struct host_capabilities *learned,
                         enum upload_method selector, uint64_t chunk_bytes);

/* Where one upload stands. A value. */
struct upload_choice {
    enum upload_method way;
    uint64_t chunk_bytes; /* of the chunked way */
    bool known;           /* it has worked with this registry, or is said to */
    bool by_size; /* chunked because of the blob's size, not because the others are refused */
    enum upload_method whole; /* by_size: the way for what is not too large, as far as is known */
    uint64_t body_limit;      /* learned by this upload; 0: nothing */
    unsigned refused;         /* ways, a bit each */
};

struct upload_choice upload_methods_first(struct upload_methods *methods, uint64_t blob_bytes);

/* The registry does not take blobs this way. False when there is no other one to try. */
bool upload_methods_refused(const struct upload_methods *methods, uint64_t blob_bytes,
                            struct upload_choice *choice);

/* A body of `body_bytes` was too large. `least` is the shortest chunk that the registry wants, or
 * 0. False when no smaller one can be tried. */
bool upload_methods_too_large(const struct upload_methods *methods, uint64_t body_bytes,
                              uint64_t least, struct upload_choice *choice);

/* It has worked with this registry, whatever an upload that began before knows. */
bool upload_methods_knows(struct upload_methods *methods, enum upload_method way);

/* The registry may not know this way: as long as no way has worked, it is not tried first. */
void upload_methods_doubt(struct upload_methods *methods, enum upload_method way);

/* The blob went this way: remember it. */
void upload_methods_worked(struct upload_methods *methods, const struct upload_choice *choice);

#endif
