#include "store/learned.h"

#include "store/local/internal.h"

enum errc learned_get(struct store *store, const char *host, bool *found, struct learned *out,
                      struct error *err)
{
    struct record_key key = learned_key(host);
    struct kv_slice value;
    bool known = false;
    autotxn struct kv_txn txn = KV_TXN_INIT;
    if (kv_begin_read(store->kv, &txn, err) != ERR_OK ||
        kv_get(&txn, KV_LEARNED, record_key_slice(&key), &value, &known, err) != ERR_OK)
        return err->code;
    if (known && learned_decode(value, out, err) != ERR_OK)
        return err->code;
    *found = known;
    return ERR_OK;
}

enum errc learned_put(struct store *store, const char *host, const struct learned *learned,
                      struct error *err)
{
    struct record_key key = learned_key(host);
    struct record_value value = learned_value(learned);
    autochange struct change change;
    change_init(&change);
    change.saves_work = true;
    change_put(&change, KV_LEARNED, record_key_slice(&key), record_value_slice(&value));
    return writer_submit(store->writer, &change, err);
}
