#include "gateway/push/push_queue.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/push/push_log.h"
#include "image/referrer_list.h"
#include "upstream/push/known_blobs.h"

#include <assert.h>
#include <limits.h>
#include <search.h>
#include <stddef.h>
#include <string.h>

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

/* Between its acceptance and its coming a push is for moments only. */
#define KEPT_TAGS_MAX 1024

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

/* ---- its life ---- */

struct push_queue *push_queue_new(struct runtime *runtime)
{
    struct push_queue *queue = xcalloc(1, sizeof *queue);
    queue->runtime = runtime;
    queue->direct = work_queue_new(runtime->executor, NULL, UINT_MAX);
    TAILQ_INIT(&queue->kept);
    cancel_init(&queue->cancel);
    pthread_mutex_init(&queue->lock, NULL);
    clock_cond_init(&queue->ended);
    return queue;
}

bool push_queue_wait(struct push_queue *queue, int64_t ms)
{
    struct timespec until = clock_deadline(ms);
    int rc = 0;
    pthread_mutex_lock(&queue->lock);
    while (queue->under_way > 0 && rc == 0)
        rc = pthread_cond_timedwait(&queue->ended, &queue->lock, &until);
    bool none = queue->under_way == 0;
    pthread_mutex_unlock(&queue->lock);
    return none;
}

static void under_way_locked(struct push_queue *queue, int change)
{
    queue->under_way += (size_t)change;
    if (queue->under_way == 0)
        pthread_cond_broadcast(&queue->ended);
}

/* ---- tags and hosts; with the lock ---- */

static int compare_tags(const void *a, const void *b)
{
    return strcmp(((const struct tag *)a)->key, ((const struct tag *)b)->key);
}

static struct tag *tag_of(struct push_queue *queue, const struct reference *target)
{
    char text[REFERENCE_TEXT_MAX];
    size_t size = strlen(reference_text(target, text)) + 1;
    struct tag *tag = xcalloc(1, sizeof *tag + size);
    memcpy(tag->key, text, size);
    tag->each_counts = target->tag[0] == '\0' || referrer_list_tag_fits(target->tag);
    TAILQ_INIT(&tag->entries);
    TAILQ_INIT(&tag->listed);
    TAILQ_INIT(&tag->direct);
    struct tag **held = tsearch(tag, &queue->tags, compare_tags);
    if (held == NULL)
        abort(); /* out of memory, as in base/mem.h */
    if (*held != tag)
        free(tag);
    tag = *held;
    if (tag->is_kept) {
        TAILQ_REMOVE(&queue->kept, tag, link);
        queue->kept_count--;
        tag->is_kept = false;
    }
    return tag;
}

static struct work_queue *works_of(struct push_queue *queue, const char *name)
{
    struct queue_host *host = queue->hosts;
    while (host && strcmp(host->name, name) != 0)
        host = host->next;
    if (host == NULL) {
        size_t size = strlen(name) + 1;
        host = xcalloc(1, sizeof *host + size);
        memcpy(host->name, name, size);
        host->works = work_queue_new(queue->runtime->executor, NULL,
                                     queue->runtime->settings->limits.pushes_per_registry);
        host->next = queue->hosts;
        queue->hosts = host;
    }
    return host->works;
}

static bool is_older(const struct queue_entry *a, const struct queue_entry *b)
{
    return strcmp(a->push->id, b->push->id) < 0;
}

static void add_to_tag(struct queue_entry *entry)
{
    struct queue_entry *at = TAILQ_LAST(&entry->tag->entries, entry_list);
    while (at && is_older(entry, at))
        at = TAILQ_PREV(at, entry_list, link);
    if (at)
        TAILQ_INSERT_AFTER(&entry->tag->entries, at, entry, link);
    else
        TAILQ_INSERT_HEAD(&entry->tag->entries, entry, link);
}

