/*
 * The registry of the tests of transfers and of sets of them: an attempt that does what it is told,
 * and can be held. `box` is set while no transfer runs, but for box_release().
 */
#ifndef SLIPWAY_TESTS_TRANSFER_BOX_H
#define SLIPWAY_TESTS_TRANSFER_BOX_H

#include "base/clock.h"
#include "upstream/push/transfers.h"

#include <string.h>

#define BOX_BYTES 4096

static struct {
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    bool hold;
    unsigned looks; /* attempts that only look for the blob: it is never there */
    unsigned calls; /* the others */
    unsigned now;
    unsigned most;
    unsigned cancelled;
    unsigned fail_first; /* so many attempts fail */
    enum errc fails_with;
    const char *fails_only; /* the blob with this short digest, which is not held; NULL: any */
    enum layer_end end;
    const char *source; /* of what was mounted */
} box = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static inline void box_reset(bool hold)
{
    pthread_mutex_lock(&box.lock);
    box.hold = hold;
    box.looks = box.calls = box.now = box.most = box.cancelled = box.fail_first = 0;
    box.fails_with = ERR_CONNECTION_LOST;
    box.fails_only = NULL;
    box.source = "";
    box.end = LAYER_UPLOADED;
    pthread_mutex_unlock(&box.lock);
}

static inline void box_release(void)
{
    pthread_mutex_lock(&box.lock);
    box.hold = false;
    pthread_cond_broadcast(&box.changed);
    pthread_mutex_unlock(&box.lock);
}

static inline void box_wait_calls(unsigned calls)
{
    pthread_mutex_lock(&box.lock);
    while (box.calls < calls)
        pthread_cond_wait(&box.changed, &box.lock);
    pthread_mutex_unlock(&box.lock);
}

static inline unsigned box_calls(void)
{
    pthread_mutex_lock(&box.lock);
    unsigned calls = box.calls;
    pthread_mutex_unlock(&box.lock);
    return calls;
}

static inline void box_wake(void *self)
{
    (void)self;
    pthread_mutex_lock(&box.lock);
    pthread_cond_broadcast(&box.changed);
    pthread_mutex_unlock(&box.lock);
}

static inline bool box_fails(const struct descriptor *blob, unsigned call)
{
    char id[DIGEST_SHORT_MAX];
    if (box.fails_only && strcmp(box.fails_only, digest_short(&blob->digest, id)) != 0)
        return false;
    return call <= box.fail_first;
}

static inline unsigned box_looks(void)
{
    pthread_mutex_lock(&box.lock);
    unsigned looks = box.looks;
    pthread_mutex_unlock(&box.lock);
    return looks;
}

static inline enum errc box_attempt(struct target_push *push, const struct push_layer *layer,
                                    struct unfinished_upload *upload, struct layer_outcome *outcome,
                                    struct error *err)
{
    struct cancel_watch watch = {.call = box_wake};
    (void)upload;
    if (layer->part == LAYER_FIND) {
        pthread_mutex_lock(&box.lock);
        box.looks++;
        pthread_mutex_unlock(&box.lock);
        *outcome = (struct layer_outcome){.end = LAYER_NONE};
        return ERR_OK;
    }
    target_push_tell_bytes(push, layer->id, 1, BOX_BYTES);
    cancel_watch(&push->cancel, &watch);
    pthread_mutex_lock(&box.lock);
    unsigned call = ++box.calls;
    if (++box.now > box.most)
        box.most = box.now;
    pthread_cond_broadcast(&box.changed);
    bool fails = box_fails(layer->blob, call);
    while (box.hold && !(fails && box.fails_only) && !cancel_requested(&push->cancel))
        pthread_cond_wait(&box.changed, &box.lock);
    enum errc code = box.fails_with;
    box.cancelled += cancel_requested(&push->cancel);
    box.now--;
    *outcome = (struct layer_outcome){.end = box.end, .sent_bytes = BOX_BYTES};
    strcpy(outcome->source, box.source);
    pthread_mutex_unlock(&box.lock);
    cancel_unwatch(&push->cancel, &watch);
    if (cancel_check(&push->cancel, err) != ERR_OK)
        return err->code;
    return fails ? (fail)(err, code, 0, "attempt %u", call) : ERR_OK;
}

#endif
