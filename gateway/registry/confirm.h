/*
 * Do the targets of a repository have what its tag names here? Asked before a client is told by
 * HEAD that a tag is there: clients that find it (crane, regctl) push nothing.
 *
 * What a push to a target came to, or the target was found to have, is believed for
 * mirrors[].confirm (gateway/registry/last_word.h). After that, and where nothing is known, the
 * required targets are asked (upstream/client/tag_ask.h). What a target does not have is queued
 * again, as a push after the answer, with what refers to it; what a push of has failed for good is
 * queued again after 1, 2, 4 … times that time, whatever the target says. A target that cannot be
 * reached, or is waited for by the queue, is not asked, and changes nothing.
 *
 * Those who ask for one tag at one time share the questions and the push. Nothing of it is a
 * thread while it waits: for answers at most TAG_ASK_MS, for a push at most CONFIRM_DELIVERY_MS.
 * The push goes on, whoever goes away.
 *
 * Words of the last CONFIRM_RESTORED pushes are read from their records at the start.
 *
 * Lifecycle: confirms_new after push_queue_new and before a push; confirms_close; confirms_free
 * after push_queue_wait and before push_queue_free. Any thread; one lock inside, with which the
 * queue's may be taken.
 */
#ifndef SLIPWAY_GATEWAY_REGISTRY_CONFIRM_H
#define SLIPWAY_GATEWAY_REGISTRY_CONFIRM_H

#include "gateway/push/mirrors.h"
#include "gateway/queue/push_queue.h"
#include "store/repositories.h"

#include <sys/queue.h>

#define CONFIRM_DELIVERY_MS 20000
#define CONFIRM_RESTORED 1024
#define CONFIRMS_MAX 256 /* that nobody waits for: one more is left out, until the next HEAD */

struct confirms;

struct confirms *confirms_new(struct runtime *runtime, struct push_queue *queue);
/* Nobody waits any more: who does gets ERR_STOPPING. */
void confirms_close(struct confirms *confirms); /* NULL is a no-op, as of the next */
void confirms_free(struct confirms *confirms);

/* Borrowed for the call. */
struct confirm_question {
    const char *repository;
    const char *tag;
    const struct repository_manifest *manifest; /* that the tag names */
    const struct mirror_route *route;
};

/* There is something to be asked. Never blocks. */
bool confirm_is_due(struct confirms *confirms, const struct confirm_question *question);

/* Who waits; ended() is called once, on any thread. ERR_OK: no target is known to lack it.
 * ERR_MANIFEST_NOT_HELD: one does, and cannot be given it now. ERR_STOPPING; the store's own. */
struct confirm_waiter {
    void (*ended)(struct confirm_waiter *waiter, const struct error *err);
    TAILQ_ENTRY(confirm_waiter) link;
};

/* Ask what is due. `waiter` may be NULL. Never blocks. */
void confirm_begin(struct confirms *confirms, const struct confirm_question *question,
                   struct confirm_waiter *waiter);

#endif
