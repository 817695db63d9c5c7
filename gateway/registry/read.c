#include "gateway/registry/registry.h"

#include "base/mem.h"
#include "gateway/http/http_range.h"
#include "gateway/registry/confirm.h"
#include "store/blob.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define ETAG_MAX (DIGEST_TEXT_MAX + 2)

/* distribution-spec, "Determining Support" */
struct job *v2_ping(struct v2_request *front, struct reply *reply)
{
    (void)front;
    reply->status = 200;
    reply_json(reply, xstrdup("{}"));
    return NULL;
}

/* ---- conditional requests, RFC 9110, 13 ---- */

static const char *etag_of(const struct digest *digest, char text[ETAG_MAX])
{
    char digest_as_text[DIGEST_TEXT_MAX];
    snprintf(text, ETAG_MAX, "\"%s\"", digest_text(digest, digest_as_text));
    return text;
}

/* If-None-Match names this tag, weakly or strongly, or any. */
static bool client_has(const struct request *request, const char *etag)
{
    const char *list = request_header(request, "If-None-Match");
    size_t size = strlen(etag);
    while (list && *list) {
        list += strspn(list, ", \t");
        if (*list == '*')
            return true;
        if (strncmp(list, "W/", 2) == 0)
            list += 2;
        size_t item = strcspn(list, ", \t");
        if (item == size && memcmp(list, etag, size) == 0)
            return true;
        list += item;
    }
    return false;
}

/* The Range that counts: a GET's, unless it is meant for other content (13.1.5). */
static const char *range_of(const struct request *request, const char *etag)
{
    const char *only_if = request_header(request, "If-Range");
    if (strcmp(request->method, "GET") != 0 || (only_if && strcmp(only_if, etag) != 0))
        return NULL;
    return request_header(request, "Range");
}

/* ---- content ---- */

/* What is served: its digest, and its bytes in a file. */
struct served {
    const struct digest *digest;
    const char *media_type;
    const char *range; /* what of it is asked for; NULL: all */
    bool known;        /* the client has it */
};

static void put_headers(const struct served *content, struct reply *reply)
{
    char etag[ETAG_MAX];
    v2_digest_header(reply, "Docker-Content-Digest", content->digest);
    reply_header(reply, "ETag", "%s", etag_of(content->digest, etag));
}

static void refuse_range(uint64_t total, struct reply *reply)
{
    struct error err = ERROR_INIT;
    fail(&err, ERR_BAD_REQUEST, 0,
         "nothing of the range is in the %" PRIu64 " bytes that there are", total);
    v2_refuse_as(reply, 416, "SIZE_INVALID", &err);
    reply_header(reply, "Content-Range", "bytes */%" PRIu64, total);
}

/* `blob` is taken. */
static void serve(const struct served *content, struct blob *blob, struct reply *reply)
{
    struct byte_range part = {.first = 0, .size = blob->size};
    enum range_answer answer =
        content->range ? http_range(content->range, blob->size, &part) : RANGE_WHOLE;
    if (answer == RANGE_NONE) {
        refuse_range(blob->size, reply);
        blob_close(blob);
        return;
    }
    if (answer == RANGE_WHOLE)
        part = (struct byte_range){.first = 0, .size = blob->size};
    reply->status = answer == RANGE_PART ? 206 : 200;
    put_headers(content, reply);
    reply_header(reply, "Content-Type", "%s", content->media_type);
    reply_header(reply, "Accept-Ranges", "bytes");
    if (answer == RANGE_PART)
        reply_header(reply, "Content-Range", "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, part.first,
                     part.first + part.size - 1, blob->size);
    reply_file(reply, blob->fd, part.first, part.size);
    blob->fd = -1;
}

static enum errc answer(const struct gateway *gateway, const struct served *content,
                        struct reply *reply, struct error *err)
{
    if (content->known) {
        reply->status = 304;
        put_headers(content, reply);
        return ERR_OK;
    }
    struct blob blob = BLOB_INIT;
    if (blob_open(gateway->runtime->store, content->digest, &blob, err) != ERR_OK)
        return err->code;
    serve(content, &blob, reply);
    return ERR_OK;
}

/* What the request says of it. */
static void note_conditions(const struct request *request, struct served *content)
{
    char etag[ETAG_MAX];
    etag_of(content->digest, etag);
    content->known = client_has(request, etag);
    content->range = range_of(request, etag);
}

/* distribution-spec, "Pulling blobs", "Checking if content exists in the registry" */

enum errc v2_find_blob(const struct v2_request *front, struct error *err)
{
    const struct v2_path *path = &front->path;
    char name[REPOSITORY_NAME_MAX + 1];
    char text[DIGEST_TEXT_MAX];
    bool held = false;
    if (repository_has_blob(front->gateway->runtime->store, v2_looked_in(front, name),
                            &path->digest, &held, err) != ERR_OK)
        return err->code;
    if (!held)
        return fail(err, ERR_BLOB_NOT_HELD, 0, "%s has no blob %s", path->repository,
                    digest_text(&path->digest, text));
    return ERR_OK;
}

