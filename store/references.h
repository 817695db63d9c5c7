/*
 * Names of what is held: reference (name:tag or name@digest) -> manifest. Of a reference with both,
 * the digest is the name and the tag is ignored; one with neither is ERR_NO_TAG.
 *
 * Each push records the digest that it pushed. Of one name ("host/path") the REFERENCE_DIGESTS_MAX
 * youngest digests are kept: one more takes the place of that which was recorded longest ago.
 */
#ifndef SLIPWAY_STORE_REFERENCES_H
#define SLIPWAY_STORE_REFERENCES_H

#include "image/media_type.h"
#include "image/reference.h"
#include "store/store.h"

#include <stdint.h>

#define REFERENCE_DIGESTS_MAX 64

struct named_manifest {
    struct reference reference;
    struct digest manifest;
    char media_type[MEDIA_TYPE_MAX];
    uint64_t put_s; /* when it was recorded; of two digests of a name the younger has the greater */
};

/* Record it; an existing record of the same reference is replaced. Does not wait for the disk: the
 * record survives the process, and a crash of the machine if its whole image does (store/batch.h,
 * "Durability"). ERR_BLOB_UNKNOWN when the manifest is not held. */
enum errc references_put(struct store *store, const struct reference *ref,
                         const struct digest *manifest, const char *media_type, struct error *err);

/* *found false when the reference is not held. */
enum errc references_get(struct store *store, const struct reference *ref, bool *found,
                         struct named_manifest *out, struct error *err);

#endif
