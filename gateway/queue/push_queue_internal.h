/*
 * The push queue, for the files that make it: push_queue.c (its life, and what comes in),
 * push_queue_order.c (which push of a tag begins, and which is superseded), push_queue_gates.c (who
 * waits for a registry or credentials), push_queue_targets.c (what is known of a target by its
 * name; who waits for an operator), push_queue_run.c (a push after the answer runs and ends),
 * push_queue_direct.c (pushes that a client waits for), push_queue_restart.c (what the last process
 * left), push_queue_view.c (what others are told of a target), push_queue_watch.c (who is told of a
 * push).
 *
 * All of it is under the queue's lock, but for what an entry or a chain has while it runs.
 *
 * An entry of a push after the answer is small: what is pushed is read from the store when its turn
 * comes, and what becomes of it is written there.
 */
#ifndef SLIPWAY_GATEWAY_QUEUE_PUSH_QUEUE_INTERNAL_H
#define SLIPWAY_GATEWAY_QUEUE_PUSH_QUEUE_INTERNAL_H

#include "base/cancel.h"
#include "base/executor.h"
#include "gateway/push/runtime.h"
#include "gateway/queue/gate.h"
#include "gateway/queue/push_targets.h"
#include "store/push.h"
#include "upstream/push/push.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

/* A push that a client waits for. */
struct direct {
    struct push_queue *queue;
    TAILQ_ENTRY(direct) link; /* of all, by their coming */
    struct queue_entry *
        *entries;          /* one a target; NULL: it has ended, or is not waited for; owned */
    atomic_bool cancelled; /* by somebody else than its client */
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
TAILQ_HEAD(direct_list, direct);

/* A push that a client has waited for, until it is recorded. */
struct over {
    TAILQ_ENTRY(over) link;
    struct push push; /* owned */
};
TAILQ_HEAD(over_list, over);

/* The last state of a target of a push after the answer, until the store takes it. */
struct unwritten {
    TAILQ_ENTRY(unwritten) link;
    char id[PUSH_ID_MAX];
    size_t target;
    struct push_target end;
};
TAILQ_HEAD(unwritten_list, unwritten);

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
    ENTRY_KEPT,   /* by a gate */
    ENTRY_PAUSED, /* its target is; others of its tag go on */
    ENTRY_WAITS,  /* in the executor: for a time or a place */
    ENTRY_RUNS,
    ENTRY_ENDS,
};

/* A push after the answer while it runs. */
struct pending_run {
    struct push push;       /* as recorded; owned */
    struct push one;        /* what is run, with a target of its own; the rest is borrowed */
    struct push_target own; /* its target */
    struct cancel cancel;   /* a child of the queue's */
    int64_t begun_ms;       /* clock_ms() */
};

/* One target of one push. */
struct queue_entry {
    struct work work;
    struct push_queue *queue;
    struct tag *tag;
    struct queue_target *to;
    int shown;                     /* enum push_state, as which `to` counts it; 0: not */
    TAILQ_ENTRY(queue_entry) open; /* pending: of `to`, by id */
    TAILQ_ENTRY(queue_entry) link; /* of the tag, by id */
    TAILQ_ENTRY(queue_entry) turn; /* of its listed or direct ones, by id */
    TAILQ_ENTRY(queue_entry) next; /* of the chain; pending: of all, by id */
    enum entry_state state;
    char id[PUSH_ID_MAX];
    size_t target;
    bool superseded;
    bool yields; /* whatever else goes to its tag supersedes it: push_queue_start_held() */
    /* a push that a client waits for */
    struct push *push;   /* borrowed */
    struct chain *chain; /* NULL: it is one after the answer */
    bool due;            /* its chain has come to it */
    int64_t begun_ms;    /* clock_ms() */
    /* a push after the answer */
    struct gate_place place;
    struct queue_gate *login; /* that it has entered, with its host */
    int64_t began_ms;         /* when it entered; 0: it is outside */
    int64_t login_ms;         /* when it entered the login's */
    bool probes;              /* one of them was not closed: it asks first whether all is well */
    int64_t next_ms;          /* when it is tried again, by its own failures; 0: no matter */
    enum errc told;           /* why it waits, in the log */
    unsigned tries;
    uint64_t deadline_s;
    bool cancelled;          /* by somebody */
    struct pending_run *run; /* owned; NULL: it does not run, or has come to its end */
};

