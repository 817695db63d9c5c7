/*
 * The tags that should be at a target, one after the other: first those of the repositories of the
 * front that its mirror leads there, as they are now; then what was pushed there last in other
 * ways, as far as the history has it. Where both name a tag, what was accepted last counts.
 *
 * Nothing is held in between: some hundred tags are read at a time. Lists of referrers are left
 * out: a registry has those of everybody under one tag.
 *
 * One thread at a time.
 */
#ifndef SLIPWAY_GATEWAY_RECONCILE_EXPECTED_H
#define SLIPWAY_GATEWAY_RECONCILE_EXPECTED_H

#include "config/settings_types.h"
#include "gateway/queue/push_queue.h"
#include "gateway/reconcile/intents.h"
#include "store/repositories.h"

struct expected_tag {
    struct reference reference; /* at the target */
    struct digest digest;
    char repository[REPOSITORY_NAME_MAX + 1]; /* of the front; "": `push` was the last */
    char push[PUSH_ID_MAX];
    bool pushed;  /* this very digest was pushed there last */
    bool pending; /* something is on its way there, or waits to be */
};

struct expected;

/* `target` is a name of the configuration; `match` a pattern of repositories of the front, to which
 * the walk is bounded then; NULL: all, and what came in other ways. Borrowed, as all others. */
struct expected *expected_new(struct store *store, struct push_queue *queue,
                              const struct settings *settings, const char *target,
                              const char *match);
void expected_free(struct expected *expected); /* NULL is a no-op */

/* An id that is younger than all that the walk knew of when it gave the last tag. */
const char *expected_as_of(const struct expected *expected);

/* *more false: there are no others. Errors of the store. */
enum errc expected_next(struct expected *expected, struct expected_tag *out, bool *more,
                        struct error *err);

#endif
