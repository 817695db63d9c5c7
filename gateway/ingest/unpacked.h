/*
 * What blobs of registry clients turned out to be when they were unpacked, so that a client that
 * names one again does not have it unpacked again: not even when it proved to be no layer, or to be
 * too large.
 *
 * Of the whole process, since it follows from a blob's bytes alone. The youngest UNPACKED_MAX are
 * kept. Any thread; one lock inside.
 */
#ifndef SLIPWAY_GATEWAY_INGEST_UNPACKED_H
#define SLIPWAY_GATEWAY_INGEST_UNPACKED_H

#include "image/digest.h"

#define UNPACKED_MAX 4096

struct unpacked {
    struct digest diff_id; /* DIGEST_NONE: no layer, or one of more than raw_size bytes */
    uint64_t raw_size;     /* of a layer; else as far as that is known, UINT64_MAX: for good */
};

/* True when it is known which layer of at most `limit_bytes` this blob is, or that it is none. */
bool unpacked_find(const struct digest *blob, uint64_t limit_bytes, struct unpacked *out);
void unpacked_note(const struct digest *blob, const struct unpacked *unpacked);

#endif
