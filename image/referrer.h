/*
 * What refers to a manifest: by a `subject` (OCI image-spec 1.1, manifest.md), or by a tag that is
 * made of the subject's digest. Pure functions.
 */
#ifndef SLIPWAY_IMAGE_REFERRER_H
#define SLIPWAY_IMAGE_REFERRER_H

#include "image/descriptor.h"
#include "image/reference.h"

/* The entry of the manifest `document` in a list of referrers, owned: its artifactType is that of
 * the document, else its config's media type, and its annotations are the document's
 * (distribution-spec, "Listing Referrers"). What is of the wrong shape is left out. */
json_t *referrer_describe(const struct descriptor *manifest, const json_t *document);

/* Is it a document whose artifactType and annotations can be listed? ERR_MANIFEST_INVALID names
 * `what`. */
enum errc referrer_check(const json_t *document, const char *what, struct error *err);

/* What is no image but belongs to one, as cosign, notation and makers of bills of materials write
 * it. */
enum supplement {
    SUPPLEMENT_NONE,
    SUPPLEMENT_SIGNATURE, /* has a tag of cosign's, as the next two */
    SUPPLEMENT_ATTESTATION,
    SUPPLEMENT_SBOM,
    SUPPLEMENT_OTHER,
};
/* By the media type of its layers or config. */
enum supplement supplement_of_type(const char *media_type);
/* By the annotation "kind" that cosign and hauler give the entries of a layout; NULL is none. */
enum supplement supplement_of_kind(const char *kind);

/* Cosign's tags: "sha256-HEX.sig", ".att" and ".sbom", of a subject whose digest is sha256. `kind`
 * counts them. Returns `tag`. */
#define COSIGN_KINDS 3
const char *cosign_tag(const struct digest *subject, size_t kind, char tag[REFERENCE_TAG_MAX + 1]);
bool cosign_tag_parse(const char *tag, struct digest *subject);

/* "sha256-HEX" alone: the list of referrers of a registry that has no API for it
 * (distribution-spec, "Referrers Tag Schema"). */
bool referrers_tag_parse(const char *tag, struct digest *subject);

#endif
