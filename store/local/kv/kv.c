#include "store/local/kv/kv.h"

#include "base/file.h"
#include "base/mem.h"
#include "store/local/kv/kv_file.h"
#include "store/local/kv/kv_room.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <stdatomic.h>
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
    [KV_SIGNING_KEYS] = "signing_keys",
    [KV_ROBOTS] = "robots",
};

const char *kv_table_name(enum kv_table table)
{
    return table_names[table];
}

_Static_assert((int)KV_TABLE_COUNT <= KV_TABLES_MAX, "raise KV_TABLES_MAX");

struct kv {
    MDB_env *env;
    MDB_dbi tables[KV_TABLE_COUNT];
    struct kv_room room;
};

static enum errc kv_fail(struct error *err, int rc, const char *doing)
{
    switch (rc) {
    case MDB_MAP_FULL:
    case MDB_TXN_FULL:
        return fail(err, ERR_STORE_FULL, 0,
                    "%s: the metadata have taken all of store.map: collect what nobody needs "
                    "(slipway gc), or raise store.map and start again",
                    doing);
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
static enum errc fail_to_write(struct kv *kv, struct error *err, int rc, const char *doing)
{
    if (kv_fail(err, rc, doing) == ERR_IO)
        err->code = ERR_SYNC;
    return err->code == ERR_NO_SPACE ? file_add_room(kv->room.fd, "the metadata", err) : err->code;
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

static int add_pages(MDB_txn *txn, MDB_dbi table, uint64_t *pages)
{
    MDB_stat stat;
    int rc = mdb_stat(txn, table, &stat);
    if (rc == 0)
        *pages += stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages;
    return rc;
}

/* In use are the two pages that begin the file and those of the tables, of which LMDB's own are its
 * list of free pages, number 0, and the names of the others, number 1. */
static int measure(struct kv *kv)
{
    MDB_envinfo info;
    MDB_stat stat;
    MDB_txn *txn = NULL;
    uint64_t pages = 2;
    int rc = mdb_txn_begin(kv->env, NULL, MDB_RDONLY, &txn);
    if (rc != 0)
        return rc;
    for (MDB_dbi own = 0; rc == 0 && own < 2; own++)
        rc = add_pages(txn, own, &pages);
    for (int i = 0; rc == 0 && i < KV_TABLE_COUNT; i++)
        rc = add_pages(txn, kv->tables[i], &pages);
    mdb_txn_abort(txn);
    if (rc != 0 || (rc = mdb_env_info(kv->env, &info)) != 0 ||
        (rc = mdb_env_stat(kv->env, &stat)) != 0)
        return rc;
    if (kv->room.size_bytes == 0) /* at the open; it is read without a lock */
        kv->room.size_bytes = info.me_mapsize;
    kv->room.end_bytes = ((uint64_t)info.me_last_pgno + 1) * stat.ms_psize;
    atomic_store(&kv->room.used_bytes, pages * stat.ms_psize);
    return 0;
}

enum errc kv_open(const char *path, uint64_t map_size_bytes, struct kv **out, struct error *err)
{
    if (kv_file_check(path, err) != ERR_OK)
        return err->code;
    struct kv *kv = xcalloc(1, sizeof *kv);
    kv->room.fd = -1;
    const char *doing = "open the metadata";
    int rc = mdb_env_create(&kv->env);
    if (rc == 0)
        rc = open_environment(kv->env, path, map_size_bytes);
    if (rc == 0) {
        doing = "open the metadata's tables";
        rc = open_tables(kv);
    }
    if (rc == 0)
        rc = measure(kv);
    if (rc != 0)
        kv_fail(err, rc, doing);
    if (rc != 0 || kv_room_open(&kv->room, path, err) != ERR_OK) {
        kv_close(kv);
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
    kv_room_close(&kv->room);
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
    if (rc == 0) {
        measure(txn->kv); /* if it cannot, what it was */
        return ERR_OK;
    }
    if (rc == EIO && kv_room_ran_out(&txn->kv->room))
        rc = ENOSPC;
    return fail_to_write(txn->kv, err, rc, "commit the metadata");
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

struct kv_room *kv_room(struct kv *kv)
{
    return &kv->room;
}
