#include "gateway/registry/path.h"

#include "base/mem.h"
#include "gateway/http/query.h"

#include <string.h>

#define ROOT "/v2"
#define SHOWN_BYTES 200

/* The forms of paths, and what their last part is. */
static const struct {
    const char *pattern;
    const char *last;
} forms[] = {
    [V2_PING] = {"/v2/", NULL},
    [V2_CATALOG] = {"/v2/_catalog", NULL},
    [V2_BLOB] = {"/v2/{name}/blobs/{digest}", "digest"},
    [V2_UPLOADS] = {"/v2/{name}/blobs/uploads/", NULL},
    [V2_UPLOAD] = {"/v2/{name}/blobs/uploads/{id}", "id"},
    [V2_MANIFEST] = {"/v2/{name}/manifests/{reference}", "reference"},
    [V2_TAGS] = {"/v2/{name}/tags/list", NULL},
    [V2_REFERRERS] = {"/v2/{name}/referrers/{digest}", "digest"},
};

static bool is(struct span span, const char *text)
{
    return span.size == strlen(text) && memcmp(span.at, text, span.size) == 0;
}

/* Takes the last component off; an empty one when there is a slash at the end. */
static struct span cut_last(struct span *path)
{
    const char *slash = memrchr(path->at, '/', path->size);
    const char *end = path->at + path->size;
    struct span last = *path;
    if (slash) {
        last = (struct span){slash + 1, (size_t)(end - slash - 1)};
        path->size = (size_t)(slash - path->at);
    } else {
        path->size = 0;
    }
    return last;
}

/* ---- what stands behind the name ---- */

static enum errc take_digest(const char *text, struct v2_path *out, struct error *err)
{
    return digest_parse(text, &out->digest, err);
}

static enum errc take_manifest(const char *text, struct v2_path *out, struct error *err)
{
    struct reference ref = {.tag = ""};
    struct error why = ERROR_INIT;
    if (strchr(text, ':'))
        return take_digest(text, out, err);
    if (reference_set_tag(&ref, text, &why) != ERR_OK)
        return fail(err, ERR_TAG_INVALID, 0, "%s", why.text);
    memcpy(out->tag, ref.tag, sizeof out->tag);
    return ERR_OK;
}

static enum errc take_id(const char *text, struct v2_path *out, struct error *err)
{
    size_t size = strlen(text);
    if (size == 0 || size > V2_ID_MAX || strchr(text, '/'))
        return fail(err, ERR_NO_UPLOAD, 0, "no upload has the id \"%.*s\"", SHOWN_BYTES, text);
    memcpy(out->id, text, size + 1);
    return ERR_OK;
}

static enum errc take_last(struct span last, struct v2_path *out, struct error *err)
{
    autofree char *text = NULL;
    struct error broken = ERROR_INIT;
    if (forms[out->endpoint].last == NULL)
        return ERR_OK;
    /* What has a broken escape is no digest, tag or id as it stands. */
    if (percent_decode(last.at, last.size, &text, &broken) != ERR_OK)
        text = xstrndup(last.at, last.size);
    if (out->endpoint == V2_MANIFEST)
        return take_manifest(text, out, err);
    if (out->endpoint == V2_UPLOAD)
        return take_id(text, out, err);
    return take_digest(text, out, err);
}

/* ---- paths ---- */

/* Which endpoint the end of the path says; what is before it stays in *path. */
static bool find_endpoint(struct span *path, struct span *last, enum v2_endpoint *out)
{
    *last = cut_last(path);
    struct span word = cut_last(path);
    if (is(word, "tags") && is(*last, "list"))
        *out = V2_TAGS;
    else if (is(word, "manifests"))
        *out = V2_MANIFEST;
    else if (is(word, "referrers"))
        *out = V2_REFERRERS;
    else if (is(word, "blobs"))
        *out = is(*last, "uploads") ? V2_UPLOADS : V2_BLOB;
    else if (is(word, "uploads") && is(cut_last(path), "blobs"))
        *out = last->size == 0 ? V2_UPLOADS : V2_UPLOAD;
    else
        return false;
    return true;
}

/* No endpoint; but who tries to climb out of a name is told that it is none. */
static enum errc refuse(struct span path, struct error *err)
{
    struct span rest = path;
    while (rest.size > 0) {
        struct span part = cut_last(&rest);
        if (part.size == 0 || part.at[0] == '.' || memchr(part.at, '%', part.size))
            return repository_name_invalid(path.at, path.size, "a component is empty or malformed",
                                           err);
    }
    return fail(err, ERR_NOT_FOUND, 0, "there is no endpoint at " ROOT "/%.*s",
                path.size < SHOWN_BYTES ? (int)path.size : SHOWN_BYTES, path.at);
}

/* What stands behind "/v2/"; false when `path` is not below it. */
static bool find_rest(const char *path, struct span *rest)
{
    size_t root = strlen(ROOT);
    if (strncmp(path, ROOT, root) != 0 || (path[root] != '/' && path[root] != '\0'))
        return false;
    rest->at = path + root + (path[root] == '/');
    rest->size = strlen(rest->at);
    return true;
}

bool v2_path_form(const char *path, struct v2_form *out)
{
    struct v2_form form = {.endpoint = V2_PING};
    struct span tail = {0};
    if (!find_rest(path, &form.name))
        return false;
    if (is(form.name, "_catalog"))
        form.endpoint = V2_CATALOG;
    else if (form.name.size > 0 && !find_endpoint(&form.name, &tail, &form.endpoint))
        return false;
    if (form.endpoint == V2_CATALOG)
        form.name.size = 0;
    form.pattern = forms[form.endpoint].pattern;
    form.last = forms[form.endpoint].last;
    form.tail = tail;
    *out = form;
    return true;
}

static enum errc parse_named(const struct v2_form *form, struct span all, struct v2_path *out,
                             struct error *err)
{
    if (repository_name_check(form->name.at, form->name.size, err) != ERR_OK)
        return err->code;
    /* A slash at the end of anything but the uploads. */
    if (form->tail.size == 0 && form->endpoint != V2_UPLOADS)
        return repository_name_invalid(all.at, all.size, "a component is empty", err);
    if (take_last(form->tail, out, err) != ERR_OK)
        return err->code;
    memcpy(out->repository, form->name.at, form->name.size);
    return ERR_OK;
}

enum errc v2_path_parse(const char *path, struct v2_path *out, struct error *err)
{
    struct v2_form form;
    struct span rest;
    if (!find_rest(path, &rest))
        return fail(err, ERR_NOT_FOUND, 0, "there is nothing at %.200s", path);
    if (!v2_path_form(path, &form))
        return refuse(rest, err);
    struct v2_path parsed = {.endpoint = form.endpoint};
    bool named = form.endpoint != V2_PING && form.endpoint != V2_CATALOG;
    if (named && parse_named(&form, rest, &parsed, err) != ERR_OK)
        return err->code;
    *out = parsed;
    return ERR_OK;
}
