#include "base/clock.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/access/audit.h"
#include "gateway/push/push_log.h"
#include "gateway/queue/push_queue.h"
#include "gateway/queue/push_queue_internal.h"
#include "store/pushes.h"

#include <search.h>
#include <string.h>

/* ---- what is under way ---- */

static void look_at_pending(struct push_queue *queue, const char *id, size_t index,
                            struct push_target *target)
{
    const struct queue_entry *entry = queue_find(queue, id, index);
    const struct push_target *end = queue_unwritten(queue, id, index);
    if (end)
        *target = *end;
    if (entry == NULL)
        return;
    if (entry->shown)
        target->state = (enum push_state)entry->shown;
    if (target->state != PUSH_WAITING || entry->state == ENTRY_PAUSED)
        target->next_s = 0;
    if (entry->state == ENTRY_PAUSED)
        queue_target_refuses(entry->to, &target->error);
    entry_wait(entry, target);
}

void push_queue_look(struct push_queue *queue, struct push *push)
{
    autolock pthread_mutex_t *held = lock_take(&queue->lock);
    for (size_t i = 0; i < push->target_count; i++)
        if (push->targets[i].stored && !push_state_is_final(push->targets[i].state))
            look_at_pending(queue, push->id, i, &push->targets[i]);
}

/* Of a target that a push is under way to, only what does not change meanwhile. */
static void copy_running(const struct queue_entry *entry, struct push_target *to)
{
    const struct push_target *from = &entry->push->targets[entry->target];
    *to = (struct push_target){
        .reference = from->reference, .optional = from->optional, .state = PUSH_QUEUED};
    memcpy(to->name, from->name, sizeof to->name);
    if (entry->state == ENTRY_RUNS)
        to->state = PUSH_RUNNING;
}

static void copy_direct(const struct direct *direct, struct push *out)
{
    const struct push *push = direct->push;
    *out = *push;
    out->targets = xcalloc(push->target_count, sizeof *out->targets);
    out->referrers = NULL;
    out->referrer_count = 0;
    out->unused = NULL;
    out->unused_count = 0;
    for (size_t i = 0; i < push->target_count; i++)
        if (direct->entries[i])
            copy_running(direct->entries[i], &out->targets[i]);
        else
            out->targets[i] = push->targets[i];
}

/* Those with a record are found there. */
static bool is_unrecorded(const struct push *push)
{
    return push_stored_targets(push) == 0;
}

/* False: it has a record, or is none. With the lock. */
static bool find_unrecorded(struct push_queue *queue, const char *id, struct push *out)
{
    struct direct *direct;
    struct over *over;
    TAILQ_FOREACH(over, &queue->over, link)
    {
        if (strcmp(over->push.id, id) == 0 && is_unrecorded(&over->push)) {
            push_copy(&over->push, out);
            return true;
        }
    }
    TAILQ_FOREACH(direct, &queue->directs, link)
    {
        if (strcmp(direct->push->id, id) == 0 && is_unrecorded(direct->push)) {
            copy_direct(direct, out);
            return true;
        }
    }
    return false;
}

enum errc push_queue_find(struct push_queue *queue, const char *id, struct push *out, bool *found,
                          struct error *err)
{
    pthread_mutex_lock(&queue->lock);
    bool unrecorded = find_unrecorded(queue, id, out);
    pthread_mutex_unlock(&queue->lock);
    if (unrecorded) {
        *found = true;
        return ERR_OK;
    }
    if (pushes_get(queue->runtime->store, id, out, found, err) == ERR_OK && *found)
        push_queue_look(queue, out);
    return err->code;
}

size_t push_queue_unrecorded(struct push_queue *queue, struct push **out)
{
    struct direct *direct;
    struct over *over;
    size_t count = 0;
    autolock pthread_mutex_t *held = lock_take(&queue->lock);
    TAILQ_FOREACH(direct, &queue->directs, link)
    {
        count += is_unrecorded(direct->push);
    }
    struct push *pushes = xcalloc(count + queue->over_count, sizeof *pushes);
    count = 0;
    TAILQ_FOREACH(over, &queue->over, link)
    {
        if (is_unrecorded(&over->push))
            push_copy(&over->push, &pushes[count++]);
    }
    TAILQ_FOREACH(direct, &queue->directs, link)
    {
        if (is_unrecorded(direct->push))
            copy_direct(direct, &pushes[count++]);
    }
    *out = pushes;
    return count;
}

