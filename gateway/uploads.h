/*
 * Archives coming in over HTTP.
 *
 * One upload is one POST /v1/images: a connection of the HTTP server on one side, a thread of its
 * own on the other, a bounded ring between them. The thread ingests the archive, lets the sender
 * go, then pushes and writes the answer; the connection is suspended whenever it would have to
 * wait.
 *
 *     HTTP thread: upload_new -> upload_put... -> upload_end -> (suspended) -> upload_reply
 *     own thread:  ring -> archive_take -> ring_discard -> archive_send -> reply ready -> resume
 *
 * A failed ingest does not end the connection: what the client still sends is dropped, and after
 * its last byte it gets the answer.
 *
 * A client may ask for the events of the push instead of one answer at its end: then the reply is a
 * stream of them (gateway/event_stream.h), ready as soon as the push begins. What fails before that
 * is a plain error as ever.
 *
 * Ownership: an upload has two references, the connection's and the thread's; the last one frees
 * it. The lock of an upload guards `done` and the reply; that of the table guards counts and the
 * list. Suspended connections have no timeout: the thread owns the deadline (CLIENT_IDLE_MS) and
 * always comes to an end, so every suspended connection is resumed.
 */
#ifndef SLIPWAY_GATEWAY_UPLOADS_H
#define SLIPWAY_GATEWAY_UPLOADS_H

#include "gateway/event_stream.h"

#define UPLOAD_RING_BYTES ((size_t)1 << 20)
#define CLIENT_IDLE_MS 60000

struct uploads; /* the table of all of them */
struct upload;

struct uploads *uploads_new(struct engine *engine);
void uploads_free(struct uploads *uploads); /* when none runs */

/* Refuse new ones from now on (ERR_STOPPING); cancel those that run; wait until none runs and every
 * connection got its answer. */
void uploads_close(struct uploads *uploads);
void uploads_cancel(struct uploads *uploads);
bool uploads_wait(struct uploads *uploads, int64_t ms);
bool uploads_closed(struct uploads *uploads);

/* The most bytes that an archive may have. */
uint64_t uploads_limit_bytes(const struct uploads *uploads);

/* Begin one. `order` is taken on success; `events`: the client wants them. ERR_BUSY over
 * limits.uploads bodies or limits.pushes pushes at a time. */
enum errc upload_new(struct uploads *uploads, struct push_order *order, bool events,
                     struct feeder feeder, struct upload **out, struct error *err);

/* HTTP thread: bytes of the body; returns how many were taken. When that is less than `size`, the
 * connection has been suspended and the rest must be offered again after it was resumed. */
size_t upload_put(struct upload *upload, const void *data, size_t size);

/* HTTP thread: the body is complete. */
void upload_end(struct upload *upload);

/* HTTP thread: the reply, true once; when it is not ready yet, false, and the connection has been
 * suspended until it is. */
struct upload_reply {
    int status;
    char *body;                  /* owned JSON text, or NULL: then the stream is the body */
    struct event_stream *stream; /* the reader's reference, attached to the connection */
};
bool upload_reply(struct upload *upload, struct upload_reply *out);

/* HTTP thread: the connection is over, for whatever reason; `complete` when its request was. Drops
 * the connection's reference. */
void upload_drop(struct upload *upload, bool complete);

#endif
