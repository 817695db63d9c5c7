#include "base/clock.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/access/audit.h"
#include "gateway/push/push_log.h"
#include "gateway/queue/push_queue.h"
#include "gateway/queue/push_queue_internal.h"
#include "store/collect.h"
#include "store/push.h"
#include "upstream/push/known_blobs.h"

#include <stddef.h>
#include <string.h>

/* Nothing that has a name may need what is pushed before it gets one. */
static void hold(struct push_queue *queue, const struct push *push,
                 void (*call)(struct store *store, const struct digest *digest))
{
    call(queue->runtime->store, &push->manifest.digest);
    for (size_t i = 0; i < push->referrer_count; i++)
        call(queue->runtime->store, &push->referrers[i].manifest.digest);
}

static void leave_direct(struct push_queue *queue, struct direct *direct)
{
    pthread_mutex_lock(&queue->lock);
    bool last = --direct->left == 0;
    /* With the lock, which on_time() needs before it may leave: it is there. If it runs by now it
     * is the last. */
    if (direct->left == 1 && direct->clock_waits)
        last = work_cancel(queue->direct, &direct->clock);
    if (last) { /* at once, so that whoever looks for it finds it in one place or the other */
        TAILQ_REMOVE(&queue->directs, direct, link);
        if (push_stored_targets(direct->push) < direct->push->target_count)
            queue_note_over(queue, direct->push);
    }
    pthread_mutex_unlock(&queue->lock);
    if (!last)
        return;
    const struct push_options options = direct->options;
    hold(queue, direct->push, store_let_go);
    cancel_unwatch(&direct->cancel, &direct->watch);
    cancel_deinit(&direct->cancel);
    free(direct->entries);
    free(direct);
    options.ended(options.self);
}

bool direct_cancel(struct push_queue *queue, const char *id)
{
    struct direct *direct;
    pthread_mutex_lock(&queue->lock);
    TAILQ_FOREACH(direct, &queue->directs, link)
    {
        if (strcmp(direct->push->id, id) == 0)
            break;
    }
    if (direct) {
        direct->left++;
        atomic_store(&direct->cancelled, true);
    }
    pthread_mutex_unlock(&queue->lock);
    if (direct == NULL)
        return false;
    cancel_request(&direct->cancel);
    leave_direct(queue, direct);
    return true;
}

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
            queue_tag_update(queue, queue_tag(queue, &push->targets[i].reference));
    pthread_mutex_unlock(&queue->lock);
}

static struct direct *direct_new(struct push_queue *queue, const struct push_options *options,
                                 struct push *push)
{
    int64_t limit_ms = RUNTIME_SETTING(queue->runtime, limits.push_ms);
    struct direct *direct = xcalloc(1, sizeof *direct);
    hold(queue, push, store_hold);
    *direct = (struct direct){.queue = queue, .options = *options, .push = push, .left = 1};
    direct->entries = xcalloc(push->target_count, sizeof(struct queue_entry *));
    cancel_init_child(&direct->cancel, options->cancel, "limits.push_time is over");
    direct->watch = (struct cancel_watch){.call = on_cancel, .self = direct};
    cancel_watch(&direct->cancel, &direct->watch);
    direct->clock.run = on_time;
    direct->clock_waits = limit_ms > 0;
    direct->left += direct->clock_waits;
    autolock pthread_mutex_t *held = lock_take(&queue->lock);
    TAILQ_INSERT_TAIL(&queue->directs, direct, link);
    if (direct->clock_waits)
        work_submit_at(queue->direct, &direct->clock, clock_ms() + limit_ms);
    return direct;
}

/* ERR_CANCELLED by limits.push_time, by somebody, or by the end of the gateway, becomes what it is.
 */
static void explain(const struct queue_entry *entry)
{
    const struct direct *direct = entry->chain->direct;
    struct push_target *target = &entry->push->targets[entry->target];
    int64_t limit_s = RUNTIME_SETTING(entry->queue->runtime, limits.push_ms) / 1000;
    if (target->error.code != ERR_CANCELLED)
        return;
    if (atomic_load(&direct->overdue)) {
        fail(&target->error, ERR_PUSH_TIME, 0,
             "the push had not ended after %lld s (limits.push_time); blobs that arrived are not "
             "sent again",
             (long long)limit_s);
    } else if (atomic_load(&direct->cancelled)) {
        target->state = PUSH_CANCELLED;
        fail(&target->error, ERR_CANCELLED, 0, "the push was cancelled by its id");
    } else if (cancel_requested(&entry->queue->cancel)) {
        fail(
            &target->error, ERR_STOPPING, 0,
            "the gateway stopped before the push had ended; blobs that arrived are not sent again");
    }
}

