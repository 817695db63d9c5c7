/*
 * A manifest and everything below it: children before their index, layers and config before their
 * manifest. The bytes go out as the store holds them; nothing is serialised again. A manifest of a
 * kind that slipway does not know (MANIFEST_OPAQUE) goes alone.
 * OCI distribution-spec, "Pushing Manifests"; image-spec, image-index.md.
 */
#ifndef SLIPWAY_UPSTREAM_PUSH_MANIFEST_PUSH_H
#define SLIPWAY_UPSTREAM_PUSH_MANIFEST_PUSH_H

#include "base/limits.h"
#include "upstream/push/push_state.h"

/*
 * Push what `request` describes: the manifest with everything below it, the referrers that go with
 * it after their subjects, and last the manifest under the tag; without a tag it goes under its
 * digest, before its referrers. When this returns ERR_OK the registry has confirmed that it holds
 * these very bytes there, and push->result has the manifest's digest, size and media type; those
 * are of another manifest only where the registry refused schema2 under a tag and took schema1
 * (upstream/push/schema1_push.h). Errors: ERR_BLOB_UNKNOWN when the store lacks a part,
 * ERR_MANIFEST_INVALID, ERR_PUSHED_DIGEST when the registry holds something else there, those of
 * the steps.
 */
enum errc manifest_push(struct target_push *push, const struct push_request *request,
                        struct error *err);

#endif
