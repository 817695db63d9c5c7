#include "store/pushed_tags.h"

#include "store/local/internal.h"

static struct record_key key_of(const struct reference *reference)
{
    struct reference by_tag = *reference;
    by_tag.digest = (struct digest){0};
    return reference_key(&by_tag);
}

static enum errc has_room(struct store *store, const struct record_key *key, bool *room,
                          struct error *err)
{
    autotxn struct kv_txn txn = KV_TXN_INIT;
    struct kv_slice value;
    size_t count = 0;
    bool found = false;
    if (kv_begin_read(store->kv, &txn, err) != ERR_OK ||
        kv_count(&txn, KV_PUSHED_TAGS, &count, err) != ERR_OK ||
        kv_get(&txn, KV_PUSHED_TAGS, record_key_slice(key), &value, &found, err) != ERR_OK)
        return err->code;
    *room = found || count < PUSHED_TAGS_MAX;
    return ERR_OK;
}

enum errc pushed_tags_put(struct store *store, const struct reference *reference,
                          const struct digest *digest, struct error *err)
{
    struct record_key key = key_of(reference);
    struct record_value value = associated_value(digest);
    autochange struct change change;
    bool room = false;
    change_init(&change);
    change.saves_work = true;
    change_put(&change, KV_PUSHED_TAGS, record_key_slice(&key), record_value_slice(&value));
    if (has_room(store, &key, &room, err) != ERR_OK || !room)
        return err->code;
    return writer_submit(store->writer, &change, err);
}

enum errc pushed_tags_get(struct store *store, const struct reference *reference, bool *found,
                          struct digest *digest, struct error *err)
{
    struct record_key key = key_of(reference);
    autotxn struct kv_txn txn = KV_TXN_INIT;
    struct kv_slice value;
    if (kv_begin_read(store->kv, &txn, err) != ERR_OK ||
        kv_get(&txn, KV_PUSHED_TAGS, record_key_slice(&key), &value, found, err) != ERR_OK)
        return err->code;
    if (*found && associated_decode(value, digest, err) != ERR_OK)
        return error_wrap(err, "the last digest of a tag");
    return ERR_OK;
}
