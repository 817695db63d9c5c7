#include "base/mem.h"
#include "store/local/blob_files.h"
#include "store/local/internal.h"
#include "store/local/records_repositories.h"
#include "store/store.h"

#include <errno.h>

struct copy {
    struct digest digest;
    struct blob_record record;
};

/* What may go, and how much is there in all. */
struct copies {
    struct copy *items; /* owned */
    size_t count;
    size_t capacity;
    uint64_t bytes;
};

/* One reading of the tables into them. */
struct listing {
    const struct kv_txn *txn;
    struct copies *copies;
};

static enum errc add_copy(void *self, struct kv_slice key, struct kv_slice value, bool *enough,
                          struct error *err)
{
    const struct listing *listing = self;
    struct copies *copies = listing->copies;
    struct copy copy;
    bool held = false;
    if (blob_key_decode(key, &copy.digest, err) != ERR_OK ||
        blob_decode(value, &copy.record, err) != ERR_OK ||
        kv_any(listing->txn, KV_HOLDERS, key, &held, err) != ERR_OK)
        return err->code;
    copies->bytes += copy.record.size;
    *enough = false;
    if (held)
        return ERR_OK;
    copies->items =
        mem_grow(copies->items, copies->count, &copies->capacity, sizeof *copies->items);
    copies->items[copies->count++] = copy;
    return ERR_OK;
}

static enum errc list_copies(struct store *store, struct copies *copies, bool *promised,
                             struct error *err)
{
    const struct kv_slice all = {NULL, 0};
    autotxn struct kv_txn txn = KV_TXN_INIT;
    struct listing listing = {.txn = &txn, .copies = copies};
    if (kv_begin_read(store->kv, &txn, err) != ERR_OK ||
        kv_any(&txn, KV_OPEN_TARGETS, all, promised, err) != ERR_OK)
        return err->code;
    return kv_each(&txn, KV_BLOBS, all, add_copy, &listing, err);
}

/* Of equal age the largest first, so that what is left is as many as can be. */
static int by_age(const void *a, const void *b)
{
    const struct blob_record *one = &((const struct copy *)a)->record;
    const struct blob_record *other = &((const struct copy *)b)->record;
    if (one->last_use_s != other->last_use_s)
        return one->last_use_s < other->last_use_s ? -1 : 1;
    return one->size < other->size ? 1 : -(one->size > other->size);
}

/* Records first: a file without one is swept away at some start. */
static enum errc drop(struct store *store, const struct copy *items, size_t count,
                      struct error *err)
{
    autochange struct change change;
    change_init(&change);
    change.essential = true;
    for (size_t i = 0; i < count; i++) {
        struct record_key key = blob_key(&items[i].digest);
        change_delete(&change, KV_BLOBS, record_key_slice(&key));
    }
    if (writer_submit(store->writer, &change, err) != ERR_OK)
        return err->code;
    for (size_t i = 0; i < count; i++) {
        char path[BLOB_PATH_MAX];
        if (unlinkat(store->blobs_fd, blob_path(&items[i].digest, path), 0) != 0 && errno != ENOENT)
            return fail(err, ERR_IO, errno, "remove blob %s", path);
    }
    return ERR_OK;
}

enum errc store_trim(struct store *store, uint64_t keep_bytes, struct error *err)
{
    struct copies copies = {.items = NULL};
    bool promised = false;
    size_t count = 0;
    if (list_copies(store, &copies, &promised, err) == ERR_OK && !promised) {
        if (copies.count > 0)
            qsort(copies.items, copies.count, sizeof *copies.items, by_age);
        while (count < copies.count && copies.bytes > keep_bytes)
            copies.bytes -= copies.items[count++].record.size;
        if (count > 0)
            drop(store, copies.items, count, err);
    }
    free(copies.items);
    return err->code;
}
