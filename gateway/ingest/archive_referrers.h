/*
 * What an OCI layout lists beside its images because it belongs to them: signatures, attestations,
 * bills of materials.
 *
 * An entry of index.json belongs to an image when
 * - its manifest has a `subject` (image-spec, manifest.md);
 * - its name is cosign's: "sha256-HEX.sig", ".att" or ".sbom"; it keeps that tag;
 * - its name is "sha256-HEX" and it is an index: the list of referrers of a registry without the
 *   referrers API, as tools copy it into layouts. Its members belong; the list itself is not
 *   pushed, as it is the registry's or made again (upstream/push/referrers.h);
 * - its annotations say so: `kind` (cosign, hauler), `vnd.docker.reference.digest` (BuildKit);
 * - it has the media types of a signature, an attestation or a bill of materials, and no name but
 *   that of an image beside it.
 * The last two belong to what their annotation or the signature itself names, else to the image of
 * the same name, else to the only one; signatures, attestations and bills of materials of cosign's
 * kinds get its tag.
 * An entry without a name that is a member of a listed index is no image of its own either: some
 * tools list every manifest.
 */
#ifndef SLIPWAY_GATEWAY_INGEST_ATTACHMENTS_H
#define SLIPWAY_GATEWAY_INGEST_ATTACHMENTS_H

#include "base/limits.h"
#include "gateway/ingest/assemble.h"
#include "image/oci_layout.h"
#include "upstream/push/push.h"

struct archive_referrer {
    struct descriptor manifest;
    struct digest subject;
    char tag[REFERENCE_TAG_MAX + 1]; /* "" = under its digest */
    size_t next; /* of the same subject: its number from 1 on, 0 at the last one */
    bool taken;
};

struct archive_referrers {
    struct archive_referrer *items; /* owned; no digest comes twice */
    size_t count;
    size_t capacity;
    struct digest_map manifests; /* the digests of the items */
    struct digest_map members;   /* of the indexes that are listed */
};

/* Look through a layout, each manifest once. What cannot be read belongs to nothing: it is for the
 * choice to say so. A cancel ends it early. */
void archive_referrers_find(struct inspector *inspector, const struct oci_layout *layout,
                            struct archive_referrers *out);
void archive_referrers_deinit(struct archive_referrers *attachments);

/* Is this entry no image of its own? */
bool archive_referrers_include(const struct archive_referrers *attachments,
                               const struct layout_entry *entry);

/*
 * Assemble what belongs to the image that `assembly` has assembled, or to something that does,
 * byte for byte: *out (owned, subjects first) is what is pushed with it. Left out with a line in
 * the log: what belongs to a manifest that got new bytes, and what the archive has only in part.
 * ERR_UNSUPPORTED over REFERRERS_MAX; other errors are those of assemble_oci_image().
 */
enum errc archive_referrers_assemble(struct archive_referrers *attachments,
                                     struct assembly *assembly, struct push_referrer **out,
                                     size_t *count, struct error *err);

#endif
