/*
 * What has to be done now and then while a gateway runs, at start and at least every half minute:
 * upload sessions whose clients did not come back are ended (store/blob_upload.h), connections to
 * registries that were idle for TRANSPORT_IDLE_MS are closed (net/transport.h), registry hosts that
 * nobody needs are forgotten when there are many (upstream/client/registries.h), pushes whose time
 * is over end and old ones are forgotten (gateway/queue/push_queue.h), records that could not be
 * read are moved away (store/quarantine.h), leases are written, and, each keep.every, what nobody
 * needs is collected (store/collect.h).
 *
 * A thread of its own, which may block on the disk. Lifecycle: janitor_start, janitor_stop.
 */
#ifndef SLIPWAY_GATEWAY_SERVICE_JANITOR_H
#define SLIPWAY_GATEWAY_SERVICE_JANITOR_H

#include "gateway/queue/push_queue.h"

struct janitor;

/* Upload sessions are looked for at least four times in the time that they wait for their client
 * (limits.upload_session). Borrowed until janitor_stop(). ERR_IO. */
enum errc janitor_start(struct runtime *runtime, struct push_queue *queue, struct janitor **out,
                        struct error *err);
/* Returns when the thread has ended. NULL is a no-op. */
void janitor_stop(struct janitor *janitor);

#endif
