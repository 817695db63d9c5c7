#include "store/known_locations.h"

#include "base/mem.h"
#include "store/local/quarantine_local.h"

#include <string.h>

/* One layer's list, as it was read and as it shall be. */
struct edit {
    struct digest layer;
    struct known_location_list before;
    struct known_location_list after;
    uint8_t before_value[KNOWN_LOCATIONS_VALUE_MAX];
    uint8_t after_value[KNOWN_LOCATIONS_VALUE_MAX];
};

bool location_equal(const struct known_location *a, const struct known_location *b)
{
    return digest_equal(&a->digest, &b->digest) && strcmp(a->source, b->source) == 0 &&
           strcmp(a->hmac, b->hmac) == 0;
}

enum errc known_locations_get(struct store *store, const struct digest *layer,
                              struct known_location_list *out, struct error *err)
{
    struct record_key key = blob_key(layer);
    autotxn struct kv_txn txn = KV_TXN_INIT;
    struct kv_slice value;
    bool found = false;
    if (kv_begin_read(store->kv, &txn, err) != ERR_OK ||
        kv_get(&txn, KV_KNOWN_LOCATIONS, record_key_slice(&key), &value, &found, err) != ERR_OK)
        return err->code;
    if (found && known_locations_decode(value, out, err) != ERR_OK)
        return quarantine_note(store, KV_KNOWN_LOCATIONS, record_key_slice(&key), value, err);
    if (!found)
        out->count = 0;
    return ERR_OK;
}

/* The list without `gone`, wherever that is in it. */
static void leave_out(struct edit *edit, const struct known_location *gone)
{
    edit->after.count = 0;
    for (size_t i = 0; i < edit->before.count; i++)
        if (!location_equal(&edit->before.items[i], gone))
            edit->after.items[edit->after.count++] = edit->before.items[i];
}

static void append(struct known_location_list *list, const struct known_location *added)
{
    if (list->count == KNOWN_LOCATIONS_MAX)
        memmove(&list->items[0], &list->items[1], --list->count * sizeof list->items[0]);
    list->items[list->count++] = *added;
}

static bool names(const struct known_location_list *list, const struct digest *digest)
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
        if (!location_equal(&edit->before.items[i], &edit->after.items[i]))
            return false;
    return true;
}

static void change_list(struct edit *edit, struct change *change)
{
    struct record_key key = blob_key(&edit->layer);
    const struct kv_slice before = {edit->before_value,
                                    known_locations_value(&edit->before, edit->before_value)};
    change_expect(change, KV_KNOWN_LOCATIONS, record_key_slice(&key),
                  edit->before.count > 0 ? &before : NULL);
    const struct kv_slice after = {edit->after_value,
                                   known_locations_value(&edit->after, edit->after_value)};
    if (edit->after.count > 0)
        change_put(change, KV_KNOWN_LOCATIONS, record_key_slice(&key), after);
    else
        change_delete(change, KV_KNOWN_LOCATIONS, record_key_slice(&key));
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

/* Take `known location` out of the layer's list, and where `add` says so, put it in as the
 * youngest. Of several that do this at the same time at least one gets through in each round. */
static enum errc rewrite(struct store *store, const struct digest *layer,
                         const struct known_location *location, bool add, struct error *err)
{
    autofree struct edit *edit = xmalloc(sizeof *edit);
    edit->layer = *layer;
    for (bool superseded = true; superseded;) {
        if (known_locations_get(store, layer, &edit->before, err) != ERR_OK)
            return err->code;
        leave_out(edit, location);
        if (add)
            append(&edit->after, location);
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

enum errc known_locations_add(struct store *store, const struct digest *layer,
                              const struct known_location *location, struct error *err)
{
    return rewrite(store, layer, location, true, err);
}

enum errc known_locations_layer(struct store *store, const struct digest *digest, bool *found,
                                struct digest *layer, struct error *err)
{
    struct record_key key = blob_key(digest);
    autotxn struct kv_txn txn = KV_TXN_INIT;
    struct kv_slice value;
    if (kv_begin_read(store->kv, &txn, err) != ERR_OK ||
        kv_get(&txn, KV_ASSOCIATED, record_key_slice(&key), &value, found, err) != ERR_OK)
        return err->code;
    if (*found && associated_decode(value, layer, err) != ERR_OK)
        return quarantine_note(store, KV_ASSOCIATED, record_key_slice(&key), value, err);
    return ERR_OK;
}

enum errc known_locations_remove(struct store *store, const struct known_location *location,
                                 struct error *err)
{
    bool found = false;
    struct digest layer;
    if (known_locations_layer(store, &location->digest, &found, &layer, err) != ERR_OK ||
        (found && rewrite(store, &layer, location, false, err) != ERR_OK))
        return err->code;
    return rewrite(store, &location->digest, location, false, err);
}
