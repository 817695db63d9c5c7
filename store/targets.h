/*
 * What is remembered of targets by their names, beyond their pushes: whether an operator has paused
 * one, and when and how it answered last.
 *
 * The name is that of the configuration (mirrors[].to[].name), or "other:HOST" for all targets at a
 * host that clients name. Any thread. Errors: ERR_STORE, ERR_STORE_FULL, ERR_BUSY, ERR_IO.
 */
#ifndef SLIPWAY_STORE_TARGETS_H
#define SLIPWAY_STORE_TARGETS_H

#include "store/push.h"
#include "store/store.h"

/* Times are seconds since the epoch; 0: never. */
struct target_record {
    char name[TARGET_LABEL_MAX + 1];
    uint64_t paused_s;    /* since then, by an operator; 0: it is not */
    uint64_t success_s;   /* an image was confirmed last */
    uint64_t failure_s;   /* a push failed last */
    struct error failure; /* why; code, status and text are kept */
};

/* Write them, in one change, each with what is there of its name replaced. `durable`: on the disk
 * when it returns. */
enum errc targets_put(struct store *store, const struct target_record *records, size_t count,
                      bool durable, struct error *err);
/* One that is not there is success. */
enum errc targets_remove(struct store *store, const char *name, struct error *err);

/* Called with each record, by name; what it gets is borrowed. One that cannot be read is left out,
 * and logged: it keeps nobody from going on. */
typedef void targets_visit(void *self, const struct target_record *record);
enum errc targets_each(struct store *store, targets_visit *visit, void *self, struct error *err);

#endif
