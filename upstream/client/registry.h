/*
 * What the registry API is to a push, one function a request: OCI distribution-spec 1.1, the
 * sections "API" and "Pushing Blobs". Manifests and uploads have modules of their own,
 * upstream/client/registry_manifest.h and upstream/upload/upload.h.
 *
 * All functions block; they use the client's connection and end with ERR_CANCELLED when that
 * is cancelled. Beside the errors named here each may return those of exchange().
 */
#ifndef SLIPWAY_UPSTREAM_CLIENT_REGISTRY_H
#define SLIPWAY_UPSTREAM_CLIENT_REGISTRY_H

#include "image/digest.h"
#include "upstream/client/exchange.h"

/*
 * end-1, GET /v2/: is there a registry, and does it accept who we are? Afterwards the endpoint's
 * challenge is known, and either a token is held or the password was tried once, so that a wrong
 * one shows here and not in every layer. An endpoint that answered before is not asked again, save
 * for Basic. Errors: ERR_NOT_A_REGISTRY says what answered instead; ERR_UNAUTHORIZED, ERR_DENIED,
 * ERR_TOO_MANY_REQUESTS, ERR_REGISTRY_FAULT.
 */
enum errc registry_ping(struct registry_client *client, struct error *err);

/* The same, and an endpoint that answered before is asked all the same: is it there? */
enum errc registry_probe(struct registry_client *client, struct error *err);

/* Does the endpoint refuse GET /v2/, or a token without a scope, to these credentials? Then what it
 * denied them before says nothing about the repository. False, too, where that is not to be found
 * out. */
bool registry_shuts_out(struct endpoint *endpoint, const struct registry_credentials *credentials,
                        struct cancel *cancel);

/* end-2, HEAD of a blob. A 200 says that it is there, with whatever length (some name none, or that
 * of a compressed answer), unless it names another digest. Any other answer says that it is not
 * known to be. Errors: 429 and 5xx, which need not mean that the registry is away: some answer this
 * question with them, and take the blob all the same. */
enum errc registry_blob_exists(struct registry_client *client, const struct digest *digest,
                               bool *exists, struct error *err);

#endif
