/*
 * Where layers were seen: diffID -> the blobs that are that layer, each with the repository in
 * which it was and an HMAC that tells whose credentials saw it. This is what mounts and existence
 * checks start from (upstream/push/candidates.h); it is a memory of registries, never a promise.
 *
 * A layer has at most ASSOCIATIONS_MAX associations, oldest first. An association that is added
 * again becomes the youngest; the oldest makes room for one too many; a layer without any has no
 * record. Blobs that are no layer of an image (artifacts, attestations) are kept under their own
 * digest in place of a diffID. Beside each association digest -> diffID is kept, which is how it is
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

#define ASSOCIATIONS_MAX 50

struct association {
    struct digest digest;                /* of the blob, never DIGEST_NONE */
    char source[REFERENCE_NAME_MAX + 1]; /* "host/path", normalised; "" when not known */
    char hmac[HMAC_HEX_SIZE + 1];        /* upstream/auth/association_hmac.h; "" when anonymous */
};

/* Oldest first. */
struct association_list {
    size_t count;
    struct association items[ASSOCIATIONS_MAX];
};

/* A layer of which nothing is known has none. */
enum errc associations_get(struct store *store, const struct digest *layer,
                           struct association_list *out, struct error *err);

enum errc associations_add(struct store *store, const struct digest *layer,
                           const struct association *association, struct error *err);

/* The layer that this blob is known to be; *found false when it is none, or kept under its own
 * digest. */
enum errc associations_layer(struct store *store, const struct digest *digest, bool *found,
                             struct digest *layer, struct error *err);

/* Forget it, whichever layer it is of. One that is not there is success. */
enum errc associations_remove(struct store *store, const struct association *association,
                              struct error *err);

bool association_equal(const struct association *a, const struct association *b);

#endif
