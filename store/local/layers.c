#include "store/layers.h"

#include "store/local/internal.h"

#include <string.h>

static enum errc blob_held(const struct kv_txn *txn, const struct digest *digest, bool *held,
                           struct error *err)
{
    struct record_key key = blob_key(digest);
    struct kv_slice value;
    return kv_get(txn, KV_BLOBS, record_key_slice(&key), &value, held, err);
}

static enum errc find_in(const struct kv_txn *txn, const struct record_key *key, bool *found,
                         struct layer_form *out, struct error *err)
{
    struct kv_slice value;
    bool known = false;
    if (kv_get(txn, KV_LAYERS, record_key_slice(key), &value, &known, err) != ERR_OK)
        return err->code;
    struct layer_form form;
    if (known && layer_decode(record_key_slice(key), value, &form, err) != ERR_OK)
        return err->code;
    bool held = false;
    if (known && blob_held(txn, &form.digest, &held, err) != ERR_OK)
        return err->code;
    if (held)
        *out = form;
    *found = held;
    return ERR_OK;
}

enum errc layer_find(struct store *store, const struct digest *diff_id, enum codec codec,
                     enum effort effort, bool *found, struct layer_form *out, struct error *err)
{
    struct record_key key = layer_key(diff_id, codec, effort);
    autotxn struct kv_txn txn = KV_TXN_INIT;
    if (kv_begin_read(store->kv, &txn, err) != ERR_OK)
        return err->code;
    return find_in(&txn, &key, found, out, err);
}

enum errc layer_find_by_start(struct store *store, const struct digest *start, enum codec codec,
                              enum effort effort, bool *found, struct digest *diff_id,
                              struct layer_form *out, struct error *err)
{
    struct record_key key = start_key(start);
    struct kv_slice value;
    struct digest layer = {0};
    bool known = false;
    bool held = false;
    autotxn struct kv_txn txn = KV_TXN_INIT;
    if (kv_begin_read(store->kv, &txn, err) != ERR_OK ||
        kv_get(&txn, KV_STARTS, record_key_slice(&key), &value, &known, err) != ERR_OK)
        return err->code;
    if (known) {
        if (start_decode(value, &layer, err) != ERR_OK)
            return err->code;
        key = layer_key(&layer, codec, effort);
        if (find_in(&txn, &key, &held, out, err) != ERR_OK)
            return err->code;
    }
    if (held)
        *diff_id = layer;
    *found = held;
    return ERR_OK;
}

static enum errc collect_forms(const struct kv_txn *txn, struct kv_cursor *cursor,
                               struct layer_form *out, size_t *count, struct error *err)
{
    while (*count < LAYER_FORMS_MAX) {
        struct kv_slice key;
        struct kv_slice value;
        bool more = false;
        bool held = false;
        if (kv_cursor_next(cursor, &key, &value, &more, err) != ERR_OK)
            return err->code;
        if (!more)
            break;
        if (layer_decode(key, value, &out[*count], err) != ERR_OK ||
            blob_held(txn, &out[*count].digest, &held, err) != ERR_OK)
            return err->code;
        *count += held;
    }
    return ERR_OK;
}

enum errc layer_forms(struct store *store, const struct digest *diff_id,
                      struct layer_form out[LAYER_FORMS_MAX], size_t *count, struct error *err)
{
    struct record_key prefix = layer_prefix(diff_id);
    struct layer_form forms[LAYER_FORMS_MAX];
    size_t listed = 0;
    autotxn struct kv_txn txn = KV_TXN_INIT;
    autocursor struct kv_cursor cursor = KV_CURSOR_INIT;
    if (kv_begin_read(store->kv, &txn, err) != ERR_OK ||
        kv_cursor_open(&txn, KV_LAYERS, record_key_slice(&prefix), &cursor, err) != ERR_OK ||
        collect_forms(&txn, &cursor, forms, &listed, err) != ERR_OK)
        return err->code;
    memcpy(out, forms, listed * sizeof *out);
    *count = listed;
    return ERR_OK;
}

enum errc layer_raw_size(struct store *store, const struct digest *diff_id, uint64_t *out,
                         struct error *err)
{
    struct record_key prefix = layer_prefix(diff_id);
    autotxn struct kv_txn txn = KV_TXN_INIT;
    autocursor struct kv_cursor cursor = KV_CURSOR_INIT;
    if (kv_begin_read(store->kv, &txn, err) != ERR_OK ||
        kv_cursor_open(&txn, KV_LAYERS, record_key_slice(&prefix), &cursor, err) != ERR_OK)
        return err->code;
    struct layer_form form = {.raw_size = 0};
    for (bool more = true; more && form.raw_size == 0;) {
        struct kv_slice key;
        struct kv_slice value;
        if (kv_cursor_next(&cursor, &key, &value, &more, err) != ERR_OK ||
            (more && layer_decode(key, value, &form, err) != ERR_OK))
            return err->code;
    }
    *out = form.raw_size;
    return ERR_OK;
}
