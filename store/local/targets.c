#include "store/targets.h"

#include "base/log.h"
#include "store/local/internal.h"
#include "store/local/records_pushes.h"

enum errc targets_put(struct store *store, const struct target_record *records, size_t count,
                      bool durable, struct error *err)
{
    autochange struct change change;
    change_init(&change);
    change.durable = durable;
    change.essential = durable; /* an operator's word */
    change.saves_work = !durable;
    for (size_t i = 0; i < count; i++) {
        struct record_key key = target_record_key(records[i].name);
        struct target_record_value value;
        target_record_value(&records[i], &value);
        change_put(&change, KV_TARGETS, record_key_slice(&key),
                   (struct kv_slice){value.bytes, value.size});
    }
    return writer_submit(store->writer, &change, err);
}

enum errc targets_remove(struct store *store, const char *name, struct error *err)
{
    struct record_key key = target_record_key(name);
    autochange struct change change;
    change_init(&change);
    change.essential = true;
    change_delete(&change, KV_TARGETS, record_key_slice(&key));
    return writer_submit(store->writer, &change, err);
}

struct visit {
    targets_visit *visit;
    void *self;
};

static enum errc visit_one(void *self, struct kv_slice key, struct kv_slice value, bool *enough,
                           struct error *err)
{
    const struct visit *visit = self;
    struct target_record record;
    *enough = false;
    if (target_record_decode(key, value, &record, err) == ERR_OK) {
        visit->visit(visit->self, &record);
        return ERR_OK;
    }
    log_error(
        "what is remembered of the target %.*s cannot be read, a pause of it least of all: %s",
        (int)key.size, (const char *)key.data, err->text);
    error_clear(err);
    return ERR_OK;
}

enum errc targets_each(struct store *store, targets_visit *visit, void *self, struct error *err)
{
    struct visit each = {.visit = visit, .self = self};
    autotxn struct kv_txn txn = KV_TXN_INIT;
    if (kv_begin_read(store->kv, &txn, err) != ERR_OK)
        return err->code;
    return kv_each(&txn, KV_TARGETS, (struct kv_slice){NULL, 0}, visit_one, &each, err);
}
