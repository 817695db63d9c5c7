/*
 * The places of a class of jobs by client: who holds how many, who wants one, and to whom they go.
 * A client is an address, or what stands in its place where it is known who it is
 * (gateway/http/peer.h).
 *
 * Work-conserving: one address may hold all places as long as nobody else wants one. When others
 * want some:
 * - a free place goes to the address that holds fewest;
 * - an address that holds more than half of the places has to give one up for one that holds less
 *   and has got none for a while (the owner of the jobs ends one).
 *
 * Whoever waits in a queue wants a place, and so does for PLACES_REFUSED_MS who was refused for
 * want of one: it is told to try again.
 *
 * Threads: none of its own; the owner's lock guards it. Times are clock_ms(). Addresses that were
 * refused are at most PLACES_REFUSED_MAX; those that hold or wait are as many as the owner lets in.
 */
#ifndef SLIPWAY_GATEWAY_HTTP_PLACES_H
#define SLIPWAY_GATEWAY_HTTP_PLACES_H

#include "base/net.h"

#include <sys/queue.h>

/* Three times the Retry-After of a refusal. */
#define PLACES_REFUSED_MS 15000
#define PLACES_REFUSED_MAX 1024

/* One address. */
struct place_holder {
    TAILQ_ENTRY(place_holder) link;
    struct net_address address;
    unsigned held;
    unsigned waiting;
    int64_t refused_ms; /* the last time; 0: never, or it was let in since */
    int64_t wants_ms;   /* wants a place since then without having got one; 0: it wants none */
};

struct places {
    TAILQ_HEAD(place_holders, place_holder) holders;
    unsigned limit;
    unsigned held;
    unsigned refused; /* holders that are there for a refusal */
};

void places_init(struct places *places, unsigned limit); /* at least one */
void places_deinit(struct places *places);

void places_take(struct places *places, const struct net_address *address, int64_t now_ms);
void places_give_back(struct places *places, const struct net_address *address);
void places_wait(struct places *places, const struct net_address *address, int64_t now_ms);
void places_wait_no_more(struct places *places, const struct net_address *address);
void places_refuse(struct places *places, const struct net_address *address, int64_t now_ms);

/* Held by this address. */
unsigned places_of(const struct places *places, const struct net_address *address);

/* A place is free, and no other address that waits holds fewer. */
bool places_turn_of(const struct places *places, const struct net_address *address);

/* There is a place for this address: one is free that is not kept for an address which was refused
 * and holds fewer. */
bool places_free_for(const struct places *places, const struct net_address *address);

/* Forget refusals that are long past. How many places are wanted: by each that waits, and one by
 * each address that was refused. */
unsigned places_wanted(struct places *places, int64_t now_ms);

/* The address that has wanted a place for longest without getting one, if another one holds more
 * than half of them, which is *from; NULL when there is none. */
struct place_holder *places_starved(struct places *places, const struct place_holder **from);

#endif
