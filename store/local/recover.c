#include "store/local/recover.h"

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "image/manifest.h"
#include "store/local/blob_files.h"
#include "store/local/meta.h"
#include "store/local/quarantine_local.h"
#include "store/local/records_pushes.h"
#include "store/local/records_repositories.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

static void init_essential(struct change *change)
{
    change_init(change);
    change->durable = true;
    change->essential = true;
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
    enum errc rc = blob_find(store, &digest, &found, &record, err);
    if (rc == ERR_STORE) {
        error_clear(err);
        return quarantine_file(store, folder_fd, name, "blob", name,
                               "its record could not be read, so nobody knows whether the disk has "
                               "all of its bytes",
                               err);
    }
    if (rc != ERR_OK || (found && record.state == BLOB_DURABLE))
        return rc;
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

static enum errc push_of_target(const struct kv_txn *txn, struct kv_slice key, struct push *out,
                                struct error *err)
{
    char id[PUSH_ID_MAX];
    size_t index = 0;
    struct kv_slice value;
    bool found = false;
    if (push_target_key_decode(key, id, &index, err) != ERR_OK)
        return err->code;
    struct record_key push = push_key(id);
    if (kv_get(txn, KV_PUSHES, record_key_slice(&push), &value, &found, err) != ERR_OK)
        return err->code;
    if (!found)
        return fail(err, ERR_STORE, 0, "a target that is open belongs to no push");
    return push_decode(record_key_slice(&push), value, out, err);
}

static enum errc manifest_of_target(const struct kv_txn *txn, struct kv_slice key,
                                    struct digest *out, struct error *err)
{
    struct push push;
    if (push_of_target(txn, key, &push, err) != ERR_OK)
        return err->code;
    *out = push.manifest.digest;
    push_deinit(&push);
    return ERR_OK;
}

/* The blob without which the record is of no use. */
static enum errc blob_of_record(const struct kv_txn *txn, enum kv_table table, struct kv_slice key,
                                struct kv_slice value, struct digest *out, struct error *err)
{
    struct layer_form form;
    struct named_manifest named;
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
        return referrer_key_decode(key, text, out, err);
    case KV_OPEN_TARGETS:
        return manifest_of_target(txn, key, out, err);
    default:
        assert(0 && "a table whose records are about a blob");
        abort();
    }
}

/* ---- in steps ---- */

/* Records looked at in one step, which is one transaction to read them and one change. */
#define STEP_RECORDS 1000

struct step {
    struct store *store;
    enum kv_table table;
    struct change change;
    size_t changed;                    /* records */
    struct digest named[STEP_RECORDS]; /* manifests that are to be looked at after the reading */
    size_t named_count;
};

typedef enum errc look_fn(struct step *step, const struct kv_txn *txn, struct kv_slice key,
                          struct kv_slice value, struct error *err);

/* Go on at the key `from`, which is moved behind what was looked at. */
static enum errc look_at_some(struct step *step, struct record_key *from, look_fn *look, bool *more,
                              struct error *err)
{
    struct kv_slice key;
    struct kv_slice value;
    autotxn struct kv_txn txn = KV_TXN_INIT;
    autocursor struct kv_cursor cursor = KV_CURSOR_INIT;
    if (kv_begin_read(step->store->kv, &txn, err) != ERR_OK ||
        kv_cursor_open(&txn, step->table, (struct kv_slice){NULL, 0}, &cursor, err) != ERR_OK)
        return err->code;
    if (from->size > 0)
        kv_cursor_seek(&cursor, record_key_slice(from));
    for (size_t i = 0; i < STEP_RECORDS; i++) {
        if (kv_cursor_next(&cursor, &key, &value, more, err) != ERR_OK)
            return err->code;
        if (!*more)
            return ERR_OK;
        if (look(step, &txn, key, value, err) != ERR_OK &&
            (err->code != ERR_STORE ||
             quarantine_skip(step->store, step->table, key, value, err) != ERR_OK))
            return err->code;
    }
    assert(key.size < sizeof from->bytes);
    memcpy(from->bytes, key.data, key.size);
    from->bytes[key.size] = 0;
    from->size = key.size + 1;
    return ERR_OK;
}

/* ---- images that lost a part ---- */

static void put_state_of_blob(struct step *step, struct kv_slice key, struct blob_record record,
                              enum blob_state state)
{
    record.state = state;
    struct record_value value = blob_value(&record);
    change_put(&step->change, KV_BLOBS, key, record_value_slice(&value));
    step->changed++;
}

