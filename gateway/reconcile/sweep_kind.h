/*
 * Which sweeps there are, and their limits.
 */
#ifndef SLIPWAY_GATEWAY_RECONCILE_SWEEP_KIND_H
#define SLIPWAY_GATEWAY_RECONCILE_SWEEP_KIND_H

#define SWEEP_ASKS_MAX 4     /* requests of one sweep at a time */
#define SWEEP_FAILURES_MAX 5 /* in a row */
#define SWEEP_ITEMS_MAX 1000 /* that are listed; all are counted */

enum sweep_kind { SWEEP_RECONCILE, SWEEP_BACKFILL };

#endif
