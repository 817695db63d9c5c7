/*
 * Could the gateway push a manifest that a client puts? What is kept here only may be anything that
 * fits the limit on manifests; what goes to targets has to be what upstream/push/manifest_push.h
 * pushes, or an acknowledgement would promise what is never kept.
 *
 * That is: every member of an index that is a manifest (store/member.h; BuildKit's caches have
 * blobs as members) can be pushed itself, indexes are at most INDEX_DEPTH_MAX deep, and all that is
 * below the manifest is in the store. Each manifest below is looked at once, however often it is
 * named, and all of them together have at most PUSHABLE_COST_MAX bytes, each part counting as
 * PUSHABLE_PART_COST beside its own.
 */
#ifndef SLIPWAY_GATEWAY_REGISTRY_PUSHABLE_H
#define SLIPWAY_GATEWAY_REGISTRY_PUSHABLE_H

#include "base/cancel.h"
#include "image/manifest.h"
#include "store/store.h"

#define PUSHABLE_COST_MAX ((uint64_t)64 << 20)
#define PUSHABLE_PART_COST 1024

/* ERR_MANIFEST_INVALID says what cannot be pushed; ERR_CANCELLED; the store's own. */
enum errc pushable_check(struct store *store, const struct cancel *cancel,
                         const struct manifest *manifest, struct error *err);

#endif
