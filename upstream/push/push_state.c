#include "upstream/push/push_state.h"

#include <string.h>

void push_init(struct target_push *push, struct store *store, struct repository *repository,
               const struct progress *progress, const char *target, const struct cancel *cancel,
               struct push_result *result)
{
    *push = (struct target_push){
        .store = store,
        .repository = repository,
        .progress = progress,
        .target = target,
        .result = result,
    };
    memset(&result->layers, 0, sizeof result->layers); /* of an endpoint that failed */
    push->known_own = known_blobs_new();
    push->known = push->known_own;
    push->missed = known_blobs_new();
    push->manifests = known_blobs_new();
    association_key_make(repository->credentials, &push->key);
    stop_init(&push->stop, cancel);
    pthread_mutex_init(&push->lock, NULL);
}

void push_deinit(struct target_push *push)
{
    known_blobs_free(push->known_own);
    known_blobs_free(push->missed);
    known_blobs_free(push->manifests);
    explicit_bzero(&push->key, sizeof push->key);
    pthread_mutex_destroy(&push->lock);
}

void push_share(struct target_push *push, struct known_blobs *known)
{
    if (known)
        push->known = known;
}

void push_learn(struct target_push *push, const struct digest *digest)
{
    known_blobs_add(push->known, push->repository->endpoint, digest);
}

bool push_knows(struct target_push *push, const struct digest *digest)
{
    return known_blobs_has(push->known, push->repository->endpoint, digest);
}

void push_learn_missing(struct target_push *push, const struct digest *digest)
{
    known_blobs_add(push->missed, push->repository->endpoint, digest);
}

bool push_knows_missing(struct target_push *push, const struct digest *digest)
{
    return known_blobs_has(push->missed, push->repository->endpoint, digest);
}

void push_learn_manifest(struct target_push *push, const struct digest *digest)
{
    known_blobs_add(push->manifests, push->repository->endpoint, digest);
}

bool push_knows_manifest(struct target_push *push, const struct digest *digest)
{
    return known_blobs_has(push->manifests, push->repository->endpoint, digest);
}

void push_count_layer(struct target_push *push, enum layer_end end)
{
    unsigned *const counts[] = {
        [LAYER_EXISTED] = &push->result->layers.existed,
        [LAYER_MOUNTED] = &push->result->layers.mounted,
        [LAYER_UPLOADED] = &push->result->layers.uploaded,
        [LAYER_SKIPPED] = &push->result->layers.skipped,
    };
    pthread_mutex_lock(&push->lock);
    *counts[end] += 1;
    pthread_mutex_unlock(&push->lock);
}

void push_count_bytes(struct target_push *push, uint64_t bytes)
{
    pthread_mutex_lock(&push->lock);
    push->result->bytes_uploaded += bytes;
    pthread_mutex_unlock(&push->lock);
}

void push_part_failed(struct target_push *push, const struct error *err)
{
    pthread_mutex_lock(&push->lock);
    if (push->failure.code == ERR_OK)
        push->failure = *err;
    pthread_mutex_unlock(&push->lock);
    stop_siblings(&push->stop);
}

void push_tell_layer(const struct target_push *push, const char *id, const char *status)
{
    const struct progress_event event = {
        .kind = PROGRESS_STATUS,
        .target = push->target,
        .id = id,
        .status = status,
    };
    progress_emit(push->progress, &event);
}

void push_tell_bytes(const struct target_push *push, const char *id, uint64_t current,
                     uint64_t total)
{
    const struct progress_event event = {
        .kind = PROGRESS_BYTES,
        .target = push->target,
        .id = id,
        .status = "Pushing",
        .current = current,
        .total = total,
    };
    progress_emit(push->progress, &event);
}
