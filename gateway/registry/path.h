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

enum v2_endpoint {
    V2_PING,      /* /v2/, /v2 */
    V2_CATALOG,   /* /v2/_catalog */
    V2_BLOB,      /* /v2/NAME/blobs/DIGEST */
    V2_UPLOADS,   /* /v2/NAME/blobs/uploads/, also without the last slash */
    V2_UPLOAD,    /* /v2/NAME/blobs/uploads/ID */
    V2_MANIFEST,  /* /v2/NAME/manifests/REFERENCE */
    V2_TAGS,      /* /v2/NAME/tags/list */
    V2_REFERRERS, /* /v2/NAME/referrers/DIGEST */
};

#define V2_ID_MAX 128

struct v2_path {
    enum v2_endpoint endpoint;
    char repository[REPOSITORY_NAME_MAX + 1];
    char tag[REFERENCE_TAG_MAX + 1]; /* V2_MANIFEST by tag, else "" */
    struct digest digest;            /* V2_BLOB, V2_REFERRERS, V2_MANIFEST by digest */
    char id[V2_ID_MAX + 1];          /* V2_UPLOAD; any text without a slash */
};

/* What the end of a path says that it is about, whether or not what stands in it is valid. */
struct v2_form {
    enum v2_endpoint endpoint;
    const char *pattern; /* a literal, as docs/openapi.yaml has it: "/v2/{name}/tags/list" */
    const char *last;    /* a literal, what the part behind the name is: "digest"; NULL: none */
    struct span {
        const char *at;
        size_t size;
    } name, tail; /* parts of the path, borrowed; `tail` is what `last` is */
};

/* False for what is no endpoint. */
bool v2_path_form(const char *path, struct v2_form *out);

/* `path` as the client sent it. ERR_NAME_INVALID; ERR_DIGEST_INVALID; ERR_TAG_INVALID, which for
 * who reads means no more than that there is no such manifest; ERR_NO_UPLOAD for an id that none of
 * ours could be; ERR_NOT_FOUND for what is no endpoint. */
enum errc v2_path_parse(const char *path, struct v2_path *out, struct error *err);

#endif
