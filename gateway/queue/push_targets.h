/*
 * The push queue, target by target: how each is, and a pause that an operator orders.
 *
 * A target goes by its name in the configuration (mirrors[].to[].name); those at a host that
 * clients name are one, "other:HOST". What is told of a target is kept as it changes, so asking
 * costs the same with ten pushes as with ten thousand.
 *
 * A paused target's pushes after the answer wait until it is resumed, whatever starts and stops in
 * between: what waited or comes begins nothing, what runs is broken off within a second, with its
 * upload sessions, and begins again later (blobs that arrived are not sent again). Their deadlines
 * go on. A push that a client waits for fails at once with ERR_TARGET_PAUSED; one that runs already
 * is not touched.
 *
 * Any thread. What changes something may block.
 */
#ifndef SLIPWAY_GATEWAY_QUEUE_PUSH_TARGETS_H
#define SLIPWAY_GATEWAY_QUEUE_PUSH_TARGETS_H

#include "gateway/queue/circuit.h"
#include "store/targets.h"

struct push_queue;

/* Logins that a target is known to have been pushed to with; of more, those used last. */
#define TARGET_LOGINS_MAX 4

struct target_circuit {
    enum circuit_state state;
    uint64_t until_s; /* CIRCUIT_OPEN: seconds since the epoch */
    struct error why; /* unless it is closed: what opened it last */
};

struct target_view {
    struct target_record record; /* with its name */
    bool configured;
    char host[REFERENCE_NAME_MAX + 1];
    struct target_circuit circuit; /* of the host, which targets may share */
    struct target_circuit logins[TARGET_LOGINS_MAX];
    size_t login_count;
    size_t counts[PUSH_STATE_MAX + 1];     /* of queued, running and waiting pushes of it */
    uint64_t outcomes[PUSH_STATE_MAX + 1]; /* by final state, since the start */
    char oldest[PUSH_ID_MAX];              /* of those after the answer; "": there are none */
    uint64_t oldest_s;                     /* when it was accepted */
};

/* All that are configured, in their order there, then those that are not and of which something is
 * known. Their number; an owned array. */
size_t push_queue_targets(struct push_queue *queue, struct target_view **out);

/* Pause or resume one, durably; what it is already is success. ERR_NOT_FOUND names those that
 * are known; errors of the store, after which nothing has changed. */
enum errc push_queue_pause(struct push_queue *queue, const char *name, bool paused,
                           struct target_view *out, struct error *err);
/* `name` "": a client names it. */
bool push_queue_is_paused(struct push_queue *queue, const char *name, const char *host);

/* Bring what is remembered of targets to the store, where that has changed: not at once, since a
 * crash may forget the last of it. */
void push_queue_record_targets(struct push_queue *queue);

#endif
