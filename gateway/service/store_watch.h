/*
 * Looks after the store's health (store/health.h) while a gateway runs, and is who tells of it:
 *
 * - when the store begins to refuse writes it says so, once, and again every minute as long as that
 *   lasts; every STORE_WATCH_PROBE_MS it tries to write, and says when it went well again;
 * - when the store is low it says so, once and at most once a minute, and when it is not any more;
 * - when no room at all is left on the disk it tries before anybody else does;
 * - when the store is broken it says so and calls `broken`, once: the process has to end.
 *
 * A thread of its own, which may block on the disk. Lifecycle: store_watch_start, store_watch_stop.
 */
#ifndef SLIPWAY_GATEWAY_SERVICE_STORE_WATCH_H
#define SLIPWAY_GATEWAY_SERVICE_STORE_WATCH_H

#include "store/health.h"

#define STORE_WATCH_PROBE_MS 2000
#define STORE_WATCH_REMIND_MS 60000

struct store_watch;

/* The store is borrowed until store_watch_stop(). `broken` is called from the thread, and must not
 * wait for store_watch_stop(). ERR_IO. */
enum errc store_watch_start(struct store *store, void (*broken)(void), struct store_watch **out,
                            struct error *err);
/* Returns when the thread has ended. NULL is a no-op. */
void store_watch_stop(struct store_watch *watch);

#endif
