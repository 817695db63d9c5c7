#include "store/local/migrate.h"

#include "base/log.h"
#include "store/local/quarantine_local.h"
#include "store/local/records_pushes.h"

/* In one change. */
#define MIGRATED_AT_ONCE 64

/* One change of the walk through the records. */
struct migration {
    struct store *store;
    struct change change;
    size_t changed;
};

static enum errc migrate_push(void *self, struct kv_slice key, struct kv_slice value, bool *enough,
                              struct error *err)
{
    struct migration *migration = self;
    struct push push;
    bool is_old = false;
    if (push_decode_schema_1(key, value, &is_old, &push, err) != ERR_OK)
        return quarantine_skip(migration->store, KV_PUSHES, key, value, err);
    if (!is_old)
        return ERR_OK;
    push_put(&migration->change, &push);
    push_deinit(&push);
    *enough = ++migration->changed == MIGRATED_AT_ONCE;
    return ERR_OK;
}

static enum errc migrate_some(struct store *store, size_t *changed, struct error *err)
{
    struct migration migration = {.store = store};
    change_init(&migration.change);
    migration.change.durable = true;
    migration.change.essential = true;
    autotxn struct kv_txn txn = KV_TXN_INIT;
    enum errc rc = kv_begin_read(store->kv, &txn, err);
    if (rc == ERR_OK)
        rc = kv_each(&txn, KV_PUSHES, (struct kv_slice){NULL, 0}, migrate_push, &migration, err);
    kv_end(&txn);
    if (rc == ERR_OK && migration.changed > 0)
        rc = writer_submit(store->writer, &migration.change, err);
    change_deinit(&migration.change);
    *changed = migration.changed;
    return rc;
}

enum errc store_migrate(struct store *store, uint32_t from, struct error *err)
{
    size_t total = 0;
    if (from != 1)
        return fail(err, ERR_STORE, 0, "the data folder %s has the unknown schema %u", store->path,
                    from);
    for (size_t changed = 1; changed > 0; total += changed)
        if (migrate_some(store, &changed, err) != ERR_OK)
            return error_wrap(err, "bring the data folder %s up to schema %u", store->path,
                              STORE_SCHEMA);
    log_event(LOG_INFO, "store.migrated",
              LOG_FIELDS(log_text("data", store->path), log_number("from", from),
                         log_number("to", STORE_SCHEMA), log_number("pushes", total)),
              "the data folder was brought up to schema %u; versions before this one cannot open "
              "it any more",
              STORE_SCHEMA);
    return ERR_OK;
}