/* A gate, its clock and its name: a host, or credentials there. */
struct queue_gate {
    struct queue_gate *next;
    struct push_queue *queue;
    struct gate gate;
    struct work clock; /* at the time until which the circuit is open */
    bool clock_waits;
    struct digest login;       /* of credentials: upstream/auth/credentials.h */
    unsigned users;            /* of credentials: repositories and entries */
    unsigned seen;             /* of credentials: targets that show them */
    struct queue_gate *logins; /* of a host */
    struct work_queue *works;  /* of a host */
    struct error why;          /* its circuit was opened last */
    char name[];               /* of a host */
};

/* A repository at a registry; it lasts as long as a tag of it. */
struct queue_repository {
    unsigned tags;
    struct queue_gate *host;
    struct queue_gate *login; /* as what the last push to it was made; NULL: not known */
    char name[];              /* "HOST/PATH" */
};

/* What goes to one tag, or one digest, of one repository. A tag is kept for a while without
 * entries, for the sake of an older push that was accepted and comes late. */
struct tag {
    TAILQ_ENTRY(tag) link; /* of those that are kept */
    bool is_kept;
    struct queue_repository *repository;
    char delivered[PUSH_ID_MAX]; /* the youngest push that has ended well; "": none */
    struct entry_list entries;
    struct entry_list listed;   /* of them, those after the answer that are ENTRY_LISTED */
    struct entry_list direct;   /* of them, those that a client waits for */
    struct queue_entry *active; /* the one that is kept, waits in the executor or runs */
    bool each_counts;           /* what goes to a digest or a list of referrers is not superseded */
    char key[];
};

TAILQ_HEAD(tag_list, tag);
struct push_watch;
TAILQ_HEAD(watch_list, push_watch);

/* What is known of a target by its name. */
struct queue_target {
    TAILQ_ENTRY(queue_target) link;
    struct target_record record; /* with the name */
    bool dirty;                  /* the store has an older one */
    bool configured;
    char host[REFERENCE_NAME_MAX + 1];
    size_t entries;
    size_t counts[PUSH_STATE_MAX + 1]; /* of them, by what they show */
    uint64_t outcomes[PUSH_STATE_MAX + 1];
    struct entry_list open;                       /* of them, those after the answer, by id */
    struct queue_gate *logins[TARGET_LOGINS_MAX]; /* used last first; NULL behind them */
};

TAILQ_HEAD(target_list, queue_target);

struct queue_targets {
    void *by_name; /* tsearch tree */
    struct target_list all;
    size_t others;           /* of them, that are not configured */
    struct target_list gone; /* the store is to forget them */
    bool writing;
    pthread_cond_t written;
};

struct push_queue {
    struct runtime *runtime;
    void (*on_end)(void *self, const struct digest *manifest, const struct push_target *target);
    void *listener; /* constant once something is pushed, as on_end */
    struct cancel cancel;
    struct work_queue *direct; /* without a limit: also clocks */
    pthread_mutex_t lock;      /* guards what follows */
    pthread_cond_t ended;
    void *tags; /* tsearch tree, as what follows */
    void *repositories;
    void *entries;             /* of pushes after the answer, by id and target */
    struct entry_list pending; /* the same, by id */
    struct direct_list directs;
    struct over_list over; /* oldest first */
    size_t over_count;
    struct unwritten_list unwritten; /* oldest first: in this order they are written */
    size_t unwritten_count;
    struct work recorder; /* brings both to the store */
    bool recorder_waits;
    bool recording; /* the first of them are being written */
    struct watch_list watches;
    struct tag_list kept;
    size_t kept_count;
    struct queue_gate *hosts;
    struct queue_targets targets;
    size_t under_way; /* entries and clocks in the executor, and records being written */
    bool closed;
    bool restarts; /* records are read: none begins before all are known */
};

/* --- push_queue_view.c --- */

/* A push to the target has ended: tell the listener, and send nothing any more that left for a push
 * that was cancelled, before its manifest came. Blocks on the disk; without the lock. */
void queue_tell_ended(const struct push_queue *queue, const struct descriptor *manifest,
                      const struct push_target *target);

/* --- push_queue_order.c; with the lock --- */

