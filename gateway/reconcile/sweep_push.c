#include "base/clock.h"
#include "base/mem.h"
#include "gateway/access/audit.h"
#include "gateway/push/push_log.h"
#include "gateway/push/stored_image.h"
#include "gateway/reconcile/sweep_internal.h"

#include <stdio.h>
#include <string.h>

/* As the front has it now, with what refers to it. */
static enum errc read_image(struct store *store, const struct expected_tag *tag, struct push *push,
                            struct error *err)
{
    char digest[DIGEST_TEXT_MAX];
    struct stored_image image;
    autofree char *text = xasprintf("%s@%s", tag->repository, digest_text(&tag->digest, digest));
    if (stored_image_find(store, text, &image, err) != ERR_OK)
        return err->code;
    push->manifest = image.manifest;
    push->config = image.config;
    push->referrers = mem_take(&image.referrers);
    push->referrer_count = image.referrer_count;
    snprintf(push->repository, sizeof push->repository, "%s", tag->repository);
    stored_image_deinit(&image);
    return ERR_OK;
}

/* The same as the push that was the last. */
static enum errc read_push(struct push_queue *queue, const struct expected_tag *tag,
                           struct push *push, struct error *err)
{
    struct push last;
    bool found = false;
    if (push_queue_find(queue, tag->push, &last, &found, err) != ERR_OK)
        return err->code;
    if (!found)
        return fail(err, ERR_IMAGE_UNKNOWN, 0, "the push %s is forgotten", tag->push);
    *push = last;
    push->id[0] = '\0';
    push->targets = NULL;
    push->target_count = 0;
    free(last.targets);
    free(mem_take(&push->unused));
    push->unused_count = 0;
    return ERR_OK;
}

static enum errc add_target(const struct sweep *sweep, const struct reference *reference,
                            struct push *push, struct error *err)
{
    int64_t keep_ms = RUNTIME_SETTING(sweep->sweeps->runtime, queue.keep_trying_ms);
    if (push_add_target(push, reference, !sweep->setting->required, true, err) != ERR_OK)
        return err->code;
    struct push_target *target = &push->targets[0];
    snprintf(target->name, sizeof target->name, "%s", sweep->target);
    target->deadline_s = keep_ms > 0 ? (uint64_t)(clock_wall_s() + keep_ms / 1000) : 0;
    return ERR_OK;
}

/* Its manifest may be gone by now, without which there is no push. */
static enum errc accept_push(struct store *store, const struct expected_tag *tag, struct push *push,
                             bool *current, struct error *err)
{
    if (tag->repository[0])
        return pushes_put_held(store, push, tag->repository, tag->reference.tag, current, err);
    struct batch *batch = batch_begin(store, BATCH_DURABLE);
    batch_put_push(batch, push);
    *current = true;
    return batch_commit(batch, err);
}

static bool is_lost(enum errc code)
{
    return code == ERR_IMAGE_UNKNOWN || code == ERR_BLOB_UNKNOWN || code == ERR_BLOB_CORRUPT ||
           error_party(code) == PARTY_CLIENT;
}

static enum errc push_again(struct sweep *sweep, const struct expected_tag *tag, const char *as_of,
                            struct push *push, enum pushed_again *out, struct error *err)
{
    struct store *store = sweep->sweeps->runtime->store;
    struct push_queue *queue = sweep->sweeps->queue;
    bool current = true;
    *out = AGAIN_PENDING;
    if (push_queue_is_busy(queue, &tag->reference))
        return ERR_OK;
    if (tag->repository[0])
        read_image(store, tag, push, err);
    else
        read_push(queue, tag, push, err);
    if (err->code != ERR_OK || add_target(sweep, &tag->reference, push, err) != ERR_OK)
        return err->code;
    if (sweep->dry_run) {
        *out = AGAIN_QUEUED;
        return ERR_OK;
    }
    if (accept_push(store, tag, push, &current, err) != ERR_OK || !current)
        return err->code;
    *out = AGAIN_QUEUED;
    push_log_accepted(push);
    audit_push_accepted(sweep->sweeps->runtime->audit, push, NULL);
    push_queue_start_held(queue, push, as_of);
    return ERR_OK;
}

enum errc sweep_push(struct sweep *sweep, const struct expected_tag *tag, const char *as_of,
                     enum pushed_again *out, struct error *err)
{
    struct push push = {.id = ""};
    if (push_again(sweep, tag, as_of, &push, out, err) != ERR_OK && is_lost(err->code))
        *out = AGAIN_LOST;
    push_deinit(&push);
    return *out == AGAIN_LOST ? ERR_OK : err->code;
}
