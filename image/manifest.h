/*
 * Manifests: Docker schema2, OCI image manifest, Docker manifest list and OCI index.
 * OCI image specification manifest.md and image-index.md; manifest-v2-2.md of the distribution
 * project.
 *
 * A manifest's digest is over its bytes, so the bytes are what is kept and sent: parsing only
 * looks, nothing is ever serialised again. The build functions make new bytes for images whose
 * layers slipway compressed; the same input gives the same bytes on every run.
 */
#ifndef SLIPWAY_IMAGE_MANIFEST_H
#define SLIPWAY_IMAGE_MANIFEST_H

#include "base/buf.h"
#include "image/descriptor.h"

#define MANIFEST_LIMIT_BYTES ((size_t)4 << 20) /* distribution-spec, "Pushing Manifests" */
#define MANIFEST_CHILDREN_MAX                                                                      \
    10000 /* members of an index; layers are bounded by the bytes alone                            \
           */

/* MANIFEST_OPAQUE only comes from manifest_parse_any(). */
enum manifest_kind { MANIFEST_IMAGE, MANIFEST_INDEX, MANIFEST_OPAQUE };

struct manifest {
    enum manifest_kind kind;
    char media_type[MEDIA_TYPE_MAX]; /* the manifest's own */
    struct descriptor config;        /* MANIFEST_IMAGE */
    struct descriptor *layers;       /* MANIFEST_IMAGE, owned */
    size_t layer_count;
    struct descriptor *children; /* MANIFEST_INDEX, owned */
    size_t child_count;
    bool has_artifact_type; /* OCI 1.1: says that it is no image */
    bool has_subject;       /* OCI 1.1: refers to another manifest */
    struct descriptor subject;
};

/* Look at manifest bytes. `media_type` is what a descriptor or Content-Type said, or NULL; the
 * document's own mediaType must agree with it where both are there (image-spec: clients SHOULD
 * reject); with neither, the kind is taken from the shape (config+layers, or manifests). Parameters
 * of `media_type` (a charset) are ignored. schemaVersion must be 2. A document with members of both
 * an image and an index is refused (CVE-2021-41190). `layers` or `manifests` must be there; null,
 * as some Go programs write it, is an empty list. ERR_MANIFEST_INVALID, ERR_JSON_INVALID,
 * ERR_JSON_TOO_LARGE name `what`. On success the manifest is owned: manifest_deinit(). */
enum errc manifest_parse(const void *data, size_t size, const char *media_type, const char *what,
                         struct manifest *out, struct error *err);

/*
 * The same for what a registry keeps, which may be of any media type. A type that is none of the
 * above goes by the document's shape: with any member of an image or an index (config, layers,
 * manifests, fsLayers) it is read as one, as strictly as by manifest_parse(), and keeps its type.
 * With none of them it is MANIFEST_OPAQUE: a JSON object that refers to nothing, of the type that
 * it or the caller names. ERR_MANIFEST_INVALID also for what is no media type (RFC 6838).
 */
enum errc manifest_parse_any(const void *data, size_t size, const char *media_type,
                             const char *what, struct manifest *out, struct error *err);
void manifest_deinit(struct manifest *manifest);

/* May it be an image, as far as the manifest says: no artifactType, an image's type of config, and
 * nothing but layers of images. Its config has the last word (image/image_config.h). Everything
 * else with the shape of an image is an artifact, whose bytes only its reader knows. */
bool manifest_may_be_image(const struct manifest *manifest);

/* Is a member of an index that has these bytes a manifest? By its media type, where that is one of
 * manifests; else if it is a JSON object that calls itself one (schemaVersion, or this media type
 * as its mediaType). All others are blobs, as in BuildKit's caches, whose index has layers and a
 * config as members. */
bool manifest_is_member(const char *media_type, const void *data, size_t size);
/* The same where the media type alone decides: *manifest; else false. */
bool manifest_member_by_type(const char *media_type, bool *manifest);

/* The bytes of a new schema2 manifest, as Docker writes it: indented by three spaces, members in
 * the order schemaVersion, mediaType, config, layers; layer descriptors mediaType, size, digest; no
 * newline at the end. */
void manifest_build_schema2(const struct descriptor *config, const struct descriptor *layers,
                            size_t count, struct buf *out);

/* The bytes of `original` (an image manifest) with its layers replaced one by one: mediaType,
 * digest and size are the new ones, everything else (annotations, config, subject) stays, but for
 * `data` and `urls` of a layer whose digest changed: they are of the old bytes. For OCI images
 * whose layers were compressed. `count` equals the number of layers in the original, else
 * ERR_MANIFEST_INVALID; ERR_JSON_TOO_LARGE when the result passes the limit of `out`. */
enum errc manifest_replace_layers(const void *original, size_t size,
                                  const struct descriptor *layers, size_t count, struct buf *out,
                                  struct error *err);

/* The bytes of a new OCI image manifest for a config and layers (compact JSON). */
void manifest_build_oci(const struct descriptor *config, const struct descriptor *layers,
                        size_t count, struct buf *out);

/* The bytes of the index `original` with child descriptors replaced (digest and size) by position:
 * for an index some of whose members had to be rebuilt. `children` has an entry for each. Otherwise
 * as manifest_replace_layers(). */
enum errc manifest_replace_children(const void *original, size_t size,
                                    const struct descriptor *children, size_t count,
                                    struct buf *out, struct error *err);

#endif
