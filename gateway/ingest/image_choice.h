/*
 * Which image of an archive is meant, and what it is made of: from the catalog of what was read to
 * one manifest that can be pushed.
 *
 * An archive lists its images in `index.json` (OCI layout), in `manifest.json` (docker save and its
 * kin), or in both (gateway/ingest/listing.h). One rule for all of them:
 * - What is there counts: an image that is listed but not in the archive is no choice as long as
 *   another one is whole.
 * - By name or digest one is asked for, else the only one is meant. Several and no choice is
 *   ambiguous, never the first.
 * - Images of one name, or without any, for different platforms are one image: `platform` chooses,
 *   and without it index.json itself is the index, where it lists nothing else.
 * - An index is pushed whole; of one that is not whole, the only image that is there, as
 *   `docker push` does. `platform` chooses a member.
 *
 * The manifest or index that came is kept byte for byte as long as no layer had to be compressed.
 * An image with compressed layers gets a new manifest: schema2 if the archive has a manifest.json,
 * else its own manifest with the layers' descriptors replaced; an index over such images is
 * replaced in the same way.
 *
 * Signatures and other entries that only belong to an image (gateway/ingest/archive_referrers.h)
 * are no images to choose from as long as there is one; those of the chosen image come with it.
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

struct image_selector {
    const char *image;               /* name, name:tag or digest; NULL = the only one */
    bool several;                    /* without `image`: all, each by itself */
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
        *referrers; /* owned; what belongs to it, see gateway/ingest/archive_referrers.h */
    size_t referrer_count;
    char *odd_name; /* owned; a name of it that is no reference, NULL when there is none */
};

struct chosen_images {
    struct chosen_image *items; /* owned; one, unless several were wished for */
    size_t count;
};

/* Choose, verify, and put what is new (manifests, replaced layers) into the batch; blobs of the
 * batch that the image does not need are dropped from it. Errors: ERR_NOT_AN_IMAGE,
 * ERR_AMBIGUOUS_IMAGE (lists the images), ERR_IMAGE_UNKNOWN, ERR_PLATFORM_UNKNOWN,
 * ERR_CONFIG_MISSING, ERR_LAYER_MISSING, ERR_BLOB_MISSING, ERR_DIFFID_MISMATCH,
 * ERR_DIGEST_MISMATCH, ERR_CONFIG_INVALID, ERR_MANIFEST_INVALID and the parsers' own; each names
 * the entry or digest. */
enum errc image_choose(const struct catalog *catalog, struct batch *batch,
                       const struct image_selector *selector, struct chosen_images *out,
                       struct error *err);
void chosen_images_deinit(struct chosen_images *chosen);

#endif
