/*
 * What has to be done now and then while a gateway runs, at start and at least every half minute:
 * upload sessions whose clients did not come back are ended (store/blob_upload.h), connections to
 * registries that were idle for TRANSPORT_IDLE_MS are closed (net/transport.h), registry hosts that
 * nobody needs are forgotten when there are many (upstream/client/registries.h).
 *
 * A thread of its own, which may block on the disk. Lifecycle: janitor_start, janitor_stop.
 */
#ifndef SLIPWAY_GATEWAY_SERVICE_JANITOR_H
#define SLIPWAY_GATEWAY_SERVICE_JANITOR_H

#include "store/store.h"
#include "upstream/client/registries.h"

#include <stdint.h>

struct janitor;

/* `upload_idle_ms`: how long a session waits for its client; it is looked for at least four times
 * in that time. Store and registries are borrowed until janitor_stop(). ERR_IO. */
enum errc janitor_start(struct store *store, struct registries *registries, int64_t upload_idle_ms,
                        struct janitor **out, struct error *err);
/* Returns when the thread has ended. NULL is a no-op. */
void janitor_stop(struct janitor *janitor);

#endif
