/*
 * What the works of one push to one endpoint share: the push state of the algorithm (which blobs
 * are known to be in the target repository), the counts of the result, the cancel, and the way to
 * whatever listens.
 *
 * The state is keyed by the blob's digest rather than the layer's diffID: the manifest's bytes are
 * fixed when a push begins, so it is that very blob that has to be there, not another compression
 * of the same layer. Pushes to one repository share what they know (target_push_share); what a push
 * knows by others alone is an assumption, and marked as one when it is relied on.
 *
 * That the endpoint is a registry is confirmed before a push gets here (registry_ping), so the
 * state does not keep it.
 *
 * Lifecycle: target_push_init (which begins the counts of the result anew) .. target_push_deinit,
 * around one endpoint. Any thread; one lock inside. Events are emitted without it.
 */
#ifndef SLIPWAY_UPSTREAM_PUSH_TARGET_PUSH_H
#define SLIPWAY_UPSTREAM_PUSH_TARGET_PUSH_H

#include "base/cancel.h"
#include "store/push.h"
#include "store/store.h"
#include "upstream/auth/location_hmac.h"
#include "upstream/client/exchange.h"
#include "upstream/push/known_blobs.h"
#include "upstream/push/progress.h"

struct target_push {
    struct store *store;           /* borrowed, as all pointers here */
    struct repository *repository; /* the target, at the endpoint being tried */
    const struct progress *progress;
    const char *target;              /* normalised reference, for events */
    bool (*keeps_tag)(void *keeper); /* upstream/push/push.h; NULL: it does */
    void *keeper;
    bool untagged;                  /* it did not: of its run only */
    struct location_key key;        /* of the repository's credentials */
    struct cancel cancel;           /* a child of the caller's: requested too when a part failed */
    struct known_blobs *shared;     /* in the target repository, by other pushes; NULL: nothing */
    struct known_blobs *told;       /* learns what this push finds, and is not believed; or NULL */
    struct known_blobs *known;      /* owned: by this push */
    struct known_blobs *sent;       /* owned: its bytes were sent, by whom ever, during this push */
    struct known_blobs *distrusted; /* owned: known, and not there when the manifest came */
    struct known_blobs *missed;     /* owned: asked for and not there */
    struct known_blobs *manifests;  /* owned: put under their digests by this push */
    atomic_bool assumed;            /* something that only `shared` knows was relied on */
    atomic_bool believed;           /* something that was not sent is taken for there */
    atomic_bool distrusts_all;      /* what was not sent is not taken for there any more */
    bool ahead;                     /* brings one blob, ahead of its manifest */
    bool comes_again;               /* who pushes tries again later: unfinished uploads are left */
    bool doubts; /* a manifest was refused for blobs that are distrusted since: of its run only */
    pthread_mutex_t lock; /* guards what follows */
    struct push_target *result;
    struct error failure; /* the first one of a part */
};

void target_push_init(struct target_push *push, struct store *store, struct repository *repository,
                      const struct progress *progress, const char *target, struct cancel *cancel,
                      struct push_target *result);
void target_push_deinit(struct target_push *push);

/* Before any other use: know what other pushes to the same repository found, and let them know.
 * Borrowed; NULL is a no-op. */
void target_push_share(struct target_push *push, struct known_blobs *known);

/* The blob is in the target repository: remember it; was it remembered? */
void target_push_learn(struct target_push *push, const struct digest *digest);
bool target_push_knows(struct target_push *push, const struct digest *digest);

/* The same, as its bytes were sent. */
void target_push_learn_sent(struct target_push *push, const struct digest *digest);

/* This push has brought the blob, ahead of its manifest: the push that needs it counts that. To be
 * said before it is learned. */
void target_push_credit(struct target_push *push, const struct digest *digest,
                        const struct layer_outcome *how);

/* The registry said that it has the blob, by HEAD or by mounting it, and refused the manifest for
 * the lack of it: its bytes have to be sent. False when that is no news, or they were sent. */
bool target_push_distrust(struct target_push *push, const struct digest *digest);
bool target_push_distrusts(struct target_push *push, const struct digest *digest);

/* The registry answered that it does not have the blob: a further attempt need not ask again. */
void target_push_learn_missing(struct target_push *push, const struct digest *digest);
bool target_push_knows_missing(struct target_push *push, const struct digest *digest);

/* A manifest, with all below it, has been put under its digest; was it? An index may name it again,
 * and indexes within indexes a thousand times a thousand. */
void target_push_learn_manifest(struct target_push *push, const struct digest *digest);
bool target_push_knows_manifest(struct target_push *push, const struct digest *digest);

/* The result counts what came of a layer; `made` attempts were needed for a part of the push. */
void target_push_count(struct target_push *push, const struct layer_outcome *outcome);
void target_push_count_attempts(struct target_push *push, unsigned made);

/* A part failed: keep the first error and end the others. */
void target_push_part_failed(struct target_push *push, const struct error *err);

/* Events of a layer, named by its id (an empty one has none); see upstream/push/progress.h. */
void target_push_tell_layer(const struct target_push *push, const char *id, const char *status);
void target_push_tell_bytes(const struct target_push *push, const char *id, uint64_t current,
                            uint64_t total);
/* The last words about a layer: "Pushed", "Mounted from R", … */
void target_push_tell_outcome(const struct target_push *push, const char *id,
                              const struct layer_outcome *outcome);
/* A wait for another attempt, in words of upstream/client/retry.h; `id` NULL: of the whole push. */
void target_push_tell_countdown(const struct target_push *push, const char *id, const char *words,
                                const struct registry_wait *wait);

#endif
