#include "gateway/push/mirrored_push.h"

#include "upstream/push/early_upload.h"

#include <stdio.h>
#include <string.h>

static enum errc add_tags(const struct settings *settings, const struct mirror_route *route,
                          const char *const *tags, size_t count, struct push *push,
                          struct error *err)
{
    if (count == 0)
        return mirrors_plan(settings, route, NULL, PUSH_TARGETS_MAX, push, err);
    for (size_t i = 0; i < count; i++)
        if (mirrors_plan(settings, route, tags[i], PUSH_TARGETS_MAX, push, err) != ERR_OK)
            return err->code;
    return ERR_OK;
}

enum errc mirrored_push_plan(const struct settings *settings, const char *repository,
                             const char *const *tags, size_t tag_count,
                             const struct descriptor *manifest, struct push *out, struct error *err)
{
    struct mirror_route route;
    struct push push = {.manifest = *manifest};
    snprintf(push.repository, sizeof push.repository, "%s", repository);
    if (mirrors_route(settings, repository, &route, err) != ERR_OK)
        return err->code;
    if (add_tags(settings, &route, tags, tag_count, &push, err) != ERR_OK) {
        push_deinit(&push);
        return err->code;
    }
    *out = push;
    return ERR_OK;
}

/* "r.example.com/team/app:1: status 403: REASON; 2 more targets failed". */
static enum errc describe(const struct push_target *first, size_t more, struct error *err)
{
    char target[REFERENCE_TEXT_MAX];
    char status[32] = "";
    char others[48] = "";
    /* A registry client shows this to a person who has a login of their own. */
    bool login = first->error.code == ERR_UNAUTHORIZED || first->error.code == ERR_DENIED;
    if (first->error.status > 0)
        snprintf(status, sizeof status, "status %d: ", first->error.status);
    if (more > 0)
        snprintf(others, sizeof others, "; %zu more target%s failed", more, more == 1 ? "" : "s");
    fail(err, first->error.code, 0, "%s: %s%.600s%s%s", reference_text(&first->reference, target),
         status, first->error.text, login ? " (to the gateway's login there, not yours)" : "",
         others);
    err->status = first->error.status;
    return err->code;
}

enum errc mirrored_push_judge(const struct push *push, struct error *err)
{
    const struct push_target *first = push_failure(push);
    size_t failed = 0;
    for (size_t i = 0; i < push->target_count; i++)
        failed += push->targets[i].state == PUSH_FAILED;
    return first ? describe(first, failed - 1, err) : ERR_OK;
}

void mirrored_push_early(struct runtime *runtime, const char *repository,
                         const struct digest *digest, uint64_t size, const char *via,
                         bool (*skips)(void *self, const struct mirror_target *target), void *self)
{
    autosettings const struct settings *settings = runtime_settings(runtime);
    struct error ignored = ERROR_INIT;
    struct mirror_route route;
    const struct descriptor blob = {.digest = *digest, .size = size};
    if (mirrors_route(settings, repository, &route, &ignored) != ERR_OK)
        return;
    for (size_t i = 0; i < route.count; i++)
        if (skips == NULL || !skips(self, &route.targets[i]))
            early_upload(runtime->early, &route.targets[i].repository, &blob, via);
}

void mirrored_push_early_end(struct runtime *runtime, const char *repository,
                             const struct digest *digest)
{
    autosettings const struct settings *settings = runtime_settings(runtime);
    struct error ignored = ERROR_INIT;
    struct mirror_route route;
    if (mirrors_route(settings, repository, &route, &ignored) != ERR_OK)
        return;
    for (size_t i = 0; i < route.count; i++)
        early_uploads_end(runtime->early, &route.targets[i].repository, digest);
}
