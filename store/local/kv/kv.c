#include "store/local/kv/kv.h"

#include "base/mem.h"
#include "store/local/kv/kv_file.h"

#include <assert.h>
#include <fcntl.h>
#include <lmdb.h>
#include <string.h>
#include <unistd.h>

static const char *const table_names[KV_TABLE_COUNT] = {
    [KV_META] = "meta",
    [KV_BLOBS] = "blobs",
    [KV_LAYERS] = "layers",
    [KV_REFERENCES] = "references",
    [KV_KNOWN_LOCATIONS] = "associations",
    [KV_ASSOCIATED] = "associated",
    [KV_CAPABILITIES] = "learned",
    [KV_STARTS] = "starts",
    [KV_MEMBERS] = "members",
    [KV_HOLDERS] = "holders",
    [KV_MANIFESTS] = "manifests",
    [KV_TAGS] = "tags",
    [KV_REFERRERS] = "referrers",
    [KV_SESSIONS] = "sessions",
    [KV_PUSHES] = "pushes",
    [KV_PUSH_TARGETS] = "push_targets",
    [KV_OPEN_TARGETS] = "open_targets",
    [KV_TOMBS] = "tombs",
    [KV_TARGETS] = "targets",
    [KV_OPEN_UPLOADS] = "open_uploads",
    [KV_PUSHED_TAGS] = "pushed_tags",
    [KV_PUSH_KEYS] = "push_keys",
};

const char *kv_table_name(enum kv_table table)
{
    return table_names[table];
}

_Static_assert((int)KV_TABLE_COUNT <= KV_TABLES_MAX, "raise KV_TABLES_MAX");

struct kv {
    MDB_env *env;
    MDB_dbi tables[KV_TABLE_COUNT];
};

static enum errc kv_fail(struct error *err, int rc, const char *doing)
{
    switch (rc) {
    case MDB_MAP_FULL:
    case MDB_TXN_FULL:
        return fail(err, ERR_STORE_FULL, 0, "%s: the metadata map is full", doing);
    case MDB_READERS_FULL:
        return fail(err, ERR_STORE, 0, "%s: more than %d reads at the same time", doing,
                    KV_READERS_MAX);
    case MDB_PANIC:
        return fail(err, ERR_SYNC, 0, "%s: an earlier write of the metadata failed half-way",
                    doing);
    default:
        break;
    }
    if (rc > 0)
        return fail(err, ERR_IO, rc, "%s", doing);
    return fail(err, ERR_STORE, 0, "%s: %s", doing, mdb_strerror(rc));
}

/* Of what has to be on the disk. A disk that is full has told so before anything was changed. */
static enum errc fail_to_write(struct error *err, int rc, const char *doing)
{
    if (kv_fail(err, rc, doing) == ERR_IO)
        err->code = ERR_SYNC;
    return err->code;
}

static MDB_val to_val(struct kv_slice slice)
{
    /* LMDB takes what it only reads without const. */
    union {
        const void *given;
        void *taken;
    } data = {.given = slice.data};
    return (MDB_val){.mv_size = slice.size, .mv_data = data.taken};
}

static struct kv_slice to_slice(const MDB_val *val)
{
    return (struct kv_slice){.data = val->mv_data, .size = val->mv_size};
}

static int open_environment(MDB_env *env, const char *path, uint64_t map_size_bytes)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    int rc = mdb_env_set_mapsize(env, (map_size_bytes + page - 1) / page * page);
    if (rc == 0)
        rc = mdb_env_set_maxreaders(env, KV_READERS_MAX);
    if (rc == 0)
        rc = mdb_env_set_maxdbs(env, KV_TABLES_MAX);
    if (rc == 0)
        rc = mdb_env_open(env, path, MDB_NOTLS | MDB_NOMETASYNC, 0600);
    int fd = -1;
    if (rc == 0)
        rc = mdb_env_get_fd(env, &fd);
    if (rc == 0)
        fcntl(fd, F_SETFD, FD_CLOEXEC);
    return rc;
}

