/*
 * Making one image of an archive pushable: the half of gateway/ingest/image_choice.h that works on
 * a choice already made.
 */
#ifndef SLIPWAY_GATEWAY_INGEST_ASSEMBLE_H
#define SLIPWAY_GATEWAY_INGEST_ASSEMBLE_H

#include "base/cancel.h"
#include "base/pool.h"
#include "gateway/ingest/inspect.h"
#include "image/catalog.h"
#include "image/descriptor.h"
#include "image/digest_map.h"
#include "image/docker_archive.h"

#define INDEX_MEMBERS_MAX 10000 /* of all of them, each as often as it is named */

/* What came of a manifest or index, for when it is named again. */
struct assembled {
    struct descriptor root;
    struct descriptor out;
    struct digest config;
    unsigned depth;
    unsigned members; /* itself and all below it */
    bool verbatim;
    bool enclosed;
};

struct assembly {
    const struct catalog *catalog; /* borrowed */
    struct inspector *inspector;   /* borrowed, as the next three */
    struct batch *batch;
    struct pool *codecs;
    struct cancel *cancel;
    bool schema2;     /* a new manifest for an image is schema2 */
    enum codec codec; /* of layers that came uncompressed */
    enum effort effort;
    unsigned members;             /* manifests and indexes named so far, repetitions too */
    unsigned enclosing;           /* indexes that are pushed around the manifest at hand */
    bool verbatim;                /* no layer is compressed: bytes as they came */
    struct digest_map used;       /* blobs of the batch that the image needs */
    struct digest_map replaced;   /* manifests that got new bytes, by their old digest */
    struct digest_map recoded;    /* what was (gateway/ingest/recompress.h), by its raw digest: */
    struct layer_result *results; /* owned; what came of it, at its number - 1 */
    size_t result_count;
    struct digest_map done;      /* manifests and indexes, by the digest of their descriptor: */
    struct assembled *assembled; /* owned; what came of the last of that digest, at number - 1 */
    size_t assembled_count;
    size_t assembled_capacity;
};

void assembly_deinit(struct assembly *assembly);

/* From manifest.json: `image` with its config and layers. */
enum errc assemble_docker_image(struct assembly *assembly, const struct docker_image *image,
                                struct descriptor *manifest, struct digest *config,
                                struct error *err);

/* From an OCI layout: the manifest or index `root` and all it refers to. */
enum errc assemble_oci_image(struct assembly *assembly, const struct descriptor *root,
                             struct descriptor *manifest, struct digest *config, struct error *err);

/* Drop from the batch what was stored for catalog entries that none of the images needs: what they
 * need is in `used`. */
void assembly_drop_unused(const struct catalog *catalog, struct batch *batch,
                          const struct digest_map *used);

#endif
