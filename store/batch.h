/*
 * A batch: blobs and records that become visible together or not at all.
 *
 * Everything that comes in (an archive, a layer, a manifest) is written through one. Blobs are
 * staged, invisible to others, until batch_commit brings them in with all records in one change. A
 * batch that is aborted, fails in its commit, or whose process dies before that, leaves nothing
 * that can be seen. Two batches with the same blob do not disturb each other: the second commit
 * finds it there, which is success.
 *
 *     batch_begin, { blob_writer_open, blob_writer_write..., blob_writer_commit | _abort }...,
 *     batch_put_layer..., batch_put_reference..., then batch_commit or batch_abort (both free it).
 *
 * Durability. BATCH_DURABLE: all of it survives a crash of the machine once the commit has
 * returned: for what is promised to survive. BATCH_VOLATILE: no wait for the disk; for synchronous
 * pushes, which promise nothing until the registries have it. A durable batch also makes durable
 * what it depends on in the store: blobs it brought that were there already, those of
 * batch_hold_blob(), and what its layers, references and repositories point to (not what a manifest
 * that was there already names in turn: hold those). A volatile batch takes nothing away: what was
 * durable stays durable.
 *
 * No record outlives what it needs: after a crash of the machine a name is there with its whole
 * image, as far as the store had it, or not at all.
 *
 * Memory: small blobs of a batch stay in memory until they are brought in
 * (store/local/batch_local.h, STAGE_SMALL_ALL_BYTES for all of them).
 *
 * Limits: BATCH_ITEMS_MAX blobs, held blobs and records of each kind; beyond it
 * ERR_ARCHIVE_TOO_LARGE.
 *
 * Threads: a batch belongs to one thread at a time.
 */
#ifndef SLIPWAY_STORE_BATCH_H
#define SLIPWAY_STORE_BATCH_H

#include "base/stream.h"
#include "image/reference.h"
#include "store/blob.h"
#include "store/layers.h"

#define BATCH_ITEMS_MAX 10000

enum durability { BATCH_VOLATILE, BATCH_DURABLE };

struct batch;

struct batch *batch_begin(struct store *store, enum durability durability);
/* Frees the batch, also on failure; then nothing of it is visible. Every blob_writer has ended.
 * ERR_BLOB_UNKNOWN: a reference to a manifest, or a held blob, that the store does not have. */
enum errc batch_commit(struct batch *batch, struct error *err);
/* NULL is a no-op. */
void batch_abort(struct batch *batch);
void batch_abort_at(struct batch **batch);
/* Aborts the annotated batch at the end of its scope, unless it was taken out (mem_take()). */
#define autobatch __attribute__((cleanup(batch_abort_at)))

/* What is promised of it turned out to be more: from now on it is BATCH_DURABLE. */
void batch_make_durable(struct batch *batch);

/* Of a batch into which a stranger's archive is unpacked: all that its writers write, kept or not,
 * is at most `free_bytes` and `times` the bytes that were received so far. A write beyond is
 * ERR_ARCHIVE_TOO_LARGE and writes nothing. */
struct expansion {
    uint64_t free_bytes;
    uint64_t times;
    const uint64_t *received_bytes; /* borrowed until the batch ends; changed by its thread */
};
void batch_limit_expansion(struct batch *batch, const struct expansion *expansion);

/* One blob being written. Errors are sticky: after a failed write, commit fails with it. */
struct blob_writer;
enum errc blob_writer_open(struct batch *batch, struct blob_writer **out, struct error *err);
/* For what is given up most of the time: the file of one that was is kept until the batch ends, and
 * the next one writes over it. */
enum errc blob_writer_open_aside(struct batch *batch, struct blob_writer **out, struct error *err);
enum errc blob_writer_write(struct blob_writer *writer, const void *data, size_t size,
                            struct error *err);
struct sink blob_writer_sink(struct blob_writer *writer);
/* `digest` is of the bytes written; the caller hashed them as they went. Frees the writer, also on
 * failure. */
enum errc blob_writer_commit(struct blob_writer *writer, const struct digest *digest,
                             struct error *err);
void blob_writer_abort(struct blob_writer *writer);

/* A small blob in one go: manifests, configs. Its sha256 goes to *digest. */
enum errc batch_put_blob(struct batch *batch, const void *data, size_t size, struct digest *digest,
                         struct error *err);

/* What was written so far of a blob can be read by this file descriptor, which is the caller's and
 * stays readable when the writer ends. */
enum errc blob_writer_reader(struct blob_writer *writer, int *fd, struct error *err);

/* A blob of this batch becomes visible before the batch commits, as a volatile batch of its own
 * would bring it: it can be read, and sent. It is not collected before this batch ends; when that
 * is aborted it stays, as what nothing needs. No-op for what is not of this batch. */
enum errc batch_bring_ahead(struct batch *batch, const struct digest *digest, struct error *err);

/* Drop a blob of this batch again (it turned out not to be needed). No-op when it is not in it. */
void batch_drop_blob(struct batch *batch, const struct digest *digest);

/* The batch depends on a blob that the store has already (found by layer_find(), say): it is not
 * collected while the batch is open, and its last use is renewed at commit. ERR_BLOB_UNKNOWN when
 * it is not held. */
enum errc batch_hold_blob(struct batch *batch, const struct digest *digest, struct error *err);

/* Reading what the batch would make visible: its own blobs first, then the store's. */
enum errc batch_open_blob(struct batch *batch, const struct digest *digest, struct blob *out,
                          struct error *err);
enum errc batch_read_all(struct batch *batch, const struct digest *digest, size_t limit_bytes,
                         const char *what, char **data, size_t *size, struct error *err);

/* Records written at commit: a layer's stored form (left out when its blob is not there at commit);
 * a name for a manifest (one without tag and digest makes the commit fail with ERR_NO_TAG). Both
 * are copied; what is wrong with them is the commit's failure. */
void batch_put_layer(struct batch *batch, const struct digest *diff_id,
                     const struct layer_form *form);
/* A layer's tar begins so (image/layer.h, layer_start). */
void batch_put_start(struct batch *batch, const struct digest *start, const struct digest *diff_id);
void batch_put_reference(struct batch *batch, const struct reference *ref,
                         const struct digest *manifest, const char *media_type);

#endif
