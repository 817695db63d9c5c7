/*
 * Paths of the registry front: what a request below /v2/ is about. OCI distribution-spec,
 * "Endpoints".
 *
 * Names are those of image/repository_name.h; a path with an escape in a name is ERR_NAME_INVALID.
 * What stands behind the name (digest, tag, id) may be percent-encoded.
 *
 * The end of a path says what it is, because components of a name may be called "blobs" or "tags",
 * too.
 */
#ifndef SLIPWAY_GATEWAY_REGISTRY_PATH_H
#define SLIPWAY_GATEWAY_REGISTRY_PATH_H

#include "image/reference.h"
#include "image/repository_name.h"

enum front_endpoint {
    FRONT_PING,      /* /v2/, /v2 */
    FRONT_CATALOG,   /* /v2/_catalog */
    FRONT_BLOB,      /* /v2/NAME/blobs/DIGEST */
    FRONT_UPLOADS,   /* /v2/NAME/blobs/uploads/, also without the last slash */
    FRONT_UPLOAD,    /* /v2/NAME/blobs/uploads/ID */
    FRONT_MANIFEST,  /* /v2/NAME/manifests/REFERENCE */
    FRONT_TAGS,      /* /v2/NAME/tags/list */
    FRONT_REFERRERS, /* /v2/NAME/referrers/DIGEST */
};

#define FRONT_ID_MAX 128

struct front_path {
    enum front_endpoint endpoint;
    char repository[REPOSITORY_NAME_MAX + 1];
    char tag[REFERENCE_TAG_MAX + 1]; /* FRONT_MANIFEST by tag, else "" */
    struct digest digest;            /* FRONT_BLOB, FRONT_REFERRERS, FRONT_MANIFEST by digest */
    char id[FRONT_ID_MAX + 1];       /* FRONT_UPLOAD; any text without a slash */
};

/* `path` as the client sent it. ERR_NAME_INVALID; ERR_DIGEST_INVALID; ERR_TAG_INVALID, which for
 * who reads means no more than that there is no such manifest; ERR_NO_UPLOAD for an id that none of
 * ours could be; ERR_NOT_FOUND for what is no endpoint. */
enum errc front_path_parse(const char *path, struct front_path *out, struct error *err);

#endif
