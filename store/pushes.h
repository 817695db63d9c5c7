/*
 * The pushes that were accepted, those that wait and those that are over: the queue's memory and
 * its history.
 *
 * A push is a record, and each of its targets is one of its own, so that targets end independently
 * of each other. The record is written in the batch that brings the image (batch_put_push), so that
 * there is no image without its push and no push without its image. A target is open as long as it
 * is pushed after the answer and has not come to a final state (store/push.h).
 *
 * The order of pushes is that of their acceptance, which their ids sort by: an id is given by the
 * store, in the change that accepts the push or, where nothing of it is recorded, by
 * pushes_accept().
 *
 * After a crash of the machine a push that is open and whose manifest was lost with it is dropped;
 * its batch was not durable, so it was not acknowledged. Any thread. Beside the errors named:
 * ERR_STORE, ERR_STORE_FULL, ERR_BUSY, ERR_IO.
 */
#ifndef SLIPWAY_STORE_PUSHES_H
#define SLIPWAY_STORE_PUSHES_H

#include "store/batch.h"
#include "store/push.h"

/* Written at the batch's commit, which fills push->id and push->created_s; its failure is
 * ERR_BLOB_UNKNOWN when neither the batch nor the store has its manifest, or one that refers to it.
 * Borrowed until then. At most one push a batch. */
void batch_put_push(struct batch *batch, struct push *push);

/* Give an id to a push of which nothing is recorded. */
void pushes_accept(struct store *store, struct push *push);

/* When a push of this id was accepted, in seconds since the epoch. */
uint64_t push_id_time_s(const char *id);
/* Greater of one that was accepted later, also where the clock was set back. */
uint64_t push_id_number(const char *id);

/* Write all of a push, or replace it. One that is not `durable` may be lost in a crash of the
 * machine, and is refused first when much is to be written: for what nobody waits for. */
enum errc pushes_put(struct store *store, const struct push *push, bool durable, struct error *err);

/* Accept a push of what a repository of the front has under a tag, as its id and time say on
 * success; *current false, and nothing is written, when the tag names something else by now.
 * Durable.
 */
enum errc pushes_put_held(struct store *store, struct push *push, const char *repository,
                          const char *tag, bool *current, struct error *err);

/* What came of pushes that clients have waited for: the push itself, or, where it has targets that
 * are pushed after the answer and so is recorded already, its other targets. Not durable. */
enum errc pushes_record(struct store *store, const struct push *const *pushes, size_t count,
                        struct error *err);

/* *found false when there is none. `out` is owned: push_deinit(). */
enum errc pushes_get(struct store *store, const char *id, struct push *out, bool *found,
                     struct error *err);

/* As if it had never been accepted. Durable. One that is not there is success. */
enum errc pushes_remove(struct store *store, const char *id, struct error *err);

/* What one target has come to; all of it is written. */
struct push_change {
    const char *id;
    size_t index;
    const struct push_target *target;
};
/* In changes of a bounded size; on failure a part of it may have happened. */
enum errc pushes_change(struct store *store, const struct push_change *changes, size_t count,
                        bool durable, struct error *err);

/* The pushes of the youngest request with a key of this name, as recorded, oldest first; fewer than
 * out_key->pushes where not all of them are, or are any more. An owned array, each to be deinited;
 * *count 0: there is none. A key is recorded and forgotten with its push. Looks at all keys, which
 * are at most as many as pushes. */
enum errc pushes_of_key(struct store *store, const struct digest *name, struct request_key *out_key,
                        struct push **out, size_t *count, struct error *err);

/* Called with each open target, oldest push first. What it gets is borrowed. */
struct open_target {
    char id[PUSH_ID_MAX];
    size_t index;
    struct push_target target;
};
typedef void pushes_visit(void *self, const struct open_target *open);
/* For the start. What it is called with may be changed meanwhile, nothing else. */
enum errc pushes_each_open(struct store *store, pushes_visit *visit, void *self, struct error *err);

/* The youngest pushes that are older than `before` ("": of all), youngest first: at most `most`
 * into `out`, each to be deinited; *count below `most`: there are no more. */
enum errc pushes_before(struct store *store, const char *before, struct push *out, size_t most,
                        size_t *count, struct error *err);

/* What is kept of pushes that are over. */
struct pushes_history {
    size_t count;    /* pushes, open ones among them */
    uint64_t from_s; /* accepted before: too old */
};
/* Forget the oldest of what is too much or too old, but for pushes with an open target. Stops after
 * a number of them, so that it does not take long; *more: it is to be called again. */
enum errc pushes_forget(struct store *store, const struct pushes_history *history,
                        size_t *forgotten, bool *more, struct error *err);

#endif