/* Most are younger than all others; one that was taken back is older. */
static void add_turn(struct entry_list *list, struct queue_entry *entry)
{
    struct queue_entry *at = TAILQ_FIRST(list);
    if (at && is_older(entry, at)) {
        TAILQ_INSERT_HEAD(list, entry, turn);
        return;
    }
    at = TAILQ_LAST(list, entry_list);
    while (at && is_older(entry, at))
        at = TAILQ_PREV(at, entry_list, turn);
    if (at)
        TAILQ_INSERT_AFTER(list, at, entry, turn);
    else
        TAILQ_INSERT_HEAD(list, entry, turn);
}

/* So that nobody has to walk through all entries of a tag, of which a digest has any number. */
static void set_state(struct queue_entry *entry, enum entry_state state)
{
    struct tag *tag = entry->tag;
    if (entry->pending && entry->state == ENTRY_LISTED)
        TAILQ_REMOVE(&tag->listed, entry, turn);
    if (tag->active == entry && state != ENTRY_RUNS)
        tag->active = NULL;
    entry->state = state;
    if (entry->pending && state == ENTRY_LISTED)
        add_turn(&tag->listed, entry);
    if (state == ENTRY_WAITS && tag->active == NULL)
        tag->active = entry;
}

static void begin_next(struct push_queue *queue, struct tag *tag);

static void forget_tag(struct push_queue *queue, struct tag *tag)
{
    tdelete(tag, &queue->tags, compare_tags);
    free(tag);
}

static void keep_tag(struct push_queue *queue, struct tag *tag)
{
    struct tag *oldest = TAILQ_FIRST(&queue->kept);
    if (queue->kept_count == KEPT_TAGS_MAX) {
        TAILQ_REMOVE(&queue->kept, oldest, link);
        queue->kept_count--;
        forget_tag(queue, oldest);
    }
    TAILQ_INSERT_TAIL(&queue->kept, tag, link);
    queue->kept_count++;
    tag->is_kept = true;
}

/* Without entries it is kept or freed. */
static void update_tag(struct push_queue *queue, struct tag *tag)
{
    if (!TAILQ_EMPTY(&tag->entries))
        begin_next(queue, tag);
    else if (tag->delivered[0] && !tag->each_counts)
        keep_tag(queue, tag);
    else
        forget_tag(queue, tag);
}

static void note_delivered(const struct queue_entry *entry)
{
    struct tag *tag = entry->tag;
    if (strcmp(tag->delivered, entry->push->id) < 0)
        memcpy(tag->delivered, entry->push->id, sizeof tag->delivered);
}

/* A younger push of its tag has ended already. */
static bool comes_late(const struct queue_entry *entry)
{
    return !entry->tag->each_counts && strcmp(entry->push->id, entry->tag->delivered) < 0;
}

/* The entry has ended, and is freed. */
static void leave_tag(struct queue_entry *entry)
{
    struct push_queue *queue = entry->queue;
    struct tag *tag = entry->tag;
    set_state(entry, ENTRY_ENDS);
    if (entry->chain)
        TAILQ_REMOVE(&tag->direct, entry, turn);
    TAILQ_REMOVE(&tag->entries, entry, link);
    free(entry);
    update_tag(queue, tag);
}

/* ---- records ---- */

static void write_record(struct push_queue *queue, const struct push *push, bool over)
{
    struct error err = ERROR_INIT;
    struct store *store = queue->runtime->store;
    enum errc rc = over ? pushes_remove(store, push->id, &err) : pushes_put(store, push, &err);
    if (rc != ERR_OK)
        log_error("push %s: its record is out of date, so targets that have the image get it again "
                  "at the next start: %s",
                  push->id, err.text);
}

/* By the worker that set `writing`: until the store has the last state. Afterwards the pending push
 * is gone if nothing is left to do for it. With the lock, which is given up meanwhile. */
static void flush_locked(struct push_queue *queue, struct pending *pending)
{
    bool over = false;
    under_way_locked(queue, 1);
    while (pending->changed) {
        struct push push;
        push_copy(&pending->push, &push);
        over = pending->open == 0;
        pending->changed = false;
        pthread_mutex_unlock(&queue->lock);
        write_record(queue, &push, over);
        push_deinit(&push);
        pthread_mutex_lock(&queue->lock);
    }
    pending->writing = false;
    under_way_locked(queue, -1);
    if (!over)
        return;
    push_deinit(&pending->push);
    free(pending);
}

