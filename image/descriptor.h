/*
 * Content descriptors: what a manifest says of a blob it refers to.
 * OCI image specification, descriptor.md; index entries also carry a platform (image-index.md).
 *
 * A value without pointers; what slipway does not look at (annotations, data) stays in the bytes of
 * the manifest it came from.
 */
#ifndef SLIPWAY_IMAGE_DESCRIPTOR_H
#define SLIPWAY_IMAGE_DESCRIPTOR_H

#include "base/json.h"
#include "image/digest.h"
#include "image/media_type.h"

#define PLATFORM_PART_MAX 64

struct platform {
    char os[PLATFORM_PART_MAX]; /* "" when the descriptor has no platform */
    char architecture[PLATFORM_PART_MAX];
    char variant[PLATFORM_PART_MAX]; /* "" when none */
};

struct descriptor {
    char media_type[MEDIA_TYPE_MAX];
    struct digest digest;
    uint64_t size; /* bytes */
    bool foreign;  /* has `urls`: never uploaded, goes into manifests as it is */
    struct platform platform;
};

/* From a JSON object. `what` names it in messages ("layers[3]"). ERR_MANIFEST_INVALID for a missing
 * or malformed mediaType, digest or size (0 to 2^63-1), and for urls or a platform of the wrong
 * shape. A null or empty `urls` is none. */
enum errc descriptor_parse(const json_t *object, const char *what, struct descriptor *out,
                           struct error *err);

/* The members os, architecture and variant of a JSON object (a descriptor's platform, an image's
 * config); one that is absent or null is "". `code` for one that is no string or too long. */
enum errc platform_read(const json_t *object, enum errc code, const char *what,
                        struct platform *out, struct error *err);

/* "os/arch[/variant]" to a platform: ERR_BAD_REQUEST when malformed. */
enum errc platform_parse(const char *text, struct platform *out, struct error *err);

/* `have` satisfies `want`: equal os and architecture, and equal variant where `want` names one. */
bool platform_matches(const struct platform *want, const struct platform *have);

#define PLATFORM_TEXT_MAX (3 * PLATFORM_PART_MAX)
const char *platform_text(const struct platform *platform, char text[PLATFORM_TEXT_MAX]);

#endif
