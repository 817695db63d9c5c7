#include "store/layers.h"

#include "store/local/quarantine_local.h"

static enum errc blob_held(const struct kv_txn *txn, const struct digest *digest, bool *held,
                           struct error *err)
{
    struct record_key key = blob_key(digest);
    struct kv_slice value;
    return kv_get(txn, KV_BLOBS, record_key_slice(&key), &value, held, err);
}

/* Whoever is told of the form will not send the layer: a lease. */
static enum errc lease(struct store *store, const struct layer_form *form, bool *found,
                       struct error *err)
{
    struct blob_record record;
    return *found ? blob_find_leased(store, "", &form->digest, found, &record, err) : ERR_OK;
}

static enum errc find_in(struct store *store, const struct kv_txn *txn,
                         const struct record_key *key, bool *found, struct layer_form *out,
                         struct error *err)
{
    struct kv_slice value;
    bool known = false;
    if (kv_get(txn, KV_LAYERS, record_key_slice(key), &value, &known, err) != ERR_OK)
        return err->code;
    struct layer_form form;
    if (known && layer_decode(record_key_slice(key), value, &form, err) != ERR_OK) {
        quarantine_skip(store, KV_LAYERS, record_key_slice(key), value, err);
        known = false;
    }
    bool held = false;
    if (known && blob_held(txn, &form.digest, &held, err) != ERR_OK)
        return err->code;
    if (held)
        *out = form;
    *found = held;
    return ERR_OK;
}

static enum errc find(struct store *store, const struct record_key *key, bool *found,
                      struct layer_form *out, struct error *err)
{
    autotxn struct kv_txn txn = KV_TXN_INIT;
    if (kv_begin_read(store->kv, &txn, err) != ERR_OK)
        return err->code;
    return find_in(store, &txn, key, found, out, err);
}

enum errc layer_find(struct store *store, const struct digest *diff_id, enum codec codec,
                     enum effort effort, bool *found, struct layer_form *out, struct error *err)
{
    struct record_key key = layer_key(diff_id, codec, effort);
    struct layer_form form;
    bool held = false;
    if (find(store, &key, &held, &form, err) != ERR_OK || lease(store, &form, &held, err) != ERR_OK)
        return err->code;
    if (held)
        *out = form;
    *found = held;
    return ERR_OK;
}

static enum errc find_start(struct store *store, const struct digest *start, bool *found,
                            struct digest *layer, struct error *err)
{
    struct record_key key = start_key(start);
    struct kv_slice value;
    autotxn struct kv_txn txn = KV_TXN_INIT;
    if (kv_begin_read(store->kv, &txn, err) != ERR_OK ||
        kv_get(&txn, KV_STARTS, record_key_slice(&key), &value, found, err) != ERR_OK)
        return err->code;
    if (*found && start_decode(value, layer, err) != ERR_OK)
        return quarantine_note(store, KV_STARTS, record_key_slice(&key), value, err);
    return ERR_OK;
}

enum errc layer_find_by_start(struct store *store, const struct digest *start, enum codec codec,
                              enum effort effort, bool *found, struct digest *diff_id,
                              struct layer_form *out, struct error *err)
{
    struct digest layer = {0};
    bool held = false;
    if (find_start(store, start, &held, &layer, err) != ERR_OK ||
        (held && layer_find(store, &layer, codec, effort, &held, out, err) != ERR_OK))
        return err->code;
    if (held)
        *diff_id = layer;
    *found = held;
    return ERR_OK;
}

struct form_list {
    struct store *store;
    const struct kv_txn *txn;
    size_t count;
    struct layer_form items[LAYER_FORMS_MAX];
};

static enum errc add_form(void *self, struct kv_slice key, struct kv_slice value, bool *enough,
                          struct error *err)
{
    struct form_list *list = self;
    struct layer_form *form = &list->items[list->count];
    bool held = false;
    if (layer_decode(key, value, form, err) != ERR_OK)
        return quarantine_skip(list->store, KV_LAYERS, key, value, err);
    if (blob_held(list->txn, &form->digest, &held, err) != ERR_OK)
        return err->code;
    list->count += held;
    *enough = list->count == LAYER_FORMS_MAX;
    return ERR_OK;
}

enum errc layer_forms(struct store *store, const struct digest *diff_id,
                      struct layer_form out[LAYER_FORMS_MAX], size_t *count, struct error *err)
{
    struct record_key prefix = layer_prefix(diff_id);
    autotxn struct kv_txn txn = KV_TXN_INIT;
    struct form_list list = {.store = store, .txn = &txn};
    if (kv_begin_read(store->kv, &txn, err) != ERR_OK ||
        kv_each(&txn, KV_LAYERS, record_key_slice(&prefix), add_form, &list, err) != ERR_OK)
        return err->code;
    kv_end(&txn);
    *count = 0;
    for (size_t i = 0; i < list.count; i++) {
        bool held = true;
        if (lease(store, &list.items[i], &held, err) != ERR_OK)
            return err->code;
        if (held)
            out[(*count)++] = list.items[i];
    }
    return ERR_OK;
}

static enum errc take_raw_size(void *self, struct kv_slice key, struct kv_slice value, bool *enough,
                               struct error *err)
{
    struct layer_form form;
    if (layer_decode(key, value, &form, err) != ERR_OK)
        return err->code;
    *(uint64_t *)self = form.raw_size;
    *enough = form.raw_size != 0;
    return ERR_OK;
}

enum errc layer_raw_size(struct store *store, const struct digest *diff_id, uint64_t *out,
                         struct error *err)
{
    struct record_key prefix = layer_prefix(diff_id);
    uint64_t size = 0;
    autotxn struct kv_txn txn = KV_TXN_INIT;
    if (kv_begin_read(store->kv, &txn, err) != ERR_OK ||
        kv_each(&txn, KV_LAYERS, record_key_slice(&prefix), take_raw_size, &size, err) != ERR_OK)
        return err->code;
    *out = size;
    return ERR_OK;
}