/* The chain goes on with its next entry. True when there is none. With the lock. */
static bool go_on(struct push_queue *queue, struct chain *chain)
{
    struct queue_entry *next = TAILQ_FIRST(&chain->entries);
    if (next == NULL)
        return true;
    next->due = true;
    queue_tag_begin(queue, next->tag);
    return false;
}

/* The entry has ended, and its chain goes on. True when the chain has no other. With the lock. */
static bool finish(struct queue_entry *entry)
{
    struct push_queue *queue = entry->queue;
    struct chain *chain = entry->chain;
    entry_tell_direct(entry);
    queue_target_told(entry->to, &entry->push->targets[entry->target]);
    if (entry->push->targets[entry->target].state == PUSH_PUSHED) {
        entry_note_delivered(entry);
        entry_supersede_older(entry->tag, entry);
    }
    chain->direct->entries[entry->target] = NULL;
    TAILQ_REMOVE(&chain->entries, entry, next);
    entry_leave(entry);
    return go_on(queue, chain);
}

static void end_chain(struct push_queue *queue, struct chain *chain)
{
    struct direct *direct = chain->direct;
    known_blobs_free(chain->known);
    free(chain);
    leave_direct(queue, direct);
}

static void on_ended(void *self)
{
    struct queue_entry *entry = self;
    struct push_queue *queue = entry->queue;
    struct chain *chain = entry->chain;
    struct push_target *target = &entry->push->targets[entry->target];
    const struct descriptor manifest = entry->push->manifest;
    explain(entry);
    target->ended_s = (uint64_t)clock_wall_s();
    push_log_ended(entry->push, target, (uint64_t)(clock_ms() - entry->begun_ms));
    audit_target_ended(queue->runtime->audit, entry->push, target);
    const struct push_target ended = *target;
    pthread_mutex_lock(&queue->lock);
    work_release(&entry->work); /* the next of its tag finds this one ended */
    bool over = finish(entry);
    pthread_mutex_unlock(&queue->lock);
    queue_tell_ended(queue, &manifest, &ended); /* the push may be gone, if others end it */
    if (over)
        end_chain(queue, chain);
    pthread_mutex_lock(&queue->lock);
    queue_under_way(queue, -1);
    pthread_mutex_unlock(&queue->lock);
}

static bool keeps_tag(void *self)
{
    const struct queue_entry *entry = self;
    autolock pthread_mutex_t *held = lock_take(&entry->queue->lock);
    return entry_keeps_tag(entry);
}

static void on_work(struct work *work)
{
    struct queue_entry *entry =
        (struct queue_entry *)((char *)work - offsetof(struct queue_entry, work));
    struct push_queue *queue = entry->queue;
    struct push_options options = entry->chain->direct->options;
    options.upstream = queue->runtime->upstream;
    options.cancel = &entry->chain->direct->cancel;
    options.known = entry->chain->known;
    options.keeps_tag = keeps_tag;
    options.ended = on_ended;
    options.self = entry;
    autoscope struct log_scope outer = log_scope_begin("push", entry->id);
    work_hold(work);
    struct push_target *target = &entry->push->targets[entry->target];
    pthread_mutex_lock(&queue->lock);
    entry_set_state(entry, ENTRY_RUNS);
    bool paused = queue_target_refuses(entry->to, &target->error);
    pthread_mutex_unlock(&queue->lock);
    entry->begun_ms = clock_ms();
    target->first_s = (uint64_t)clock_wall_s();
    if (paused) {
        target->state = PUSH_FAILED;
        on_ended(entry);
        return;
    }
    push_start(&options, entry->push, entry->target);
}

void direct_begin(struct queue_entry *entry)
{
    entry_set_state(entry, ENTRY_WAITS);
    entry->work.run = on_work;
    entry->work.key = NULL;
    queue_under_way(entry->queue, 1);
    work_submit(entry->queue->direct, &entry->work);
}

/* What has not begun goes behind it, if it is pushed after the answer, or younger; what was
 * cancelled only comes to its end. */
static bool goes_behind(const struct queue_entry *entry, const struct queue_entry *by)
{
    if (entry->chain == NULL)
        return true;
    return entry_is_older(by, entry) && !cancel_requested(&entry->chain->direct->cancel);
}

/* With the lock. */
static void add_direct(struct push_queue *queue, struct chain *chain, size_t index)
{
    struct push *push = chain->direct->push;
    struct queue_entry *entry = entry_new(queue, push->id, index, &push->targets[index]);
    struct queue_entry *active = entry->tag->active;
    entry->push = push;
    entry->chain = chain;
    chain->direct->entries[index] = entry;
    entry_set_state(entry, ENTRY_LISTED);
    entry_take_turn(&entry->tag->direct, entry);
    TAILQ_INSERT_TAIL(&chain->entries, entry, next);
    if (active && goes_behind(active, entry))
        entry_take_back(active);
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
