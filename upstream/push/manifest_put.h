/*
 * One manifest into the target repository, and the certainty that it stands there: whatever the
 * registry answers, what counts is what it serves afterwards.
 */
#ifndef SLIPWAY_UPSTREAM_PUSH_MANIFEST_PUT_H
#define SLIPWAY_UPSTREAM_PUSH_MANIFEST_PUT_H

#include "upstream/client/registry_manifest.h"
#include "upstream/push/target_push.h"

/* Borrowed throughout. */
struct outgoing_manifest {
    struct manifest_bytes bytes; /* what is sent */
    const char *canonical;       /* what its digest is over: the same, unless a signature inside */
    size_t canonical_size;       /* was left out */
    struct digest digest;
};

/* Does this digest, of whatever algorithm the registry likes, name it? */
bool manifest_put_is(const struct outgoing_manifest *manifest, const struct digest *digest);

/*
 * One attempt to put it under `tag`; NULL: under its digest. Blocks. A refusal does not count when
 * this very manifest is there already: an immutable tag, an answer that got lost. `answer` as in
 * registry_manifest_put(). Errors: those of the PUT; ERR_PUSHED_DIGEST when the registry holds
 * something else afterwards, or nothing.
 */
enum errc manifest_put(struct target_push *push, struct registry_client *client, const char *tag,
                       const struct outgoing_manifest *manifest, struct manifest_answer *answer,
                       struct error *err);

/* The key under which attempts with one manifest and repository follow one another
 * (base/executor.h), owned: docker-registry 2.8 answers DIGEST_INVALID when it is given a manifest
 * twice at once. */
char *manifest_put_turn(const struct target_push *push, const struct outgoing_manifest *manifest);

#endif
