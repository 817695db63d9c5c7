/*
 * Which blobs were hashed, and when: what blob_prove() remembers, and who hashes at the moment.
 *
 * There are PROOFS_MAX places, each blob has one of them by its digest and takes it from whoever
 * had it: what is forgotten costs a hash.
 *
 * Threads: any; one lock inside, no I/O under it.
 */
#ifndef SLIPWAY_STORE_LOCAL_PROOFS_H
#define SLIPWAY_STORE_LOCAL_PROOFS_H

#include "base/cancel.h"
#include "image/digest.h"

#define PROOFS_MAX 16384

struct proofs;

struct proofs *proofs_new(void);
void proofs_free(struct proofs *proofs);

/* Its bytes are right, now; or they were wrong, so that it was dropped. */
void proofs_note(struct proofs *proofs, const struct digest *digest);
void proofs_refute(struct proofs *proofs, const struct digest *digest);
bool proofs_refuted(struct proofs *proofs, const struct digest *digest);

/* A hash over a blob that is under way; its owner's. */
struct proof {
    const struct digest *digest;
    struct proof *next;
};

/* Is it to be hashed? Then *wanted, and `proof` is in the list until proofs_end(). Not when it was
 * in the last `age_ms`, or another thread, which is waited for, did it meanwhile. ERR_CANCELLED. */
enum errc proofs_begin(struct proofs *proofs, const struct digest *digest, int64_t age_ms,
                       const struct cancel *cancel, struct proof *proof, bool *wanted,
                       struct error *err);
/* `right`: as proofs_note(). */
void proofs_end(struct proofs *proofs, struct proof *proof, bool right);

#endif
