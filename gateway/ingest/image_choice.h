/*
 * Which image of an archive is meant, and what it is made of: from the catalog of what was read to
 * one manifest that can be pushed.
 *
 * An archive lists its images in `index.json` (OCI layout), in `manifest.json` (docker save and its
 * kin), or in both. Where both are there, index.json counts as long as everything it refers to is
 * in the archive (Docker writes layouts whose index names platforms that were not saved), else
 * manifest.json.
 *
 * The manifest or index that came is kept byte for byte as long as no layer had to be compressed.
 * An image with compressed layers gets a new manifest: schema2 if the archive has a manifest.json,
 * else its own manifest with the layers' descriptors replaced; an index over such images is
 * replaced in the same way.
 *
 * Signatures and other entries that only belong to an image (gateway/ingest/attachments.h) are no
 * images to choose from as long as there is one; those of the chosen image come with it.
 *
 * Every digest is checked before anything is pushed: blobs against their names, sizes against their
 * descriptors, uncompressed layers against the config's rootfs.diff_ids.
 */
#ifndef SLIPWAY_GATEWAY_INGEST_IMAGE_CHOICE_H
#define SLIPWAY_GATEWAY_INGEST_IMAGE_CHOICE_H

#include "base/cancel.h"
#include "base/pool.h"
#include "image/catalog.h"
#include "image/oci_layout.h"
#include "store/batch.h"
#include "upstream/push/push.h"

struct image_wish {
    const char *image;               /* name, name:tag or digest; NULL = the only one */
    const struct platform *platform; /* one member of an index; NULL = the index */
    enum codec codec;                /* what layers that came uncompressed were given */
    enum effort effort;
    struct pool *codecs;   /* borrowed, as the next one */
    struct cancel *cancel; /* ends what takes long */
};

/* The image that was chosen. Names and the platform's text are the archive's. */
struct chosen_image {
    struct descriptor manifest; /* what is pushed: in the batch */
    struct digest config;       /* DIGEST_NONE for an index */
    struct archive_name *names; /* owned */
    size_t name_count;
    struct push_referrer
        *referrers; /* owned; what belongs to it, see gateway/ingest/attachments.h */
    size_t referrer_count;
};

/* Choose, verify, and put what is new (manifests, replaced layers) into the batch; blobs of the
 * batch that the image does not need are dropped from it. Errors: ERR_NOT_AN_IMAGE,
 * ERR_AMBIGUOUS_IMAGE (lists the images), ERR_IMAGE_UNKNOWN, ERR_PLATFORM_UNKNOWN,
 * ERR_CONFIG_MISSING, ERR_LAYER_MISSING, ERR_BLOB_MISSING, ERR_DIFFID_MISMATCH,
 * ERR_DIGEST_MISMATCH, ERR_CONFIG_INVALID, ERR_MANIFEST_INVALID and the parsers' own; each names
 * the entry or digest. */
enum errc image_choose(const struct catalog *catalog, struct batch *batch,
                       const struct image_wish *wish, struct chosen_image *out, struct error *err);
void chosen_image_deinit(struct chosen_image *chosen);

#endif
