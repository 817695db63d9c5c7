/*
 * A list of referrers that a client puts itself, under the tag that a registry without the
 * referrers API would have for it (image/referrer_list.h): skopeo sync, ORAS with the tag schema.
 * The tag holds the client's bytes, and what the list names refers to the subject from then on, as
 * if it had that `subject`. OCI distribution-spec, "Enabling the Referrers API".
 */
#ifndef SLIPWAY_GATEWAY_REGISTRY_LISTED_H
#define SLIPWAY_GATEWAY_REGISTRY_LISTED_H

#include "base/cancel.h"
#include "image/manifest.h"
#include "store/repositories.h"

struct listed_referrer {
    struct digest manifest;
    char *descriptor; /* owned; as the referrers API lists it */
};

struct listed_referrers {
    struct digest subject;         /* DIGEST_NONE: what is put is no such list */
    struct listed_referrer *items; /* owned */
    size_t count;
    struct name_list past; /* owned; digests of what was taken out of the repository */
};

/* Look at what is put under `tag`: at the manifests that it lists and the repository has. Those
 * that are no artifacts, or whose descriptor passes MANIFEST_DESCRIPTOR_MAX, are left out. All of
 * them together have at most LISTED_BYTES_MAX, else ERR_MANIFEST_INVALID; ERR_CANCELLED; the
 * store's own. On success *out is owned. */
#define LISTED_BYTES_MAX ((uint64_t)64 << 20)
enum errc listed_referrers_read(struct store *store, const struct cancel *cancel,
                                const char *repository, const char *tag,
                                const struct manifest *list, struct listed_referrers *out,
                                struct error *err);
void listed_referrers_deinit(struct listed_referrers *listed);

/* It was listed, and taken out of the repository since: a list may still name it. */
bool listed_referrers_had(const struct listed_referrers *listed, const struct digest *manifest);

void listed_referrers_put(const struct listed_referrers *listed, const char *repository,
                          struct batch *batch);

#endif
