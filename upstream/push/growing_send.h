/*
 * What there is of a growing blob, sent ahead of its end into one repository: a session is opened
 * as soon as there is a piece, and each further piece follows it (OCI distribution-spec, "Pushing a
 * blob in chunks"). When the blob is whole, the session goes on as that of an ordinary transfer,
 * which asks first whether the registry has the blob: then the session is taken back.
 *
 * A piece is a work of the host's transfers: between two pieces nothing is held, neither a thread
 * nor a place, however slowly the blob grows. What fails here is no failure: the session is taken
 * back, nothing further is sent ahead, and the blob goes when it is whole. A registry that took no
 * piece is not offered another one by this process.
 *
 * Belongs to one thread at a time, as its owner's steps; works run on the executor. `wake` is
 * called, under a lock, whenever there is more to do.
 */
#ifndef SLIPWAY_UPSTREAM_PUSH_GROWING_SEND_H
#define SLIPWAY_UPSTREAM_PUSH_GROWING_SEND_H

#include "upstream/push/growing_blob.h"
#include "upstream/push/layer_set.h"

/* At 60 MB a second a quarter of a second: so long its end may have to wait for a piece. */
#define GROWING_PIECE_BYTES ((uint64_t)16 << 20)

struct growing_send;

/* All is borrowed until growing_send_free(). */
struct growing_send *growing_send_new(struct target_push *push, struct growing_blob *blob,
                                      struct layer_set_waker waker);

/* BLOB_GROWS as long as it grows or a piece is under way. Whole: `blob` says what it is. */
enum growth growing_send_now(struct growing_send *send, struct descriptor *blob);

/* Of a blob that is whole: its session, owned by the caller; none is open where nothing was sent
 * ahead. */
void growing_send_take(struct growing_send *send, struct upload_session *session);

/* Nothing further is sent. True when no piece is under way. */
bool growing_send_leave(struct growing_send *send);

/* When no piece is under way: a session that was not taken is taken back. NULL is a no-op. */
void growing_send_free(struct growing_send *send);

#endif
