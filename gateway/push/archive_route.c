#include "gateway/push/archive_route.h"

#include "base/buf.h"
#include "base/limits.h"
#include "base/mem.h"
#include "gateway/push/mirrors.h"
#include "image/manifest.h"
#include "store/pushes.h"

#include <string.h>

static enum errc route_name(const struct settings *settings, const struct reference *name,
                            struct push *push, struct error *err)
{
    char repository[REFERENCE_NAME_MAX + 1];
    struct mirror_route route;
    if (mirrors_route(settings, mirrors_name(name, repository), &route, err) != ERR_OK)
        return err->code;
    if (mirrors_plan(settings, &route, name->tag, TARGETS_MAX, push, err) != ERR_OK)
        return error_wrap(err, "the archive's names lead to too many: choose with to=");
    return ERR_OK;
}

static bool is_whole(const struct reference *name)
{
    return name->path[0] && name->tag[0];
}

static enum errc refuse(const struct chosen_image *chosen, struct error *err)
{
    autobuf struct buf names = BUF_INIT(4096);
    for (size_t i = 0; i < chosen->name_count; i++) {
        const struct reference *name = &chosen->names[i].reference;
        char text[REFERENCE_NAME_MAX + 1];
        buf_format(&names, "%s%s%s%s", i ? ", " : "", name->path[0] ? mirrors_name(name, text) : "",
                   name->path[0] && name->tag[0] ? ":" : "", name->tag);
    }
    if (names.size == 0)
        return fail(err, ERR_NO_TARGET, 0,
                    "no target: say where to with to=HOST/REPOSITORY[:TAG]; the archive gives the "
                    "image no name that mirrors could go by");
    return fail(err, ERR_NO_TARGET, 0,
                "no target: say where to with to=HOST/REPOSITORY[:TAG]; no mirror matches what the "
                "archive calls the image: %.700s",
                buf_cstr(&names));
}

/* ---- what is pushed after the answer ---- */

static enum errc hold_image(struct batch *batch, const struct descriptor *manifest, unsigned depth,
                            struct error *err);

/* What is not in the store comes with the batch, or is a foreign layer. */
static enum errc hold(struct batch *batch, const struct digest *digest, struct error *err)
{
    if (batch_hold_blob(batch, digest, err) == ERR_BLOB_UNKNOWN)
        error_clear(err);
    return err->code;
}

static enum errc hold_parts(struct batch *batch, const struct manifest *manifest, unsigned depth,
                            struct error *err)
{
    if (manifest->kind == MANIFEST_IMAGE && hold(batch, &manifest->config.digest, err) != ERR_OK)
        return err->code;
    for (size_t i = 0; i < manifest->layer_count; i++)
        if (hold(batch, &manifest->layers[i].digest, err) != ERR_OK)
            return err->code;
    for (size_t i = 0; i < manifest->child_count; i++)
        if (hold_image(batch, &manifest->children[i], depth + 1, err) != ERR_OK)
            return err->code;
    return ERR_OK;
}

/* Everything that the manifest needs is to be on the disk when the batch is: what the store had
 * already may not be. */
static enum errc hold_image(struct batch *batch, const struct descriptor *manifest, unsigned depth,
                            struct error *err)
{
    autofree char *data = NULL;
    size_t size = 0;
    struct manifest parsed;
    bool by_type = true;
    if (depth > INDEX_DEPTH_MAX)
        return ERR_OK;
    if (hold(batch, &manifest->digest, err) != ERR_OK)
        return err->code;
    manifest_member_by_type(manifest->media_type, &by_type);
    if (batch_read_all(batch, &manifest->digest, MANIFEST_LIMIT_BYTES, "manifest", &data, &size,
                       err) != ERR_OK) {
        /* A foreign layer is not there, and a blob may be of any size. */
        if (err->code != ERR_BLOB_UNKNOWN && (by_type || err->code != ERR_JSON_TOO_LARGE))
            return err->code;
        error_clear(err);
        return ERR_OK;
    }
    if (depth > 0 && !manifest_is_member(manifest->media_type, data, size))
        return ERR_OK;
    if (manifest_parse_any(data, size, manifest->media_type, "manifest", &parsed, err) != ERR_OK)
        return err->code;
    enum errc rc = hold_parts(batch, &parsed, depth, err);
    manifest_deinit(&parsed);
    return rc;
}

static enum errc hold_stored(struct batch *batch, struct push *push, struct error *err)
{
    if (push_stored_targets(push) == 0)
        return ERR_OK;
    if (hold_image(batch, &push->manifest, 0, err) != ERR_OK)
        return err->code;
    for (size_t i = 0; i < push->referrer_count; i++)
        if (hold_image(batch, &push->referrers[i].manifest, 0, err) != ERR_OK)
            return err->code;
    batch_make_durable(batch);
    return ERR_OK;
}

static enum errc odd_name(const char *name, struct error *err)
{
    struct error why = ERROR_INIT;
    struct reference ignored;
    bool parsed = reference_parse(name, &ignored, &why) == ERR_OK;
    return fail(
        err, ERR_REFERENCE_INVALID, 0,
        "the archive calls the image \"%.150s\", which no mirror can go by (%s): say where to "
        "with to=HOST/REPOSITORY[:TAG]",
        name, parsed ? "it has no tag" : why.text);
}

enum errc archive_route_more(const struct settings *settings, const struct chosen_image *chosen,
                             struct batch *batch, struct push *push, struct error *err)
{
    if (chosen->odd_name)
        return odd_name(chosen->odd_name, err);
    for (size_t i = 0; i < chosen->name_count; i++)
        if (is_whole(&chosen->names[i].reference) &&
            route_name(settings, &chosen->names[i].reference, push, err) != ERR_OK)
            return err->code;
    return push->target_count > 0 ? hold_stored(batch, push, err) : refuse(chosen, err);
}

enum errc archive_route(const struct settings *settings, const struct chosen_image *chosen,
                        struct batch *batch, struct push *push, struct error *err)
{
    if (archive_route_more(settings, chosen, batch, push, err) == ERR_OK &&
        push_stored_targets(push) > 0)
        batch_put_push(batch, push);
    return err->code;
}
