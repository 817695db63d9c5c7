/*
 * The attempts of one part of a push (a transfer, the manifest, the first request), by the rules of
 * upstream/client/retry.h with the gate, the base wait and the stop of that push.
 */
#ifndef SLIPWAY_UPSTREAM_PUSH_PUSH_RETRY_H
#define SLIPWAY_UPSTREAM_PUSH_PUSH_RETRY_H

#include "upstream/client/retry.h"
#include "upstream/push/push_state.h"

struct push_work {
    const char *what; /* as in struct retry, borrowed like the rest */
    enum errc (*attempt)(void *self, struct error *err);
    bool (*helps)(void *self, const struct error *err);
    void (*tell)(void *self, const char *words);
    void *self;
};

/* As retry_run(); the attempts are counted in the result of `push`. */
enum errc push_retry(struct target_push *push, const struct push_work *work, struct error *err);

/* `made` attempts were needed for a part of this push: the result keeps the most. */
void push_count_attempts(struct target_push *push, unsigned made);

#endif
