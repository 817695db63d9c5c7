#include "gateway/push/promise.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "image/manifest.h"
#include "store/pushes.h"

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

enum errc promise_hold(struct batch *batch, struct push *push, struct error *err)
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

enum errc promise_all(struct runtime *runtime, struct push *push, struct error *err)
{
    int64_t keep_ms = RUNTIME_SETTING(runtime, queue.keep_trying_ms);
    uint64_t deadline_s = keep_ms > 0 ? (uint64_t)(clock_wall_s() + keep_ms / 1000) : 0;
    for (size_t i = 0; i < push->target_count; i++) {
        if (!push->targets[i].stored)
            push->targets[i].deadline_s = deadline_s;
        push->targets[i].stored = true;
    }
    autobatch struct batch *batch = batch_begin(runtime->store, BATCH_DURABLE);
    if (promise_hold(batch, push, err) != ERR_OK || batch_commit(mem_take(&batch), err) != ERR_OK)
        return err->code;
    return pushes_put(runtime->store, push, true, err);
}
