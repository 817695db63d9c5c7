/*
 * The push queue: every push of a gateway goes through it, those that a client waits for and those
 * that are made after the answer (store/pushes.h).
 *
 * Order. The order of pushes is that of their acceptance, by id, whichever way they came. Of one
 * tag of one repository one push runs at a time:
 * - A push that is accepted supersedes what waits to be pushed to the same tag after the answer and
 * is older; what runs already ends first. One after the answer that comes when a younger one has
 * been pushed is superseded, too: the last 1024 tags are remembered for that. Lists of referrers
 * (image/referrer_list.h) are an exception: each brings what another need not have.
 * - A push that a client waits for does not wait for those: they are put off until it has ended,
 * and superseded by its success. Its failure lets them go on.
 * Pushes after the answer to one repository go one after another, oldest first; those to different
 * repositories at once, at most limits.pushes_per_registry of them for each registry, so that none
 * delays another. Pushes that clients wait for go at once, but for those to one tag.
 *
 * A target of a push after the answer that fails is tried again until its deadline
 * (queue.keep_trying), unless the registry has refused it for good. The waits grow with the
 * failures (gateway/queue/circuit.h): those of the registry where it is away, of the credentials
 * where it does not know them, so that one push tries for all that wait for the same; else those of
 * the target itself. What becomes of each target is recorded, and what is open is begun again by
 * the next start.
 *
 * A push that a client waits for ends after limits.push_time with ERR_PUSH_TIME: what runs of it is
 * cancelled, with its upload sessions, and what waits for its turn does not wait any longer. What
 * came of it is recorded soon afterwards.
 *
 * A push is no thread: it is a work of the executor, held while it is under way.
 *
 * Lifecycle: push_queue_new, push_queue_restart once, pushes from any thread, push_queue_close
 * (takes nothing more after the answer, cancels what runs of it, keeps the records),
 * push_queue_free.
 */
#ifndef SLIPWAY_GATEWAY_QUEUE_PUSH_QUEUE_H
#define SLIPWAY_GATEWAY_QUEUE_PUSH_QUEUE_H

#include "base/executor.h"
#include "gateway/push/runtime.h"
#include "store/pushes.h"
#include "upstream/push/push.h"

struct push_queue;

struct push_queue *push_queue_new(struct runtime *runtime);
void push_queue_close(struct push_queue *queue);
/* After push_queue_close(). True when nothing is under way any more; waits for it at most `ms`. */
bool push_queue_wait(struct push_queue *queue, int64_t ms);
void push_queue_free(struct push_queue *queue); /* NULL is a no-op */

/* Go on with every open target of the store. */
enum errc push_queue_restart(struct push_queue *queue, struct error *err);

/* The configuration is another one. Pushes after the answer to targets that it does not have become
 * PUSH_ORPHANED, as at a start, where they run when their run ends; those that were orphaned and
 * whose target is there go on. May wait for the disk; what cannot be read is logged. */
void push_queue_changed(struct push_queue *queue);

/* Push to the targets of an accepted push that are stored, after the answer. Its record is in the
 * store; copied. */
void push_queue_start(struct push_queue *queue, const struct push *push);

/* The same for what the gateway has held all along, whoever had it pushed again
 * (gateway/reconcile/). Whatever else goes to its tag goes before it, however old, since it was
 * accepted as an image and not as a copy: with such a push under way, or ended well since `as_of`
 * (an id), it is superseded. */
void push_queue_start_held(struct push_queue *queue, const struct push *push, const char *as_of);

/* Go on with the open targets of a recorded push that the queue does not know, whose records were
 * mended (store/check.h). */
void push_queue_take(struct push_queue *queue, const char *id);

/* Is something on its way to the tag? */
bool push_queue_is_busy(struct push_queue *queue, const struct reference *reference);

/* Is the registry known not to be there, so that nothing is begun? *why says what it failed with.
 */
bool push_queue_is_away(struct push_queue *queue, const char *host, struct error *why);

