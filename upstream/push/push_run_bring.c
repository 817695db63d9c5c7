#include "upstream/push/push_run_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "store/known_locations.h"

static struct layer_set_waker waker_of(struct push_run *run)
{
    return (struct layer_set_waker){.wake = push_run_wake, .self = run};
}

/* What this push sends now need not be sent by the next one. */
static void begin_memory_anew(struct push_run *run)
{
    if (run->memory == NULL)
        return;
    repository_memory_release(run->upstream->memory, run->memory);
    run->memory =
        repository_memory_hold(run->upstream->memory, &run->job.target->reference, clock_ms());
    run->push.told = run->memory;
}

/* What was known of the repository, or what the registry said, was wrong: once more without that,
 * at once. A blob that is lost need not be named. */
static bool goes_another_round(struct push_run *run, const struct error *err)
{
    struct target_push *push = &run->push;
    bool assumed = err->code == ERR_BLOB_NOT_THERE && atomic_load(&push->assumed);
    bool unnamed = err->code == ERR_BLOB_NOT_THERE && !assumed && !push->doubts &&
                   atomic_load(&push->believed) && !atomic_load(&push->distrusts_all);
    if (!assumed && !push->doubts && !unnamed)
        return false;
    if (unnamed)
        atomic_store(&push->distrusts_all, true);
    repository_memory_forget(run->upstream->memory, &run->job.target->reference);
    begin_memory_anew(run);
    log_info("%s: a blob that was taken for there is not, %s: %s", run->target,
             push->doubts || unnamed ? "it is sent" : "all are asked for", err->text);
    push->shared = NULL;
    push->doubts = false;
    atomic_store(&push->assumed, false);
    run->push.result->layers = (struct push_layers){0};
    manifest_tree_free(run->tree);
    run->tree = NULL;
    return true;
}

/* It may be the repository that is not for these credentials, or the registry. */
static void find_out_who(struct push_run *run, struct error *err)
{
    if (err->code != ERR_DENIED || cancel_requested(&run->cancel) ||
        !registry_shuts_out(run->repository.endpoint, &run->credentials, &run->cancel))
        return;
    err->hints |= HINT_LOGIN;
    error_wrap(err, "GET /v2/ is refused to the same credentials, too");
}

static enum run_next bring_image(struct push_run *run)
{
    struct error err = ERROR_INIT;
    if (run->tree == NULL)
        run->tree = manifest_tree_new(&run->push, run->upstream->transfers, run->job.push,
                                      run->job.target, waker_of(run));
    switch (manifest_tree_advance(run->tree, &run->turn, &err)) {
    case TREE_DONE:
        run->done = true;
        run->untagged = run->push.untagged;
        return NEXT_END;
    case TREE_WAITS:
        return NEXT_WAIT;
    case TREE_LATER:
        return NEXT_LATER;
    case TREE_IN_TURN:
        return NEXT_IN_TURN;
    case TREE_FAILED:
        break;
    }
    if (goes_another_round(run, &err))
        return NEXT_STEP;
    find_out_who(run, &err);
    return push_run_endpoint_failed(run, &err);
}

/* By its diffID it can be mounted from where an image with it was pushed to. */
static void name_layer(struct push_run *run, struct push_layer *layer)
{
    struct error err = ERROR_INIT;
    bool found = false;
    *layer = (struct push_layer){.blob = &run->job.blob};
    if (known_locations_layer(run->upstream->store, &run->job.blob.digest, &found, &layer->layer,
                              &err) != ERR_OK)
        log_warn("%s: which layer a blob is, is not known: %s", run->target, err.text);
    if (!found)
        layer->layer = run->job.blob.digest;
    digest_short(&layer->layer, layer->id);
}

void push_run_report_out(struct push_run *run)
{
    if (run->job.growing && !run->reported_out)
        growing_blob_report_out(run->job.growing);
    run->reported_out = true;
}

/* Sends what there is of it; *whole when all is, and it goes on as any other. */
static enum run_next bring_growing(struct push_run *run, bool *whole)
{
    struct error err = ERROR_INIT;
    if (run->growing == NULL)
        run->growing = growing_send_new(&run->push, run->job.growing, waker_of(run));
    if (cancel_check(&run->cancel, &err) != ERR_OK)
        return growing_send_leave(run->growing) ? push_run_endpoint_failed(run, &err) : NEXT_WAIT;
    switch (growing_send_now(run->growing, &run->job.blob)) {
    case BLOB_GROWS:
        return NEXT_WAIT;
    case BLOB_IS_WHOLE:
        break;
    case BLOB_BROKE:
        fail(&err, ERR_CANCELLED, 0, "the layer was not read to its end");
        return push_run_endpoint_failed(run, &err);
    }
    growing_send_take(run->growing, &run->session);
    *whole = true;
    return NEXT_STEP;
}

static enum run_next bring_blob(struct push_run *run)
{
    bool whole = run->job.growing == NULL || run->blob != NULL;
    enum run_next next = NEXT_STEP;
    if (!whole)
        next = bring_growing(run, &whole);
    if (!whole)
        return next;
    if (run->blob == NULL) {
        struct push_layer layer;
        name_layer(run, &layer);
        layer.opened = upload_session_is_open(&run->session) ? &run->session : NULL;
        run->blob = layer_set_new(&run->push, run->upstream->transfers, &layer, 1, 1, layer_attempt,
                                  waker_of(run));
    }
    struct error err = ERROR_INIT;
    if (cancel_check(&run->cancel, &err) != ERR_OK)
        return layer_set_leave(run->blob) ? push_run_endpoint_failed(run, &err) : NEXT_WAIT;
    switch (layer_set_advance(run->blob)) {
    case LAYER_SET_DONE:
        run->done = true;
        return NEXT_END;
    case LAYER_SET_WAITS:
        push_run_report_out(run);
        return NEXT_WAIT;
    case LAYER_SET_FAILED:
        break;
    }
    err = run->push.failure;
    return push_run_endpoint_failed(run, &err);
}

enum run_next push_run_bring(struct push_run *run)
{
    return run->job.push ? bring_image(run) : bring_blob(run);
}
