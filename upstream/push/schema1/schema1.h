/*
 * Docker's image manifest version 2, schema 1 (manifest-v2-1.md of the distribution project), made
 * from an image's config and layers: what registries from before schema2 take.
 *
 * `fsLayers` and `history` have an entry for each step of the config's history, newest first. A
 * step without a layer (empty_layer) refers to the well-known empty gzip layer. Each step's
 * `v1Compatibility` has an id made from its blob and its parent's id, so the same image makes the
 * same ids and the same bytes on every run; the newest one carries the whole config.
 *
 * Pure: no I/O, no signature (upstream/push/schema1/jws.h).
 */
#ifndef SLIPWAY_UPSTREAM_PUSH_SCHEMA1_SCHEMA1_H
#define SLIPWAY_UPSTREAM_PUSH_SCHEMA1_SCHEMA1_H

#include "base/buf.h"
#include "image/descriptor.h"

#define MEDIA_DOCKER_SCHEMA1_SIGNED "application/vnd.docker.distribution.manifest.v1+prettyjws"
#define SCHEMA1_HISTORY_MAX 5000

struct schema1_image {
    const char *name; /* of the repository, without host */
    const char *tag;
    const void *config; /* the image config's bytes */
    size_t config_size;
    const struct descriptor *layers; /* bottom first */
    size_t layer_count;
};

/* The gzip layer of an empty tar: 32 bytes, and their sha256. */
#define SCHEMA1_EMPTY_LAYER_BYTES 32
extern const unsigned char schema1_empty_layer[SCHEMA1_EMPTY_LAYER_BYTES];
struct digest schema1_empty_layer_digest(void);

/*
 * Append the canonical payload: the bytes whose digest is the manifest's. *needs_empty: some step
 * has the empty layer. A config without history is one step a layer. Errors: ERR_UNSUPPORTED for
 * what schema1 cannot say (a foreign layer, a digest that is not sha256); ERR_CONFIG_INVALID when
 * history and layers do not fit together, or there are more than SCHEMA1_HISTORY_MAX steps;
 * ERR_JSON_*, ERR_JSON_TOO_LARGE also when `out` overflows.
 */
enum errc schema1_build(const struct schema1_image *image, struct buf *out, bool *needs_empty,
                        struct error *err);

#endif