static void change_locked(struct push_queue *queue, struct pending *pending)
{
    bool mine = !pending->writing;
    pending->changed = true;
    pending->writing = true;
    if (mine)
        flush_locked(queue, pending);
}

/* ---- entries ---- */

static void on_work(struct work *work);

static void submit(struct queue_entry *entry)
{
    struct push_queue *queue = entry->queue;
    const struct reference *target = &entry->push->targets[entry->target].reference;
    set_state(entry, ENTRY_WAITS);
    entry->work.run = on_work;
    entry->work.key = entry->pending ? entry->repository : NULL;
    under_way_locked(queue, 1);
    work_submit(entry->pending ? works_of(queue, target->host) : queue->direct, &entry->work);
}

static struct queue_entry *entry_new(struct push_queue *queue, struct push *push, size_t target)
{
    struct queue_entry *entry = xcalloc(1, sizeof *entry);
    entry->queue = queue;
    entry->push = push;
    entry->target = target;
    entry->tag = tag_of(queue, &push->targets[target].reference);
    add_to_tag(entry);
    return entry;
}

static struct queue_entry *pending_entry(struct push_queue *queue, struct pending *pending,
                                         size_t index)
{
    struct queue_entry *entry = entry_new(queue, &pending->push, index);
    entry->pending = pending;
    entry->own = pending->push.targets[index];
    entry->one = pending->push;
    entry->one.targets = &entry->own;
    entry->one.target_count = 1;
    reference_name(&entry->own.reference, entry->repository);
    pending->open++;
    return entry;
}

/* A pending entry has come to its end. With the lock, which is given up meanwhile. */
static void end_pending(struct queue_entry *entry, enum push_state state)
{
    struct push_queue *queue = entry->queue;
    struct pending *pending = entry->pending;
    pending->push.targets[entry->target].state = state;
    pending->open--;
    leave_tag(entry);
    change_locked(queue, pending);
}

/* Take an entry out of the executor. False when it runs, or is not there. */
static bool take_back(struct queue_entry *entry)
{
    if (entry->state != ENTRY_WAITS || !work_cancel(entry->queue->direct, &entry->work))
        return false;
    set_state(entry, ENTRY_LISTED);
    under_way_locked(entry->queue, -1);
    return true;
}

static void end_superseded(struct queue_entry *entry)
{
    struct push_queue *queue = entry->queue;
    set_state(entry, ENTRY_ENDS);
    pthread_mutex_unlock(&queue->lock);
    push_log_superseded(entry->push->id, &entry->own);
    pthread_mutex_lock(&queue->lock);
    end_pending(entry, PUSH_SUPERSEDED);
}

static struct queue_entry *next_superseded(const struct tag *tag)
{
    struct queue_entry *entry;
    TAILQ_FOREACH(entry, &tag->entries, link)
    {
        if (entry->superseded && entry->state != ENTRY_ENDS)
            return entry;
    }
    return NULL;
}

/* The older pushes after the answer that have not begun. The tag is there as long as `by` is in it.
 * With the lock, which is given up meanwhile. */
static void supersede_older(struct tag *tag, const struct queue_entry *by)
{
    struct queue_entry *entry;
    if (tag->each_counts)
        return;
    TAILQ_FOREACH(entry, &tag->entries, link)
    {
        if (entry == by || !entry->pending || !is_older(entry, by))
            continue;
        take_back(entry);
        entry->superseded |= entry->state == ENTRY_LISTED || entry->state == ENTRY_PARKED;
    }
    while ((entry = next_superseded(tag)))
        end_superseded(entry);
}

/* What was cancelled only comes to its end, and nothing has to wait for that. With the lock. */
static void begin_cancelled(struct tag *tag)
{
    struct queue_entry *entry;
    TAILQ_FOREACH(entry, &tag->direct, turn)
    {
        if (entry->state == ENTRY_LISTED && entry->due &&
            cancel_requested(&entry->chain->direct->cancel))
            submit(entry);
    }
}

