/*
 * Blobs sent ahead of their manifest: when a client pushes an image into a repository whose targets
 * are certain, each blob leaves for them as soon as it is in, and the push of the manifest waits
 * only for what is left.
 *
 * A blob goes by the same transfers as in a push (upstream/push/transfers.h), so a push that needs
 * it meanwhile joins the transfer, with its attempts and its place at the registry's gate. What was
 * brought there is remembered for each target repository for AHEAD_MEMORY_S, and pushes to it use
 * that memory (push_request.known). Nothing that fails here fails a push: it begins without what is
 * missing, and tells the reason if it cannot be mended.
 *
 * Work is queued for each registry host by itself, so that a slow one delays no other; threads are
 * made as needed, at most the host's limit on transfers, and end when their queue is empty. At most
 * AHEAD_QUEUE_MAX blobs wait for one host; more are not sent ahead, which costs only time. A
 * registry that is not known yet is greeted once; where none can be reached, what waits for it is
 * not sent ahead either.
 *
 * A blob has no diffID here, unless one is known from earlier pushes; else it is remembered as seen
 * under its own digest (store/associations.h), and a push that needs it adds its diffID.
 *
 * Threads: any. One lock guards queues and counts; nothing is called under it.
 *
 * Lifecycle: ahead_new, ahead_send from any thread, ahead_close (cancels and waits), ahead_free.
 */
#ifndef SLIPWAY_UPSTREAM_PUSH_AHEAD_H
#define SLIPWAY_UPSTREAM_PUSH_AHEAD_H

#include "image/descriptor.h"
#include "image/reference.h"
#include "store/store.h"
#include "upstream/client/registries.h"
#include "upstream/push/known_blobs.h"

#define AHEAD_QUEUE_MAX 4096
#define AHEAD_MEMORY_S 600

struct ahead;

/* Both are borrowed until ahead_free(). */
struct ahead *ahead_new(struct store *store, struct registries *registries);
/* Nothing is taken any more; what runs is cancelled; returns when it has ended. */
void ahead_close(struct ahead *ahead);
void ahead_free(struct ahead *ahead);

/* Bring the blob (held by the store; its media type need not be known) into the repository of
 * `target`, whose tag and digest do not matter. Never blocks. */
void ahead_send(struct ahead *ahead, const struct reference *target, const struct descriptor *blob);

/* What is known to be in the repository of `target`: for push_request.known. Held by the caller
 * until ahead_release(). */
struct known_blobs *ahead_known(struct ahead *ahead, const struct reference *target);
void ahead_release(struct ahead *ahead, struct known_blobs *known);

/* The memory of this repository was wrong (a push failed that relied on it): forget it. */
void ahead_forget(struct ahead *ahead, const struct reference *target);

#endif