/* Push to the other targets of an accepted push. `options` is copied (its upstream is filled in)
 * and says who waits: ended() is called once, on a worker or on this thread. The push is borrowed
 * until then. */
void push_queue_run(struct push_queue *queue, const struct push_options *options,
                    struct push *push);

/* ---- how a target stands; any thread ---- */

/* Before the first push: ended() is told of each target that has come to a final state, and before
 * its push has ended for who waits for it, on whatever thread, without the queue's lock. What it
 * gets is borrowed. */
void push_queue_listen(struct push_queue *queue,
                       void (*ended)(void *self, const struct digest *manifest,
                                     const struct push_target *target),
                       void *self);

struct push_queue_view {
    bool open; /* a push to this tag is under way or waits */
    bool away; /* its registry, or its credentials, are waited for, or somebody has paused it */
};
struct push_queue_view push_queue_view(struct push_queue *queue, const struct reference *target);

/* The pushes of requests with this key that have ended for who waited for them, and that the store
 * may not have as they ended. Their number; an owned array, oldest first, each to be deinited. */
size_t push_queue_over_of_key(struct push_queue *queue, const struct digest *name,
                              struct push **out);

/* ---- control; any thread that may block ---- */

/* A recorded push, as of now: what runs of it runs, what waits for its registry waits. */
void push_queue_look(struct push_queue *queue, struct push *push);

/* The push of this id, recorded or not, as of now. `out` is to be deinited; *found false: there is
 * none. Errors of the store. */
enum errc push_queue_find(struct push_queue *queue, const char *id, struct push *out, bool *found,
                          struct error *err);

/* The pushes that the store has no record of: those that clients wait for, and those that have just
 * ended. Their number; an owned array, oldest first, each to be deinited. */
size_t push_queue_unrecorded(struct push_queue *queue, struct push **out);

/* End what is left of a push: what waits at once, what runs within a second, with its upload
 * sessions. `target_count` is that of its record, 0 where there is none. False: nothing was left.
 */
bool push_queue_cancel(struct push_queue *queue, const char *id, size_t target_count);

/* Which targets are tried again. */
struct push_retry {
    const char *id;        /* of a push; NULL: of all */
    const char *target;    /* push_target_is(); NULL: any */
    enum push_state state; /* 0: any */
    uint64_t deadline_s;   /* that they get; 0: none */
};
struct push_retried {
    size_t retried;
    size_t superseded; /* left alone: a younger push has their tag */
};
/* Those that have failed begin anew, after the answer, whoever has waited for them; those that wait
 * go at once. Looks at all pushes from the youngest on. Errors of the store. */
enum errc push_queue_retry(struct push_queue *queue, const struct push_retry *wanted,
                           struct push_retried *out, struct error *err);

/*
 * Whoever wants to know what becomes of a push. look() is called once at first, soon after each
 * change of the push (of several at once only one time), and when it has rested for so long; on a
 * worker, one call at a time, without a lock. What it does is read the push and tell. When it
 * returns false, over() is called, which may free the watch. A watch does not keep the queue from
 * being closed: `closed` says that it is, and then look() is to return false.
 *
 * A change costs nothing where nobody watches, and else one comparison for each watch.
 */
struct push_watch {
    char id[PUSH_ID_MAX];
    int64_t rest_ms;
    bool (*look)(struct push_watch *watch, bool closed);
    void (*over)(struct push_watch *watch);
    /* the queue's */
    TAILQ_ENTRY(push_watch) link;
    struct push_queue *queue;
    struct work work;
    bool watches; /* it is not over */
    bool again;   /* there was a change while it looked */
};
/* The owner's fields are set, the others zero. False: the queue is closed, and nothing begins. */
bool push_queue_watch(struct push_queue *queue, struct push_watch *watch);
/* It is to look, also without a change; nothing where it is over. */
void push_queue_watch_wake(struct push_queue *queue, struct push_watch *watch);

/* End what waits and has a deadline before `now_s` (seconds since the epoch). */
void push_queue_expire(struct push_queue *queue, uint64_t now_s);

#endif
