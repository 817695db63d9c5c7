#include "store/capabilities.h"

#include "store/local/quarantine_local.h"

enum errc capabilities_get(struct store *store, const char *host, bool *found,
                           struct capabilities *out, struct error *err)
{
    struct record_key key = capabilities_key(host);
    struct kv_slice value;
    bool known = false;
    autotxn struct kv_txn txn = KV_TXN_INIT;
    if (kv_begin_read(store->kv, &txn, err) != ERR_OK ||
        kv_get(&txn, KV_CAPABILITIES, record_key_slice(&key), &value, &known, err) != ERR_OK)
        return err->code;
    if (known && capabilities_decode(value, out, err) != ERR_OK)
        return err->code;
    *found = known;
    return ERR_OK;
}

enum errc capabilities_put(struct store *store, const char *host,
                           const struct capabilities *capabilities, struct error *err)
{
    struct record_key key = capabilities_key(host);
    struct record_value value = capabilities_value(capabilities);
    autochange struct change change;
    change_init(&change);
    change.saves_work = true;
    change_put(&change, KV_CAPABILITIES, record_key_slice(&key), record_value_slice(&value));
    return writer_submit(store->writer, &change, err);
}
