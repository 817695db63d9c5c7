#include "gateway/push/archive_route.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "gateway/push/mirrors.h"
#include "image/manifest.h"

#include <string.h>

struct routed {
    struct reference target;
    bool optional;
    bool stored;
};

struct routed_list {
    struct routed items[TARGETS_MAX];
    size_t count;
};

static enum errc add(struct routed_list *list, const struct routed *routed, struct error *err)
{
    for (size_t i = 0; i < list->count; i++) {
        struct routed *have = &list->items[i];
        if (!reference_same_name(&have->target, &routed->target) ||
            strcmp(have->target.tag, routed->target.tag) != 0)
            continue;
        have->optional = have->optional && routed->optional;
        have->stored = have->stored && routed->stored;
        return ERR_OK;
    }
    if (list->count == TARGETS_MAX)
        return fail(
            err, ERR_BAD_REQUEST, 0,
            "the archive's names lead to more than %d targets: choose with to=", TARGETS_MAX);
    list->items[list->count++] = *routed;
    return ERR_OK;
}

static enum errc route_name(const struct settings *settings, const struct reference *name,
                            struct routed_list *list, struct error *err)
{
    char repository[REFERENCE_NAME_MAX + 1];
    struct mirror_route route;
    if (mirrors_route(settings, mirrors_name(name, repository), &route, err) != ERR_OK)
        return err->code;
    for (size_t i = 0; i < route.count; i++) {
        struct routed routed = {.target = route.targets[i].repository,
                                .optional = route.targets[i].optional,
                                .stored = route.acknowledge == ACKNOWLEDGE_STORED};
        memcpy(routed.target.tag, name->tag, sizeof routed.target.tag);
        if (add(list, &routed, err) != ERR_OK)
            return err->code;
    }
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

/* ---- what is promised ---- */

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
    if (depth > INDEX_DEPTH_MAX)
        return ERR_OK;
    if (hold(batch, &manifest->digest, err) != ERR_OK)
        return err->code;
    if (batch_read_all(batch, &manifest->digest, MANIFEST_LIMIT_BYTES, "manifest", &data, &size,
                       err) != ERR_OK) {
        if (err->code != ERR_BLOB_UNKNOWN)
            return err->code;
        error_clear(err); /* a child that the archive does not have is not pushed either */
        return ERR_OK;
    }
    if (manifest_parse(data, size, manifest->media_type, "manifest", &parsed, err) != ERR_OK)
        return err->code;
    enum errc rc = hold_parts(batch, &parsed, depth, err);
    manifest_deinit(&parsed);
    return rc;
}

static void fill_record(const struct push_report *report, const struct chosen_image *chosen,
                        const struct push_request *requests, struct push_record *record)
{
    *record = (struct push_record){.created_s = (uint64_t)clock_wall_s(),
                                   .manifest = chosen->manifest,
                                   .target_count = report->behind,
                                   .referrer_count = chosen->referrer_count};
    memcpy(record->id, report->id, sizeof record->id);
    record->targets = xcalloc(record->target_count, sizeof *record->targets);
    record->referrers = xcalloc(record->referrer_count, sizeof *record->referrers);
    for (size_t i = 0; i < record->target_count; i++) {
        const struct push_request *request = &requests[report->count - report->behind + i];
        record->targets[i] = (struct push_record_target){
            .target = request->target, .optional = request->optional, .state = PUSH_RECORD_WAITING};
    }
    for (size_t i = 0; i < record->referrer_count; i++) {
        record->referrers[i].manifest = chosen->referrers[i].manifest;
        memcpy(record->referrers[i].tag, chosen->referrers[i].tag, sizeof record->referrers[i].tag);
    }
}

static enum errc promise(const struct chosen_image *chosen, const struct push_request *requests,
                         struct batch *batch, struct push_report *report, struct error *err)
{
    if (report->behind == 0)
        return ERR_OK;
    if (hold_image(batch, &chosen->manifest, 0, err) != ERR_OK)
        return err->code;
    for (size_t i = 0; i < chosen->referrer_count; i++)
        if (hold_image(batch, &chosen->referrers[i].manifest, 0, err) != ERR_OK)
            return err->code;
    fill_record(report, chosen, requests, &report->record);
    batch_make_durable(batch);
    batch_put_push(batch, &report->record);
    return ERR_OK;
}

/* ---- requests ---- */

static size_t take(const struct routed_list *list, const struct chosen_image *chosen, bool stored,
                   struct push_request *requests, size_t at)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->items[i].stored == stored)
            requests[at++] = (struct push_request){.target = list->items[i].target,
                                                   .manifest = chosen->manifest,
                                                   .referrers = chosen->referrers,
                                                   .referrer_count = chosen->referrer_count,
                                                   .optional = list->items[i].optional};
    return at;
}

enum errc archive_route(const struct settings *settings, const struct chosen_image *chosen,
                        struct batch *batch, struct push_report *report,
                        struct push_request **requests, struct error *err)
{
    autofree struct routed_list *list = xcalloc(1, sizeof *list);
    for (size_t i = 0; i < chosen->name_count; i++)
        if (is_whole(&chosen->names[i].reference) &&
            route_name(settings, &chosen->names[i].reference, list, err) != ERR_OK)
            return err->code;
    if (list->count == 0)
        return refuse(chosen, err);
    autofree struct push_request *made = xcalloc(list->count, sizeof *made);
    size_t now = take(list, chosen, false, made, 0);
    take(list, chosen, true, made, now);
    report->count = list->count;
    report->behind = list->count - now;
    if (promise(chosen, made, batch, report, err) != ERR_OK)
        return err->code;
    *requests = mem_take(&made);
    return ERR_OK;
}
