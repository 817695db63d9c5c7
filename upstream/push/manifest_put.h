/*
 * One manifest into the target repository, and the certainty that it stands there: whatever the
 * registry answers, what counts is what it serves afterwards.
 */
#ifndef SLIPWAY_UPSTREAM_PUSH_MANIFEST_PUT_H
#define SLIPWAY_UPSTREAM_PUSH_MANIFEST_PUT_H

#include "upstream/client/registry_manifest.h"
#include "upstream/push/push_state.h"

/* Borrowed throughout. */
struct outgoing_manifest {
    struct manifest_bytes bytes; /* what is sent */
    const char *canonical;       /* what its digest is over: the same, unless a signature inside */
    size_t canonical_size;       /* was left out */
    struct digest digest;
};

/*
 * Put it under `tag`; NULL: under its digest. A refusal does not count when this very manifest is
 * there already: an immutable tag, an answer that got lost. Otherwise up to RETRY_ATTEMPTS are made
 * after errors that may pass; a blob unknown right after its upload is one. `answer` as in
 * registry_manifest_put(). Errors: those of the PUT; ERR_PUSHED_DIGEST when the registry holds
 * something else afterwards, or nothing.
 */
enum errc manifest_put(struct target_push *push, struct registry_client *client, const char *tag,
                       const struct outgoing_manifest *manifest, struct manifest_answer *answer,
                       struct error *err);

#endif