/* What may begin now, where nothing of the tag does: the oldest push that a client waits for;
 * without any, what is pushed after the answer. With the lock. */
static void begin_next(struct push_queue *queue, struct tag *tag)
{
    begin_cancelled(tag);
    struct queue_entry *entry = TAILQ_FIRST(&tag->direct);
    if (tag->active)
        return;
    if (entry) {
        if (entry->state == ENTRY_LISTED && entry->due)
            submit(entry);
        return;
    }
    if (queue->closed || queue->restarts)
        return;
    entry = TAILQ_FIRST(&tag->listed);
    while (entry && entry->superseded)
        entry = TAILQ_NEXT(entry, turn);
    if (entry)
        submit(entry);
}

static bool has_younger_pending(const struct queue_entry *entry)
{
    const struct queue_entry *at = entry;
    while ((at = TAILQ_NEXT(at, link)))
        if (at->pending)
            return !entry->tag->each_counts;
    return false;
}

/* ---- running one ---- */

static void on_ended(void *self);

static void on_work(struct work *work)
{
    struct queue_entry *entry =
        (struct queue_entry *)((char *)work - offsetof(struct queue_entry, work));
    struct push_queue *queue = entry->queue;
    struct push_options options = {
        .remembers = true, .cancel = &queue->cancel, .ended = on_ended, .self = entry};
    if (entry->chain) {
        options = entry->chain->direct->options;
        options.cancel = &entry->chain->direct->cancel;
        options.known = entry->chain->known;
        options.ended = on_ended;
        options.self = entry;
    }
    options.upstream = queue->runtime->upstream;
    autoscope struct log_scope outer = log_scope_begin("push", entry->push->id);
    work_hold(work);
    pthread_mutex_lock(&queue->lock);
    set_state(entry, ENTRY_RUNS);
    pthread_mutex_unlock(&queue->lock);
    if (entry->chain)
        push_start(&options, entry->push, entry->target);
    else
        push_start(&options, &entry->one, 0);
}

/* What time or an operator can mend: the registry is away or cannot be trusted now, slipway itself
 * cannot go on. Anything else would end in the same way again. */
static bool may_pass(enum errc code)
{
    switch (code) {
    case ERR_CANCELLED:
    case ERR_SETTINGS:
    case ERR_CREDENTIALS:
    case ERR_NO_SPACE:
    case ERR_STORE_FULL:
    case ERR_STORE:
        return true;
    default:
        return error_retriable(code) || error_party(code) == PARTY_NETWORK;
    }
}

static void tell_pending(const struct queue_entry *entry)
{
    const struct push_target *target = &entry->own;
    if (target->state == PUSH_FAILED && may_pass(target->error.code))
        push_log_postponed(entry->push->id, target);
    else
        push_log_ended(entry->push->id, target);
}

/* With the lock. */
static void finish_pending(struct queue_entry *entry)
{
    bool pushed = entry->own.state == PUSH_PUSHED;
    if (pushed)
        note_delivered(entry);
    if (pushed || !may_pass(entry->own.error.code))
        end_pending(entry, pushed ? PUSH_PUSHED : PUSH_FAILED);
    else if (has_younger_pending(entry))
        end_superseded(entry);
    else {
        set_state(entry, ENTRY_PARKED);
        begin_next(entry->queue, entry->tag);
    }
}

static void leave_direct(struct push_queue *queue, struct direct *direct)
{
    pthread_mutex_lock(&queue->lock);
    bool last = --direct->left == 0;
    bool early = direct->left == 1 && direct->clock_waits;
    pthread_mutex_unlock(&queue->lock);
    if (early)
        last = work_cancel(queue->direct, &direct->clock); /* if it runs by now it is the last */
    if (!last)
        return;
    const struct push_options options = direct->options;
    cancel_unwatch(&direct->cancel, &direct->watch);
    cancel_deinit(&direct->cancel);
    free(direct);
    options.ended(options.self);
}

/* ---- the end of its time ---- */

