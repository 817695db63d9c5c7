#include "store/references.h"

#include "base/mem.h"
#include "store/batch.h"
#include "store/local/internal.h"

enum errc references_put(struct store *store, const struct reference *ref,
                         const struct digest *manifest, const char *media_type, struct error *err)
{
    struct batch *batch = NULL;
    if (batch_begin(store, BATCH_DURABLE, &batch, err) != ERR_OK)
        return err->code;
    batch_put_reference(batch, ref, manifest, media_type);
    return batch_commit(batch, err);
}

enum errc references_get(struct store *store, const struct reference *ref, bool *found,
                         struct named_manifest *out, struct error *err)
{
    if (ref->tag[0] == '\0' && ref->digest.algorithm == DIGEST_NONE)
        return fail(err, ERR_NO_TAG, 0, "%s/%s has neither tag nor digest", ref->host, ref->path);
    struct record_key key = reference_key(ref);
    autotxn struct kv_txn txn = KV_TXN_INIT;
    if (kv_begin_read(store->kv, &txn, err) != ERR_OK)
        return err->code;
    struct kv_slice value;
    bool known = false;
    if (kv_get(&txn, KV_REFERENCES, record_key_slice(&key), &value, &known, err) != ERR_OK)
        return err->code;
    if (known && reference_decode(record_key_slice(&key), value, out, err) != ERR_OK)
        return err->code;
    *found = known;
    return ERR_OK;
}

static enum errc list(struct kv_cursor *cursor, size_t limit, struct named_manifest **all,
                      size_t *count, struct error *err)
{
    size_t capacity = 0;
    while (*count < limit) {
        struct kv_slice key;
        struct kv_slice value;
        bool more = false;
        if (kv_cursor_next(cursor, &key, &value, &more, err) != ERR_OK)
            return err->code;
        if (!more)
            break;
        if (*count == capacity) {
            capacity = capacity ? 2 * capacity : 8;
            *all = xrealloc(*all, capacity, sizeof **all);
        }
        if (reference_decode(key, value, *all + *count, err) != ERR_OK)
            return err->code;
        ++*count;
    }
    return ERR_OK;
}

enum errc references_by_name(struct store *store, const struct reference *ref, size_t limit,
                             struct named_manifest **out, size_t *count, struct error *err)
{
    struct record_key prefix = reference_prefix(ref);
    autotxn struct kv_txn txn = KV_TXN_INIT;
    autocursor struct kv_cursor cursor = KV_CURSOR_INIT;
    if (kv_begin_read(store->kv, &txn, err) != ERR_OK ||
        kv_cursor_open(&txn, KV_REFERENCES, record_key_slice(&prefix), &cursor, err) != ERR_OK)
        return err->code;
    autofree struct named_manifest *all = NULL;
    size_t listed = 0;
    if (list(&cursor, limit, &all, &listed, err) != ERR_OK)
        return err->code;
    *out = mem_take(&all);
    *count = listed;
    return ERR_OK;
}
