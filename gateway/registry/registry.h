/*
 * The registry front: the OCI distribution API 1.1 below /v2/, for clients that push into the
 * gateway and pull from it. docs/api.md describes it to users; the sections of the specification
 * are named where they are implemented.
 *
 *     registry.c  which handler a path and method lead to; jobs
 *     reply.c     the front's form of errors, and headers
 *     read.c      ping, blobs and manifests: HEAD, GET, ranges; confirm.c what targets have of it
 *     list.c      tags, catalog, referrers; page.c their pages
 *     upload.c    uploads, mounts
 *     manifest.c  manifests: PUT; document.c what one says, layers.c its layers
 *     delete.c    DELETE of blobs, manifests and tags
 *
 * What reads one record (a manifest, the opening of a blob) is answered on the HTTP thread. What
 * writes, waits or looks through many is a job: JOB_BLOB for the bytes of an upload, JOB_PUSH for
 * manifests, JOB_LIST for lists, JOB_WAIT for a HEAD whose targets are asked, JOB_BRIEF for the
 * rest.
 *
 * Errors are those of the specification ("Error Codes"): v2_refuse() gives the codes that the
 * rest of slipway answers otherwise (MANIFEST_INVALID is 422 for an archive, 400 here) their form.
 */
#ifndef SLIPWAY_GATEWAY_REGISTRY_REGISTRY_H
#define SLIPWAY_GATEWAY_REGISTRY_REGISTRY_H

#include "gateway/access/requester.h"
#include "gateway/http/query.h"
#include "gateway/http/request.h"
#include "gateway/registry/path.h"
#include "gateway/service/gateway.h"
#include "store/repositories.h"

/* Everything whose path begins with /v2. */
struct job *v2_route(struct gateway *gateway, const struct request *request, struct reply *reply);

/* What a handler of the front gets. */
struct v2_request {
    struct gateway *gateway;
    const struct request *request;
    struct v2_path path;
    struct query query;
    char via[VIA_TEXT_MAX + 1]; /* the gateways that it comes through */
    bool hidden;                /* who asks may not know what is there: v2_admits() */
};

/* The repository in which a read looks: where the caller may not read, one that cannot be. */
const char *v2_looked_in(const struct v2_request *front, char name[REPOSITORY_NAME_MAX + 1]);

/* The handlers; as route_handler. */
struct job *v2_ping(struct v2_request *front, struct reply *reply);
struct job *v2_get_blob(struct v2_request *front, struct reply *reply);
struct job *v2_get_manifest(struct v2_request *front, struct reply *reply);
struct job *v2_list_tags(struct v2_request *front, struct reply *reply);
struct job *v2_list_repositories(struct v2_request *front, struct reply *reply);
struct job *v2_list_referrers(struct v2_request *front, struct reply *reply);
struct job *v2_begin_upload(struct v2_request *front, struct reply *reply);
struct job *v2_get_upload(struct v2_request *front, struct reply *reply);
struct job *v2_patch_upload(struct v2_request *front, struct reply *reply);
struct job *v2_put_upload(struct v2_request *front, struct reply *reply);
struct job *v2_cancel_upload(struct v2_request *front, struct reply *reply);
struct job *v2_put_manifest(struct v2_request *front, struct reply *reply);
struct job *v2_delete_blob(struct v2_request *front, struct reply *reply);
struct job *v2_delete_manifest(struct v2_request *front, struct reply *reply);

/* --- what the handlers share --- */

/*
 * Make `reply` the front's answer for this error. Below 500 its code is one of the specification:
 *
 *     a malformed or unusable manifest            400 MANIFEST_INVALID
 *     a manifest over MANIFEST_LIMIT_BYTES        413 MANIFEST_INVALID
 *     a blob over limits.archive                  413 SIZE_INVALID
 *     bytes that have another digest              400 DIGEST_INVALID
 *     a body that did not arrive whole            400, 408 BLOB_UPLOAD_INVALID
 *     a malformed parameter                       400 UNSUPPORTED
 *     no such endpoint, another method            404, 405 UNSUPPORTED
 *
 *     a target whose registry refuses              403 DENIED
 *     a target that failed otherwise               424 DENIED
 *
 * Those of the gateway itself are answered as everywhere.
 */
void v2_refuse(struct reply *reply, const struct error *err);

/* The same with this status and code. */
void v2_refuse_as(struct reply *reply, int status, const char *code, const struct error *err);

/* A header that names a digest. */
void v2_digest_header(struct reply *reply, const char *name, const struct digest *digest);

/* Location: where the repository has this blob or manifest. `kind` is "blobs" or "manifests". */
void v2_location(struct reply *reply, const char *repository, const char *kind,
                 const struct digest *digest);

/* The value of the digest parameter: ERR_DIGEST_INVALID, also when it is not there or there
 * twice. */
enum errc v2_query_digest(const struct query *query, const char *name, struct digest *out,
                          struct error *err);

/* The blob that the path names is in the repository: else ERR_BLOB_NOT_HELD. */
enum errc v2_find_blob(const struct v2_request *front, struct error *err);

/* The manifest that the path names: ERR_MANIFEST_NOT_HELD, ERR_REPOSITORY_NOT_HELD. */
enum errc v2_find_manifest(const struct v2_request *front, struct repository_manifest *out,
                           struct error *err);

/* Begin the job that answers this request; `self` is taken and freed with `drop`. NULL when it is
 * refused: then `reply` says so. */
struct job *v2_start(const struct v2_request *front, enum job_class class,
                     void (*run)(struct job *job, void *self), void (*drop)(void *self), void *self,
                     struct reply *reply);

/* The job's answer, with the headers that all answers of the front have. */
void v2_answer(struct job *job, struct reply *reply);
void v2_answer_error(struct job *job, const struct error *err);

/*
 * --- rights.c: may the caller do what the request asks for? ---
 *
 * Asked before anything is looked up: rights come before existence. Nobody in particular, where
 * that is not enough, and a token without the scope get a challenge (401). Others are refused: what
 * changes something with 403; what reads with 404, and that after the same look as for what is not
 * there, in a repository that cannot be (v2_looked_in()), so that neither status, text nor time
 * tells what is held.
 */

/* False: `reply` has the refusal. */
bool v2_admits(struct v2_request *front, struct reply *reply);

/* May it mount the blob out of this repository? */
bool v2_may_mount(const struct v2_request *front, const char *from);

/* May it put these tags to this manifest? Where one of them is another manifest's, that is moving
 * it: ERR_FORBIDDEN, which is told as by access_tell_denied(). */
enum errc v2_check_moves(const struct gateway *gateway, const struct requester *by,
                         const char *repository, const char *const *tags, size_t tag_count,
                         const struct digest *manifest, struct error *err);

#endif
