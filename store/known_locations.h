/*
 * Where layers were seen: diffID -> the blobs that are that layer, each with the repository in
 * which it was and an HMAC that tells whose credentials saw it. This is what mounts and existence
 * checks start from (upstream/push/candidates.h); it is a memory of registries, never a promise.
 *
 * A layer has at most KNOWN_LOCATIONS_MAX locations, oldest first. An location that is added
 * again becomes the youngest; the oldest makes room for one too many; a layer without any has no
 * record. Blobs that are no layer of an image (artifacts, attestations) are kept under their own
 * digest in place of a diffID. Beside each location digest -> diffID is kept, which is how it is
 * found when it turns out to be wrong.
 *
 * Writing is read-modify-write without a lock: a change that somebody else overtook is prepared
 * again, so concurrent pushes never lose an entry. It does not wait for the disk: the record
 * survives the process, and a crash of the machine may cost a few mounts.
 *
 * Any thread. Beside the errors named, each call may return ERR_STORE, ERR_STORE_FULL, ERR_BUSY and
 * ERR_IO.
 */
#ifndef SLIPWAY_STORE_ASSOCIATIONS_H
#define SLIPWAY_STORE_ASSOCIATIONS_H

#include "image/digest.h"
#include "image/reference.h"
#include "store/store.h"

#define KNOWN_LOCATIONS_MAX 50

struct known_location {
    struct digest digest;                /* of the blob, never DIGEST_NONE */
    char source[REFERENCE_NAME_MAX + 1]; /* "host/path", normalised; "" when not known */
    char hmac[HMAC_HEX_SIZE + 1];        /* upstream/auth/location_hmac.h; "" when anonymous */
};

/* Oldest first. */
struct known_location_list {
    size_t count;
    struct known_location items[KNOWN_LOCATIONS_MAX];
};

/* A layer of which nothing is known has none. */
enum errc known_locations_get(struct store *store, const struct digest *layer,
                              struct known_location_list *out, struct error *err);

enum errc known_locations_add(struct store *store, const struct digest *layer,
                              const struct known_location *location, struct error *err);

/* The layer that this blob is known to be; *found false when it is none, or kept under its own
 * digest. */
enum errc known_locations_layer(struct store *store, const struct digest *digest, bool *found,
                                struct digest *layer, struct error *err);

/* Forget it, whichever layer it is of. One that is not there is success. */
enum errc known_locations_remove(struct store *store, const struct known_location *location,
                                 struct error *err);

bool location_equal(const struct known_location *a, const struct known_location *b);

#endif