static int open_tables(struct kv *kv)
{
    MDB_txn *txn = NULL;
    int rc = mdb_txn_begin(kv->env, NULL, 0, &txn);
    for (int i = 0; rc == 0 && i < KV_TABLE_COUNT; i++)
        rc = mdb_dbi_open(txn, table_names[i], MDB_CREATE, &kv->tables[i]);
    if (rc == 0)
        return mdb_txn_commit(txn);
    if (txn != NULL)
        mdb_txn_abort(txn);
    return rc;
}

enum errc kv_open(const char *path, uint64_t map_size_bytes, struct kv **out, struct error *err)
{
    if (kv_file_check(path, err) != ERR_OK)
        return err->code;
    struct kv *kv = xcalloc(1, sizeof *kv);
    const char *doing = "open the metadata";
    int rc = mdb_env_create(&kv->env);
    if (rc == 0)
        rc = open_environment(kv->env, path, map_size_bytes);
    if (rc == 0) {
        doing = "open the metadata's tables";
        rc = open_tables(kv);
    }
    if (rc != 0) {
        kv_close(kv);
        kv_fail(err, rc, doing);
        return error_wrap(err, "%s", path);
    }
    *out = kv;
    return ERR_OK;
}

void kv_close(struct kv *kv)
{
    if (kv == NULL)
        return;
    if (kv->env != NULL)
        mdb_env_close(kv->env);
    free(kv);
}

enum errc kv_begin_read(struct kv *kv, struct kv_txn *out, struct error *err)
{
    MDB_txn *txn = NULL;
    int rc = mdb_txn_begin(kv->env, NULL, MDB_RDONLY, &txn);
    if (rc == MDB_READERS_FULL) {
        int dead = 0;
        mdb_reader_check(kv->env, &dead);
        rc = mdb_txn_begin(kv->env, NULL, MDB_RDONLY, &txn);
    }
    if (rc != 0)
        return kv_fail(err, rc, "begin to read the metadata");
    *out = (struct kv_txn){.kv = kv, .handle = txn};
    return ERR_OK;
}

enum errc kv_begin_write(struct kv *kv, struct kv_txn *out, struct error *err)
{
    MDB_txn *txn = NULL;
    int rc = mdb_txn_begin(kv->env, NULL, 0, &txn);
    if (rc != 0)
        return kv_fail(err, rc, "begin to write the metadata");
    *out = (struct kv_txn){.kv = kv, .handle = txn};
    return ERR_OK;
}

enum errc kv_commit(struct kv_txn *txn, struct error *err)
{
    /* Frees the handle also when it fails. */
    int rc = mdb_txn_commit(mem_take(&txn->handle));
    return rc == 0 ? ERR_OK : fail_to_write(err, rc, "commit the metadata");
}

void kv_end(struct kv_txn *txn)
{
    if (txn->handle != NULL)
        mdb_txn_abort(txn->handle);
    txn->handle = NULL;
}

enum errc kv_sync(struct kv *kv, struct error *err)
{
    int rc = mdb_env_sync(kv->env, 1);
    if (rc == 0)
        return ERR_OK;
    kv_fail(err, rc, "sync the metadata to the disk");
    return err->code = ERR_SYNC;
}

enum errc kv_copy(struct kv *kv, int fd, struct error *err)
{
    int rc = mdb_env_copyfd2(kv->env, fd, 0);
    return rc == 0 ? ERR_OK : kv_fail(err, rc, "copy the metadata");
}

enum errc kv_get(const struct kv_txn *txn, enum kv_table table, struct kv_slice key,
                 struct kv_slice *value, bool *found, struct error *err)
{
    MDB_val k = to_val(key);
    MDB_val v;
    int rc = mdb_get(txn->handle, txn->kv->tables[table], &k, &v);
    if (rc != 0 && rc != MDB_NOTFOUND)
        return kv_fail(err, rc, "read the metadata");
    *found = rc == 0;
    if (rc == 0)
        *value = to_slice(&v);
    return ERR_OK;
}

