#include "upstream/push/target_push.h"

#include "base/lock.h"

#include <stdio.h>
#include <string.h>

void target_push_init(struct target_push *push, struct store *store, struct repository *repository,
                      const struct progress *progress, const char *target, struct cancel *cancel,
                      struct push_target *result)
{
    *push = (struct target_push){
        .store = store,
        .repository = repository,
        .progress = progress,
        .target = target,
        .result = result,
    };
    result->layers = (struct push_layers){0}; /* of an endpoint that failed */
    push->known = known_blobs_new();
    push->sent = known_blobs_new();
    push->distrusted = known_blobs_new();
    push->missed = known_blobs_new();
    push->manifests = known_blobs_new();
    location_key_make(repository->credentials, &push->key);
    cancel_init_child(&push->cancel, cancel, "stopped because another part of the push failed");
    pthread_mutex_init(&push->lock, NULL);
}

void target_push_deinit(struct target_push *push)
{
    cancel_deinit(&push->cancel);
    known_blobs_free(push->known);
    known_blobs_free(push->sent);
    known_blobs_free(push->distrusted);
    known_blobs_free(push->missed);
    known_blobs_free(push->manifests);
    explicit_bzero(&push->key, sizeof push->key);
    pthread_mutex_destroy(&push->lock);
}

void target_push_share(struct target_push *push, struct known_blobs *known)
{
    push->shared = known;
}

static bool was_sent(struct target_push *push, const struct digest *digest)
{
    return known_blobs_has(push->sent, push->repository->endpoint, digest);
}

void target_push_learn(struct target_push *push, const struct digest *digest)
{
    if (!was_sent(push, digest))
        atomic_store(&push->believed, true);
    known_blobs_add(push->known, push->repository->endpoint, digest);
    if (push->shared || push->told)
        known_blobs_add(push->shared ? push->shared : push->told, push->repository->endpoint,
                        digest);
}

void target_push_learn_sent(struct target_push *push, const struct digest *digest)
{
    known_blobs_add(push->sent, push->repository->endpoint, digest);
    target_push_learn(push, digest);
}

void target_push_credit(struct target_push *push, const struct digest *digest,
                        const struct layer_outcome *how)
{
    if (push->shared)
        known_blobs_add_brought(push->shared, push->repository->endpoint, digest, how);
}

bool target_push_distrust(struct target_push *push, const struct digest *digest)
{
    if (target_push_distrusts(push, digest) || was_sent(push, digest) ||
        !target_push_knows(push, digest))
        return false;
    known_blobs_add(push->distrusted, push->repository->endpoint, digest);
    return true;
}

bool target_push_distrusts(struct target_push *push, const struct digest *digest)
{
    return !was_sent(push, digest) &&
           (atomic_load(&push->distrusts_all) ||
            known_blobs_has(push->distrusted, push->repository->endpoint, digest));
}

bool target_push_knows(struct target_push *push, const struct digest *digest)
{
    const struct endpoint *endpoint = push->repository->endpoint;
    if (target_push_distrusts(push, digest))
        return false;
    if (known_blobs_has(push->known, endpoint, digest))
        return true;
    bool assumed = push->shared && known_blobs_has(push->shared, endpoint, digest);
    if (assumed)
        atomic_store(&push->assumed, true);
    return assumed;
}

void target_push_learn_missing(struct target_push *push, const struct digest *digest)
{
    known_blobs_add(push->missed, push->repository->endpoint, digest);
}

bool target_push_knows_missing(struct target_push *push, const struct digest *digest)
{
    return known_blobs_has(push->missed, push->repository->endpoint, digest);
}

void target_push_learn_manifest(struct target_push *push, const struct digest *digest)
{
    known_blobs_add(push->manifests, push->repository->endpoint, digest);
}

bool target_push_knows_manifest(struct target_push *push, const struct digest *digest)
{
    return known_blobs_has(push->manifests, push->repository->endpoint, digest);
}

void target_push_count(struct target_push *push, const struct layer_outcome *outcome)
{
    struct push_target *result = push->result;
    autolock pthread_mutex_t *held = lock_take(&push->lock);
    result->layers.existed += outcome->end == LAYER_EXISTED;
    result->layers.mounted += outcome->end == LAYER_MOUNTED;
    result->layers.uploaded += outcome->end == LAYER_UPLOADED;
    result->layers.skipped += outcome->end == LAYER_SKIPPED;
    result->bytes_uploaded += outcome->sent_bytes;
}

void target_push_count_attempts(struct target_push *push, unsigned made)
{
    autolock pthread_mutex_t *held = lock_take(&push->lock);
    if (push->result->attempts < made)
        push->result->attempts = made;
}

void target_push_part_failed(struct target_push *push, const struct error *err)
{
    pthread_mutex_lock(&push->lock);
    if (push->failure.code == ERR_OK)
        push->failure = *err;
    pthread_mutex_unlock(&push->lock);
    cancel_request(&push->cancel);
}

static void emit(const struct target_push *push, const struct progress_event *event)
{
    struct progress_event told = *event;
    told.target = push->target;
    if (told.id == NULL || told.id[0] || told.wait)
        progress_emit(push->progress, &told);
}

void target_push_tell_layer(const struct target_push *push, const char *id, const char *status)
{
    emit(push, &(struct progress_event){.kind = PROGRESS_STATUS, .id = id, .status = status});
}

void target_push_tell_bytes(const struct target_push *push, const char *id, uint64_t current,
                            uint64_t total)
{
    emit(push, &(struct progress_event){.kind = PROGRESS_BYTES,
                                        .id = id,
                                        .status = "Pushing",
                                        .current = current,
                                        .total = total});
}

void target_push_tell_outcome(const struct target_push *push, const char *id,
                              const struct layer_outcome *outcome)
{
    static const char *const words[] = {
        [LAYER_NONE] = "Pushed",
        [LAYER_EXISTED] = "Layer already exists",
        [LAYER_UPLOADED] = "Pushed",
        [LAYER_SKIPPED] = "Skipped foreign layer",
    };
    char mounted[sizeof "Mounted from " + REFERENCE_NAME_MAX];
    snprintf(mounted, sizeof mounted, "Mounted from %s", outcome->source);
    target_push_tell_layer(push, id, outcome->end == LAYER_MOUNTED ? mounted : words[outcome->end]);
}

void target_push_tell_countdown(const struct target_push *push, const char *id, const char *words,
                                const struct registry_wait *wait)
{
    emit(push, &(struct progress_event){
                   .kind = PROGRESS_COUNTDOWN, .id = id, .status = words, .wait = wait});
}
