/*
 * Can the store take what it is given? Whoever cannot write something tells it here, and it is
 * known at once: a store is refusing from the first write that its disk or its metadata had no room
 * for, until a probe went well; broken when the disk did not take what had to be on it (ERR_SYNC).
 * Of a broken store nobody knows what the disk holds: every later change is refused, and only
 * opening it again, in another process, can help.
 *
 * Before that a store is low: less is free on its file system than is to be kept back
 * (store_options), or its metadata have taken most of what they can, so that what was promised can
 * be finished. Whoever is about to receive a body
 * asks store_check_room(), and bodies that grow are looked at now and then; everything else goes
 * on.
 *
 * Threads: any. Beside store_probe() nothing here blocks on the disk.
 */
#ifndef SLIPWAY_STORE_HEALTH_H
#define SLIPWAY_STORE_HEALTH_H

#include "store/store.h"

#include <stdint.h>

enum store_health { STORE_WELL, STORE_LOW, STORE_REFUSING, STORE_BROKEN };

/* *why, which may be NULL, is untouched when it is well. */
enum store_health store_health(struct store *store, struct error *why);

/* Wait at most `ms` until its health was not what it was after the first `seen` changes, or
 * store_health_wake(); returns how many changes there were. */
uint64_t store_health_wait(struct store *store, uint64_t seen, int64_t ms);
void store_health_wake(struct store *store);

struct store_room {
    bool known;          /* the file system says what is free */
    uint64_t free_bytes; /* of it */
    uint64_t kept_bytes; /* with less than that free it is low */
    uint64_t metadata_bytes;
    uint64_t metadata_most_bytes; /* that they can take */
};
/* Does not wait for the disk. */
struct store_room store_room(struct store *store);

/* ERR_NO_SPACE when less is free than is kept back, ERR_STORE_FULL when the metadata have taken
 * most of what they can; says how much of what. Does not wait for the disk. */
enum errc store_check_room(struct store *store, struct error *err);

/* A disk without any room is seen without writing to it: then a probe is worth its while. */
bool store_looks_full(struct store *store);

/* Write a mebibyte and a record, and wait for the disk: store_health() is what came of it, unless
 * the store is broken. ERR_NO_SPACE, ERR_STORE_FULL, ERR_SYNC, ERR_IO. */
enum errc store_probe(struct store *store, struct error *err);

#endif