static void on_time(struct work *work)
{
    struct direct *direct = (struct direct *)((char *)work - offsetof(struct direct, clock));
    struct push_queue *queue = direct->queue;
    pthread_mutex_lock(&queue->lock);
    direct->clock_waits = false;
    pthread_mutex_unlock(&queue->lock);
    atomic_store(&direct->overdue, true);
    cancel_request(&direct->cancel);
    leave_direct(queue, direct);
}

static void on_cancel(void *self)
{
    struct direct *direct = self;
    struct push_queue *queue = direct->queue;
    const struct push *push = direct->push;
    pthread_mutex_lock(&queue->lock);
    for (size_t i = 0; i < push->target_count; i++)
        if (!push->targets[i].stored)
            update_tag(queue, tag_of(queue, &push->targets[i].reference));
    pthread_mutex_unlock(&queue->lock);
}

static struct direct *direct_new(struct push_queue *queue, const struct push_options *options,
                                 struct push *push)
{
    int64_t limit_ms = queue->runtime->settings->limits.push_ms;
    struct direct *direct = xcalloc(1, sizeof *direct);
    *direct = (struct direct){.queue = queue, .options = *options, .push = push, .left = 1};
    cancel_init_child(&direct->cancel, options->cancel, "limits.push_time is over");
    direct->watch = (struct cancel_watch){.call = on_cancel, .self = direct};
    cancel_watch(&direct->cancel, &direct->watch);
    direct->clock.run = on_time;
    direct->clock_waits = limit_ms > 0;
    direct->left += direct->clock_waits;
    if (direct->clock_waits)
        work_submit_at(queue->direct, &direct->clock, clock_ms() + limit_ms);
    return direct;
}

static void explain_overdue(const struct queue_entry *entry)
{
    struct error *err = &entry->push->targets[entry->target].error;
    int64_t limit_s = entry->queue->runtime->settings->limits.push_ms / 1000;
    if (err->code == ERR_CANCELLED && atomic_load(&entry->chain->direct->overdue))
        fail(err, ERR_PUSH_TIME, 0,
             "the push had not ended after %lld s (limits.push_time); blobs that arrived are not "
             "sent again",
             (long long)limit_s);
}

/* The chain goes on with its next entry. True when there is none. With the lock. */
static bool go_on(struct push_queue *queue, struct chain *chain)
{
    struct queue_entry *next = TAILQ_FIRST(&chain->entries);
    if (next == NULL)
        return true;
    next->due = true;
    begin_next(queue, next->tag);
    return false;
}

/* With the lock. */
static bool finish_direct(struct queue_entry *entry)
{
    struct push_queue *queue = entry->queue;
    struct chain *chain = entry->chain;
    if (entry->push->targets[entry->target].state == PUSH_PUSHED) {
        note_delivered(entry);
        supersede_older(entry->tag, entry);
    }
    TAILQ_REMOVE(&chain->entries, entry, next);
    leave_tag(entry);
    return go_on(queue, chain);
}

static void end_chain(struct push_queue *queue, struct chain *chain)
{
    struct direct *direct = chain->direct;
    known_blobs_free(chain->known);
    free(chain);
    leave_direct(queue, direct);
}

/* With the lock, which is given up meanwhile. */
static void end_entry(struct queue_entry *entry)
{
    struct push_queue *queue = entry->queue;
    struct chain *chain = entry->chain;
    if (chain == NULL) {
        finish_pending(entry);
    } else if (finish_direct(entry)) {
        pthread_mutex_unlock(&queue->lock);
        end_chain(queue, chain);
        pthread_mutex_lock(&queue->lock);
    }
}

static void on_ended(void *self)
{
    struct queue_entry *entry = self;
    struct push_queue *queue = entry->queue;
    if (entry->chain) {
        explain_overdue(entry);
        push_log_ended(entry->push->id, &entry->push->targets[entry->target]);
    } else {
        tell_pending(entry);
    }
    pthread_mutex_lock(&queue->lock);
    work_release(&entry->work); /* the next of its tag finds this one ended */
    end_entry(entry);
    under_way_locked(queue, -1);
    pthread_mutex_unlock(&queue->lock);
}

