#include "base/lock.h"
#include "gateway/queue/push_queue.h"
#include "gateway/queue/push_queue_internal.h"

void push_queue_listen(struct push_queue *queue,
                       void (*ended)(void *self, const struct digest *manifest,
                                     const struct push_target *target),
                       void *self)
{
    queue->on_end = ended;
    queue->listener = self;
}

void queue_tell_ended(const struct push_queue *queue, const struct descriptor *manifest,
                      const struct push_target *target)
{
    const enum errc code = target->error.code;
    if (target->state == PUSH_CANCELLED || code == ERR_CANCELLED || code == ERR_PUSH_TIME)
        early_uploads_end_image(queue->runtime->early, &target->reference, manifest);
    if (queue->on_end)
        queue->on_end(queue->listener, &manifest->digest, target);
}

static bool is_open(const struct tag *tag)
{
    const struct queue_entry *entry;
    TAILQ_FOREACH(entry, &tag->entries, link)
    {
        if (entry->state != ENTRY_ENDS)
            return true;
    }
    return false;
}

static bool is_paused(const struct tag *tag)
{
    const struct queue_entry *entry;
    TAILQ_FOREACH(entry, &tag->entries, link)
    {
        if (entry->state == ENTRY_PAUSED)
            return true;
    }
    return false;
}

struct push_queue_view push_queue_view(struct push_queue *queue, const struct reference *target)
{
    autolock pthread_mutex_t *held = lock_take(&queue->lock);
    const struct tag *tag = queue_find_tag(queue, target);
    return (struct push_queue_view){.open = tag && is_open(tag),
                                    .away =
                                        queue_is_away(queue, target) || (tag && is_paused(tag))};
}