static enum errc get_blob(struct v2_request *front, struct reply *reply, struct error *err)
{
    struct served content = {.digest = &front->path.digest,
                             .media_type = "application/octet-stream"};
    if (v2_find_blob(front, err) != ERR_OK)
        return err->code;
    note_conditions(front->request, &content);
    return answer(front->gateway, &content, reply, err);
}

struct job *v2_get_blob(struct v2_request *front, struct reply *reply)
{
    struct error err = ERROR_INIT;
    if (get_blob(front, reply, &err) != ERR_OK)
        v2_refuse(reply, &err);
    return NULL;
}

/* distribution-spec, "Pulling manifests" */

/* A HEAD of a tag that is answered when its targets have been asked. */
struct head_job {
    struct confirm_waiter waiter;
    struct gateway *gateway;
    struct v2_path path;
    struct repository_manifest manifest;
    bool known;
    struct job *job;
};

static void on_confirmed(struct confirm_waiter *waiter, const struct error *why)
{
    struct head_job *self = (struct head_job *)waiter;
    struct job *job = self->job;
    struct reply reply = REPLY_INIT(200);
    struct error err = *why;
    const struct served content = {.digest = &self->manifest.digest,
                                   .media_type = self->manifest.media_type,
                                   .known = self->known};
    if (err.code != ERR_OK || answer(self->gateway, &content, &reply, &err) != ERR_OK)
        v2_refuse(&reply, &err);
    v2_answer(job, &reply);
    job_over(job);
}

static void run_head(struct job *job, void *arg)
{
    struct head_job *self = arg;
    autosettings const struct settings *settings = runtime_settings(self->gateway->runtime);
    struct error ignored = ERROR_INIT; /* it was found before */
    struct mirror_route route;
    const struct confirm_question question = {.repository = self->path.repository,
                                              .tag = self->path.tag,
                                              .manifest = &self->manifest,
                                              .route = &route};
    mirrors_route(settings, self->path.repository, &route, &ignored);
    self->job = job;
    self->waiter.ended = on_confirmed;
    job_continue(job);
    confirm_begin(self->gateway->confirms, &question, &self->waiter);
}

static struct job *wait_for_targets(struct v2_request *front,
                                    const struct repository_manifest *manifest,
                                    const struct served *content, struct reply *reply)
{
    struct head_job *self = xcalloc(1, sizeof *self);
    self->gateway = front->gateway;
    self->path = front->path;
    self->manifest = *manifest;
    self->known = content->known;
    return v2_start(front, JOB_WAIT, run_head, free, self, reply);
}

/* Whoever asks for a tag by HEAD may push nothing when it is there. */
static bool is_asked_for(const struct v2_request *front)
{
    return front->path.tag[0] && strcmp(front->request->method, "HEAD") == 0;
}

/* True: there are targets to be asked, and the answer is up to them. */
static bool has_to_wait(struct v2_request *front, struct confirm_question *question,
                        struct mirror_route *route)
{
    struct error ignored = ERROR_INIT; /* the name leads nowhere */
    autosettings const struct settings *settings = runtime_settings(front->gateway->runtime);
    question->repository = front->path.repository;
    question->tag = front->path.tag;
    question->route = route;
    if (!is_asked_for(front) ||
        mirrors_route(settings, front->path.repository, route, &ignored) != ERR_OK)
        return false;
    if (route->confirm_ms == 0 || !confirm_is_due(front->gateway->confirms, question))
        return false;
    if (route->acknowledge == ACKNOWLEDGE_PUSHED)
        return true;
    confirm_begin(front->gateway->confirms, question, NULL);
    return false;
}

struct job *v2_get_manifest(struct v2_request *front, struct reply *reply)
{
    struct error err = ERROR_INIT;
    struct repository_manifest manifest;
    struct mirror_route route;
    struct confirm_question question = {.manifest = &manifest};
    if (v2_find_manifest(front, &manifest, &err) != ERR_OK) {
        v2_refuse(reply, &err);
        return NULL;
    }
    struct served content = {.digest = &manifest.digest, .media_type = manifest.media_type};
    note_conditions(front->request, &content);
    if (has_to_wait(front, &question, &route))
        return wait_for_targets(front, &manifest, &content, reply);
    if (answer(front->gateway, &content, reply, &err) != ERR_OK)
        v2_refuse(reply, &err);
    return NULL;
}

enum errc v2_find_manifest(const struct v2_request *front, struct repository_manifest *out,
                           struct error *err)
{
    const struct v2_path *path = &front->path;
    struct store *store = front->gateway->runtime->store;
    char name[REPOSITORY_NAME_MAX + 1];
    bool found = false, held = false;
    v2_looked_in(front, name);
    if ((path->tag[0]
             ? repository_tag(store, name, path->tag, &found, out, err)
             : repository_manifest(store, name, &path->digest, &found, out, err)) != ERR_OK)
        return err->code;
    if (found)
        return ERR_OK;
    if (repository_held(store, name, &held, err) != ERR_OK)
        return err->code;
    if (!held)
        return fail(err, ERR_REPOSITORY_NOT_HELD, 0, "there is no repository %s", path->repository);
    char text[DIGEST_TEXT_MAX];
    return fail(err, ERR_MANIFEST_NOT_HELD, 0, "%s has no manifest %s", path->repository,
                path->tag[0] ? path->tag : digest_text(&path->digest, text));
}
