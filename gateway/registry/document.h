/*
 * What a manifest that a client puts says, as far as the registry front has to know: its media
 * type, what it refers to, and how it is listed among the referrers of its subject. No I/O.
 *
 * OCI distribution-spec, "Pushing Manifests" and "Listing Referrers"; image-spec, manifest.md and
 * image-index.md.
 *
 * The kinds and shapes are those of manifest_parse_any() (image/manifest.h): any media type, and
 * what has the shape of an image or an index is held to it. Docker's schema1 is refused.
 */
#ifndef SLIPWAY_GATEWAY_REGISTRY_DOCUMENT_H
#define SLIPWAY_GATEWAY_REGISTRY_DOCUMENT_H

#include "image/manifest.h"
#include "store/repositories.h"

/* Something that has to be in the repository before the manifest. */
struct v2_reference {
    const struct descriptor *descriptor; /* borrowed from the document */
    bool manifest;                       /* a member of an index */
    const char *member;                  /* "config", "layers" or "manifests" */
    size_t position;                     /* in it */
};

struct v2_document {
    struct manifest manifest;        /* its media_type is what pulls are answered with */
    struct v2_reference *references; /* owned; without layers that registries do not hold */
    size_t reference_count;
    json_t *root; /* owned; NULL once it was forgotten */
};

/* `content_type` is the header, NULL when there is none: then the document's own mediaType counts,
 * else its shape, else it is JSON. Parameters are dropped, anything else of it is kept as it is. It
 * must agree with the document's own mediaType. Parsed within a turn (base/json.h), which lasts
 * until the JSON is forgotten. ERR_MANIFEST_INVALID, ERR_JSON_INVALID, ERR_JSON_TOO_LARGE. On
 * success the document is owned. */
enum errc v2_document_parse(const void *data, size_t size, const char *content_type,
                            struct v2_document *out, struct error *err);
void v2_document_deinit(struct v2_document *document);

/* Free the JSON, which may be large; no descriptor can be made from then on. */
void v2_document_forget(struct v2_document *document);

/* The descriptor of the document (whose digest and size these are) in a list of referrers: with its
 * artifactType, which is that of the document, else of an image its config's media type, and with
 * its annotations. *text is owned. ERR_MANIFEST_INVALID for an artifactType or annotations of the
 * wrong shape, or when it has more than MANIFEST_DESCRIPTOR_MAX bytes. */
enum errc v2_document_descriptor(const struct v2_document *document, const struct digest *digest,
                                 uint64_t size, char **text, struct error *err);

#endif
