#include "store/local/recover.h"

#include "base/log.h"
#include "store/local/blob_files.h"
#include "store/local/records_front.h"
#include "store/local/records_pushes.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void init_essential(struct change *change)
{
    change_init(change);
    change->durable = true;
    change->essential = true;
}

static void put_record(struct change *change, enum kv_table table, const struct record_key *key,
                       const struct record_value *value)
{
    change_put(change, table, record_key_slice(key), record_value_slice(value));
}

static void put_state(struct store *store, struct change *change, bool clean)
{
    struct state_record state = {.clean = clean};
    memcpy(state.boot_id, store->boot_id, sizeof state.boot_id);
    struct record_key key = state_key();
    struct record_value value = state_value(&state);
    put_record(change, KV_META, &key, &value);
}

static enum errc read_schema(struct store *store, bool *found, uint32_t *schema, struct error *err)
{
    struct record_key key = schema_key();
    struct kv_slice value;
    autotxn struct kv_txn txn = KV_TXN_INIT;
    if (kv_begin_read(store->kv, &txn, err) != ERR_OK ||
        kv_get(&txn, KV_META, record_key_slice(&key), &value, found, err) != ERR_OK)
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
    if (schema < STORE_SCHEMA)
        return fail(err, ERR_STORE, 0, "the data folder %s has the unknown schema %u", store->path,
                    schema);
    if (found)
        return ERR_OK;
    if (sync_new_metadata(store, err) != ERR_OK)
        return err->code;
    autochange struct change change;
    init_essential(&change);
    struct record_key key = schema_key();
    struct record_value value = schema_value(STORE_SCHEMA);
    put_record(&change, KV_META, &key, &value);
    return writer_submit(store->writer, &change, err);
}

static enum errc read_state(struct store *store, struct state_record *out, struct error *err)
{
    struct record_key key = state_key();
    struct kv_slice value;
    bool found = false;
    autotxn struct kv_txn txn = KV_TXN_INIT;
    if (kv_begin_read(store->kv, &txn, err) != ERR_OK ||
        kv_get(&txn, KV_META, record_key_slice(&key), &value, &found, err) != ERR_OK)
        return err->code;
    if (found)
        return state_decode(value, out, err);
    *out = (struct state_record){.clean = true};
    return ERR_OK;
}

/* Call `visit` with each name in the folder. */
typedef enum errc visit_fn(struct store *store, int folder_fd, const char *algorithm,
                           const char *name, struct error *err);

static enum errc each_name(struct store *store, int parent_fd, const char *algorithm,
                           const char *name, visit_fn *visit, struct error *err)
{
    int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == ENOTDIR)
        return ERR_OK;
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    if (folder == NULL) {
        fail(err, ERR_IO, errno, "read folder blobs/%s", algorithm);
        file_close_at(&fd);
        return err->code;
    }
    enum errc rc = ERR_OK;
    for (const struct dirent *entry; rc == ERR_OK && (entry = readdir(folder)) != NULL;)
        if (entry->d_name[0] != '.')
            rc = visit(store, fd, algorithm, entry->d_name, err);
    closedir(folder);
    return rc;
}

static enum errc remove_unless_durable(struct store *store, int folder_fd, const char *algorithm,
                                       const char *name, struct error *err)
{
    struct digest digest;
    struct error not_a_blob = ERROR_INIT;
    if (digest_parse_parts(algorithm, name, &digest, &not_a_blob) != ERR_OK)
        return ERR_OK;
    struct blob_record record;
    bool found = false;
    if (blob_find(store, &digest, &found, &record, err) != ERR_OK)
        return err->code;
    if (found && record.state == BLOB_DURABLE)
        return ERR_OK;
    if (unlinkat(folder_fd, name, 0) != 0 && errno != ENOENT)
        return fail(err, ERR_IO, errno, "remove blob %s", name);
    return ERR_OK;
}

static enum errc sweep_folder(struct store *store, int folder_fd, const char *algorithm,
                              const char *name, struct error *err)
{
    return each_name(store, folder_fd, algorithm, name, remove_unless_durable, err);
}

static enum errc sweep_files(struct store *store, struct error *err)
{
    for (enum digest_algorithm a = DIGEST_SHA256; a <= DIGEST_SHA512; a++) {
        const char *algorithm = digest_algorithm_name(a);
        if (each_name(store, store->blobs_fd, algorithm, algorithm, sweep_folder, err) != ERR_OK)
            return err->code;
    }
    return ERR_OK;
}

static enum errc is_durable(const struct kv_txn *txn, const struct digest *digest, bool *durable,
                            struct error *err)
{
    struct record_key key = blob_key(digest);
    struct kv_slice value;
    struct blob_record record = {.state = BLOB_VOLATILE};
    bool found = false;
    if (kv_get(txn, KV_BLOBS, record_key_slice(&key), &value, &found, err) != ERR_OK ||
        (found && blob_decode(value, &record, err) != ERR_OK))
        return err->code;
    *durable = found && record.state == BLOB_DURABLE;
    return ERR_OK;
}

