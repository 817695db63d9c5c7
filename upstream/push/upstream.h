/*
 * The registries' side of a process as one value: where images leave from (the store), the
 * registries they leave for, the transfers under way, and the executor on which all of it runs.
 *
 * Lifecycle: upstream_new, pushes from any thread, upstream_free when none runs any more.
 */
#ifndef SLIPWAY_UPSTREAM_PUSH_UPSTREAM_H
#define SLIPWAY_UPSTREAM_PUSH_UPSTREAM_H

#include "base/cancel.h"
#include "base/executor.h"
#include "store/store.h"
#include "upstream/client/registries.h"
#include "upstream/client/tag_ask.h"
#include "upstream/push/repository_memory.h"

#define UPSTREAM_TRANSFERS_MAX 128 /* default of `transfers` */

struct upstream {
    struct store *store;
    struct executor *executor;
    struct registries *registries;
    struct work_group *group;      /* transfers and requests, over all registries */
    struct work_queue *ends;       /* what only has to end: without a limit */
    struct upload_memory *uploads; /* upload sessions that outlive the process */
    struct transfers *transfers;
    struct tag_asks *tag_asks;        /* what registries have under their tags */
    struct repository_memory *memory; /* what is known of repositories */
};

struct upstream_options {
    struct store *store; /* borrowed, as the executor */
    struct executor *executor;
    unsigned transfers; /* transfers and requests under way over all registries; 0: default */
    struct registries_options registries; /* its store, executor and group are filled in */
};

/* Errors: those of registries_new(). */
enum errc upstream_new(const struct upstream_options *options, struct upstream **out,
                       struct error *err);
void upstream_free(struct upstream *upstream); /* NULL is a no-op */

#endif
