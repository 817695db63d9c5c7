/*
 * The transfers under way to one registry host: one blob each, to one repository at one endpoint
 * with one set of credentials. Pushes that need the same one at the same time share it.
 *
 * Who owns what: a transfer is a push of its own in small. It has its own thread, its own stop, its
 * own copies of path, credentials, target and descriptor, and its own counts; nothing in it belongs
 * to one of those who wait for it. They are its watchers: threads of pushes, which sleep in
 * transfers_push() until the transfer has ended or they are stopped. Watchers tell its events
 * themselves, under their own target and id, so a slow receiver holds up nobody but its push, and
 * nothing is told after a watcher has left. Events that follow each other faster than a watcher
 * looks may be left out, the last ones are not.
 *
 * A watcher that is stopped leaves at once (within STOP_POLL_MS). The last one to leave asks the
 * transfer to stop, waits until it has (it takes its upload session back meanwhile), joins its
 * thread and frees it. So a transfer never outlives the pushes it is for, and while a watcher is
 * there the store and the registries are.
 *
 * A transfer leaves the table when it ended or was given up: who comes then begins a new one.
 *
 * Within a transfer: up to RETRY_ATTEMPTS attempts with waits between them
 * (upstream/client/retry.h), each in its turn at the registry's gate ("Waiting" meanwhile). The
 * transfer owns the unfinished upload that they share, so that each goes on where the last one
 * ended, and ends it (upload_give_up()) on its own thread before anybody hears how it went:
 * whatever the end, no session stays open.
 *
 * Locks: one for the table and all its transfers. Nothing is called under it.
 */
#ifndef SLIPWAY_UPSTREAM_PUSH_TRANSFERS_H
#define SLIPWAY_UPSTREAM_PUSH_TRANSFERS_H

#include "upstream/push/layer_push.h"

struct transfers;

struct transfers *transfers_new(void);
/* No transfer may be under way. */
void transfers_free(struct transfers *transfers);

/* One attempt to bring a blob into the repository of `push`; it counts a layer before it tells its
 * last words. Called on the transfer's thread with the transfer's push and upload. */
typedef enum errc transfer_attempt(struct target_push *push, const struct push_layer *layer,
                                   struct unfinished_upload *upload, struct error *err);

/*
 * Bring the blob of `layer` into the repository of `push`, or wait for the transfer that does so
 * already. Blocks. On success the blob is in the push state, and the result of `push` has counted:
 * the watcher that has waited longest counts what the transfer did (mounted, uploaded, its bytes),
 * the others count that the layer existed and are told "Layer already exists". The attempts count
 * for all. Errors: ERR_CANCELLED when `push` is stopped; those of the last attempt, to each.
 *
 * Without an id in `layer` (a config) nothing is told and only bytes and attempts are counted. What
 * one takes for a config another one may take for a layer; it is the same transfer, by the attempt
 * of whoever came first.
 */
enum errc transfers_push(struct target_push *push, const struct push_layer *layer,
                         transfer_attempt *attempt, struct error *err);

#endif
