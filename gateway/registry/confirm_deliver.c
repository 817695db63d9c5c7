#include "base/log.h"
#include "base/mem.h"
#include "gateway/access/audit.h"
#include "gateway/push/push_log.h"
#include "gateway/push/stored_image.h"
#include "gateway/queue/push_queue.h"
#include "gateway/registry/confirm_internal.h"
#include "store/pushes.h"

#include <stdio.h>

/* The targets that lack it. */
static void route_to(const struct confirm *confirm, struct mirror_route *route)
{
    route->acknowledge = ACKNOWLEDGE_STORED;
    route->count = 0;
    for (size_t i = 0; i < confirm->count; i++) {
        const struct confirm_target *target = &confirm->targets[i];
        if (target->step == STEP_QUEUE || target->step == STEP_DELIVER)
            route->targets[route->count++] = target->target;
    }
}

static enum errc plan(const struct confirm *confirm, const struct mirror_route *route,
                      struct push *push, struct error *err)
{
    struct runtime *runtime = confirm->all->runtime;
    autosettings const struct settings *settings = runtime_settings(runtime);
    struct stored_image image;
    char digest[DIGEST_TEXT_MAX];
    autofree char *name =
        xasprintf("%s@%s", confirm->repository, digest_text(&confirm->digest, digest));
    if (stored_image_find(runtime->store, name, &image, err) != ERR_OK)
        return err->code;
    push->manifest = image.manifest;
    push->config = image.config;
    push->referrers = mem_take(&image.referrers);
    push->referrer_count = image.referrer_count;
    snprintf(push->repository, sizeof push->repository, "%s", confirm->repository);
    stored_image_deinit(&image);
    return mirrors_plan(settings, route, confirm->tag, PUSH_TARGETS_MAX, push, err);
}

/* What is remembered of a repository that has lost something is not worth much. */
static void forget(const struct confirm *confirm, const struct push *push)
{
    struct upstream *upstream = confirm->all->runtime->upstream;
    for (size_t i = 0; i < push->target_count; i++) {
        char text[REFERENCE_TEXT_MAX];
        repository_memory_forget(upstream->memory, &push->targets[i].reference);
        log_event(LOG_INFO, "mirror.lacks",
                  LOG_FIELDS(log_text("repository", confirm->repository),
                             log_text("tag", confirm->tag),
                             log_text("target", reference_text(&push->targets[i].reference, text)),
                             log_text("push", push->id)),
                  "a mirror does not have what is held here: it is pushed again");
    }
}

void confirm_deliver(struct confirm *confirm)
{
    struct confirms *confirms = confirm->all;
    struct error *err = &confirm->error;
    autofree struct mirror_route *route = xcalloc(1, sizeof *route);
    struct push push = {0};
    route_to(confirm, route);
    if (route->count == 0)
        return;
    if (plan(confirm, route, &push, err) == ERR_OK) {
        pushes_accept(confirms->runtime->store, &push);
        pushes_put(confirms->runtime->store, &push, true, err);
    }
    if (err->code == ERR_OK) {
        push_log_accepted(&push);
        audit_push_accepted(confirms->runtime->audit, &push, NULL);
        forget(confirm, &push);
        push_queue_start(confirms->queue, &push);
    } else {
        log_error("%s:%s is not pushed again: %s", confirm->repository, confirm->tag, err->text);
    }
    push_deinit(&push);
}
