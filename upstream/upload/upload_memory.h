/*
 * The upload sessions under way, as the store keeps them (store/open_uploads.h): so that the next
 * process, or the next run of a push that waits for its registry, goes on with half a blob.
 *
 * A note costs no time: it is kept in memory and written with others UPLOAD_NOTE_MS later, by a
 * work. So an upload that is over by then is never written, and one that is cut off with the
 * process loses at most what was acknowledged in that time. Blobs under UPLOAD_NOTE_LEAST bytes are
 * not noted.
 *
 * A session goes on only at the endpoint that opened it and with the credentials that did, and its
 * Location is followed under the rules for one that has just come (url_follow()). A record of which
 * nobody has heard for UPLOAD_NOTE_AGE_S is dropped, and its session taken back where its registry
 * can be asked.
 *
 * Lifecycle: upload_memory_new; notes from any thread; upload_memory_close, before its queue is
 * freed; upload_memory_free, after that, which writes what is left. One lock; nothing is called
 * under it but the executor.
 */
#ifndef SLIPWAY_UPSTREAM_UPLOAD_UPLOAD_MEMORY_H
#define SLIPWAY_UPSTREAM_UPLOAD_UPLOAD_MEMORY_H

#include "base/executor.h"
#include "image/descriptor.h"
#include "store/open_uploads.h"
#include "upstream/auth/location_hmac.h"
#include "upstream/upload/upload_session.h"

#define UPLOAD_NOTE_MS 250
#define UPLOAD_NOTE_LEAST ((uint64_t)1 << 20)
#define UPLOAD_NOTE_AGE_S 86400

struct upload_memory;

/* `store` (NULL: nothing outlives the process) and `queue` are borrowed; the queue has no limit. */
struct upload_memory *upload_memory_new(struct store *store, struct work_queue *queue);
void upload_memory_close(struct upload_memory *memory); /* NULL is a no-op, also of the next */
void upload_memory_free(struct upload_memory *memory);

/* The process is about to end: what is cancelled from now on is to go on in the next one. */
void upload_memory_keep(struct upload_memory *memory);
bool upload_memory_keeps(const struct upload_memory *memory); /* NULL: false */

/* Drop records that are too old, by a work; one that still runs is enough. `registries` is borrowed
 * until upload_memory_close() and the end of the queue. */
void upload_memory_expire(struct upload_memory *memory, struct registries *registries);

/* One upload's part of it; zeroed: nothing is noted. One thread at a time. */
struct upload_memo {
    struct upload_memory *memory; /* borrowed; NULL: nothing is noted */
    struct open_upload upload;    /* which it is */
};

/* `memory` may be NULL. */
void upload_memo_init(struct upload_memo *memo, struct upload_memory *memory,
                      const struct repository *repository, const struct location_key *key,
                      const struct descriptor *blob);

/* True: what is noted of it is in `session`, which was none; the registry has not been asked yet.
 */
bool upload_memo_recall(struct upload_memo *memo, struct repository *repository,
                        struct upload_session *session);
/* It is there now. */
void upload_memo_note(struct upload_memo *memo, const struct repository *repository,
                      const struct upload_session *session);
/* It has ended. */
void upload_memo_forget(struct upload_memo *memo);
/* This process does not go on with it; what is noted stays. */
void upload_memo_leave(struct upload_memo *memo);

#endif
