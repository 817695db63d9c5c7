#include "base/mem.h"
#include "store/local/collect_internal.h"
#include "store/local/leases.h"
#include "store/local/records_pushes.h"

#include <stdio.h>
#include <string.h>

struct digests {
    struct digest *items; /* owned */
    size_t count, capacity;
};

static void add_digest(struct digests *list, const struct digest *digest)
{
    list->items = mem_grow(list->items, list->count, &list->capacity, sizeof *list->items);
    list->items[list->count++] = *digest;
}

/* ---- pushes, and what is held ---- */

struct open_pushes {
    struct collect_tracing tracing;
    struct digests roots;
};

static enum errc look_at_target(void *self, const struct kv_txn *txn, struct kv_slice key,
                                struct kv_slice value, struct error *err)
{
    struct open_pushes *pushes = self;
    char id[PUSH_ID_MAX];
    size_t index = 0;
    bool found = false;
    struct push push;
    if (push_target_key_decode(key, id, &index, err) != ERR_OK)
        return err->code;
    struct record_key push_is = push_key(id);
    if (kv_get(txn, KV_PUSHES, record_key_slice(&push_is), &value, &found, err) != ERR_OK)
        return err->code;
    if (!found)
        return ERR_OK;
    if (push_decode(record_key_slice(&push_is), value, &push, err) != ERR_OK)
        return error_wrap(err, "what a push needs is not known, so nothing is collected");
    add_digest(&pushes->roots, &push.manifest.digest);
    for (size_t i = 0; i < push.referrer_count; i++)
        add_digest(&pushes->roots, &push.referrers[i].manifest.digest);
    push_deinit(&push);
    return ERR_OK;
}

static enum errc trace_roots(void *self, struct error *err)
{
    struct open_pushes *pushes = self;
    for (size_t i = 0; i < pushes->roots.count; i++)
        if (collect_trace(&pushes->tracing, &pushes->roots.items[i], err) != ERR_OK)
            return err->code;
    pushes->roots.count = 0;
    return ERR_OK;
}

enum errc collect_pushes(struct collection *collection, struct error *err)
{
    struct open_pushes pushes = {.tracing = {.collection = collection, .set = &collection->pushed}};
    const struct collect_scan scan = {
        .table = KV_OPEN_TARGETS, .look = look_at_target, .act = trace_roots, .self = &pushes};
    pushes.roots.count = leases_held(collection->store->leases, &pushes.roots.items);
    pushes.roots.capacity = pushes.roots.count;
    if (trace_roots(&pushes, err) == ERR_OK)
        collect_each(collection, &scan, err);
    free(pushes.roots.items);
    live_set_merge(&collection->live, &collection->pushed);
    return err->code;
}

/* ---- the cache ---- */

/* As it begins in the keys of the blobs: enough to find it. */
#define SHORT_SIZE 17

struct cached {
    uint64_t used_s;
    uint8_t begin[SHORT_SIZE];
};

struct cache {
    struct collection *collection;
    struct cached *items; /* owned */
    size_t count, capacity;
    uint64_t bytes;
    struct named_manifest going[COLLECT_STEP];
    size_t going_count;
};

static enum errc add_cached(struct cache *cache, const struct kv_txn *txn,
                            const struct digest *digest, uint64_t used_s, struct error *err)
{
    struct record_key key = blob_key(digest);
    struct blob_record record;
    struct kv_slice value;
    bool found = false;
    if (live_set_has(&cache->collection->live, digest))
        return ERR_OK;
    if (kv_get(txn, KV_BLOBS, record_key_slice(&key), &value, &found, err) != ERR_OK ||
        (found && blob_decode(value, &record, err) != ERR_OK))
        return err->code;
    if (!found)
        return ERR_OK;
    cache->items = mem_grow(cache->items, cache->count, &cache->capacity, sizeof *cache->items);
    struct cached *item = &cache->items[cache->count++];
    item->used_s = used_s > record.last_use_s ? used_s : record.last_use_s;
    memcpy(item->begin, key.bytes, SHORT_SIZE);
    return ERR_OK;
}

static enum errc look_at_name(void *self, const struct kv_txn *txn, struct kv_slice key,
                              struct kv_slice value, struct error *err)
{
    struct named_manifest named;
    if (reference_decode(key, value, &named, err) != ERR_OK)
        return err->code;
    return add_cached(self, txn, &named.manifest, named.put_s, err);
}

static int youngest_first(const void *a, const void *b)
{
    const struct cached *first = a;
    const struct cached *second = b;
    if (first->used_s != second->used_s)
        return first->used_s > second->used_s ? -1 : 1;
    return memcmp(first->begin, second->begin, SHORT_SIZE);
}

