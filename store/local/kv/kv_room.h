/*
 * How much room the metadata have: in LMDB's map, which bounds them, and on the disk.
 *
 * The map. From KV_ROOM_LOW percent in use on nothing new should be begun; from KV_ROOM_FULL on,
 * only changes that end and clean may put something. Pages on LMDB's list of free ones are not in
 * use although the file does not shrink, so deleting helps.
 *
 * The disk. LMDB frees pages only by writing others, so where a full disk has none for it not even
 * a collection can make room. kv_room_keep_ahead() has disk given to the file ahead of its last
 * page; when no more can be had and half of it is taken, the rest is for what ends and cleans.
 *
 * Threads: kv_room_used(), kv_room_check_new(): any; the others: the one that commits.
 */
#ifndef SLIPWAY_STORE_LOCAL_KV_KV_ROOM_H
#define SLIPWAY_STORE_LOCAL_KV_KV_ROOM_H

#include "base/error.h"

#include <stdint.h>

#define KV_ROOM_LOW 85
#define KV_ROOM_FULL 90

struct kv_room {
    int fd;              /* the file, opened once more for this; owned; -1: none */
    uint64_t size_bytes; /* of the map; does not change outside of tests */
    _Atomic uint64_t used_bytes;
    uint64_t end_bytes;   /* of the last page that was ever in use */
    uint64_t ahead_bytes; /* 0: no disk is kept ahead */
    uint64_t until_bytes; /* the file has disk as far as this, if some is kept ahead */
};

/* `path` is the folder of the open database. ERR_IO. */
enum errc kv_room_open(struct kv_room *room, const char *path, struct error *err);
void kv_room_close(struct kv_room *room);

/* Keep so much disk ahead from now on, where the file system can. */
void kv_room_keep_ahead(struct kv_room *room, uint64_t bytes);

/* After the last commit. */
uint64_t kv_room_used(const struct kv_room *room);

/* May something new be begun? ERR_STORE_FULL: says how much is in use, and what to do. */
enum errc kv_room_check_new(const struct kv_room *room, struct error *err);
/* May a change put something that is not essential? ERR_STORE_FULL, ERR_NO_SPACE. */
enum errc kv_room_check_put(struct kv_room *room, struct error *err);

/* What LMDB calls EIO may be a write that had room for some of its pages only: then nothing was
 * changed. True when it was that. Waits for the disk. */
bool kv_room_ran_out(const struct kv_room *room);

#endif
