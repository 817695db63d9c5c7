#include "gateway/queue/push_queue.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/push/push_log.h"
#include "gateway/queue/push_queue_internal.h"

#include <assert.h>
#include <limits.h>
#include <search.h>
#include <stddef.h>
#include <string.h>

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

void queue_under_way(struct push_queue *queue, int change)
{
    queue->under_way += (size_t)change;
    if (queue->under_way == 0)
        pthread_cond_broadcast(&queue->ended);
}

/* ---- hosts; with the lock ---- */

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
    queue_under_way(queue, 1);
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
    queue_under_way(queue, -1);
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

void entry_submit(struct queue_entry *entry)
{
    struct push_queue *queue = entry->queue;
    const struct reference *target = &entry->push->targets[entry->target].reference;
    entry_set_state(entry, ENTRY_WAITS);
    entry->work.run = on_work;
    entry->work.key = entry->pending ? entry->repository : NULL;
    queue_under_way(queue, 1);
    work_submit(entry->pending ? works_of(queue, target->host) : queue->direct, &entry->work);
}

struct queue_entry *entry_new(struct push_queue *queue, struct push *push, size_t target)
{
    struct queue_entry *entry = xcalloc(1, sizeof *entry);
    entry->queue = queue;
    entry->push = push;
    entry->target = target;
    entry->tag = queue_tag(queue, &push->targets[target].reference);
    entry_add(entry);
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
    entry_leave(entry);
    change_locked(queue, pending);
}

void entry_end_superseded(struct queue_entry *entry)
{
    struct push_queue *queue = entry->queue;
    entry_set_state(entry, ENTRY_ENDS);
    pthread_mutex_unlock(&queue->lock);
    push_log_superseded(entry->push->id, &entry->own);
    pthread_mutex_lock(&queue->lock);
    end_pending(entry, PUSH_SUPERSEDED);
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
    entry->begun_ms = clock_ms();
    work_hold(work);
    pthread_mutex_lock(&queue->lock);
    entry_set_state(entry, ENTRY_RUNS);
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

static void tell_pending(const struct queue_entry *entry, uint64_t ms)
{
    const struct push_target *target = &entry->own;
    if (target->state == PUSH_FAILED && may_pass(target->error.code))
        push_log_postponed(entry->push, target, ms);
    else
        push_log_ended(entry->push, target, ms);
}

/* With the lock. */
static void finish_pending(struct queue_entry *entry)
{
    bool pushed = entry->own.state == PUSH_PUSHED;
    if (pushed)
        entry_note_delivered(entry);
    if (pushed || !may_pass(entry->own.error.code))
        end_pending(entry, pushed ? PUSH_PUSHED : PUSH_FAILED);
    else if (entry_has_younger(entry))
        entry_end_superseded(entry);
    else {
        entry_set_state(entry, ENTRY_PARKED);
        queue_tag_begin(entry->queue, entry->tag);
    }
}

/* With the lock, which is given up meanwhile. */
static void end_entry(struct queue_entry *entry)
{
    struct push_queue *queue = entry->queue;
    struct chain *chain = entry->chain;
    if (chain == NULL) {
        finish_pending(entry);
    } else if (direct_finish(entry)) {
        pthread_mutex_unlock(&queue->lock);
        direct_end_chain(queue, chain);
        pthread_mutex_lock(&queue->lock);
    }
}

static void on_ended(void *self)
{
    struct queue_entry *entry = self;
    struct push_queue *queue = entry->queue;
    uint64_t ms = (uint64_t)(clock_ms() - entry->begun_ms);
    if (entry->chain) {
        direct_explain(entry);
        push_log_ended(entry->push, &entry->push->targets[entry->target], ms);
    } else {
        tell_pending(entry, ms);
    }
    pthread_mutex_lock(&queue->lock);
    work_release(&entry->work); /* the next of its tag finds this one ended */
    end_entry(entry);
    queue_under_way(queue, -1);
    pthread_mutex_unlock(&queue->lock);
}

/* ---- what comes in ---- */

/* With the lock, which is given up meanwhile. */
static void add_pending(struct push_queue *queue, struct pending *pending, size_t index)
{
    struct queue_entry *entry = pending_entry(queue, pending, index);
    entry_supersede_older(entry->tag, entry);
    entry_set_state(entry, ENTRY_LISTED);
    if (entry_has_younger(entry) || entry_comes_late(entry))
        entry_end_superseded(entry);
    else
        queue_tag_begin(queue, entry->tag);
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

/* ---- the end ---- */

static void take_back_waiting(const void *node, VISIT when, int depth)
{
    (void)depth;
    if (when != postorder && when != leaf)
        return;
    struct tag *tag = *(struct tag *const *)node;
    if (tag->active && tag->active->pending)
        entry_take_back(tag->active);
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
