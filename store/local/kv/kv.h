/*
 * Tables of ordered keys and values, in LMDB. The only file that includes lmdb.h is kv.c, and what
 * LMDB asks of its users is answered here once:
 *
 * - One environment, opened once a process, all tables opened at start. Never fork and go on with
 *   it in the child (fork and exec is fine).
 * - Readers may be on any thread: the reader slots belong to transactions, not to threads
 *   (MDB_NOTLS), so threads may come and go and KV_READERS_MAX bounds the reads that run at the
 *   same time. A full reader table is cleaned of dead readers and asked once more.
 * - Write transactions are the writer thread's alone (store/local/kv/writer.h).
 * - A read transaction is short: no I/O and no waiting inside. It keeps old pages alive, so a long
 *   one makes the file grow.
 * - What kv_get() and kv_cursor_next() give points into the map: borrowed until the transaction
 *   ends. Decoding it (store/local/records.h) copies it out.
 *
 * Durability. The environment is opened with MDB_NOMETASYNC: a commit waits for its pages, but not
 * for the page that makes them the current ones; that is what kv_sync() adds. So kv_commit() alone
 * is a commit that a crash of the machine may undo, and the database is whole either way.
 * MDB_NOSYNC would make such commits free of any wait, but a crash could then leave the root on the
 * disk without the pages below it, and take what was durable before with it.
 *
 * A transaction and its cursors belong to one thread at a time.
 */
#ifndef SLIPWAY_STORE_LOCAL_KV_KV_H
#define SLIPWAY_STORE_LOCAL_KV_KV_H

#include "base/error.h"

#include <stdint.h>

#define KV_READERS_MAX 512
#define KV_KEY_MAX 511 /* LMDB's own limit */
#define KV_TABLES_MAX 32

/* Key layouts and value encodings: store/local/records.h. */
enum kv_table {
    KV_META,
    KV_BLOBS,
    KV_LAYERS,
    KV_REFERENCES,
    KV_KNOWN_LOCATIONS,
    KV_ASSOCIATED,
    KV_CAPABILITIES,
    KV_STARTS,
    KV_MEMBERS,
    KV_HOLDERS,
    KV_MANIFESTS,
    KV_TAGS,
    KV_REFERRERS,
    KV_SESSIONS,
    KV_PUSHES,
    KV_PUSH_TARGETS,
    KV_OPEN_TARGETS,
    KV_TOMBS,
    KV_TARGETS,
    KV_OPEN_UPLOADS,
    KV_PUSHED_TAGS,
    KV_PUSH_KEYS,
    KV_SIGNING_KEYS,
    KV_ROBOTS,
    KV_TABLE_COUNT
};

/* Its name in the database. */
const char *kv_table_name(enum kv_table table);

struct kv;
struct kv_room;

struct kv_slice {
    const void *data;
    size_t size;
};

/* `path` is an existing folder. The map is address space and the bound on the file; it is rounded
 * up to whole pages, and to what the file already holds. ERR_STORE when the file is damaged. */
enum errc kv_open(const char *path, uint64_t map_size_bytes, struct kv **out, struct error *err);

/* No transaction may be open. */
void kv_close(struct kv *kv);

struct kv_txn {
    struct kv *kv;
    void *handle; /* NULL when it has ended */
};

#define KV_TXN_INIT                                                                                \
    {                                                                                              \
        NULL, NULL                                                                                 \
    }
#define autotxn __attribute__((cleanup(kv_end)))

enum errc kv_begin_read(struct kv *kv, struct kv_txn *out, struct error *err);
enum errc kv_begin_write(struct kv *kv, struct kv_txn *out, struct error *err);

/* Ends the transaction, also on failure: then nothing of it has happened. ERR_SYNC when the disk
 * did not take it; ERR_NO_SPACE. */
enum errc kv_commit(struct kv_txn *txn, struct error *err);

