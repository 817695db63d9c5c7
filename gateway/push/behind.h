/*
 * Pushes that were promised and are made behind the answer: those of store/pushes.h. Each runs
 * until all its targets have ended; then its record goes. When slipway starts, all records that are
 * there start again.
 *
 * Order. Pushes to one repository of a registry run one after another, oldest first, so that of two
 * images pushed to one tag the younger one stays; those to different repositories run at once, at
 * most limits.pushes_per_registry to each registry, so that none delays another. A target that a
 * younger push overwrites (same tag) is left out, also one that was to be tried again.
 *
 * A target that fails for good (the registry refuses) is logged and has ended; one that fails
 * because its registry is away keeps the record, and is tried again at the next start.
 *
 * Any other failure of the store or of slipway itself (a disk that is full, credentials that cannot
 * be read) keeps it, too.
 *
 * Lifecycle: behind_new, behind_restart once, behind_start from any thread, behind_close (takes no
 * more, cancels what runs, keeps the records), behind_free.
 */
#ifndef SLIPWAY_GATEWAY_PUSH_BEHIND_H
#define SLIPWAY_GATEWAY_PUSH_BEHIND_H

#include "gateway/push/engine.h"
#include "store/pushes.h"
#include "upstream/push/ahead.h"

struct behind;

struct behind *behind_new(struct engine *engine, struct ahead *ahead);
void behind_close(struct behind *behind);
/* After behind_close(). True when nothing runs any more; waits for it at most `ms`. */
bool behind_wait(struct behind *behind, int64_t ms);
void behind_free(struct behind *behind);

/* Start every record of the store. */
enum errc behind_restart(struct behind *behind, struct error *err);

/* Start one whose record is in the store; copied. Never waits for a registry. */
void behind_start(struct behind *behind, const struct push_record *record);

/* The target was given an image in another way: what waits for the same tag of the same repository
 * is older, and is left out. */
void behind_overtaken(struct behind *behind, const struct reference *target);

#endif
