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

/* What goes with one image because it refers to it, or to what does; also what a list of referrers
 * has at a time. */
#define REFERRERS_MAX 1000

#endif