/* What goes to a digest or into a list of referrers: no push of it supersedes another. */
bool queue_each_counts(const struct reference *target);

/* What a target names; NULL: there is none. */
struct tag *queue_find_tag(struct push_queue *queue, const struct reference *target);
/* What a target names; made where it is not there. It lasts until queue_tag_update() finds it
 * without entries. */
struct tag *queue_tag(struct push_queue *queue, const struct reference *target);
/* Begin what may begin now, or let go of the tag when it has no entries. */
void queue_tag_update(struct push_queue *queue, struct tag *tag);
/* Where nothing of the tag is under way: begin the oldest push that a client waits for; without
 * any, the oldest after the answer. */
void queue_tag_begin(struct push_queue *queue, struct tag *tag);
void queue_tags_free(struct push_queue *queue);

bool entry_is_older(const struct queue_entry *a, const struct queue_entry *b);
/* Into its tag's entries, by id. */
void entry_add(struct queue_entry *entry);
/* Into the tag's list of those that are listed or direct, by id. */
void entry_take_turn(struct entry_list *list, struct queue_entry *entry);
void entry_set_state(struct queue_entry *entry, enum entry_state state);
/* Out of the executor, or of the gate that keeps it. False when it runs, or is in neither. */
bool entry_take_back(struct queue_entry *entry);
/* The entry has ended: it is freed, and the tag updated. */
void entry_leave(struct queue_entry *entry);

/* It was pushed: what was accepted before it comes late from now on. */
void entry_note_delivered(const struct queue_entry *entry);
bool entry_comes_late(const struct queue_entry *entry);
/* Nothing else goes to its tag. */
bool entry_is_alone(const struct queue_entry *entry);
/* A younger one after the answer would supersede it; one that yields, any. */
bool entry_has_younger(const struct queue_entry *entry);
/* Nobody younger, of whichever kind, has been pushed or is to be: its tag may be put. */
bool entry_keeps_tag(const struct queue_entry *entry);
/* End the older pushes after the answer that have not begun. The tag is there as long as `by` is in
 * it. The lock is given up meanwhile. */
void entry_supersede_older(struct tag *tag, const struct queue_entry *by);

/* --- push_queue.c; with the lock --- */

/* So many more, or fewer, things are under way. */
void queue_under_way(struct push_queue *queue, int change);
struct queue_entry *entry_new(struct push_queue *queue, const char *id, size_t target,
                              const struct push_target *what);
/* One of a push after the answer, that is not known any more. */
void entry_forget(struct queue_entry *entry);
/* NULL: there is none. */
struct queue_entry *queue_find(struct push_queue *queue, const char *id, size_t target);
/* What is recorded of a target, by now; 0: nothing, or it cannot be read. Without the lock. */
enum push_state queue_recorded(const struct push_queue *queue, const char *id, size_t target,
                               struct error *err);

/* The entry of a target of a push after the answer, of which there is none; it takes no part until
 * it comes, or leaves. */
struct queue_entry *queue_reserve_pending(struct push_queue *queue, const char *id, size_t target,
                                          const struct push_target *what);
/* It takes part. False: a younger push has superseded it. The lock is given up meanwhile. */
bool entry_come(struct queue_entry *entry);
/* It is reserved, and comes. The lock is given up meanwhile. */
void queue_add_pending(struct push_queue *queue, const char *id, size_t target,
                       const struct push_target *what);

/* --- push_queue_watch.c; with the lock --- */

/* What push_queue_find() would say of it has changed. */
void queue_tell_change(struct push_queue *queue, const char *id);
void queue_watches_close(struct push_queue *queue);
/* --- push_queue_targets.c; with the lock, but for the first two and the last --- */

void queue_targets_init(struct push_queue *queue);
/* Which of them the configuration has, by now. With the lock. */
void queue_targets_configure(struct push_queue *queue);
/* What the store remembers. */
enum errc queue_targets_read(struct push_queue *queue, struct error *err);
/* By its name; made where it is not there. */
struct queue_target *queue_target(struct push_queue *queue, const struct push_target *of);
/* It counts as what it is now. */
void entry_count(struct queue_entry *entry);
/* Into its target's list of what is open. */
void entry_open(struct queue_entry *entry);
/* A push of it has come to a final state. */
void queue_target_ended(struct queue_target *target, enum push_state state);
/* A try has ended so. */
void queue_target_told(struct queue_target *target, const struct push_target *of);
/* ERR_TARGET_PAUSED, which is not returned: it is paused. */
bool queue_target_refuses(const struct queue_target *target, struct error *err);
void queue_targets_free(struct push_queue *queue);

