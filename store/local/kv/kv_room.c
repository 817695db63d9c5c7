#include "store/local/kv/kv_room.h"

#include "base/file.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>

/* The most that LMDB writes at once: MDB_COMMIT_PAGES of the largest page that it takes by itself.
 */
#define WRITE_MOST_BYTES ((uint64_t)64 * 32768)

enum errc kv_room_open(struct kv_room *room, const char *path, struct error *err)
{
    autofree char *name = xasprintf("%s/data.mdb", path);
    room->fd = open(name, O_RDWR | O_CLOEXEC);
    return room->fd >= 0 ? ERR_OK : fail(err, ERR_IO, errno, "open %s", name);
}

void kv_room_close(struct kv_room *room)
{
    file_close_at(&room->fd);
    room->fd = -1;
}

uint64_t kv_room_used(const struct kv_room *room)
{
    return atomic_load(&room->used_bytes);
}

/* ---- the map ---- */

static enum errc check_map(const struct kv_room *room, unsigned percent, struct error *err)
{
    uint64_t used = kv_room_used(room);
    if (used <= room->size_bytes / 100 * percent)
        return ERR_OK;
    return fail(err, ERR_STORE_FULL, 0,
                "the metadata take %" PRIu64 " KiB of the %" PRIu64
                " KiB that they may (store.map), and what is over %u %% of that is kept back for "
                "what was promised: collect what nobody needs (slipway gc), or raise store.map and "
                "start again",
                used >> 10, room->size_bytes >> 10, percent);
}

enum errc kv_room_check_new(const struct kv_room *room, struct error *err)
{
    return check_map(room, KV_ROOM_LOW, err);
}

/* ---- the disk ---- */

/* No more can be had is the one failure; a file system that knows no such thing has nothing kept.
 */
static enum errc extend(struct kv_room *room, struct error *err)
{
    if (room->ahead_bytes == 0 || room->until_bytes >= room->end_bytes + room->ahead_bytes / 2)
        return ERR_OK;
    if (fallocate(room->fd, FALLOC_FL_KEEP_SIZE, (off_t)room->end_bytes,
                  (off_t)room->ahead_bytes) == 0) {
        room->until_bytes = room->end_bytes + room->ahead_bytes;
        return ERR_OK;
    }
    if (errno == ENOSPC || errno == EDQUOT) {
        fail(err, ERR_NO_SPACE, errno, "keep %" PRIu64 " KiB for the metadata",
             room->ahead_bytes >> 10);
        file_add_room(room->fd, "the metadata", err);
    } else if (errno != EINTR) {
        room->ahead_bytes = 0;
    }
    return err->code;
}

void kv_room_keep_ahead(struct kv_room *room, uint64_t bytes)
{
    struct error none = ERROR_INIT;
    room->ahead_bytes = bytes;
    extend(room, &none);
}

enum errc kv_room_check_put(struct kv_room *room, struct error *err)
{
    if (check_map(room, KV_ROOM_FULL, err) != ERR_OK)
        return err->code;
    return extend(room, err);
}

/* The kernel tells once to each that has a file open that writing it back has failed: if that is
 * what LMDB met, it is told here, too. */
bool kv_room_ran_out(const struct kv_room *room)
{
    uint64_t free_bytes = 0;
    return file_free_bytes(room->fd, &free_bytes) && free_bytes < WRITE_MOST_BYTES &&
           fdatasync(room->fd) == 0;
}
