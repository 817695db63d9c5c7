#include "store/references.h"

#include "base/clock.h"
#include "base/mem.h"
#include "store/batch.h"
#include "store/local/leases.h"
#include "store/local/quarantine_local.h"

enum errc references_put(struct store *store, const struct reference *ref,
                         const struct digest *manifest, const char *media_type, struct error *err)
{
    struct batch *batch = batch_begin(store, BATCH_VOLATILE);
    batch_put_reference(batch, ref, manifest, media_type);
    return batch_commit(batch, err);
}

static enum errc get(struct store *store, const struct reference *ref, bool *found,
                     struct named_manifest *out, struct error *err)
{
    struct record_key key = reference_key(ref);
    autotxn struct kv_txn txn = KV_TXN_INIT;
    if (kv_begin_read(store->kv, &txn, err) != ERR_OK)
        return err->code;
    struct kv_slice value;
    bool known = false;
    if (kv_get(&txn, KV_REFERENCES, record_key_slice(&key), &value, &known, err) != ERR_OK)
        return err->code;
    if (known && reference_decode(record_key_slice(&key), value, out, err) != ERR_OK)
        return quarantine_note(store, KV_REFERENCES, record_key_slice(&key), value, err);
    *found = known;
    return ERR_OK;
}

/* Asked, noted, and asked again: as blob_find_leased(). */
enum errc references_get(struct store *store, const struct reference *ref, bool *found,
                         struct named_manifest *out, struct error *err)
{
    if (ref->tag[0] == '\0' && ref->digest.algorithm == DIGEST_NONE)
        return fail(err, ERR_NO_TAG, 0, "%s/%s has neither tag nor digest", ref->host, ref->path);
    if (get(store, ref, found, out, err) != ERR_OK || !*found)
        return err->code;
    *found = leases_note(store->leases, "", &out->manifest, (uint64_t)clock_wall_s());
    return *found ? get(store, ref, found, out, err) : ERR_OK;
}

struct reference_list {
    struct store *store;
    struct named_manifest *items;
    size_t count;
    size_t capacity;
};

static void reference_list_deinit(struct reference_list *list)
{
    free(list->items);
}

#define autolist __attribute__((cleanup(reference_list_deinit)))

static enum errc add(void *self, struct kv_slice key, struct kv_slice value, bool *enough,
                     struct error *err)
{
    struct reference_list *list = self;
    *enough = false;
    list->items = mem_grow(list->items, list->count, &list->capacity, sizeof *list->items);
    if (reference_decode(key, value, &list->items[list->count], err) != ERR_OK)
        return quarantine_skip(list->store, KV_REFERENCES, key, value, err);
    list->count++;
    return ERR_OK;
}

static int by_age(const void *a, const void *b)
{
    const struct named_manifest *first = a;
    const struct named_manifest *second = b;
    return (first->put_s > second->put_s) - (first->put_s < second->put_s);
}

/* One that is recorded again meanwhile stays, as the youngest. */
static void forget(const struct named_manifest *named, struct change *change)
{
    struct record_key key = reference_key(&named->reference);
    struct record_value value = reference_value(&named->manifest, named->put_s, named->media_type);
    change_delete_same(change, KV_REFERENCES, record_key_slice(&key), record_value_slice(&value));
}

enum errc reference_make_room(struct store *store, const struct reference *ref, uint64_t *put_s,
                              struct change *change, struct error *err)
{
    struct record_key prefix = reference_digests_prefix(ref);
    autolist struct reference_list list = {.store = store};
    autotxn struct kv_txn txn = KV_TXN_INIT;
    size_t others = 0;
    if (kv_begin_read(store->kv, &txn, err) != ERR_OK ||
        kv_each(&txn, KV_REFERENCES, record_key_slice(&prefix), add, &list, err) != ERR_OK)
        return err->code;
    struct named_manifest *all = list.items;
    for (size_t i = 0; i < list.count; i++) {
        if (digest_equal(&all[i].reference.digest, &ref->digest))
            continue;
        if (all[i].put_s >= *put_s)
            *put_s = all[i].put_s + 1;
        all[others++] = all[i];
    }
    if (others >= REFERENCE_DIGESTS_MAX)
        qsort(all, others, sizeof *all, by_age);
    for (size_t i = 0; i + REFERENCE_DIGESTS_MAX <= others; i++)
        forget(&all[i], change);
    return ERR_OK;
}
