#include "store/local/meta.h"

#include "base/file.h"
#include "store/local/migrate.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum errc meta_find(struct store *store, const struct record_key *key, struct kv_txn *txn,
                    struct kv_slice *value, bool *found, struct error *err)
{
    if (kv_begin_read(store->kv, txn, err) != ERR_OK)
        return err->code;
    return kv_get(txn, KV_META, record_key_slice(key), value, found, err);
}

enum errc meta_put(struct store *store, const struct record_key *key,
                   const struct record_value *value, struct error *err)
{
    autochange struct change change;
    change_init(&change);
    change.durable = true;
    change.essential = true;
    change_put(&change, KV_META, record_key_slice(key), record_value_slice(value));
    return writer_submit(store->writer, &change, err);
}

/* ---- the schema and the id ---- */

static enum errc read_schema(struct store *store, bool *found, uint32_t *schema, struct error *err)
{
    struct record_key key = schema_key();
    struct kv_slice value;
    autotxn struct kv_txn txn = KV_TXN_INIT;
    if (meta_find(store, &key, &txn, &value, found, err) != ERR_OK)
        return err->code;
    return *found ? schema_decode(value, schema, err) : ERR_OK;
}

/* LMDB syncs its file, but not the file's name. */
static enum errc sync_new_metadata(struct store *store, struct error *err)
{
    autofd int fd = openat(store->root_fd, "meta", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return fail(err, ERR_IO, errno, "open folder %s/meta", store->path);
    return file_sync(fd, "the folder of the metadata", err);
}

enum errc store_check_schema(struct store *store, struct error *err)
{
    bool found = false;
    uint32_t schema = STORE_SCHEMA;
    if (read_schema(store, &found, &schema, err) != ERR_OK)
        return err->code;
    if (schema > STORE_SCHEMA)
        return fail(err, ERR_STORE, 0,
                    "the data folder %s has schema %u, written by a newer slipway; this one knows "
                    "schemas up to %u",
                    store->path, schema, STORE_SCHEMA);
    if (found && schema == STORE_SCHEMA)
        return ERR_OK;
    if (found ? store_migrate(store, schema, err) != ERR_OK
              : sync_new_metadata(store, err) != ERR_OK)
        return err->code;
    struct record_key key = schema_key();
    struct record_value value = schema_value(STORE_SCHEMA);
    return meta_put(store, &key, &value, err);
}

static void make_id(char id[VIA_ID_SIZE + 1])
{
    for (size_t i = 0; i < VIA_ID_SIZE; i += 8)
        snprintf(id + i, VIA_ID_SIZE + 1 - i, "%08x", arc4random());
}

static enum errc read_id(struct store *store, bool *found, struct error *err)
{
    struct record_key key = id_key();
    struct kv_slice value;
    autotxn struct kv_txn txn = KV_TXN_INIT;
    if (meta_find(store, &key, &txn, &value, found, err) != ERR_OK)
        return err->code;
    return *found ? id_decode(value, store->id, err) : ERR_OK;
}

enum errc store_meet_id(struct store *store, struct error *err)
{
    struct record_key key = id_key();
    bool found = false;
    if (read_id(store, &found, err) != ERR_OK || found)
        return err->code;
    make_id(store->id);
    struct record_value value = id_value(store->id);
    return meta_put(store, &key, &value, err);
}

/* ---- the state ---- */

enum errc meta_put_state(struct store *store, bool clean, struct error *err)
{
    struct state_record state = {.clean = clean};
    memcpy(state.boot_id, store->boot_id, sizeof state.boot_id);
    struct record_key key = state_key();
    struct record_value value = state_value(&state);
    return meta_put(store, &key, &value, err);
}

enum errc meta_read_state(struct store *store, struct state_record *out, struct error *err)
{
    struct record_key key = state_key();
    struct kv_slice value;
    bool found = false;
    autotxn struct kv_txn txn = KV_TXN_INIT;
    if (meta_find(store, &key, &txn, &value, &found, err) != ERR_OK)
        return err->code;
    if (found)
        return state_decode(value, out, err);
    *out = (struct state_record){.clean = true};
    return ERR_OK;
}
