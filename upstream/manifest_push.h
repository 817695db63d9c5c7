/*
 * A manifest and everything below it: children before their index, layers and config before their
 * manifest. The bytes go out as the store holds them; nothing is serialised again.
 * OCI distribution-spec, "Pushing Manifests"; image-spec, image-index.md.
 */
#ifndef SLIPWAY_UPSTREAM_MANIFEST_PUSH_H
#define SLIPWAY_UPSTREAM_MANIFEST_PUSH_H

#include "upstream/push_state.h"

#define INDEX_DEPTH_MAX 4 /* indexes within indexes */

/*
 * Push what `manifest` describes and put it under `tag`; NULL: under its digest. When this returns
 * ERR_OK the registry has confirmed that the tag holds these very bytes. *size and `media_type` are
 * of the manifest. Errors: ERR_BLOB_UNKNOWN when the store lacks a part, ERR_MANIFEST_INVALID,
 * ERR_PUSHED_DIGEST when the registry holds something else under the tag, those of the steps.
 */
enum errc manifest_push(struct push *push, const struct descriptor *manifest, const char *tag,
                        uint64_t *size, char media_type[MEDIA_TYPE_MAX], struct error *err);

#endif
