/*
 * GET /v1/pushes/ID/events: what has become of a push so far, then what becomes of it until all its
 * targets have come to their ends; lines of JSON, or server-sent events (HTML, 9.2) where the
 * client accepts text/event-stream. The lines are those of gateway/api/answer.h.
 *
 * An event is a state that a target has, as it is recorded: of several in a short time the last one
 * is told. The id of an event says what was told by then, so a client that comes again with it in
 * Last-Event-ID is told nothing twice when nothing has happened meanwhile, and else all that is so
 * now; when nothing will happen any more it gets 204, which ends a browser's attempts.
 *
 * A follower costs no thread: it is a watch of the push queue, a stream
 * (gateway/api/event_stream.h) and a suspended connection. There are at most FOLLOWERS_MAX; one
 * more is ERR_TOO_MANY. One that hears nothing for FOLLOWER_REST_MS gets an empty object,
 * or a comment, which also shows when its client has gone. When the gateway stops, streams end.
 */
#ifndef SLIPWAY_GATEWAY_API_PUSH_EVENTS_H
#define SLIPWAY_GATEWAY_API_PUSH_EVENTS_H

#include "gateway/service/handler.h"

#define FOLLOWERS_MAX 128
#define FOLLOWER_REST_MS 15000

/* Route handler. */
struct job *push_events(struct gateway *gateway, const struct request *request,
                        struct reply *reply);

#endif
