/*
 * The transfers under way: each brings one blob into one repository at one endpoint with one set of
 * credentials. Pushes that need the same one at the same time share it.
 *
 * A transfer is a work in one of its host's queues (upstream/client/registry_host.h): of small
 * blobs, or of transfers, for a large blob that has to be sent; whether it has to is found out as a
 * small one. It has a thread only while an attempt runs. Up to RETRY_ATTEMPTS attempts are made
 * with waits between them (upstream/client/retry.h), in which it waits for its time, not in the
 * queue. It has copies of all it needs, so that it outlives each single push that waits for it, and
 * owns the unfinished upload that its attempts share, which it ends before anything is told about
 * its end, or, where it was cancelled, after that, so that nobody waits for what the registry says
 * to it. No session stays open but those that are to go on (upload_leave()): of a push that will be
 * tried again
 * (`comes_again`) after trouble that may pass, and, when the process ends (upload_memory_keep()),
 * of what that cancels.
 *
 * Of transfers of one layer into several repositories of an endpoint, one goes first: the others
 * begin when it has ended, and then find a repository to mount from. A first one that has trouble
 * is not waited for.
 *
 * A push waits for a transfer with a struct transfer_wait, which hears of its progress under the
 * push's own target and id, at once of what was told last, and once of its end. A push that is no
 * longer interested leaves. The last one to leave cancels the transfer and hears of its end when
 * that has come. A transfer leaves the table when it ended or was given up: a push that needs the
 * blob from then on begins a new one.
 *
 * Locks: one for the table and all its transfers. Nothing is called under it.
 */
#ifndef SLIPWAY_UPSTREAM_PUSH_TRANSFERS_H
#define SLIPWAY_UPSTREAM_PUSH_TRANSFERS_H

#include "base/executor.h"
#include "upstream/push/layer_push.h"

#include <sys/queue.h>

struct transfers;

/* `ends` is a queue without a limit, for transfers that only have to end. `uploads` keeps sessions.
 * Both are borrowed. */
struct transfers *transfers_new(struct work_queue *ends, struct upload_memory *uploads);
/* Nobody waits for a transfer any more: returns when the sessions of those that were cancelled have
 * been taken back. NULL is a no-op. */
void transfers_close(struct transfers *transfers);
/* No transfer may be under way. */
void transfers_free(struct transfers *transfers);

/* One attempt to bring a blob into the repository of `push`. Called on a worker with the transfer's
 * own push and upload. */
typedef enum errc transfer_attempt(struct target_push *push, const struct push_layer *layer,
                                   struct unfinished_upload *upload, struct layer_outcome *outcome,
                                   struct error *err);

struct transfer_wait {
    struct target_push *push;       /* that waits; borrowed until ended(), as the layer */
    const struct push_layer *layer; /* without an id (a config) nothing is told */
    /* Once, on a worker, or within transfers_leave(). The wait is its owner's from then on. */
    void (*ended)(struct transfer_wait *wait);
    /* What came of it: ERR_OK, and how; ERR_CANCELLED after transfers_leave(). The push of an
     * image that waits longest counts what the transfer did, else who brings the blob ahead of its
     * manifest; for the others the layer existed. */
    struct error error;
    struct layer_outcome outcome;
    unsigned attempts;
    /* the table's */
    struct transfer *transfer;
    TAILQ_ENTRY(transfer_wait) link;
};

/* Bring the blob there, or wait for the transfer that does so already. Never blocks. On success it
 * is in the push state of each push that waited, with the scopes that the registry wanted. What one
 * push takes for a config another one may take for a layer: it is the same transfer, by the first
 * one's attempt. */
void transfers_join(struct transfers *transfers, struct transfer_wait *wait,
                    transfer_attempt *attempt);

/* The push no longer wants to wait: ended() is called at once where others do, and otherwise when
 * the transfer has ended, which is soon. After ended() a no-op. */
void transfers_leave(struct transfers *transfers, struct transfer_wait *wait);

#endif
