/*
 * Paths of the registry front: whatever parses holds only what a name, tag, digest or id may be,
 * and parses again to the same when written out.
 */
#include "base/mem.h"
#include "gateway/registry/path.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_name(const char *name)
{
    struct error err = ERROR_INIT;
    size_t size = strlen(name);
    assert(size > 0 && size <= REPOSITORY_NAME_MAX);
    assert(repository_name_check(name, size, &err) == ERR_OK);
    assert(strstr(name, "..") == NULL && strstr(name, "//") == NULL);
    assert(strpbrk(name, "%\\ ABCDEFGHIJKLMNOPQRSTUVWXYZ") == NULL);
    assert(name[0] != '/' && name[0] != '.' && name[size - 1] != '/');
}

/* NULL when the id would be decoded once more. */
static char *written(const struct v2_path *path)
{
    char digest[DIGEST_TEXT_MAX] = "";
    const char *name = path->repository;
    if (path->digest.algorithm != DIGEST_NONE)
        digest_text(&path->digest, digest);
    switch (path->endpoint) {
    case V2_PING:
        return xstrdup("/v2/");
    case V2_CATALOG:
        return xstrdup("/v2/_catalog");
    case V2_BLOB:
        return xasprintf("/v2/%s/blobs/%s", name, digest);
    case V2_UPLOADS:
        return xasprintf("/v2/%s/blobs/uploads/", name);
    case V2_UPLOAD:
        return strchr(path->id, '%') ? NULL : xasprintf("/v2/%s/blobs/uploads/%s", name, path->id);
    case V2_MANIFEST:
        return xasprintf("/v2/%s/manifests/%s%s", name, path->tag, digest);
    case V2_TAGS:
        return xasprintf("/v2/%s/tags/list", name);
    case V2_REFERRERS:
        return xasprintf("/v2/%s/referrers/%s", name, digest);
    }
    return NULL;
}

static void check_path(const struct v2_path *path)
{
    struct error err = ERROR_INIT;
    struct v2_path again;
    if (path->endpoint != V2_PING && path->endpoint != V2_CATALOG)
        check_name(path->repository);
    assert(strchr(path->tag, '/') == NULL && strchr(path->id, '/') == NULL);
    autofree char *text = written(path);
    if (text == NULL)
        return;
    assert(v2_path_parse(text, &again, &err) == ERR_OK);
    assert(again.endpoint == path->endpoint);
    assert(strcmp(again.repository, path->repository) == 0);
    assert(strcmp(again.tag, path->tag) == 0 && strcmp(again.id, path->id) == 0);
    assert(digest_equal(&again.digest, &path->digest));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error err = ERROR_INIT;
    struct v2_path path;
    autofree char *text = xstrndup((const char *)data, size);
    if (v2_path_parse(text, &path, &err) == ERR_OK)
        check_path(&path);
    else
        assert(error_http_status(err.code) == 400 || error_http_status(err.code) == 404);
    error_clear(&err);
    if (repository_name_check(text, strlen(text), &err) == ERR_OK)
        check_name(text);
    return 0;
}
