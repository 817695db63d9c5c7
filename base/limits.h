/*
 * Limits on which several rooms have to agree: what one takes, the next has to be able to send or
 * to keep. Limits of one module stand in its header.
 */
#ifndef SLIPWAY_BASE_LIMITS_H
#define SLIPWAY_BASE_LIMITS_H

/* Below the index that is pushed: its members are at depth 1. What is deeper is refused by whatever
 * takes an index in, and by the push. */
#define INDEX_DEPTH_MAX 8

/* Of one push, whether a request or a mirror names them; each once. */
#define TARGETS_MAX 64

/* That one PUT of a manifest gives it; the specification wants 10 at least. */
#define TAGS_MAX 20

/* Where such a PUT goes: each of its tags to each target. */
#define PUSH_TARGETS_MAX (TARGETS_MAX * TAGS_MAX)

/* What goes with one image because it refers to it, or to what does; also what a list of referrers
 * has at a time. */
#define REFERRERS_MAX 1000

#endif
