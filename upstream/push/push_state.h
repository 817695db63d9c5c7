/*
 * What the threads of one push to one endpoint share: the push state of the algorithm (which blobs
 * are known to be in the target repository), the counts of the result, the stop, and the way to
 * whoever watches.
 *
 * The state is keyed by the blob's digest rather than the layer's diffID: the manifest's bytes are
 * fixed when a push begins, so it is that very blob that has to be there, not another compression
 * of the same layer. Pushes of several tags to one repository share it (push_share).
 *
 * That the endpoint is a registry is confirmed before a push gets here (registry_ping), so the
 * state does not keep it.
 *
 * Lifecycle: push_init (which begins the counts of the result anew) .. push_deinit, in push.c
 * around one endpoint. Any thread; one lock inside. Events are emitted without it.
 */
#ifndef SLIPWAY_UPSTREAM_PUSH_PUSH_STATE_H
#define SLIPWAY_UPSTREAM_PUSH_PUSH_STATE_H

#include "upstream/auth/association_hmac.h"
#include "upstream/client/exchange.h"
#include "upstream/push/known_blobs.h"
#include "upstream/push/push.h"

/* How a layer came to be in the target repository; names a count of struct push_result. */
enum layer_end { LAYER_EXISTED, LAYER_MOUNTED, LAYER_UPLOADED, LAYER_SKIPPED };

struct target_push {
    struct store *store;           /* borrowed, as all pointers here */
    struct repository *repository; /* the target, at the endpoint being tried */
    const struct progress *progress;
    const char *target;         /* normalised reference, for events */
    struct association_key key; /* of the repository's credentials */
    struct stop stop;
    struct known_blobs *known;     /* in the target repository */
    struct known_blobs *known_own; /* owned: what `known` is unless it is shared */
    struct known_blobs *missed;    /* owned: asked for and not there */
    struct known_blobs *manifests; /* owned: put under their digests by this push */
    pthread_mutex_t lock;          /* guards what follows */
    struct push_result *result;
    struct error failure; /* the first one of a layer */
};

void push_init(struct target_push *push, struct store *store, struct repository *repository,
               const struct progress *progress, const char *target, const struct cancel *cancel,
               struct push_result *result);
void push_deinit(struct target_push *push);

/* Before any other use: know what earlier pushes to the same repository found, and let later ones
 * know. Borrowed; NULL is a no-op. */
void push_share(struct target_push *push, struct known_blobs *known);

/* The blob is in the target repository: remember it; was it remembered? */
void push_learn(struct target_push *push, const struct digest *digest);
bool push_knows(struct target_push *push, const struct digest *digest);

/* The registry answered that it does not have the blob: a further attempt need not ask again. */
void push_learn_missing(struct target_push *push, const struct digest *digest);
bool push_knows_missing(struct target_push *push, const struct digest *digest);

/* A manifest, with all below it, has been put under its digest; was it? An index may name it again,
 * and indexes within indexes a thousand times a thousand. */
void push_learn_manifest(struct target_push *push, const struct digest *digest);
bool push_knows_manifest(struct target_push *push, const struct digest *digest);

void push_count_layer(struct target_push *push, enum layer_end end);
void push_count_bytes(struct target_push *push, uint64_t bytes);

/* A part failed: keep the first error and stop the others. */
void push_part_failed(struct target_push *push, const struct error *err);

/* Events of a layer, named by its id; see upstream/push/progress.h. */
void push_tell_layer(const struct target_push *push, const char *id, const char *status);
void push_tell_bytes(const struct target_push *push, const char *id, uint64_t current,
                     uint64_t total);

#endif
