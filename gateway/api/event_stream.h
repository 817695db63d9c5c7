/*
 * The events of one push on their way to a client that reads them as they happen: lines of JSON
 * (gateway/api/answer.h) in a queue between the threads of the push, which must not wait, and an
 * HTTP thread, which must not either.
 *
 *     push threads:  emit (event_stream_progress) -> queue
 *     upload thread: event_stream_begin, the push, event_stream_outcome..., event_stream_end
 *     HTTP thread:   event_stream_body: read, suspended while the queue is empty; release
 *
 * When the client is slow. A line that only passes (bytes sent, a countdown to the next attempt)
 * is replaced by the next of its kind of the same layer and target as long as it waits in the
 * queue. At most EVENT_STREAM_BYTES wait, with what their list takes: beyond that the newest line
 * about a layer replaces the one that waits, and other messages are dropped, until there is room.
 * Begin and outcomes are never dropped. What waits when the push has ended the client has
 * EVENT_STREAM_LINGER_MS to take, which is whoever's affair that ends the stream
 * (job_answer_within()).
 *
 * When the client is gone (release), what comes is dropped and the push goes on.
 *
 * Ownership: two references, the producer's and the reader's; event_stream_unref drops one. The
 * reader's ends with release().
 *
 * Threads: one lock inside, held for list operations only; lines are made and freed, connections
 * suspended and resumed without it. The connection is only touched between event_stream_attach()
 * and the reader's end: by read(), and by the thread that adds a line while the connection is
 * parked, which is a time in which the server does not end it.
 */
#ifndef SLIPWAY_GATEWAY_API_EVENT_STREAM_H
#define SLIPWAY_GATEWAY_API_EVENT_STREAM_H

#include "gateway/http/body_source.h"
#include "gateway/http/suspendable.h"
#include "store/push.h"
#include "upstream/push/progress.h"

#define EVENT_STREAM_TYPE "application/x-ndjson"
#define EVENT_STREAM_BYTES ((size_t)256 << 10)
#define EVENT_STREAM_LINGER_MS 60000

struct event_stream;

/* With two references. */
struct event_stream *event_stream_new(void);
void event_stream_unref(struct event_stream *stream);

/* Producer. Events for the push, from any of its threads. */
struct progress event_stream_progress(struct event_stream *stream);
/* The first line: which push this is. */
void event_stream_begin(struct event_stream *stream, const struct push *push);
void event_stream_outcome(struct event_stream *stream, const struct push_target *target);
/* A line that was made elsewhere, with its newline; taken. With a key, where there is no room, it
 * takes the place of the one with that key that waits, or is dropped; NULL: it is never dropped. */
void event_stream_line(struct event_stream *stream, char *text, const char *key);
/* The reader has gone: nobody gets what is added. */
bool event_stream_abandoned(struct event_stream *stream);
/* Nothing more will come. */
void event_stream_end(struct event_stream *stream);

/* Reader, before the first read: the connection that waits. */
void event_stream_attach(struct event_stream *stream, struct suspendable connection);

/* The reader's side as the body of a reply; its release() is the reader's end. */
struct body_source event_stream_body(struct event_stream *stream);

#endif
