#include "tests/support/transfer_box.h"

#include <string.h>

struct transfer_box transfer_box = {.lock = PTHREAD_MUTEX_INITIALIZER,
                                    .changed = PTHREAD_COND_INITIALIZER};

void transfer_box_reset(bool hold)
{
    pthread_mutex_lock(&transfer_box.lock);
    transfer_box.hold = hold;
    transfer_box.looks = transfer_box.calls = transfer_box.now = transfer_box.most =
        transfer_box.cancelled = transfer_box.fail_first = 0;
    transfer_box.fails_with = ERR_CONNECTION_LOST;
    transfer_box.fails_only = NULL;
    transfer_box.source = "";
    transfer_box.end = LAYER_UPLOADED;
    pthread_mutex_unlock(&transfer_box.lock);
}

void transfer_box_release(void)
{
    pthread_mutex_lock(&transfer_box.lock);
    transfer_box.hold = false;
    pthread_cond_broadcast(&transfer_box.changed);
    pthread_mutex_unlock(&transfer_box.lock);
}

void transfer_box_wait_calls(unsigned calls)
{
    pthread_mutex_lock(&transfer_box.lock);
    while (transfer_box.calls < calls)
        pthread_cond_wait(&transfer_box.changed, &transfer_box.lock);
    pthread_mutex_unlock(&transfer_box.lock);
}

unsigned transfer_box_calls(void)
{
    pthread_mutex_lock(&transfer_box.lock);
    unsigned calls = transfer_box.calls;
    pthread_mutex_unlock(&transfer_box.lock);
    return calls;
}

static void wake(void *self)
{
    (void)self;
    pthread_mutex_lock(&transfer_box.lock);
    pthread_cond_broadcast(&transfer_box.changed);
    pthread_mutex_unlock(&transfer_box.lock);
}

static bool must_fail(const struct descriptor *blob, unsigned call)
{
    char id[DIGEST_SHORT_MAX];
    if (transfer_box.fails_only &&
        strcmp(transfer_box.fails_only, digest_short(&blob->digest, id)) != 0)
        return false;
    return call <= transfer_box.fail_first;
}

unsigned transfer_box_looks(void)
{
    pthread_mutex_lock(&transfer_box.lock);
    unsigned looks = transfer_box.looks;
    pthread_mutex_unlock(&transfer_box.lock);
    return looks;
}

enum errc transfer_box_attempt(struct target_push *push, const struct push_layer *layer,
                               struct unfinished_upload *upload, struct layer_outcome *outcome,
                               struct error *err)
{
    struct cancel_watch watch = {.call = wake};
    (void)upload;
    if (layer->part == LAYER_FIND) {
        pthread_mutex_lock(&transfer_box.lock);
        transfer_box.looks++;
        pthread_mutex_unlock(&transfer_box.lock);
        *outcome = (struct layer_outcome){.end = LAYER_NONE};
        return ERR_OK;
    }
    target_push_tell_bytes(push, layer->id, 1, TRANSFER_BOX_BYTES);
    cancel_watch(&push->cancel, &watch);
    pthread_mutex_lock(&transfer_box.lock);
    unsigned call = ++transfer_box.calls;
    if (++transfer_box.now > transfer_box.most)
        transfer_box.most = transfer_box.now;
    pthread_cond_broadcast(&transfer_box.changed);
    bool fails = must_fail(layer->blob, call);
    while (transfer_box.hold && !(fails && transfer_box.fails_only) &&
           !cancel_requested(&push->cancel))
        pthread_cond_wait(&transfer_box.changed, &transfer_box.lock);
    enum errc code = transfer_box.fails_with;
    transfer_box.cancelled += cancel_requested(&push->cancel);
    transfer_box.now--;
    *outcome = (struct layer_outcome){.end = transfer_box.end, .sent_bytes = TRANSFER_BOX_BYTES};
    strcpy(outcome->source, transfer_box.source);
    pthread_mutex_unlock(&transfer_box.lock);
    cancel_unwatch(&push->cancel, &watch);
    if (cancel_check(&push->cancel, err) != ERR_OK)
        return err->code;
    return fails ? (fail)(err, code, 0, "attempt %u", call) : ERR_OK;
}