static enum errc find_lost(struct step *step, const struct digest *digest, unsigned nesting,
                           bool *is_lost, struct error *err);

static enum errc find_lost_part(struct step *step, const struct manifest *manifest,
                                unsigned nesting, bool *is_lost, struct error *err)
{
    if (manifest->kind == MANIFEST_IMAGE &&
        find_lost(step, &manifest->config.digest, INDEX_DEPTH_MAX + 1, is_lost, err) != ERR_OK)
        return err->code;
    for (size_t i = 0; i < manifest->layer_count && !*is_lost; i++)
        if (find_lost(step, &manifest->layers[i].digest, INDEX_DEPTH_MAX + 1, is_lost, err) !=
            ERR_OK)
            return err->code;
    for (size_t i = 0; i < manifest->child_count && !*is_lost; i++)
        if (find_lost(step, &manifest->children[i].digest, nesting + 1, is_lost, err) != ERR_OK)
            return err->code;
    return ERR_OK;
}

/* Is this a blob that was lost with the machine, or a manifest that needs one? What the store never
 * had is not lost. A manifest that needs one is marked as volatile, so that it goes with it. */
static enum errc find_lost(struct step *step, const struct digest *digest, unsigned nesting,
                           bool *is_lost, struct error *err)
{
    struct blob_record record;
    struct manifest manifest;
    struct error no_manifest = ERROR_INIT;
    autofree char *data = NULL;
    size_t size = 0;
    bool found = false;
    *is_lost = blob_find(step->store, digest, &found, &record, err) == ERR_STORE;
    if (*is_lost)
        error_clear(err); /* a record that cannot be read */
    if (err->code != ERR_OK || *is_lost)
        return err->code;
    *is_lost = found && record.state == BLOB_VOLATILE;
    if (!found || *is_lost || nesting > INDEX_DEPTH_MAX ||
        blob_read_all(step->store, digest, MANIFEST_LIMIT_BYTES, "manifest", &data, &size,
                      &no_manifest) != ERR_OK ||
        manifest_parse_any(data, size, NULL, "manifest", &manifest, &no_manifest) != ERR_OK)
        return ERR_OK;
    enum errc rc = find_lost_part(step, &manifest, nesting, is_lost, err);
    manifest_deinit(&manifest);
    if (rc != ERR_OK || !*is_lost)
        return rc;
    struct record_key key = blob_key(digest);
    put_state_of_blob(step, record_key_slice(&key), record, BLOB_VOLATILE);
    return ERR_OK;
}

/* Look at each record of the table. *changed grows by the records that were. */
static enum errc look_at_all(struct store *store, enum kv_table table, look_fn *look,
                             size_t *changed, struct error *err)
{
    struct record_key from = {.size = 0};
    autofree struct step *step = xcalloc(1, sizeof *step);
    enum errc rc = ERR_OK;
    for (bool more = true; more && rc == ERR_OK;) {
        bool is_lost = false;
        *step = (struct step){.store = store, .table = table};
        init_essential(&step->change);
        rc = look_at_some(step, &from, look, &more, err);
        for (size_t i = 0; rc == ERR_OK && i < step->named_count; i++)
            rc = find_lost(step, &step->named[i], 0, &is_lost, err);
        if (rc == ERR_OK && step->changed > 0)
            rc = writer_submit(store->writer, &step->change, err);
        *changed += step->changed;
        change_deinit(&step->change);
    }
    return rc;
}

/* One that cannot be read may be one. */
static enum errc is_any_volatile(void *self, struct kv_slice key, struct kv_slice value,
                                 bool *enough, struct error *err)
{
    (void)key, (void)err;
    struct error unread = ERROR_INIT;
    struct blob_record record;
    *(bool *)self = *enough =
        blob_decode(value, &record, &unread) != ERR_OK || record.state == BLOB_VOLATILE;
    return ERR_OK;
}

static enum errc any_volatile(struct store *store, bool *any, struct error *err)
{
    autotxn struct kv_txn txn = KV_TXN_INIT;
    *any = false;
    if (kv_begin_read(store->kv, &txn, err) != ERR_OK)
        return err->code;
    return kv_each(&txn, KV_BLOBS, (struct kv_slice){NULL, 0}, is_any_volatile, any, err);
}

static enum errc name_manifest(struct step *step, const struct kv_txn *txn, struct kv_slice key,
                               struct kv_slice value, struct error *err)
{
    if (blob_of_record(txn, step->table, key, value, &step->named[step->named_count], err) !=
        ERR_OK)
        return err->code;
    step->named_count++;
    return ERR_OK;
}