/* ---- cancelling ---- */

/* With the lock, which may be given up meanwhile. */
static bool cancel_target(struct push_queue *queue, const char *id, size_t index)
{
    struct queue_entry *entry = queue_find(queue, id, index);
    if (entry == NULL || entry->state == ENTRY_ENDS)
        return false;
    entry_take_back(entry);
    if (entry->state == ENTRY_LISTED) {
        pending_end(entry, PUSH_CANCELLED);
        return true;
    }
    entry->cancelled = true;
    if (entry->run)
        cancel_request(&entry->run->cancel);
    return true;
}

/* Of a push that is recorded: its orphaned targets, which nothing of the queue waits for. */
static bool drop_orphans(struct push_queue *queue, const char *id)
{
    struct error err = ERROR_INIT;
    struct push push;
    bool found = false;
    bool any = false;
    if (pushes_get(queue->runtime->store, id, &push, &found, &err) != ERR_OK || !found)
        return false;
    for (size_t i = 0; i < push.target_count; i++) {
        struct push_target *target = &push.targets[i];
        if (target->state != PUSH_ORPHANED)
            continue;
        target->state = PUSH_CANCELLED;
        target->ended_s = (uint64_t)clock_wall_s();
        queue_write_end(queue, id, i, target);
        push_log_not_begun(id, target);
        audit_target_ended(queue->runtime->audit, &push, target);
        any = true;
    }
    pthread_mutex_lock(&queue->lock);
    if (any)
        queue_tell_change(queue, id);
    pthread_mutex_unlock(&queue->lock);
    push_deinit(&push);
    return any;
}

bool push_queue_cancel(struct push_queue *queue, const char *id, size_t target_count)
{
    bool any = direct_cancel(queue, id);
    any = (target_count > 0 && drop_orphans(queue, id)) || any;
    autolock pthread_mutex_t *held = lock_take(&queue->lock);
    for (size_t i = 0; i < target_count; i++)
        any = cancel_target(queue, id, i) || any;
    return any;
}

/* ---- trying again ---- */

/* One look at all pushes, from the youngest on. */
struct retry {
    struct push_queue *queue;
    const struct push_retry *wanted;
    void *taken; /* tsearch tree of texts: the tags that a younger push has, or will have */
    size_t retried;
    size_t superseded;
    struct error *err;
};

