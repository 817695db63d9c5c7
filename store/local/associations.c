#include "store/associations.h"

#include "base/mem.h"
#include "store/local/internal.h"

#include <string.h>

/* One layer's list, as it was read and as it shall be. */
struct edit {
    struct digest layer;
    struct association_list before;
    struct association_list after;
    uint8_t before_value[ASSOCIATIONS_VALUE_MAX];
    uint8_t after_value[ASSOCIATIONS_VALUE_MAX];
};

bool association_equal(const struct association *a, const struct association *b)
{
    return digest_equal(&a->digest, &b->digest) && strcmp(a->source, b->source) == 0 &&
           strcmp(a->hmac, b->hmac) == 0;
}

enum errc associations_get(struct store *store, const struct digest *layer,
                           struct association_list *out, struct error *err)
{
    struct record_key key = blob_key(layer);
    autotxn struct kv_txn txn = KV_TXN_INIT;
    struct kv_slice value;
    bool found = false;
    if (kv_begin_read(store->kv, &txn, err) != ERR_OK ||
        kv_get(&txn, KV_ASSOCIATIONS, record_key_slice(&key), &value, &found, err) != ERR_OK)
        return err->code;
    if (found)
        return associations_decode(value, out, err);
    out->count = 0;
    return ERR_OK;
}

/* The list without `gone`, wherever that is in it. */
static void leave_out(struct edit *edit, const struct association *gone)
{
    edit->after.count = 0;
    for (size_t i = 0; i < edit->before.count; i++)
        if (!association_equal(&edit->before.items[i], gone))
            edit->after.items[edit->after.count++] = edit->before.items[i];
}

static void append(struct association_list *list, const struct association *added)
{
    if (list->count == ASSOCIATIONS_MAX)
        memmove(&list->items[0], &list->items[1], --list->count * sizeof list->items[0]);
    list->items[list->count++] = *added;
}

static bool names(const struct association_list *list, const struct digest *digest)
{
    for (size_t i = 0; i < list->count; i++)
        if (digest_equal(&list->items[i].digest, digest))
            return true;
    return false;
}

static bool is_unchanged(const struct edit *edit)
{
    if (edit->before.count != edit->after.count)
        return false;
    for (size_t i = 0; i < edit->before.count; i++)
        if (!association_equal(&edit->before.items[i], &edit->after.items[i]))
            return false;
    return true;
}

static void change_list(struct edit *edit, struct change *change)
{
    struct record_key key = blob_key(&edit->layer);
    const struct kv_slice before = {edit->before_value,
                                    associations_value(&edit->before, edit->before_value)};
    change_expect(change, KV_ASSOCIATIONS, record_key_slice(&key),
                  edit->before.count > 0 ? &before : NULL);
    const struct kv_slice after = {edit->after_value,
                                   associations_value(&edit->after, edit->after_value)};
    if (edit->after.count > 0)
        change_put(change, KV_ASSOCIATIONS, record_key_slice(&key), after);
    else
        change_delete(change, KV_ASSOCIATIONS, record_key_slice(&key));
}

/* digest -> layer of what came and went. A blob under its own digest needs no record: it is found
 * there. A blob is of one layer, so whoever changes that layer's list may change these records. */
static void change_digests(const struct edit *edit, struct change *change)
{
    struct record_value layer = associated_value(&edit->layer);
    for (size_t i = 0; i < edit->after.count; i++) {
        const struct digest *digest = &edit->after.items[i].digest;
        struct record_key key = blob_key(digest);
        if (!names(&edit->before, digest) && !digest_equal(digest, &edit->layer))
            change_put(change, KV_ASSOCIATED, record_key_slice(&key), record_value_slice(&layer));
    }
    for (size_t i = 0; i < edit->before.count; i++) {
        const struct digest *digest = &edit->before.items[i].digest;
        struct record_key key = blob_key(digest);
        if (!names(&edit->after, digest))
            change_delete(change, KV_ASSOCIATED, record_key_slice(&key));
    }
}

/* Take `association` out of the layer's list, and where `add` says so, put it in as the youngest.
 * Of several that do this at the same time at least one gets through in each round. */
static enum errc rewrite(struct store *store, const struct digest *layer,
                         const struct association *association, bool add, struct error *err)
{
    autofree struct edit *edit = xmalloc(sizeof *edit);
    edit->layer = *layer;
    for (bool superseded = true; superseded;) {
        if (associations_get(store, layer, &edit->before, err) != ERR_OK)
            return err->code;
        leave_out(edit, association);
        if (add)
            append(&edit->after, association);
        if (is_unchanged(edit))
            return ERR_OK;
        autochange struct change change;
        change_init(&change);
        change.saves_work = true;
        change_list(edit, &change);
        change_digests(edit, &change);
        if (writer_submit(store->writer, &change, err) != ERR_OK)
            return err->code;
        superseded = change.superseded;
    }
    return ERR_OK;
}

enum errc associations_add(struct store *store, const struct digest *layer,
                           const struct association *association, struct error *err)
{
    return rewrite(store, layer, association, true, err);
}

enum errc associations_layer(struct store *store, const struct digest *digest, bool *found,
                             struct digest *layer, struct error *err)
{
    struct record_key key = blob_key(digest);
    autotxn struct kv_txn txn = KV_TXN_INIT;
    struct kv_slice value;
    if (kv_begin_read(store->kv, &txn, err) != ERR_OK ||
        kv_get(&txn, KV_ASSOCIATED, record_key_slice(&key), &value, found, err) != ERR_OK)
        return err->code;
    return *found ? associated_decode(value, layer, err) : ERR_OK;
}

enum errc associations_remove(struct store *store, const struct association *association,
                              struct error *err)
{
    bool found = false;
    struct digest layer;
    if (associations_layer(store, &association->digest, &found, &layer, err) != ERR_OK ||
        (found && rewrite(store, &layer, association, false, err) != ERR_OK))
        return err->code;
    return rewrite(store, &association->digest, association, false, err);
}
