/*
 * Refusals of a manifest that stay refusals, whatever their status and code say. A registry answers
 * DIGEST_INVALID when it is given a manifest twice at once, which passes, and when it does not know
 * the digest's algorithm, which does not; MANIFEST_BLOB_UNKNOWN of a blob that is on its way, and
 * of a layer that is never sent. So they are told apart by what they are about. Pure functions.
 */
#ifndef SLIPWAY_UPSTREAM_CLIENT_MANIFEST_REFUSAL_H
#define SLIPWAY_UPSTREAM_CLIENT_MANIFEST_REFUSAL_H

#include "upstream/auth/answer.h"

/* What was put, and what it was put under. Borrowed. */
struct refused_manifest {
    const char *reference;
    const void *data;
    size_t size;
};

/* NULL: the refusal is none of these, so its code decides (base/error.h); else why it is final, in
 * words that stand in front of what the registry said. */
const char *manifest_refusal_is_final(const struct refused_manifest *manifest,
                                      const struct http_response *response);

#endif
