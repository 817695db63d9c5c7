/*
 * The members of an index that the store holds: manifests, or blobs as in BuildKit's caches.
 */
#ifndef SLIPWAY_STORE_MEMBER_H
#define SLIPWAY_STORE_MEMBER_H

#include "image/descriptor.h"
#include "store/store.h"

/* By media type and bytes (image/manifest.h, manifest_is_member()); *read_bytes are those that had
 * to be parsed for it. ERR_BLOB_UNKNOWN where the bytes are asked for and not held; the store's
 * own. Blocks. */
enum errc member_is_blob(struct store *store, const struct descriptor *member, bool *blob,
                         uint64_t *read_bytes, struct error *err);

#endif
