/*
 * The one thread that writes the metadata. Callers hand it prepared changes
 * (store/local/kv/change.h) and wait; everything that was handed in while a commit ran goes into
 * the next one, so that many small changes share one wait for the disk.
 *
 * A group that has a durable change in it is synced before anyone of it is answered; a group
 * without is only committed (kv.h says what that means). Blob files are the caller's: it syncs and
 * renames them before it submits.
 *
 * Failures. When the transaction of a group fails, it is dropped and each of its changes is tried
 * again in a transaction of its own, so that an error reaches the change that causes it and no
 * other. When there is little room (store/local/kv/kv_room.h), changes that put something are
 * refused with ERR_STORE_FULL or ERR_NO_SPACE, unless they are essential; deleting goes on. When a
 * commit or a sync fails (ERR_SYNC), nobody knows what the disk holds any more: that is a fault
 * that stays, and that group's durable changes and every later change get its error, until the
 * store is opened again. Whatever else cannot be written is a fault that passes. The same fault is
 * told by whoever writes the blobs, and one of theirs that stays ends the writing here, too.
 *
 * Limits. At most WRITER_QUEUE_MAX changes wait, not counting those that only save work; one more
 * is refused at once with ERR_BUSY. One that only saves work is refused when
 * WRITER_QUEUE_SAVING_MAX changes of any kind wait, so it never takes the place of another.
 *
 * Threads: one lock guards the queue and the results; no I/O and no LMDB call under it. Every
 * submitted change is answered: writer_stop() works the queue off before it ends the thread.
 */
#ifndef SLIPWAY_STORE_LOCAL_KV_WRITER_H
#define SLIPWAY_STORE_LOCAL_KV_WRITER_H

#include "base/fault.h"
#include "store/local/kv/change.h"

#define WRITER_QUEUE_MAX 256
#define WRITER_QUEUE_SAVING_MAX 64

struct writer;

/* `kv` and `fault` are borrowed until writer_stop(). */
enum errc writer_start(struct kv *kv, struct fault *fault, struct writer **out, struct error *err);
/* Frees it. Nobody may submit any more. NULL is a no-op. */
void writer_stop(struct writer *writer);

/* Returns when the change is committed, or refused: then nothing of it has happened (but see
 * "a sync fails"). `change` is borrowed until then. */
enum errc writer_submit(struct writer *writer, struct change *change, struct error *err);

struct writer_counts {
    uint64_t accepted; /* changes submitted and not refused as too many */
    uint64_t changes;  /* of them, committed */
    uint64_t commits;  /* that they took */
    uint64_t syncs;    /* commits that waited for the disk */
    uint64_t waiting;  /* changes, now */
};
struct writer_counts writer_counts(struct writer *writer);

#endif
