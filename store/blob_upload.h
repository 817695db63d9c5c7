/*
 * Blobs that clients send in pieces: upload sessions, OCI distribution-spec, "Pushing a blob in
 * chunks". A session has an id that cannot be guessed, belongs to one repository, and collects
 * bytes. It outlives the connection, the process, and its killing: what was written is there, and
 * its length is the offset at which its client goes on. (A crash of the machine may cost bytes;
 * then the blob's digest, which is checked over all of them, does not come out.) It has a file as
 * soon as it has bytes, and before that a record only.
 *
 *     blob_upload_begin
 *     blob_upload_open, blob_upload_write..., blob_upload_close       each request of its client
 *     blob_upload_open, blob_upload_write..., blob_upload_finish      its last: into a batch
 *
 * or blob_upload_cancel, or blob_uploads_expire when nothing came for long.
 *
 * The SHA-256 of what came so far is kept in memory between requests; after a restart, or for
 * another algorithm, the bytes are read again.
 *
 * One request at a time writes to a session. A client whose connection broke may be back before the
 * old connection is known to be dead, so a younger request wins over one whose bytes are not all
 * there: blob_upload_open() asks the older ones by their `overtaken`, and waits for their end,
 * BLOB_UPLOAD_OVERTAKE_MS at most. One that has all its bytes is not overtaken: it ends by itself,
 * and of those the oldest is first.
 *
 * How many sessions there are is bounded (struct upload_limits). Where a limit is met, a new one
 * takes the place of the oldest that was begun and never asked for again; without any it is
 * refused.
 *
 * Time is that of the monotonic clock, so setting the clock ends no session and keeps none. Over a
 * restart the time to expire begins anew, and sessions count for no client.
 *
 * Threads: any; an open blob_upload belongs to one thread at a time. One lock guards the table of
 * sessions; no I/O under it. Beside the errors named: ERR_STORE, ERR_STORE_FULL, ERR_BUSY, ERR_IO,
 * ERR_NO_SPACE.
 */
#ifndef SLIPWAY_STORE_BLOB_UPLOAD_H
#define SLIPWAY_STORE_BLOB_UPLOAD_H

#include "store/batch.h"

#define BLOB_UPLOAD_ID_SIZE 32 /* lower-case hex of 128 random bits */
#define BLOB_UPLOAD_OVERTAKE_MS 5000

struct blob_upload;

/* Begin a session. Its record survives the process; returns when it is committed. `client` is any
 * text that stands for who begins it, "" for nobody. `algorithm` is that of the digest it will be
 * finished with, DIGEST_NONE if nobody said so: the bytes are hashed with it as they come, sha256
 * otherwise, and read again in the end where it is another. ERR_TOO_MANY names the limit.
 */
enum errc blob_upload_begin(struct store *store, const char *repository, const char *client,
                            enum digest_algorithm algorithm, char id[BLOB_UPLOAD_ID_SIZE + 1],
                            struct error *err);

/* How many bytes a session has. ERR_NO_UPLOAD when
 * there is none of this id in this repository; `id` may be any text. */
enum errc blob_upload_offset(struct store *store, const char *repository, const char *id,
                             uint64_t *offset, struct error *err);

/* Take the session for one request. `overtaken` (NULL: it never gives way) is called at most once,
 * without a lock and from another thread, when a younger request wants the session, also while this
 * one waits for it. True: it gives way, its write or wait ends soon. False: it has all its bytes.
 * Not called after blob_upload_close() or blob_upload_finish() returned, or blob_upload_open()
 * failed, which wait for its end: so it must not wait itself.
 * ERR_NO_UPLOAD; ERR_UPLOAD_BUSY when those before it did not let go, or it gave way. */
struct overtaken {
    bool (*call)(void *self);
    void *self;
};
enum errc blob_upload_open(struct store *store, const char *repository, const char *id,
                           const struct overtaken *overtaken, struct blob_upload **out,
                           struct error *err);

/* Bytes the session has. */
uint64_t blob_upload_size(const struct blob_upload *upload);

/* Add bytes at the end. A failed write leaves what was written before it, and fails again. */
enum errc blob_upload_write(struct blob_upload *upload, const void *data, size_t size,
                            struct error *err);

/* Let go of the session; it stays, and its time to expire begins anew. NULL is a no-op. */
void blob_upload_close(struct blob_upload *upload);

/* The session is complete: its bytes become a blob of `batch`, if its bytes have this digest; else
 * ERR_DIGEST_INVALID, which names both. Frees the upload: on success and after ERR_DIGEST_INVALID
 * the session is over, after any other error it stays. A batch that is aborted afterwards takes the
 * bytes with it; a process that dies before the batch is in leaves the session, with all of its
 * bytes. */
enum errc blob_upload_finish(struct blob_upload *upload, struct batch *batch,
                             const struct digest *digest, struct error *err);

/* End the session and remove its bytes. ERR_NO_UPLOAD. A request that writes to it is overtaken as
 * by any other. */
enum errc blob_upload_cancel(struct store *store, const char *repository, const char *id,
                             struct error *err);

/* End all sessions that nobody has opened since `since_ms` (clock_ms()), and remove records and
 * bytes without a session; what is in use is left alone. *count of all of them. Called at start and
 * now and then. */
enum errc blob_uploads_expire(struct store *store, int64_t since_ms, size_t *count,
                              struct error *err);

#endif
