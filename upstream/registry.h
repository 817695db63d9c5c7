/*
 * What the registry API is to a push, one function a request: OCI distribution-spec 1.1, the
 * sections "API", "Pushing Blobs" and "Pushing Manifests". Uploads have a module of their own,
 * upstream/upload.h.
 *
 * All functions block; they use the client's connection and end with ERR_CANCELLED within
 * STOP_POLL_MS of its stop. Beside the errors named here each may return those of exchange().
 */
#ifndef SLIPWAY_UPSTREAM_REGISTRY_H
#define SLIPWAY_UPSTREAM_REGISTRY_H

#include "image/digest.h"
#include "upstream/exchange.h"

/*
 * end-1, GET /v2/: is there a registry, and does it accept who we are? Afterwards the endpoint's
 * challenge is known, and either a token is held or the password was tried once, so that a wrong
 * one shows here and not in every layer. An endpoint that answered before is not asked again, save
 * for Basic. Errors: ERR_NOT_A_REGISTRY says what answered instead; ERR_UNAUTHORIZED, ERR_DENIED,
 * ERR_TOO_MANY_REQUESTS, ERR_REGISTRY_FAULT.
 */
enum errc registry_ping(struct registry_client *client, struct error *err);

/* end-2, HEAD of a blob. *exists false also when the registry does not say (401, 403, 405), or when
 * what it has is not `size` bytes. Errors: what other statuses mean. */
enum errc registry_blob_exists(struct registry_client *client, const struct digest *digest,
                               uint64_t size, bool *exists, struct error *err);

struct manifest_bytes {
    const void *data;
    size_t size;
    const char *media_type; /* the manifest's own, sent as Content-Type without parameters */
};

/*
 * end-7, PUT of a manifest under a tag or digest. On success *stored is the digest that the
 * registry named in Docker-Content-Digest, DIGEST_NONE when it named none. Errors:
 * ERR_MANIFEST_REFUSED, ERR_REGISTRY_UNSUPPORTED, ERR_DENIED, ...; err->status is the registry's.
 */
enum errc registry_manifest_put(struct registry_client *client, const char *reference,
                                const struct manifest_bytes *manifest, struct digest *stored,
                                struct error *err);

/* end-3, the digest of what is under a tag or digest: HEAD, and GET where that does not name it (or
 * is refused). *digest DIGEST_NONE when there is nothing. */
enum errc registry_manifest_digest(struct registry_client *client, const char *reference,
                                   struct digest *digest, struct error *err);

#endif