/* Drops the transaction; a no-op after kv_commit(). */
void kv_end(struct kv_txn *txn);

/* Write all tables, as they were after some commit, to the empty file `fd`, which kv_open() takes
 * as the "data.mdb" of another folder; it is not synced. Writers go on meanwhile, and take new
 * pages instead of those that are free. ERR_IO, ERR_NO_SPACE. */
enum errc kv_copy(struct kv *kv, int fd, struct error *err);

/* Every commit so far is on the disk when this returns ERR_OK. ERR_SYNC, also where the disk is
 * full: what was committed is there for every reader, and nobody knows whether it stays. */
enum errc kv_sync(struct kv *kv, struct error *err);

/* *found false, *value untouched, when the key is not there. */
enum errc kv_get(const struct kv_txn *txn, enum kv_table table, struct kv_slice key,
                 struct kv_slice *value, bool *found, struct error *err);

/* ERR_STORE_FULL when the map has no page left; the transaction can then only be dropped. */
enum errc kv_put(struct kv_txn *txn, enum kv_table table, struct kv_slice key,
                 struct kv_slice value, struct error *err);

/* A key that is not there is success. */
enum errc kv_delete(struct kv_txn *txn, enum kv_table table, struct kv_slice key,
                    struct error *err);

/* The entries whose keys begin with `prefix` (borrowed until close; size 0: all), in byte order. */
struct kv_cursor {
    void *handle;
    struct kv_slice prefix;
    struct kv_slice seek; /* size 0: go on where it is */
    bool started;
};

#define KV_CURSOR_INIT                                                                             \
    {                                                                                              \
        NULL, {NULL, 0}, {NULL, 0}, false                                                          \
    }
#define autocursor __attribute__((cleanup(kv_cursor_close)))

enum errc kv_cursor_open(const struct kv_txn *txn, enum kv_table table, struct kv_slice prefix,
                         struct kv_cursor *out, struct error *err);
/* *more false, the others untouched, after the last. */
enum errc kv_cursor_next(struct kv_cursor *cursor, struct kv_slice *key, struct kv_slice *value,
                         bool *more, struct error *err);
/* Let the next kv_cursor_next() give the first entry whose key is `key` or behind it. `key` begins
 * with the prefix; borrowed until then. */
void kv_cursor_seek(struct kv_cursor *cursor, struct kv_slice key);
/* Let the next kv_cursor_back() give the last entry before `key` (size 0: the last of all). Only
 * for a cursor without a prefix. */
void kv_cursor_seek_before(struct kv_cursor *cursor, struct kv_slice key);
/* kv_cursor_next() in the other direction: after kv_cursor_seek_before(), and never mixed with it.
 */
enum errc kv_cursor_back(struct kv_cursor *cursor, struct kv_slice *key, struct kv_slice *value,
                         bool *more, struct error *err);
/* Before its transaction ends; declare it after the transaction, then scopes do it. */
void kv_cursor_close(struct kv_cursor *cursor);

/* Called with each entry; what it gets is borrowed until it returns. *enough ends the list. */
typedef enum errc kv_visit(void *self, struct kv_slice key, struct kv_slice value, bool *enough,
                           struct error *err);
/* Visit the entries whose keys begin with `prefix` (size 0: all), in byte order, until one fails,
 * which is the result. */
enum errc kv_each(const struct kv_txn *txn, enum kv_table table, struct kv_slice prefix,
                  kv_visit *visit, void *self, struct error *err);

/* *any: there is an entry whose key begins with `prefix`. */
enum errc kv_any(const struct kv_txn *txn, enum kv_table table, struct kv_slice prefix, bool *any,
                 struct error *err);

/* How many entries the table has. */
enum errc kv_count(const struct kv_txn *txn, enum kv_table table, size_t *count, struct error *err);

/* Measured at the open and after each commit. */
struct kv_room *kv_room(struct kv *kv);

#endif
