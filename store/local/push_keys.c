#include "store/pushes.h"

#include "base/mem.h"
#include "store/local/internal.h"
#include "store/local/records_pushes.h"

#include <string.h>

/* One that cannot be read is left out. */
static enum errc take_of_key(struct store *store, struct kv_slice key, struct push **out,
                             size_t *count, struct error *err)
{
    char id[PUSH_ID_MAX] = "";
    struct push push;
    bool found = false;
    if (key.size >= sizeof id)
        return ERR_OK;
    memcpy(id, key.data, key.size);
    if (pushes_get(store, id, &push, &found, err) == ERR_STORE)
        error_clear(err);
    if (err->code != ERR_OK || !found)
        return err->code;
    *out = xrealloc(*out, *count + 1, sizeof **out);
    memmove(*out + 1, *out, *count * sizeof **out);
    (*out)[0] = push;
    ++*count;
    return ERR_OK;
}

/* From the youngest on: one that was sent anew counts, not what came of it before. */
static enum errc walk_keys(struct store *store, const struct digest *name,
                           struct request_key *out_key, struct push **out, size_t *count,
                           struct error *err)
{
    struct kv_slice id;
    struct kv_slice value;
    struct request_key key;
    bool more = true;
    autotxn struct kv_txn txn = KV_TXN_INIT;
    autocursor struct kv_cursor cursor = KV_CURSOR_INIT;
    if (kv_begin_read(store->kv, &txn, err) != ERR_OK ||
        kv_cursor_open(&txn, KV_PUSH_KEYS, (struct kv_slice){NULL, 0}, &cursor, err) != ERR_OK)
        return err->code;
    while (*count == 0 || *count < out_key->pushes) {
        if (kv_cursor_back(&cursor, &id, &value, &more, err) != ERR_OK || !more)
            return err->code;
        if (request_key_decode(value, &key, err) != ERR_OK) {
            error_clear(err);
            continue;
        }
        if (!digest_equal(&key.name, name))
            continue;
        if (take_of_key(store, id, out, count, err) != ERR_OK)
            return err->code;
        if (*count == 1)
            *out_key = key;
    }
    return ERR_OK;
}

enum errc pushes_of_key(struct store *store, const struct digest *name, struct request_key *out_key,
                        struct push **out, size_t *count, struct error *err)
{
    *out = NULL;
    *count = 0;
    if (walk_keys(store, name, out_key, out, count, err) == ERR_OK)
        return ERR_OK;
    while (*count > 0)
        push_deinit(&(*out)[--*count]);
    free(mem_take(out));
    return err->code;
}
