/*
 * The images that an archive lists, from both tables of contents: `index.json` (OCI layout) and
 * `manifest.json` (docker save and its kin).
 *
 * Either may be missing, or of no use beside the other: Docker has written an index.json without
 * manifests, and writes ones whose index names platforms that were not saved. So both are read,
 * what cannot be read counts as empty as long as the other can, and an image of manifest.json whose
 * config is that of an image in index.json is that image; it adds its names. The rest of either is
 * an image of its own; where both have a name for different images, index.json has it.
 */
#ifndef SLIPWAY_GATEWAY_INGEST_LISTING_H
#define SLIPWAY_GATEWAY_INGEST_LISTING_H

#include "gateway/ingest/archive_referrers.h"

/* One image that the archive lists. */
struct candidate {
    const struct docker_image *docker; /* when only manifest.json has it, else NULL: */
    struct descriptor root;            /* from index.json */
    struct archive_name *names;        /* owned */
    size_t name_count;
    const char *odd_name; /* a name that is no reference; NULL when there is none */
    bool belongs;         /* to another one (gateway/ingest/archive_referrers.h) */
    bool there;           /* whole, or an index of which at least one image is */
};

struct listing {
    struct inspector inspector;
    struct docker_archive docker;
    struct oci_layout layout;
    struct archive_referrers attachments; /* of the layout */
    struct candidate *candidates;         /* owned */
    size_t count;
    struct descriptor index; /* index.json itself, as the index that it may be */
    bool has_docker;         /* there is a manifest.json that can be read */
};

/* ERR_NOT_AN_IMAGE for an archive that lists nothing, which says what it seems to be; else what is
 * wrong with the one table that there is. `out` is to be deinited in any case. */
enum errc listing_read(const struct catalog *catalog, struct batch *batch,
                       const struct cancel *cancel, struct listing *out, struct error *err);
void listing_deinit(struct listing *listing);

/* The config of an image of manifest.json; DIGEST_NONE when it is not in the archive. */
struct digest listing_docker_config(const struct listing *listing,
                                    const struct docker_image *image);

/* What an image is for: its config's or its descriptor's platform, "" for an index. */
struct platform listing_platform(struct listing *listing, const struct candidate *candidate);

#endif
