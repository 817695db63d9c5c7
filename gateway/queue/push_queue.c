#include "gateway/queue/push_queue.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/queue/push_queue_internal.h"

#include <assert.h>
#include <limits.h>
#include <search.h>
#include <stdio.h>
#include <string.h>

/* ---- its life ---- */

struct push_queue *push_queue_new(struct runtime *runtime)
{
    struct push_queue *queue = xcalloc(1, sizeof *queue);
    queue->runtime = runtime;
    queue->direct = work_queue_new(runtime->executor, NULL, UINT_MAX);
    TAILQ_INIT(&queue->kept);
    TAILQ_INIT(&queue->pending);
    TAILQ_INIT(&queue->directs);
    TAILQ_INIT(&queue->over);
    TAILQ_INIT(&queue->unwritten);
    TAILQ_INIT(&queue->watches);
    cancel_init(&queue->cancel);
    pthread_mutex_init(&queue->lock, NULL);
    clock_cond_init(&queue->ended);
    pthread_cond_init(&queue->targets.written, NULL);
    queue_targets_init(queue);
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

void push_queue_close(struct push_queue *queue)
{
    struct queue_entry *entry;
    pthread_mutex_lock(&queue->lock);
    queue->closed = true;
    TAILQ_FOREACH(entry, &queue->pending, next)
    entry_take_back(entry);
    queue_gates_close(queue);
    queue_history_close(queue);
    queue_watches_close(queue);
    pthread_mutex_unlock(&queue->lock);
    cancel_request(&queue->cancel);
}

static void keep(void *node)
{
    (void)node;
}

void push_queue_free(struct push_queue *queue)
{
    if (queue == NULL)
        return;
    assert(queue->under_way == 0);
    queue_record_all(queue);
    push_queue_record_targets(queue);
    tdestroy(queue->entries, keep);
    queue_tags_free(queue);
    queue_targets_free(queue);
    queue_gates_free(queue);
    work_queue_free(queue->direct);
    cancel_deinit(&queue->cancel);
    pthread_cond_destroy(&queue->targets.written);
    pthread_cond_destroy(&queue->ended);
    pthread_mutex_destroy(&queue->lock);
    free(queue);
}

/* ---- entries; with the lock ---- */

struct queue_entry *entry_new(struct push_queue *queue, const char *id, size_t target,
                              const struct push_target *what)
{
    struct queue_entry *entry = xcalloc(1, sizeof *entry);
    assert(strlen(id) < sizeof entry->id);
    snprintf(entry->id, sizeof entry->id, "%s", id);
    entry->queue = queue;
    entry->target = target;
    entry->tag = queue_tag(queue, &what->reference);
    entry->to = queue_target(queue, what);
    entry->to->entries++;
    entry_add(entry);
    return entry;
}

static int compare_entries(const void *a, const void *b)
{
    const struct queue_entry *one = a;
    const struct queue_entry *other = b;
    int order = strcmp(one->id, other->id);
    return order ? order : (one->target > other->target) - (one->target < other->target);
}

/* Among all that are pushed after the answer. */
static void remember(struct queue_entry *entry)
{
    struct push_queue *queue = entry->queue;
    struct queue_entry *at = TAILQ_LAST(&queue->pending, entry_list);
    while (at && entry_is_older(entry, at))
        at = TAILQ_PREV(at, entry_list, next);
    if (at)
        TAILQ_INSERT_AFTER(&queue->pending, at, entry, next);
    else
        TAILQ_INSERT_HEAD(&queue->pending, entry, next);
    if (tsearch(entry, &queue->entries, compare_entries) == NULL)
        abort(); /* out of memory, as in base/mem.h */
    entry_open(entry);
}

void entry_forget(struct queue_entry *entry)
{
    tdelete(entry, &entry->queue->entries, compare_entries);
    TAILQ_REMOVE(&entry->queue->pending, entry, next);
    TAILQ_REMOVE(&entry->to->open, entry, open);
}

struct queue_entry *queue_find(struct push_queue *queue, const char *id, size_t target)
{
    struct queue_entry wanted = {.target = target};
    snprintf(wanted.id, sizeof wanted.id, "%s", id);
    struct queue_entry **found = tfind(&wanted, &queue->entries, compare_entries);
    return found ? *found : NULL;
}

enum push_state queue_recorded(const struct push_queue *queue, const char *id, size_t target,
                               struct error *err)
{
    struct push push;
    bool found = false;
    if (pushes_get(queue->runtime->store, id, &push, &found, err) != ERR_OK || !found)
        return (enum push_state)0;
    enum push_state state =
        target < push.target_count ? push.targets[target].state : (enum push_state)0;
    push_deinit(&push);
    return state;
}

/* ---- what comes in ---- */

struct queue_entry *queue_reserve_pending(struct push_queue *queue, const char *id, size_t target,
                                          const struct push_target *what)
{
    struct queue_entry *entry = entry_new(queue, id, target, what);
    entry->tries = what->tries;
    entry->deadline_s = what->deadline_s;
    remember(entry);
    return entry;
}

bool entry_come(struct queue_entry *entry)
{
    struct push_queue *queue = entry->queue;
    entry_supersede_older(entry->tag, entry);
    entry_set_state(entry, ENTRY_LISTED);
    if (entry->cancelled) { /* meanwhile */
        pending_end(entry, PUSH_CANCELLED);
        return true;
    }
    if (entry_has_younger(entry) || entry_comes_late(entry)) {
        pending_end(entry, PUSH_SUPERSEDED);
        return false;
    }
    queue_tag_begin(queue, entry->tag);
    return true;
}

void queue_add_pending(struct push_queue *queue, const char *id, size_t target,
                       const struct push_target *what)
{
    entry_come(queue_reserve_pending(queue, id, target, what));
}

static void add_held(struct push_queue *queue, const char *id, size_t target,
                     const struct push_target *what, const char *as_of)
{
    struct queue_entry *entry = entry_new(queue, id, target, what);
    entry->deadline_s = what->deadline_s;
    entry->yields = true;
    remember(entry);
    entry_set_state(entry, ENTRY_LISTED);
    if (!entry_is_alone(entry) || strcmp(entry->tag->delivered, as_of) > 0)
        pending_end(entry, PUSH_SUPERSEDED);
    else
        queue_tag_begin(queue, entry->tag);
}

void push_queue_start_held(struct push_queue *queue, const struct push *push, const char *as_of)
{
    pthread_mutex_lock(&queue->lock);
    for (size_t i = 0; i < push->target_count; i++)
        add_held(queue, push->id, i, &push->targets[i], as_of);
    pthread_mutex_unlock(&queue->lock);
}

bool push_queue_is_busy(struct push_queue *queue, const struct reference *reference)
{
    pthread_mutex_lock(&queue->lock);
    struct tag *tag = queue_tag(queue, reference);
    bool busy = !TAILQ_EMPTY(&tag->entries);
    queue_tag_update(queue, tag);
    pthread_mutex_unlock(&queue->lock);
    return busy;
}

void push_queue_start(struct push_queue *queue, const struct push *push)
{
    pthread_mutex_lock(&queue->lock);
    for (size_t i = 0; i < push->target_count; i++)
        if (push->targets[i].stored && push->targets[i].state == PUSH_QUEUED)
            queue_add_pending(queue, push->id, i, &push->targets[i]);
    pthread_mutex_unlock(&queue->lock);
}

void push_queue_take(struct push_queue *queue, const char *id)
{
    struct error err = ERROR_INIT;
    struct push push;
    bool found = false;
    /* With the lock: an entry of it that ends now is known, or its record says so. */
    pthread_mutex_lock(&queue->lock);
    if (pushes_get(queue->runtime->store, id, &push, &found, &err) != ERR_OK)
        log_error("push %s goes on at the next start: %s", id, err.text);
    for (size_t i = 0; found && i < push.target_count; i++) {
        struct push_target *target = &push.targets[i];
        target->stored = target->stored && !push_state_is_final(target->state) &&
                         target->state != PUSH_ORPHANED && queue_is_configured(queue, target) &&
                         queue_find(queue, id, i) == NULL && queue_unwritten(queue, id, i) == NULL;
    }
    for (size_t i = 0; found && i < push.target_count; i++)
        if (push.targets[i].stored)
            queue_add_pending(queue, id, i, &push.targets[i]);
    pthread_mutex_unlock(&queue->lock);
    if (found)
        push_deinit(&push);
}
