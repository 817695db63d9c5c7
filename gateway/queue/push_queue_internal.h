/*
 * The push queue, for the files that make it: push_queue.c (its life, pushes after the answer),
 * push_queue_order.c (which push of a tag begins, and which is superseded), push_queue_direct.c
 * (pushes that a client waits for), push_queue_restart.c (what the last process left).
 *
 * All of it is under the queue's lock, but for what an entry or a chain has while it runs.
 */
#ifndef SLIPWAY_GATEWAY_QUEUE_PUSH_QUEUE_INTERNAL_H
#define SLIPWAY_GATEWAY_QUEUE_PUSH_QUEUE_INTERNAL_H

#include "base/cancel.h"
#include "base/executor.h"
#include "gateway/push/runtime.h"
#include "store/push.h"
#include "upstream/push/push.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

/* A push after the answer: its record, and what is left of it. */
struct pending {
    struct push push; /* owned */
    size_t open;      /* entries */
    bool changed;     /* the store has not got its last state */
    bool writing;     /* some worker is giving it to the store */
};

/* A push that a client waits for. */
struct direct {
    struct push_queue *queue;
    struct push_options options;
    struct push *push;         /* borrowed */
    struct cancel cancel;      /* a child of the options' */
    struct cancel_watch watch; /* its: none waits for its turn any more */
    struct work clock;         /* limits.push_time is over */
    atomic_bool overdue;
    size_t left;      /* chains, the start, and the clock */
    bool clock_waits; /* it has not begun to run */
};

TAILQ_HEAD(entry_list, queue_entry);

/* Targets of a direct push in one repository, one after another: they need the same blobs and
 * mostly the same manifest. */
struct chain {
    struct direct *direct;
    struct known_blobs *known; /* owned */
    struct entry_list entries; /* in their order */
};

enum entry_state {
    ENTRY_COMES,  /* it does not take part yet */
    ENTRY_LISTED, /* others of its tag, or of its chain, go first */
    ENTRY_WAITS,  /* in the executor */
    ENTRY_RUNS,
    ENTRY_PARKED, /* until the next start */
    ENTRY_ENDS,
};

/* One target of one push. */
struct queue_entry {
    struct work work;
    struct push_queue *queue;
    struct tag *tag;
    TAILQ_ENTRY(queue_entry) link; /* of the tag, by id */
    TAILQ_ENTRY(queue_entry) turn; /* of its listed or direct ones, by id */
    TAILQ_ENTRY(queue_entry) next; /* of the chain */
    enum entry_state state;
    int64_t begun_ms; /* clock_ms() */
    struct push *push;
    size_t target;
    struct pending *pending; /* NULL: direct */
    struct chain *chain;     /* NULL: pending */
    struct push one; /* pending: what is run, with a target of its own; the rest is borrowed */
    struct push_target own;
    char repository[REFERENCE_NAME_MAX + 1]; /* pending: pushes to it go one after another */
    bool due;                                /* direct: its chain has come to it */
    bool superseded;
};

/* What goes to one tag, or one digest, of one repository. A tag is kept for a while without
 * entries, for the sake of an older push that was accepted and comes late. */
struct tag {
    TAILQ_ENTRY(tag) link; /* of those that are kept */
    bool is_kept;
    char delivered[PUSH_ID_MAX]; /* the youngest push that has ended well; "": none */
    struct entry_list entries;
    struct entry_list listed;   /* of them, those after the answer that are ENTRY_LISTED */
    struct entry_list direct;   /* of them, those that a client waits for */
    struct queue_entry *active; /* the one that waits in the executor or runs */
    bool each_counts;           /* what goes to a digest or a list of referrers is not superseded */
    char key[];
};

struct queue_host {
    struct queue_host *next;
    struct work_queue *works;
    char name[];
};

TAILQ_HEAD(tag_list, tag);

struct push_queue {
    struct runtime *runtime;
    struct cancel cancel;
    struct work_queue *direct;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t ended;
    void *tags; /* tsearch tree */
    struct tag_list kept;
    size_t kept_count;
    struct queue_host *hosts;
    size_t under_way; /* entries in the executor, and records being written */
    bool closed;
    bool restarts; /* records are read: none begins before all are known */
};

/* --- push_queue_order.c; with the lock --- */

/* What goes to a digest or into a list of referrers: no push of it supersedes another. */
bool queue_each_counts(const struct reference *target);

/* What a target names; made where it is not there. It lasts until queue_tag_update() finds it
 * without entries. */
struct tag *queue_tag(struct push_queue *queue, const struct reference *target);
/* Begin what may begin now, or let go of the tag when it has no entries. */
void queue_tag_update(struct push_queue *queue, struct tag *tag);
/* Where nothing of the tag is under way: begin the oldest push that a client waits for; without
 * any, the oldest after the answer. */
void queue_tag_begin(struct push_queue *queue, struct tag *tag);

bool entry_is_older(const struct queue_entry *a, const struct queue_entry *b);
/* Into its tag's entries, by id. */
void entry_add(struct queue_entry *entry);
/* Into the tag's list of those that are listed or direct, by id. */
void entry_take_turn(struct entry_list *list, struct queue_entry *entry);
void entry_set_state(struct queue_entry *entry, enum entry_state state);
/* Out of the executor. False when it runs, or is not there. */
bool entry_take_back(struct queue_entry *entry);
/* The entry has ended: it is freed, and the tag updated. */
void entry_leave(struct queue_entry *entry);

/* It was pushed: what was accepted before it comes late from now on. */
void entry_note_delivered(const struct queue_entry *entry);
bool entry_comes_late(const struct queue_entry *entry);
/* A younger one after the answer would supersede it. */
bool entry_has_younger(const struct queue_entry *entry);
/* End the older pushes after the answer that have not begun. The tag is there as long as `by` is in
 * it. The lock is given up meanwhile. */
void entry_supersede_older(struct tag *tag, const struct queue_entry *by);

/* --- push_queue.c; with the lock --- */

/* So many more, or fewer, entries are in the executor. */
void queue_under_way(struct push_queue *queue, int change);
struct queue_entry *entry_new(struct push_queue *queue, struct push *push, size_t target);
void entry_submit(struct queue_entry *entry);
/* The lock is given up meanwhile. */
void entry_end_superseded(struct queue_entry *entry);

/* --- push_queue_direct.c --- */

/* ERR_CANCELLED by limits.push_time becomes what it is. */
void direct_explain(const struct queue_entry *entry);
/* The entry has ended, and its chain goes on. True when the chain has no other. With the lock. */
bool direct_finish(struct queue_entry *entry);
/* Without the lock. */
void direct_end_chain(struct push_queue *queue, struct chain *chain);

#endif
