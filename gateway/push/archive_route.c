#include "gateway/push/archive_route.h"

#include "base/buf.h"
#include "base/limits.h"
#include "base/mem.h"
#include "gateway/push/mirrors.h"
#include "gateway/push/promise.h"
#include "store/pushes.h"

#include <string.h>

static enum errc judge_route(const struct route_judge *judge, const char *repository,
                             const struct mirror_route *route, struct error *err)
{
    for (size_t i = 0; judge->allows && i < route->count && err->code == ERR_OK; i++)
        judge->allows(judge->self, repository, &route->targets[i].repository, err);
    return err->code;
}

static enum errc route_name(const struct settings *settings, const struct route_judge *judge,
                            const struct reference *name, struct push *push, struct error *err)
{
    char repository[REFERENCE_NAME_MAX + 1];
    struct mirror_route route;
    if (mirrors_route(settings, mirrors_name(name, repository), &route, err) != ERR_OK ||
        judge_route(judge, repository, &route, err) != ERR_OK)
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

enum errc archive_route_more(const struct settings *settings, const struct route_judge *judge,
                             const struct chosen_image *chosen, struct batch *batch,
                             struct push *push, struct error *err)
{
    if (chosen->odd_name)
        return odd_name(chosen->odd_name, err);
    for (size_t i = 0; i < chosen->name_count; i++)
        if (is_whole(&chosen->names[i].reference) &&
            route_name(settings, judge, &chosen->names[i].reference, push, err) != ERR_OK)
            return err->code;
    return push->target_count > 0 ? promise_hold(batch, push, err) : refuse(chosen, err);
}

enum errc archive_route(const struct settings *settings, const struct route_judge *judge,
                        const struct chosen_image *chosen, struct batch *batch, struct push *push,
                        struct error *err)
{
    if (archive_route_more(settings, judge, chosen, batch, push, err) == ERR_OK &&
        push_stored_targets(push) > 0)
        batch_put_push(batch, push);
    return err->code;
}
