/*
 * The order in which pushes behind the answer are made (gateway/push/behind.h): each target of a
 * record is an errand, the errands to one repository wait in one lane, and the lanes of one
 * registry take turns.
 *
 * Data only: no thread, no lock, no I/O. Everything here is guarded by the lock of its owner.
 */
#ifndef SLIPWAY_GATEWAY_PUSH_BEHIND_LANES_H
#define SLIPWAY_GATEWAY_PUSH_BEHIND_LANES_H

#include "store/pushes.h"

/* A record that has targets left. */
struct promise {
    struct promise *next;
    struct push_record record; /* owned */
    size_t open;               /* errands: waiting, parked or taken */
    bool changed;              /* the store has not got its last state */
    bool writing;              /* some thread is giving it to the store */
};

struct lane;

/* One target of one promise. */
struct errand {
    struct errand *next;
    struct lane *lane;
    struct promise *promise;
    size_t target;
    bool left_out; /* the repository has, or gets, a younger image under this tag */
};

/* A registry. Those that were met stay: configurations name few. */
struct lane_host {
    struct lane_host *next;
    struct lanes *lanes;
    char name[REFERENCE_NAME_MAX + 1];
    struct lane *ready; /* its lanes with something to do, first come first served */
    struct lane **ready_end;
    size_t ready_count;
    unsigned threads; /* that serve it */
    unsigned taken;   /* errands that threads are about */
};

struct lanes {
    struct promise *promises;
    struct lane *all;
    struct lane_host *hosts;
};

void lanes_deinit(struct lanes *lanes);

/* The record is copied. Makes an errand of each target that waits; older ones to the same tag are
 * left out. promise->open may be 0: then nothing is to be done. */
struct promise *lanes_add(struct lanes *lanes, const struct push_record *record);

/* What waits for this tag is left out: those whose id is below `id`, all when it is NULL. */
void lanes_overtake(struct lanes *lanes, const struct reference *target, const char *id);

/* A host with more to do than its threads do, of which it may have `most`; the caller counts the
 * thread that it starts. NULL when there is none. */
struct lane_host *lanes_short_of_threads(struct lanes *lanes, unsigned most);

/* The next errand, the caller's until lanes_end() or lanes_park(); NULL when none waits whose lane
 * is free. */
struct errand *lanes_take(struct lane_host *host);

/* The errand has come to its end: the promise has the state, the errand is freed. */
void lanes_end(struct errand *errand, enum push_record_state state);

/* It is kept, neither taken again nor ended, unless a younger one waits for its tag: then it ends.
 * True when it was kept. */
bool lanes_park(struct errand *errand);

/* Free a promise without errands. */
void lanes_drop(struct lanes *lanes, struct promise *promise);

/* A deep copy; push_record_deinit(). */
void push_record_copy(const struct push_record *from, struct push_record *to);

const struct push_record_target *errand_target(const struct errand *errand);

#endif