static enum errc find_cached(const struct cache *cache, const struct cached *item, bool *found,
                             struct digest *out, struct error *err)
{
    struct kv_slice key;
    struct kv_slice value;
    autotxn struct kv_txn txn = KV_TXN_INIT;
    autocursor struct kv_cursor cursor = KV_CURSOR_INIT;
    if (kv_begin_read(cache->collection->store->kv, &txn, err) != ERR_OK ||
        kv_cursor_open(&txn, KV_BLOBS, (struct kv_slice){item->begin, SHORT_SIZE}, &cursor, err) !=
            ERR_OK ||
        kv_cursor_next(&cursor, &key, &value, found, err) != ERR_OK)
        return err->code;
    return *found ? blob_key_decode(key, out, err) : ERR_OK;
}

/* *fits false: it is the first that has to go, as all that are older. */
static enum errc keep_cached(struct cache *cache, const struct cached *item, bool *fits,
                             struct error *err)
{
    struct collection *collection = cache->collection;
    const struct collect_options *options = collection->options;
    struct live_set set = {.marks = NULL};
    struct collect_tracing tracing = {
        .collection = collection, .set = &set, .without = &collection->live};
    struct digest digest;
    bool found = false;
    bool leased = collect_is_leased(collection, item->used_s);
    *fits = leased || options->cache_s == COLLECT_FOREVER ||
            item->used_s + (uint64_t)options->cache_s >= collection->now_s;
    if (!*fits || find_cached(cache, item, &found, &digest, err) != ERR_OK || !found)
        return err->code;
    if (collect_trace(&tracing, &digest, err) == ERR_OK) {
        *fits = leased || tracing.bytes <= options->cache_bytes - cache->bytes;
        if (*fits) {
            uint64_t room = options->cache_bytes - cache->bytes;
            cache->bytes += tracing.bytes < room ? tracing.bytes : room;
            live_set_merge(&collection->live, &set);
        }
    }
    live_set_deinit(&set);
    return err->code;
}

/* ---- names of what went ---- */

static enum errc look_for_names(void *self, const struct kv_txn *txn, struct kv_slice key,
                                struct kv_slice value, struct error *err)
{
    (void)txn;
    struct cache *cache = self;
    struct named_manifest *named = &cache->going[cache->going_count];
    if (reference_decode(key, value, named, err) != ERR_OK)
        return err->code;
    cache->going_count += !live_set_has(&cache->collection->live, &named->manifest);
    return ERR_OK;
}

static void tell_name(struct collection *collection, const struct named_manifest *named)
{
    struct collect_item *item = collect_tell(collection, COLLECT_NAME, true, &named->manifest);
    reference_name(&named->reference, item->name);
    snprintf(item->tag, sizeof item->tag, "%s", named->reference.tag);
    snprintf(item->why, sizeof item->why, "the cache of archives is over its size or age");
    collection->report->names++;
}

/* One that was asked for meanwhile is kept, with what it needs. */
static enum errc drop_names(void *self, struct error *err)
{
    struct cache *cache = self;
    struct collection *collection = cache->collection;
    for (size_t i = 0; i < cache->going_count; i++) {
        const struct named_manifest *named = &cache->going[i];
        struct collect_tracing tracing = {.collection = collection, .set = &collection->live};
        struct record_key key = reference_key(&named->reference);
        struct record_value value =
            reference_value(&named->manifest, named->put_s, named->media_type);
        const struct kv_slice expected = record_value_slice(&value);
        bool done = false;
        autochange struct change change;
        change_init(&change);
        change_expect(&change, KV_REFERENCES, record_key_slice(&key), &expected);
        change_delete(&change, KV_REFERENCES, record_key_slice(&key));
        if (collect_submit(collection, &change, "", &named->manifest, &done, err) != ERR_OK ||
            (!done && collect_trace(&tracing, &named->manifest, err) != ERR_OK))
            return err->code;
        if (done)
            tell_name(collection, named);
    }
    cache->going_count = 0;
    return ERR_OK;
}

static enum errc nothing(void *self, struct error *err)
{
    (void)self;
    (void)err;
    return ERR_OK;
}

enum errc collect_cache(struct collection *collection, struct error *err)
{
    struct cache *cache = xcalloc(1, sizeof *cache);
    const struct collect_scan scans[] = {
        {.table = KV_REFERENCES, .look = look_at_name, .act = nothing, .self = cache},
        {.table = KV_REFERENCES, .look = look_for_names, .act = drop_names, .self = cache}};
    bool fits = true;
    cache->collection = collection;
    if (collect_each(collection, &scans[0], err) == ERR_OK && cache->count > 0)
        qsort(cache->items, cache->count, sizeof *cache->items, youngest_first);
    for (size_t i = 0; err->code == ERR_OK && i < cache->count && fits; i++)
        keep_cached(cache, &cache->items[i], &fits, err);
    if (err->code == ERR_OK)
        collect_each(collection, &scans[1], err);
    free(cache->items);
    free(cache);
    return err->code;
}