static int compare_texts(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* False: it was taken before. */
static bool take_tag(struct retry *retry, const struct reference *reference)
{
    char text[REFERENCE_TEXT_MAX];
    if (queue_each_counts(reference))
        return true;
    char *copy = xstrdup(reference_text(reference, text));
    char **held = tsearch(copy, &retry->taken, compare_texts);
    if (held == NULL)
        abort(); /* out of memory, as in base/mem.h */
    if (*held == copy)
        return true;
    free(copy);
    return false;
}

static bool is_wanted(const struct push_retry *wanted, const struct push_target *target)
{
    if (wanted->state && target->state != wanted->state)
        return false;
    return wanted->target == NULL || push_target_is(target, wanted->target);
}

/* Nothing happens to it before somebody says so. */
static bool has_stopped(enum push_state state)
{
    return push_state_is_failure(state) || state == PUSH_ORPHANED;
}

/* A target that has failed begins anew, with all its time. One that the configuration does not know
 * any more is somebody's who named it, from now on. Its entry is there before its record says so:
 * what is still about to end, or begins by somebody else, is left to that. */
static enum errc begin_anew(struct retry *retry, const struct push *push, size_t index)
{
    struct push_queue *queue = retry->queue;
    struct push_target target = push->targets[index];
    const struct push_change change = {push->id, index, &target};
    if (!queue_is_configured(queue, &target))
        target.name[0] = '\0';
    target.state = PUSH_QUEUED;
    target.stored = true;
    target.tries = 0;
    target.next_s = target.ended_s = 0;
    target.deadline_s = retry->wanted->deadline_s;
    error_clear(&target.error);
    autolock pthread_mutex_t *held = lock_take(&queue->lock);
    if (queue_unwritten(queue, push->id, index) || queue_find(queue, push->id, index))
        return ERR_OK;
    struct queue_entry *entry = queue_reserve_pending(queue, push->id, index, &target);
    pthread_mutex_unlock(&queue->lock);
    bool written = has_stopped(queue_recorded(queue, push->id, index, retry->err)) &&
                   pushes_change(queue->runtime->store, &change, 1, true, retry->err) == ERR_OK;
    pthread_mutex_lock(&queue->lock);
    if (!written)
        entry_leave(entry);
    else if (entry_come(entry))
        retry->retried++;
    else
        retry->superseded++;
    return retry->err->code;
}

/* What waits goes at once, whatever its gates say. */
static void hurry(struct retry *retry, const struct push *push, size_t index)
{
    struct push_queue *queue = retry->queue;
    autolock pthread_mutex_t *held = lock_take(&queue->lock);
    struct queue_entry *entry = queue_find(queue, push->id, index);
    if (entry && entry_hurry(entry))
        retry->retried++;
}

static enum errc retry_push(struct retry *retry, const struct push *push)
{
    const char *id = retry->wanted->id;
    for (size_t i = 0; i < push->target_count; i++) {
        const struct push_target *target = &push->targets[i];
        bool wanted = (id == NULL || strcmp(id, push->id) == 0) && is_wanted(retry->wanted, target);
        bool failed = has_stopped(target->state);
        if (!failed && target->state != PUSH_SUPERSEDED)
            take_tag(retry, &target->reference);
        if (!wanted)
            continue;
        if (failed && !take_tag(retry, &target->reference))
            retry->superseded++;
        else if (failed && begin_anew(retry, push, i) != ERR_OK)
            return retry->err->code;
        else if (!failed && target->stored && !push_state_is_final(target->state))
            hurry(retry, push, i);
    }
    return ERR_OK;
}

#define PUSHES_AT_ONCE 16

enum errc push_queue_retry(struct push_queue *queue, const struct push_retry *wanted,
                           struct push_retried *out, struct error *err)
{
    struct retry retry = {.queue = queue, .wanted = wanted, .err = err};
    struct push pushes[PUSHES_AT_ONCE];
    char before[PUSH_ID_MAX] = "";
    size_t count = PUSHES_AT_ONCE;
    bool over = false;
    while (count == PUSHES_AT_ONCE && !over && err->code == ERR_OK) {
        if (pushes_before(queue->runtime->store, before, pushes, PUSHES_AT_ONCE, &count, err) !=
            ERR_OK)
            break;
        for (size_t i = 0; i < count; i++) {
            push_queue_look(queue, &pushes[i]);
            if (!over)
                over = retry_push(&retry, &pushes[i]) != ERR_OK ||
                       (wanted->id && strcmp(wanted->id, pushes[i].id) >= 0);
            memcpy(before, pushes[i].id, sizeof before);
            push_deinit(&pushes[i]);
        }
    }
    tdestroy(retry.taken, free);
    *out = (struct push_retried){.retried = retry.retried, .superseded = retry.superseded};
    return err->code;
}

/* ---- deadlines and history ---- */

/* Taken back; one whose work has begun is passed over. With the lock. */
static struct queue_entry *next_over(struct push_queue *queue, uint64_t now_s)
{
    struct queue_entry *entry;
    TAILQ_FOREACH(entry, &queue->pending, next)
    {
        if (pending_is_idle(entry) && entry->deadline_s > 0 && entry->deadline_s <= now_s &&
            (entry_take_back(entry), entry->state == ENTRY_LISTED))
            return entry;
    }
    return NULL;
}

void push_queue_expire(struct push_queue *queue, uint64_t now_s)
{
    struct queue_entry *entry;
    autolock pthread_mutex_t *held = lock_take(&queue->lock);
    while ((entry = next_over(queue, now_s)))
        pending_end(entry, PUSH_EXPIRED);
}
