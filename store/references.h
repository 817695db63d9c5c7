/*
 * Names of what is held: reference (name:tag or name@digest) -> manifest. Of a reference with both,
 * the digest is the name and the tag is ignored; one with neither is ERR_NO_TAG.
 */
#ifndef SLIPWAY_STORE_REFERENCES_H
#define SLIPWAY_STORE_REFERENCES_H

#include "image/media_type.h"
#include "image/reference.h"
#include "store/store.h"

struct named_manifest {
    struct reference reference;
    struct digest manifest;
    char media_type[MEDIA_TYPE_MAX];
};

/* Record it; an existing record of the same reference is replaced. Returns when it is durable, and
 * the manifest's blob with it. ERR_BLOB_UNKNOWN when that is not held. */
enum errc references_put(struct store *store, const struct reference *ref,
                         const struct digest *manifest, const char *media_type, struct error *err);

/* *found false when the reference is not held. */
enum errc references_get(struct store *store, const struct reference *ref, bool *found,
                         struct named_manifest *out, struct error *err);

/* All tags and digests held of ref's name, sorted by text, at most `limit`; owned array (free()).
 */
enum errc references_by_name(struct store *store, const struct reference *ref, size_t limit,
                             struct named_manifest **out, size_t *count, struct error *err);

#endif