/* ---- what comes in ---- */

/* With the lock, which is given up meanwhile. */
static void add_pending(struct push_queue *queue, struct pending *pending, size_t index)
{
    struct queue_entry *entry = pending_entry(queue, pending, index);
    supersede_older(entry->tag, entry);
    set_state(entry, ENTRY_LISTED);
    if (has_younger_pending(entry) || comes_late(entry))
        end_superseded(entry);
    else
        begin_next(queue, entry->tag);
}

void push_queue_start(struct push_queue *queue, const struct push *push)
{
    struct pending *pending = xcalloc(1, sizeof *pending);
    push_copy(push, &pending->push);
    pthread_mutex_lock(&queue->lock);
    pending->open = 1; /* the start itself */
    for (size_t i = 0; i < push->target_count; i++)
        if (push->targets[i].stored && push->targets[i].state == PUSH_WAITING)
            add_pending(queue, pending, i);
    if (--pending->open == 0)
        change_locked(queue, pending);
    pthread_mutex_unlock(&queue->lock);
}

/* A client that waits does not wait for what is pushed after the answer. A younger one that has not
 * begun goes behind it. With the lock. */
static void add_direct(struct push_queue *queue, struct chain *chain, size_t index)
{
    struct queue_entry *entry = entry_new(queue, chain->direct->push, index);
    struct queue_entry *active = entry->tag->active;
    entry->chain = chain;
    set_state(entry, ENTRY_LISTED);
    add_turn(&entry->tag->direct, entry);
    TAILQ_INSERT_TAIL(&chain->entries, entry, next);
    if (active && (active->pending || is_older(entry, active)))
        take_back(active);
}

static bool same_repository(const struct push *push, size_t a, size_t b)
{
    return reference_same_name(&push->targets[a].reference, &push->targets[b].reference);
}

static bool first_in_repository(const struct push *push, size_t index)
{
    for (size_t i = 0; i < index; i++)
        if (!push->targets[i].stored && same_repository(push, i, index))
            return false;
    return !push->targets[index].stored;
}

/* With the lock. */
static struct chain *add_chain(struct push_queue *queue, struct direct *direct, size_t first)
{
    const struct push *push = direct->push;
    struct chain *chain = xcalloc(1, sizeof *chain);
    *chain = (struct chain){.direct = direct, .known = known_blobs_new()};
    TAILQ_INIT(&chain->entries);
    for (size_t i = first; i < push->target_count; i++)
        if (!push->targets[i].stored && same_repository(push, i, first))
            add_direct(queue, chain, i);
    direct->left++;
    return chain;
}

void push_queue_run(struct push_queue *queue, const struct push_options *options, struct push *push)
{
    struct direct *direct = direct_new(queue, options, push);
    autofree struct chain **chains = xcalloc(push->target_count, sizeof(struct chain *));
    size_t count = 0;
    pthread_mutex_lock(&queue->lock);
    for (size_t i = 0; i < push->target_count; i++)
        if (first_in_repository(push, i))
            chains[count++] = add_chain(queue, direct, i);
    for (size_t i = 0; i < count; i++)
        go_on(queue, chains[i]);
    pthread_mutex_unlock(&queue->lock);
    leave_direct(queue, direct);
}

/* ---- what the last process left ---- */