/* --- push_queue_gates.c; with the lock --- */

/* NULL: nothing goes there. */
struct queue_gate *queue_host_find(const struct push_queue *queue, const char *name);
void queue_target_drop_logins(struct queue_target *target);

/* The repository, for one more tag. */
struct queue_repository *queue_repository(struct push_queue *queue,
                                          const struct reference *reference);
void queue_repository_release(struct push_queue *queue, struct queue_repository *repository);
/* It begins, as far as its gates let it: into the executor, or kept. */
void entry_begin(struct queue_entry *entry);
/* It has ended, or does not run after all: out of the gates that it has entered. */
void entry_leave_gates(struct queue_entry *entry);
/* Somebody wants it to go at once: its gates let one more through. False: it runs, or others of its
 * tag go first. */
bool entry_hurry(struct queue_entry *entry);
/* One of the gates that it has entered was closed meanwhile. */
bool entry_is_stale(const struct queue_entry *entry);
/* It runs, and these are its credentials: into their gate, out of another's. False: it may not. */
bool entry_enter_login(struct queue_entry *entry, const struct digest *login);
/* How it ended, for its gates, which it leaves. When a circuit is open for it now, until when
 * (clock_ms()); else 0. */
int64_t entry_tell_end(struct queue_entry *entry, const struct push_target *target);
/* The same of one that a client has waited for, which enters no gate. */
void entry_tell_direct(const struct queue_entry *entry);
/* For what an entry that is kept waits, and until when. */
void entry_wait(const struct queue_entry *entry, struct push_target *target);
/* The base of the waits at a registry. */
int64_t queue_retry_wait_ms(const struct push_queue *queue, const char *host);
/* Nothing begins at this repository now. */
bool queue_is_away(const struct push_queue *queue, const struct reference *reference);
/* No clock runs any more, but those that are about to. */
void queue_gates_close(struct push_queue *queue);
void queue_gates_free(struct push_queue *queue);

/* --- push_queue_restart.c --- */

/* Does the configuration still know the target? What else its name leads to by now is no matter,
 * but for the host. What clients named always is. Any thread. */
bool queue_is_configured(const struct push_queue *queue, const struct push_target *target);
/* The same of what is pushed. With the lock. */
bool entry_is_configured(const struct queue_entry *entry);

/* --- push_queue_run.c --- */

/* The work of an entry after the answer. */
void pending_work(struct work *work);
/* It has not begun, and does not any more: this is its last state. With the lock, which is given up
 * meanwhile. */
void pending_end(struct queue_entry *entry, enum push_state state);
/* It waits: for its turn, a gate, an operator, a time. With the lock. */
bool pending_is_idle(const struct queue_entry *entry);

/* --- push_queue_history.c --- */

/* A push that a client has waited for has ended: it is recorded soon, and the client does not wait
 * for that. With the lock. */
void queue_note_over(struct push_queue *queue, const struct push *push);
/* A target after the answer has come to its end, which is written: at once, or, where the store
 * does not take it, or has not taken an older one, as soon as it does. So an older push of a tag is
 * never open on the disk when a younger one has ended there, and no start pushes it again. Without
 * the lock. */
void queue_write_end(struct push_queue *queue, const char *id, size_t target,
                     const struct push_target *end);
/* The end that is not written yet; borrowed while the lock is held. NULL: there is none. */
const struct push_target *queue_unwritten(const struct push_queue *queue, const char *id,
                                          size_t target);
/* What waits to be written is written at once, and tried no more after that. */
void queue_history_close(struct push_queue *queue);
/* At the end, when nothing is under way. What the store does not take now is not recorded. */
void queue_record_all(struct push_queue *queue);

/* --- push_queue_direct.c --- */

/* End what a client waits for, as its own cancel does. False: there is none with this id. Without
 * the lock. */
bool direct_cancel(struct push_queue *queue, const char *id);

/* It is its turn. With the lock. */
void direct_begin(struct queue_entry *entry);

#endif
