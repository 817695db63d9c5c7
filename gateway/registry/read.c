#include "gateway/registry/registry.h"

#include "base/mem.h"
#include "gateway/http/http_range.h"
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

static enum errc answer(struct v2_request *front, struct served *content, struct reply *reply,
                        struct error *err)
{
    char etag[ETAG_MAX];
    etag_of(content->digest, etag);
    if (client_has(front->request, etag)) {
        reply->status = 304;
        put_headers(content, reply);
        return ERR_OK;
    }
    struct blob blob = BLOB_INIT;
    if (blob_open(front->gateway->runtime->store, content->digest, &blob, err) != ERR_OK)
        return err->code;
    content->range = range_of(front->request, etag);
    serve(content, &blob, reply);
    return ERR_OK;
}

/* distribution-spec, "Pulling blobs", "Checking if content exists in the registry" */

enum errc v2_find_blob(const struct v2_request *front, struct error *err)
{
    const struct v2_path *path = &front->path;
    char text[DIGEST_TEXT_MAX];
    bool held = false;
    if (repository_has_blob(front->gateway->runtime->store, path->repository, &path->digest, &held,
                            err) != ERR_OK)
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
    return answer(front, &content, reply, err);
}

struct job *v2_get_blob(struct v2_request *front, struct reply *reply)
{
    struct error err = ERROR_INIT;
    if (get_blob(front, reply, &err) != ERR_OK)
        v2_refuse(reply, &err);
    return NULL;
}

/* distribution-spec, "Pulling manifests" */

static enum errc get_manifest(struct v2_request *front, struct reply *reply, struct error *err)
{
    struct repository_manifest manifest;
    if (v2_find_manifest(front, &manifest, err) != ERR_OK)
        return err->code;
    struct served content = {.digest = &manifest.digest, .media_type = manifest.media_type};
    return answer(front, &content, reply, err);
}

struct job *v2_get_manifest(struct v2_request *front, struct reply *reply)
{
    struct error err = ERROR_INIT;
    if (get_manifest(front, reply, &err) != ERR_OK)
        v2_refuse(reply, &err);
    return NULL;
}

enum errc v2_find_manifest(const struct v2_request *front, struct repository_manifest *out,
                           struct error *err)
{
    const struct v2_path *path = &front->path;
    struct store *store = front->gateway->runtime->store;
    bool found = false, held = false;
    if ((path->tag[0] ? repository_tag(store, path->repository, path->tag, &found, out, err)
                      : repository_manifest(store, path->repository, &path->digest, &found, out,
                                            err)) != ERR_OK)
        return err->code;
    if (found)
        return ERR_OK;
    if (repository_held(store, path->repository, &held, err) != ERR_OK)
        return err->code;
    if (!held)
        return fail(err, ERR_REPOSITORY_NOT_HELD, 0, "there is no repository %s", path->repository);
    char text[DIGEST_TEXT_MAX];
    return fail(err, ERR_MANIFEST_NOT_HELD, 0, "%s has no manifest %s", path->repository,
                path->tag[0] ? path->tag : digest_text(&path->digest, text));
}