static int compare_texts(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* True when the text was there before. */
static bool add_text(void **texts, const char *text)
{
    char *copy = xstrdup(text);
    char **held = tsearch(copy, texts, compare_texts);
    if (held == NULL)
        abort(); /* out of memory, as in base/mem.h */
    bool there = *held != copy;
    if (there)
        free(copy);
    return there;
}

static bool is_open_for_tag(const struct push_target *target)
{
    return target->stored && target->state == PUSH_WAITING && target->reference.tag[0] != '\0';
}

/* True when a target of the push is superseded by what is in `younger`, which gets its own. */
static bool supersede_by(struct push *push, void **younger)
{
    char text[REFERENCE_TEXT_MAX];
    bool changed = false;
    for (size_t i = 0; i < push->target_count; i++) {
        struct push_target *target = &push->targets[i];
        if (!is_open_for_tag(target) ||
            tfind(reference_text(&target->reference, text), younger, compare_texts) == NULL)
            continue;
        push_log_superseded(push->id, target);
        target->state = PUSH_SUPERSEDED;
        changed = true;
    }
    for (size_t i = 0; i < push->target_count; i++)
        if (is_open_for_tag(&push->targets[i]))
            add_text(younger, reference_text(&push->targets[i].reference, text));
    return changed;
}

/* Of many records of one tag all but one go, and go together: a wait for the disk for each of them
 * would keep a start for minutes. */
static void supersede_all(struct push_queue *queue, struct push *pushes, size_t count)
{
    autofree struct push **changed = xcalloc(count, sizeof(struct push *));
    struct error err = ERROR_INIT;
    size_t changed_count = 0;
    void *younger = NULL;
    for (size_t i = count; i > 0; i--)
        if (supersede_by(&pushes[i - 1], &younger) || !push_is_waiting(&pushes[i - 1]))
            changed[changed_count++] = &pushes[i - 1];
    tdestroy(younger, free);
    if (pushes_update(queue->runtime->store, changed, changed_count, &err) != ERR_OK)
        log_error("records of superseded pushes are out of date, so they are superseded again at "
                  "the next start: %s",
                  err.text);
}

/* Oldest first, but for those that have been superseded by then. */
static void begin_all(struct push_queue *queue, const struct push *pushes, size_t count)
{
    pthread_mutex_lock(&queue->lock);
    queue->restarts = false;
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < pushes[i].target_count; k++)
            update_tag(queue, tag_of(queue, &pushes[i].targets[k].reference));
    pthread_mutex_unlock(&queue->lock);
}

enum errc push_queue_restart(struct push_queue *queue, struct error *err)
{
    struct push *pushes = NULL;
    size_t count = 0;
    if (pushes_list(queue->runtime->store, &pushes, &count, err) != ERR_OK)
        return err->code;
    if (count > 0)
        push_log_resumed(count);
    supersede_all(queue, pushes, count);
    queue->restarts = true;
    for (size_t i = 0; i < count; i++)
        if (push_is_waiting(&pushes[i]))
            push_queue_start(queue, &pushes[i]);
    begin_all(queue, pushes, count);
    for (size_t i = 0; i < count; i++)
        push_deinit(&pushes[i]);
    free(pushes);
    return ERR_OK;
}

/* ---- the end ---- */

static void take_back_waiting(const void *node, VISIT when, int depth)
{
    (void)depth;
    if (when != postorder && when != leaf)
        return;
    struct tag *tag = *(struct tag *const *)node;
    if (tag->active && tag->active->pending)
        take_back(tag->active);
}

void push_queue_close(struct push_queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    queue->closed = true;
    twalk(queue->tags, take_back_waiting);
    pthread_mutex_unlock(&queue->lock);
    cancel_request(&queue->cancel);
}

static void free_pending(struct queue_entry *entry)
{
    if (--entry->pending->open == 0) {
        push_deinit(&entry->pending->push);
        free(entry->pending);
    }
    free(entry);
}

static void free_tag(void *node)
{
    struct tag *tag = node;
    for (struct queue_entry *entry; (entry = TAILQ_FIRST(&tag->entries));) {
        TAILQ_REMOVE(&tag->entries, entry, link);
        free_pending(entry);
    }
    free(tag);
}

void push_queue_free(struct push_queue *queue)
{
    if (queue == NULL)
        return;
    assert(queue->under_way == 0);
    tdestroy(queue->tags, free_tag);
    for (struct queue_host *host = queue->hosts, *next; host; host = next) {
        next = host->next;
        work_queue_free(host->works);
        free(host);
    }
    work_queue_free(queue->direct);
    cancel_deinit(&queue->cancel);
    pthread_cond_destroy(&queue->ended);
    pthread_mutex_destroy(&queue->lock);
    free(queue);
}