enum errc kv_put(struct kv_txn *txn, enum kv_table table, struct kv_slice key,
                 struct kv_slice value, struct error *err)
{
    MDB_val k = to_val(key);
    MDB_val v = to_val(value);
    int rc = mdb_put(txn->handle, txn->kv->tables[table], &k, &v, 0);
    return rc == 0 ? ERR_OK : kv_fail(err, rc, "write the metadata");
}

enum errc kv_delete(struct kv_txn *txn, enum kv_table table, struct kv_slice key, struct error *err)
{
    MDB_val k = to_val(key);
    int rc = mdb_del(txn->handle, txn->kv->tables[table], &k, NULL);
    return rc == 0 || rc == MDB_NOTFOUND ? ERR_OK : kv_fail(err, rc, "delete metadata");
}

enum errc kv_cursor_open(const struct kv_txn *txn, enum kv_table table, struct kv_slice prefix,
                         struct kv_cursor *out, struct error *err)
{
    MDB_cursor *cursor = NULL;
    int rc = mdb_cursor_open(txn->handle, txn->kv->tables[table], &cursor);
    if (rc != 0)
        return kv_fail(err, rc, "list the metadata");
    *out = (struct kv_cursor){.handle = cursor, .prefix = prefix};
    return ERR_OK;
}

void kv_cursor_seek(struct kv_cursor *cursor, struct kv_slice key)
{
    assert(key.size >= cursor->prefix.size && key.size > 0 && key.size <= KV_KEY_MAX);
    cursor->seek = key;
}

/* How to get to the next entry; *from is the key that it takes. */
static MDB_cursor_op next_step(struct kv_cursor *cursor, MDB_val *from)
{
    struct kv_slice start = cursor->prefix;
    bool go_on = cursor->started;
    if (cursor->seek.size > 0) {
        start = cursor->seek;
        cursor->seek.size = 0;
        go_on = false;
    }
    cursor->started = true;
    *from = to_val(start);
    if (go_on)
        return MDB_NEXT;
    return start.size > 0 ? MDB_SET_RANGE : MDB_FIRST;
}

enum errc kv_cursor_next(struct kv_cursor *cursor, struct kv_slice *key, struct kv_slice *value,
                         bool *more, struct error *err)
{
    MDB_val k;
    MDB_cursor_op step = next_step(cursor, &k);
    MDB_val v;
    int rc = mdb_cursor_get(cursor->handle, &k, &v, step);
    if (rc != 0 && rc != MDB_NOTFOUND)
        return kv_fail(err, rc, "list the metadata");
    size_t wanted = cursor->prefix.size;
    *more = rc == 0 && k.mv_size >= wanted &&
            (wanted == 0 || memcmp(k.mv_data, cursor->prefix.data, wanted) == 0);
    if (*more) {
        *key = to_slice(&k);
        *value = to_slice(&v);
    }
    return ERR_OK;
}

void kv_cursor_seek_before(struct kv_cursor *cursor, struct kv_slice key)
{
    assert(cursor->prefix.size == 0 && key.size <= KV_KEY_MAX);
    cursor->seek = key;
    cursor->started = false;
}

/* To the entry that is at `seek` or behind it, then one back; where there is none, to the last. */
static int go_before(struct kv_cursor *cursor, MDB_val *key, MDB_val *value)
{
    *key = to_val(cursor->seek);
    cursor->started = true;
    if (cursor->seek.size == 0 ||
        mdb_cursor_get(cursor->handle, key, value, MDB_SET_RANGE) == MDB_NOTFOUND)
        return mdb_cursor_get(cursor->handle, key, value, MDB_LAST);
    return mdb_cursor_get(cursor->handle, key, value, MDB_PREV);
}

