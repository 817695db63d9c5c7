/*
 * What was accepted last for each tag of one target, as the records of pushes say, and pushes that
 * have none yet; what the history has forgotten is not known. About 250 bytes a tag.
 *
 * One owner. Beside a store that cannot be read nothing fails.
 */
#ifndef SLIPWAY_GATEWAY_RECONCILE_INTENTS_H
#define SLIPWAY_GATEWAY_RECONCILE_INTENTS_H

#include "image/digest_map.h"
#include "store/pushes.h"

/* The youngest push to a tag. */
struct intent {
    char id[PUSH_ID_MAX];
    enum push_state state; /* of its target there */
    struct digest manifest;
    bool visited; /* the owner's */
};

/* Zeroed but for the name, it knows nothing. */
struct intents {
    const char *target;   /* its name in the configuration; borrowed */
    struct intent *items; /* owned */
    size_t count;
    size_t capacity;
    struct digest_map references; /* number: the position in `items` */
    char youngest[PUSH_ID_MAX];   /* that was looked at */
};
void intents_deinit(struct intents *intents);

/* Learn of a push, in any order. */
void intents_learn(struct intents *intents, const struct push *push);
/* Learn what was recorded since the last call; at first, all. A record may be written after that of
 * a younger push: until then the push is to be learned otherwise. */
enum errc intents_refresh(struct intents *intents, struct store *store, struct error *err);

/* Is the target meant, with a tag that is one image's at a time? */
bool intents_count(const struct intents *intents, const struct push_target *target);

/* NULL: nothing is known. Borrowed until the next call that adds some. */
struct intent *intents_find(const struct intents *intents, const struct reference *reference);
/* The same, but one that is not known is added, without an id. */
struct intent *intents_take(struct intents *intents, const struct reference *reference);

#endif
