#include "store/health.h"

#include "base/mem.h"
#include "store/local/internal.h"
#include "store/local/kv/kv_room.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/statvfs.h>

#define KEEP_FREE_MOST_BYTES ((uint64_t)1 << 30)
#define KEEP_FREE_PART 20
#define KEEP_AHEAD_BYTES ((uint64_t)8 << 20)
#define ROOM_STEP_BYTES ((uint64_t)8 << 20)
#define PROBE_NAME "probe"
#define PROBE_BYTES ((size_t)1 << 20)

enum store_health store_health(struct store *store, struct error *why)
{
    struct error low = ERROR_INIT;
    switch (fault_now(&store->fault, why)) {
    case FAULT_PASSES:
        return STORE_REFUSING;
    case FAULT_STAYS:
        return STORE_BROKEN;
    case FAULT_NONE:
        break;
    }
    if (store_check_room(store, &low) == ERR_OK)
        return STORE_WELL;
    if (why != NULL)
        *why = low;
    return STORE_LOW;
}

/* ---- room ---- */

static uint64_t kept_back(const struct store *store, const struct statvfs *disk)
{
    uint64_t part = disk->f_blocks * disk->f_frsize / KEEP_FREE_PART;
    uint64_t wanted = store->keep_free_bytes;
    if (wanted != STORE_KEEP_FREE_DEFAULT)
        return wanted;
    return part < KEEP_FREE_MOST_BYTES ? part : KEEP_FREE_MOST_BYTES;
}

struct store_room store_room(struct store *store)
{
    const struct kv_room *metadata = kv_room(store->kv);
    struct store_room room = {.metadata_bytes = kv_room_used(metadata),
                              .metadata_most_bytes = metadata->size_bytes};
    struct statvfs disk;
    if (fstatvfs(store->blobs_fd, &disk) == 0 && disk.f_blocks > 0) {
        room.known = true;
        room.free_bytes = (uint64_t)disk.f_bavail * disk.f_frsize;
        room.kept_bytes = kept_back(store, &disk);
    }
    return room;
}

void store_keep_ahead(struct store *store)
{
    uint64_t bytes = store_room(store).kept_bytes;
    kv_room_keep_ahead(kv_room(store->kv), bytes < KEEP_AHEAD_BYTES ? bytes : KEEP_AHEAD_BYTES);
}

enum errc store_check_room(struct store *store, struct error *err)
{
    const struct store_room room = store_room(store);
    if (room.known && room.free_bytes < room.kept_bytes)
        return fail(err, ERR_NO_SPACE, 0,
                    "the file system of the data folder has %" PRIu64 " KiB free, and %" PRIu64
                    " KiB are kept back for what was promised (limits.free_space): make room "
                    "there, or lower that limit",
                    room.free_bytes >> 10, room.kept_bytes >> 10);
    return kv_room_check_new(kv_room(store->kv), err);
}

enum errc store_check_room_at(struct store *store, uint64_t before, size_t size, struct error *err)
{
    if ((before + size) / ROOM_STEP_BYTES == before / ROOM_STEP_BYTES)
        return ERR_OK;
    return store_check_room(store, err);
}

/* ---- faults ---- */

uint64_t store_health_wait(struct store *store, uint64_t seen, int64_t ms)
{
    return fault_wait(&store->fault, seen, ms);
}

void store_health_wake(struct store *store)
{
    fault_wake(&store->fault);
}

/* A file that is too large for the process's own limit says nothing of the disk. */
static bool is_of_the_disk(const struct error *err)
{
    if (err->code == ERR_NO_SPACE)
        return err->sys != EFBIG;
    return err->code == ERR_IO && (err->sys == EIO || err->sys == EROFS || err->sys == ENODEV);
}

enum errc store_tell(struct store *store, struct error *err)
{
    if (err->code == ERR_NO_SPACE && err->sys == ENOSPC)
        file_add_room(store->blobs_fd, "the data folder", err);
    if (err->code == ERR_SYNC)
        fault_set(&store->fault, FAULT_STAYS, err);
    else if (is_of_the_disk(err))
        fault_set(&store->fault, FAULT_PASSES, err);
    return err->code;
}

bool store_looks_full(struct store *store)
{
    uint64_t free_bytes = 0;
    return file_free_bytes(store->blobs_fd, &free_bytes) && free_bytes == 0;
}

/* Bytes that are not all alike, so that no file system keeps them without taking room. */
static enum errc write_probe(int fd, struct error *err)
{
    autofree uint8_t *bytes = xmalloc(PROBE_BYTES);
    uint32_t chance = 2463534242;
    for (size_t i = 0; i < PROBE_BYTES; i++) {
        chance ^= chance << 13;
        chance ^= chance >> 17;
        chance ^= chance << 5;
        bytes[i] = (uint8_t)chance;
    }
    if (file_write_all(fd, bytes, PROBE_BYTES, err) != ERR_OK)
        return err->code;
    return file_sync(fd, "a probe", err);
}

static enum errc probe_files(struct store *store, struct error *err)
{
    autofd int fd =
        openat(store->staging_fd, PROBE_NAME, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return fail(err, ERR_IO, errno, "create a file in the data folder");
    enum errc rc = write_probe(fd, err);
    unlinkat(store->staging_fd, PROBE_NAME, 0);
    return rc;
}

/* Another value each time, so that there is a page to be written. */
static enum errc probe_records(struct store *store, struct error *err)
{
    uint64_t number = atomic_fetch_add(&store->next_batch, 1);
    autochange struct change change;
    change_init(&change);
    change.durable = true;
    struct record_key key = probe_key();
    change_put(&change, KV_META, record_key_slice(&key),
               (struct kv_slice){.data = &number, .size = sizeof number});
    return writer_submit(store->writer, &change, err);
}

enum errc store_probe(struct store *store, struct error *err)
{
    if (probe_files(store, err) != ERR_OK) {
        error_wrap(err, "try to write to the data folder %s", store->path);
        fault_set(&store->fault, err->code == ERR_SYNC ? FAULT_STAYS : FAULT_PASSES, err);
        return err->code;
    }
    if (probe_records(store, err) != ERR_OK)
        return err->code;
    fault_clear(&store->fault);
    return ERR_OK;
}
