/*
 * The registry front: the OCI distribution API 1.1 below /v2/, for clients that push into the
 * gateway and pull from it. docs/api.md describes it to users; the sections of the specification
 * are named where they are implemented.
 *
 *     front.c           which handler a path and method lead to
 *     front_read.c      ping, blobs and manifests: HEAD, GET, ranges
 *     front_list.c      tags, catalog, referrers
 *     front_upload.c    uploads, mounts
 *     front_manifest.c  manifests: PUT
 *     front_delete.c    DELETE of blobs, manifests and tags
 *
 * Errors are those of the specification ("Error Codes"): front_refuse() gives the codes that the
 * rest of slipway answers otherwise (MANIFEST_INVALID is 422 for an archive, 400 here) their form.
 */
#ifndef SLIPWAY_GATEWAY_FRONT_H
#define SLIPWAY_GATEWAY_FRONT_H

#include "gateway/front_path.h"
#include "gateway/gateway.h"
#include "gateway/query.h"
#include "gateway/request.h"

/* Everything whose path begins with /v2. */
struct job *front_route(struct gateway *gateway, const struct request *request,
                        struct reply *reply);

/* What a handler of the front gets. */
struct front_request {
    struct gateway *gateway;
    const struct request *request;
    struct front_path path;
    struct query query;
};

/* The handlers; as route_handler. */
struct job *front_ping(struct front_request *front, struct reply *reply);
struct job *front_get_blob(struct front_request *front, struct reply *reply);
struct job *front_get_manifest(struct front_request *front, struct reply *reply);
struct job *front_list_tags(struct front_request *front, struct reply *reply);
struct job *front_list_repositories(struct front_request *front, struct reply *reply);
struct job *front_list_referrers(struct front_request *front, struct reply *reply);
struct job *front_begin_upload(struct front_request *front, struct reply *reply);
struct job *front_get_upload(struct front_request *front, struct reply *reply);
struct job *front_patch_upload(struct front_request *front, struct reply *reply);
struct job *front_put_upload(struct front_request *front, struct reply *reply);
struct job *front_cancel_upload(struct front_request *front, struct reply *reply);
struct job *front_put_manifest(struct front_request *front, struct reply *reply);
struct job *front_delete_blob(struct front_request *front, struct reply *reply);
struct job *front_delete_manifest(struct front_request *front, struct reply *reply);

/* Make `reply` the front's answer for this error. */
void front_refuse(struct reply *reply, const struct error *err);

/* A header that names a digest. */
void front_digest_header(struct reply *reply, const char *name, const struct digest *digest);

#endif
