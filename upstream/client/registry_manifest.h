/*
 * The manifests of the registry API, one function a request: OCI distribution-spec 1.1, "Pulling
 * manifests", "Pushing Manifests" and "Pushing Manifests with Subject".
 *
 * All functions block; they use the client's connection and end with ERR_CANCELLED when that
 * is cancelled. Beside the errors named here each may return those of exchange().
 */
#ifndef SLIPWAY_UPSTREAM_CLIENT_REGISTRY_MANIFEST_H
#define SLIPWAY_UPSTREAM_CLIENT_REGISTRY_MANIFEST_H

#include "image/digest.h"
#include "upstream/client/exchange.h"

struct manifest_bytes {
    const void *data;
    size_t size;
    const char *media_type; /* the manifest's own, sent as Content-Type without parameters */
};

#define MANIFEST_NAMED_MAX 16

struct manifest_answer {
    struct digest stored; /* of Docker-Content-Digest; DIGEST_NONE when the registry named none */
    struct digest named[MANIFEST_NAMED_MAX]; /* on failure: in what the registry says, mostly the */
    size_t named_count;                      /* blobs that it misses */
    bool tag_noted;                          /* OCI-Tag names the tag that went along */
    bool subject_noted; /* OCI-Subject was there: the registry lists referrers itself */
    bool kind_refused;  /* on failure: it takes no manifests of this kind, another may be tried */
};

/* end-7, PUT of a manifest under a tag or digest. `answer` is filled on failure too. Errors:
 * ERR_MANIFEST_REFUSED, ERR_REGISTRY_UNSUPPORTED, ERR_DENIED, ...; err->status is the registry's.
 */
enum errc registry_manifest_put(struct registry_client *client, const char *reference,
                                const struct manifest_bytes *manifest,
                                struct manifest_answer *answer, struct error *err);

/* end-7b (distribution-spec after 1.1.1), PUT under a digest with a tag. Registries that do not
 * know it take the manifest and make no tag: answer->tag_noted says. */
enum errc registry_manifest_put_tagged(struct registry_client *client, const char *digest,
                                       const char *tag, const struct manifest_bytes *manifest,
                                       struct manifest_answer *answer, struct error *err);

/* end-3, the digest of what is under a tag or digest: HEAD, and GET where that does not name it (or
 * is refused). *digest DIGEST_NONE when there is nothing. */
enum errc registry_manifest_digest(struct registry_client *client, const char *reference,
                                   struct digest *digest, struct error *err);

/* end-3, the bytes of what is under a tag or digest: owned, NULL when there is nothing.
 * ERR_REGISTRY_ANSWER over MANIFEST_LIMIT_BYTES. */
enum errc registry_manifest_get(struct registry_client *client, const char *reference, char **data,
                                size_t *size, struct error *err);

#endif