enum errc kv_cursor_back(struct kv_cursor *cursor, struct kv_slice *key, struct kv_slice *value,
                         bool *more, struct error *err)
{
    MDB_val k;
    MDB_val v;
    int rc = cursor->started ? mdb_cursor_get(cursor->handle, &k, &v, MDB_PREV)
                             : go_before(cursor, &k, &v);
    if (rc != 0 && rc != MDB_NOTFOUND)
        return kv_fail(err, rc, "list the metadata");
    *more = rc == 0;
    if (*more) {
        *key = to_slice(&k);
        *value = to_slice(&v);
    }
    return ERR_OK;
}

void kv_cursor_close(struct kv_cursor *cursor)
{
    if (cursor->handle != NULL)
        mdb_cursor_close(cursor->handle);
    cursor->handle = NULL;
}

enum errc kv_each(const struct kv_txn *txn, enum kv_table table, struct kv_slice prefix,
                  kv_visit *visit, void *self, struct error *err)
{
    autocursor struct kv_cursor cursor = KV_CURSOR_INIT;
    enum errc rc = kv_cursor_open(txn, table, prefix, &cursor, err);
    for (bool more = rc == ERR_OK, enough = false; more && !enough && rc == ERR_OK;) {
        struct kv_slice key;
        struct kv_slice value;
        rc = kv_cursor_next(&cursor, &key, &value, &more, err);
        if (rc == ERR_OK && more)
            rc = visit(self, key, value, &enough, err);
    }
    return rc;
}

enum errc kv_any(const struct kv_txn *txn, enum kv_table table, struct kv_slice prefix, bool *any,
                 struct error *err)
{
    autocursor struct kv_cursor cursor = KV_CURSOR_INIT;
    struct kv_slice key;
    struct kv_slice value;
    if (kv_cursor_open(txn, table, prefix, &cursor, err) != ERR_OK)
        return err->code;
    return kv_cursor_next(&cursor, &key, &value, any, err);
}

enum errc kv_count(const struct kv_txn *txn, enum kv_table table, size_t *count, struct error *err)
{
    MDB_stat stat;
    int rc = mdb_stat(txn->handle, txn->kv->tables[table], &stat);
    if (rc != 0)
        return kv_fail(err, rc, "count the metadata");
    *count = stat.ms_entries;
    return ERR_OK;
}

/* LMDB keeps its free pages in table 0: each value is a list of page numbers with its length in
 * front. */
static int count_free_pages(MDB_txn *txn, uint64_t *pages)
{
    const MDB_dbi free_pages = 0;
    MDB_cursor *cursor = NULL;
    int rc = mdb_cursor_open(txn, free_pages, &cursor);
    if (rc != 0)
        return rc;
    *pages = 0;
    MDB_val key;
    MDB_val value;
    while ((rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        size_t length = 0;
        if (value.mv_size < sizeof length)
            break;
        memcpy(&length, value.mv_data, sizeof length);
        *pages += length;
    }
    mdb_cursor_close(cursor);
    if (rc == 0)
        return MDB_CORRUPTED;
    return rc == MDB_NOTFOUND ? 0 : rc;
}

enum errc kv_nearly_full(struct kv *kv, bool *nearly, struct error *err)
{
    MDB_envinfo info;
    MDB_stat stat;
    int rc = mdb_env_info(kv->env, &info);
    if (rc == 0)
        rc = mdb_env_stat(kv->env, &stat);
    if (rc != 0)
        return kv_fail(err, rc, "measure the metadata");
    uint64_t limit = (uint64_t)info.me_mapsize / stat.ms_psize / 10 * 9;
    uint64_t used = (uint64_t)info.me_last_pgno + 1;
    if (used <= limit) {
        *nearly = false;
        return ERR_OK;
    }
    autotxn struct kv_txn txn = KV_TXN_INIT;
    if (kv_begin_read(kv, &txn, err) != ERR_OK)
        return err->code;
    uint64_t unused = 0;
    rc = count_free_pages(txn.handle, &unused);
    if (rc != 0)
        return kv_fail(err, rc, "measure the metadata");
    *nearly = used - unused > limit;
    return ERR_OK;
}