/* ---- what goes after a crash of the machine ---- */

/* Of a push that is open, all goes. */
static enum errc drop_push(struct step *step, const struct kv_txn *txn, struct kv_slice key,
                           struct error *err)
{
    struct push push;
    if (push_of_target(txn, key, &push, err) != ERR_OK)
        return err->code;
    push_remove_all(&step->change, push.id, push.target_count);
    push_deinit(&push);
    return ERR_OK;
}

static enum errc drop_unless_durable(struct step *step, const struct kv_txn *txn,
                                     struct kv_slice key, struct kv_slice value, struct error *err)
{
    struct digest digest;
    struct kv_slice blob;
    struct blob_record record = {.state = BLOB_VOLATILE};
    bool found = false;
    if (blob_of_record(txn, step->table, key, value, &digest, err) != ERR_OK)
        return err->code;
    struct record_key blob_is = blob_key(&digest);
    if (kv_get(txn, KV_BLOBS, record_key_slice(&blob_is), &blob, &found, err) != ERR_OK)
        return err->code;
    if (found && blob_decode(blob, &record, err) != ERR_OK) {
        if (step->table == KV_BLOBS)
            return err->code;
        error_clear(err); /* in doubt, as one that is volatile */
    }
    if (record.state == BLOB_DURABLE)
        return ERR_OK;
    step->changed++;
    if (step->table == KV_OPEN_TARGETS)
        return drop_push(step, txn, key, err);
    change_delete(&step->change, step->table, key);
    return ERR_OK;
}

static enum errc each_table(struct store *store, const enum kv_table *tables, size_t count,
                            look_fn *look, size_t *changed, struct error *err)
{
    enum errc rc = ERR_OK;
    for (size_t i = 0; rc == ERR_OK && i < count; i++)
        rc = look_at_all(store, tables[i], look, changed, err);
    return rc;
}

static enum errc drop_what_is_in_doubt(struct store *store, struct error *err)
{
    /* Those that name manifests first, the blobs themselves last: by them the rest is judged. */
    static const enum kv_table tables[] = {KV_REFERENCES, KV_MANIFESTS, KV_OPEN_TARGETS, KV_TAGS,
                                           KV_REFERRERS,  KV_MEMBERS,   KV_HOLDERS,      KV_LAYERS};
    bool any = false;
    size_t marked = 0;
    size_t blobs = 0;
    size_t others = 0;
    if (any_volatile(store, &any, err) != ERR_OK ||
        (any && each_table(store, tables, 3, name_manifest, &marked, err) != ERR_OK) ||
        each_table(store, tables, sizeof tables / sizeof tables[0], drop_unless_durable, &others,
                   err) != ERR_OK ||
        sweep_files(store, err) != ERR_OK ||
        look_at_all(store, KV_BLOBS, drop_unless_durable, &blobs, err) != ERR_OK)
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
    if (meta_read_state(store, &state, err) != ERR_OK)
        return err->code;
    bool same_boot = store->boot_id[0] != '\0' && strcmp(state.boot_id, store->boot_id) == 0;
    atomic_store(&store->unsynced, !state.clean);
    if (same_boot && !state.clean)
        return ERR_OK;
    if (!state.clean && drop_what_is_in_doubt(store, err) != ERR_OK)
        return err->code;
    return meta_put_state(store, false, err);
}

/* ---- an orderly end ---- */

static enum errc make_durable(struct step *step, const struct kv_txn *txn, struct kv_slice key,
                              struct kv_slice value, struct error *err)
{
    (void)txn;
    struct blob_record record;
    if (blob_decode(value, &record, err) != ERR_OK)
        return err->code;
    if (record.state != BLOB_DURABLE)
        put_state_of_blob(step, key, record, BLOB_DURABLE);
    return ERR_OK;
}

enum errc store_settle(struct store *store, struct error *err)
{
    size_t made = 0;
    bool unsynced = atomic_load(&store->unsynced);
    if (unsynced && store->leave_volatile)
        return ERR_OK;
    if (unsynced && syncfs(store->blobs_fd) != 0)
        return fail(err, ERR_IO, errno, "sync the data folder to the disk");
    if (unsynced && look_at_all(store, KV_BLOBS, make_durable, &made, err) != ERR_OK)
        return err->code;
    return meta_put_state(store, true, err);
}
