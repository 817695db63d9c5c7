/*
 * What a push tells while it runs: the words every Docker user knows.
 *
 * One event is one change of one thing: a layer (`id` = first 12 hex of its diffID), or the push to
 * a target as a whole (`id` is NULL). The receiver gets them from several threads at once and must
 * neither block for long nor call back into the push. Strings are borrowed for the call.
 */
#ifndef SLIPWAY_UPSTREAM_PUSH_PROGRESS_H
#define SLIPWAY_UPSTREAM_PUSH_PROGRESS_H

#include "upstream/client/registry_wait.h"

#include <stdint.h>

enum progress_kind {
    PROGRESS_MESSAGE, /* status is a line about the target: "The push refers to repository [N]" */
    PROGRESS_STATUS,  /* status of layer id: "Preparing", "Waiting", "Layer already exists", ... */
    PROGRESS_COUNTDOWN, /* "Retrying in N seconds", of layer id, or of the target when id is NULL */
    PROGRESS_BYTES,     /* "Pushing": current of total bytes of layer id; throttled by the sender */
};

struct progress_event {
    enum progress_kind kind;
    const char *target; /* normalised reference */
    const char *id;
    const char *status;
    uint64_t current;
    uint64_t total;
    const struct registry_wait *wait; /* what a countdown waits for; NULL: nothing that is known */
};

struct progress {
    void (*emit)(void *self, const struct progress_event *event); /* NULL: nobody listens */
    void *self;
};

static inline void progress_emit(const struct progress *progress,
                                 const struct progress_event *event)
{
    if (progress && progress->emit)
        progress->emit(progress->self, event);
}

#endif
