/*
 * `index.json` of an OCI image layout: the descriptors of what the layout holds, and the names that
 * their annotations give.
 *
 * OCI image specification, image-layout.md. Two annotations carry names:
 * `io.containerd.image.name` (a full reference; buildx, containerd, Docker) and
 * `org.opencontainers.image.ref.name` (a full reference or only a tag; skopeo, umoci). Two others
 * say what an entry is for: `kind` (cosign, hauler) and `vnd.docker.reference.digest` (BuildKit).
 */
#ifndef SLIPWAY_IMAGE_OCI_LAYOUT_H
#define SLIPWAY_IMAGE_OCI_LAYOUT_H

#include "image/descriptor.h"
#include "image/reference.h"
#include "image/referrer.h"

/* The digest that `blobs/ALG/HEX` promises; DIGEST_NONE for any other name, which promises nothing
 * (`blobs/sha256/HEX.tar.gz` of Bazel, `blobs/sha256/._HEX` of macOS). */
struct digest layout_blob_digest(const char *name);

/* That name. */
#define LAYOUT_BLOB_NAME_MAX (DIGEST_TEXT_MAX + sizeof "blobs/")
const char *layout_blob_name(const struct digest *digest, char name[LAYOUT_BLOB_NAME_MAX]);

#define LAYOUT_LIMIT_BYTES ((size_t)4 << 20)
#define LAYOUT_ENTRIES_MAX 1000

/* A name that an archive gives an image: a whole reference, or only a tag (path is ""). */
struct archive_name {
    struct reference reference; /* host and path are "" when only the tag is known */
};

struct layout_entry {
    struct descriptor descriptor;
    bool named;
    struct archive_name name; /* when named */
    enum supplement kind;     /* by its annotation */
    struct digest refers_to;  /* DIGEST_NONE where no annotation says it */
};

struct oci_layout {
    char media_type[MEDIA_TYPE_MAX]; /* its own, else that of an index */
    struct layout_entry *entries;    /* owned, in the order of index.json */
    size_t count;
};

/* ERR_JSON_INVALID, ERR_JSON_TOO_LARGE, ERR_MANIFEST_INVALID; ERR_NOT_AN_IMAGE when it lists
 * nothing. An annotation that is no reference and no tag is taken as no name. */
enum errc oci_layout_parse(const void *data, size_t size, struct oci_layout *out,
                           struct error *err);
void oci_layout_deinit(struct oci_layout *layout);

#endif