/* The blob without which the record is of no use. */
static enum errc blob_of_record(enum kv_table table, struct kv_slice key, struct kv_slice value,
                                struct digest *out, struct error *err)
{
    struct layer_form form;
    struct named_manifest named;
    struct push_record push;
    char text[REPOSITORY_NAME_MAX + 1];
    switch (table) {
    case KV_BLOBS:
        return blob_key_decode(key, out, err);
    case KV_LAYERS:
        if (layer_decode(key, value, &form, err) != ERR_OK)
            return err->code;
        *out = form.digest;
        return ERR_OK;
    case KV_REFERENCES:
        if (reference_decode(key, value, &named, err) != ERR_OK)
            return err->code;
        *out = named.manifest;
        return ERR_OK;
    case KV_MEMBERS:
    case KV_MANIFESTS:
        return repository_digest_decode(key, text, out, err);
    case KV_HOLDERS:
        return holder_decode(key, out, err);
    case KV_TAGS:
        return tag_decode(key, value, text, out, err);
    case KV_REFERRERS:
        return referrer_key_decode(key, out, err);
    case KV_PUSHES:
        if (push_decode(key, value, &push, err) != ERR_OK)
            return err->code;
        *out = push.manifest.digest;
        push_record_deinit(&push);
        return ERR_OK;
    default:
        assert(0 && "a table whose records are about a blob");
        abort();
    }
}

static enum errc drop_records(struct store *store, enum kv_table table, struct change *change,
                              size_t *dropped, struct error *err)
{
    struct kv_slice key;
    struct kv_slice value;
    bool more = true;
    autotxn struct kv_txn txn = KV_TXN_INIT;
    autocursor struct kv_cursor cursor = KV_CURSOR_INIT;
    if (kv_begin_read(store->kv, &txn, err) != ERR_OK ||
        kv_cursor_open(&txn, table, (struct kv_slice){NULL, 0}, &cursor, err) != ERR_OK)
        return err->code;
    for (;;) {
        bool durable = false;
        if (kv_cursor_next(&cursor, &key, &value, &more, err) != ERR_OK)
            return err->code;
        if (!more)
            return ERR_OK;
        struct digest digest;
        if (blob_of_record(table, key, value, &digest, err) != ERR_OK ||
            is_durable(&txn, &digest, &durable, err) != ERR_OK)
            return err->code;
        if (durable)
            continue;
        change_delete(change, table, key);
        ++*dropped;
    }
}

static enum errc drop_what_is_in_doubt(struct store *store, struct change *change,
                                       struct error *err)
{
    static const enum kv_table tables[] = {KV_BLOBS,   KV_LAYERS,    KV_REFERENCES,
                                           KV_MEMBERS, KV_HOLDERS,   KV_MANIFESTS,
                                           KV_TAGS,    KV_REFERRERS, KV_PUSHES};
    size_t blobs = 0;
    size_t others = 0;
    enum errc rc = sweep_files(store, err);
    for (size_t i = 0; rc == ERR_OK && i < sizeof tables / sizeof tables[0]; i++)
        rc = drop_records(store, tables[i], change, tables[i] == KV_BLOBS ? &blobs : &others, err);
    if (rc != ERR_OK)
        return error_wrap(err, "recover the data folder %s", store->path);
    log_event(LOG_WARN, "store.recovered",
              LOG_FIELDS(log_text("data", store->path), log_number("blobs", blobs),
                         log_number("records", others)),
              "the machine went down while the data folder was in use: dropped blobs that were not "
              "durable, and records of layers, names, repositories and pushes that need them");
    return ERR_OK;
}

enum errc store_recover(struct store *store, struct error *err)
{
    struct state_record state;
    if (read_state(store, &state, err) != ERR_OK)
        return err->code;
    bool same_boot = store->boot_id[0] != '\0' && strcmp(state.boot_id, store->boot_id) == 0;
    atomic_store(&store->unsynced, !state.clean);
    if (same_boot && !state.clean)
        return ERR_OK;
    autochange struct change change;
    init_essential(&change);
    if (!state.clean && drop_what_is_in_doubt(store, &change, err) != ERR_OK)
        return err->code;
    put_state(store, &change, false);
    return writer_submit(store->writer, &change, err);
}

static enum errc make_all_durable(struct store *store, struct change *change, struct error *err)
{
    struct kv_slice key;
    struct kv_slice value;
    bool more = true;
    autotxn struct kv_txn txn = KV_TXN_INIT;
    autocursor struct kv_cursor cursor = KV_CURSOR_INIT;
    if (kv_begin_read(store->kv, &txn, err) != ERR_OK ||
        kv_cursor_open(&txn, KV_BLOBS, (struct kv_slice){NULL, 0}, &cursor, err) != ERR_OK)
        return err->code;
    for (;;) {
        struct blob_record record;
        if (kv_cursor_next(&cursor, &key, &value, &more, err) != ERR_OK)
            return err->code;
        if (!more)
            return ERR_OK;
        if (blob_decode(value, &record, err) != ERR_OK)
            return err->code;
        if (record.state == BLOB_DURABLE)
            continue;
        record.state = BLOB_DURABLE;
        struct record_value durable = blob_value(&record);
        change_put(change, KV_BLOBS, key, record_value_slice(&durable));
    }
}

enum errc store_settle(struct store *store, struct error *err)
{
    bool unsynced = atomic_load(&store->unsynced);
    if (unsynced && store->leave_volatile)
        return ERR_OK;
    autochange struct change change;
    init_essential(&change);
    if (unsynced && syncfs(store->blobs_fd) != 0)
        return fail(err, ERR_IO, errno, "sync the data folder to the disk");
    if (unsynced && make_all_durable(store, &change, err) != ERR_OK)
        return err->code;
    put_state(store, &change, true);
    return writer_submit(store->writer, &change, err);
}
