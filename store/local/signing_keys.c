#include "store/signing_keys.h"

#include "base/log.h"
#include "store/local/internal.h"

#include <string.h>

void signing_keys_wipe(struct signing_keys *keys)
{
    explicit_bzero(keys, sizeof *keys);
}

/* By their age. */
static void insert(struct signing_keys *keys, const struct signing_key *key)
{
    size_t at = keys->count++;
    for (; at > 0 && keys->items[at - 1].created_s > key->created_s; at--)
        keys->items[at] = keys->items[at - 1];
    keys->items[at] = *key;
}

static enum errc visit_key(void *self, struct kv_slice key, struct kv_slice value, bool *enough,
                           struct error *err)
{
    struct signing_keys *keys = self;
    struct signing_key one;
    *enough = keys->count == SIGNING_KEYS_MAX;
    if (*enough)
        return ERR_OK;
    if (signing_key_decode(key, value, &one, err) == ERR_OK) {
        insert(keys, &one);
        explicit_bzero(&one, sizeof one);
        return ERR_OK;
    }
    log_error("a key that signs tokens cannot be read, and its tokens do not count any more: %s",
              err->text);
    error_clear(err);
    return ERR_OK;
}

enum errc signing_keys_get(struct store *store, struct signing_keys *out, struct error *err)
{
    struct signing_keys keys = {.count = 0};
    autotxn struct kv_txn txn = KV_TXN_INIT;
    if (kv_begin_read(store->kv, &txn, err) == ERR_OK &&
        kv_each(&txn, KV_SIGNING_KEYS, (struct kv_slice){NULL, 0}, visit_key, &keys, err) == ERR_OK)
        *out = keys;
    signing_keys_wipe(&keys);
    return err->code;
}

enum errc signing_keys_change(struct store *store, const struct signing_key *made,
                              const char *const *gone, size_t gone_count, struct error *err)
{
    struct record_key key = signing_key_key(made->id);
    struct record_value value = signing_key_value(made);
    autochange struct change change;
    change_init(&change);
    change.durable = true;
    change.secret = true;
    change_put(&change, KV_SIGNING_KEYS, record_key_slice(&key), record_value_slice(&value));
    explicit_bzero(&value, sizeof value);
    for (size_t i = 0; i < gone_count; i++) {
        key = signing_key_key(gone[i]);
        change_delete(&change, KV_SIGNING_KEYS, record_key_slice(&key));
    }
    return writer_submit(store->writer, &change, err);
}
