#include "base/clock.h"
#include "base/lock.h"
#include "gateway/queue/push_queue.h"
#include "gateway/queue/push_queue_internal.h"

#include <stddef.h>
#include <string.h>

/* With the lock. What is about to look sees the change, too: it takes the lock before. */
static void wake(struct push_watch *watch)
{
    struct push_queue *queue = watch->queue;
    if (work_cancel(queue->direct, &watch->work))
        work_submit(queue->direct, &watch->work);
    else
        watch->again = true;
}

static void on_work(struct work *work)
{
    struct push_watch *watch =
        (struct push_watch *)((char *)work - offsetof(struct push_watch, work));
    struct push_queue *queue = watch->queue;
    pthread_mutex_lock(&queue->lock);
    bool closed = queue->closed;
    watch->again = false;
    pthread_mutex_unlock(&queue->lock);
    bool goes_on = watch->look(watch, closed);
    pthread_mutex_lock(&queue->lock);
    if (goes_on) {
        work_submit_at(queue->direct, work, clock_ms() + (watch->again ? 0 : watch->rest_ms));
    } else {
        watch->watches = false;
        TAILQ_REMOVE(&queue->watches, watch, link);
    }
    pthread_mutex_unlock(&queue->lock);
    if (goes_on)
        return;
    watch->over(watch);
    pthread_mutex_lock(&queue->lock);
    queue_under_way(queue, -1);
    pthread_mutex_unlock(&queue->lock);
}

bool push_queue_watch(struct push_queue *queue, struct push_watch *watch)
{
    autolock pthread_mutex_t *held = lock_take(&queue->lock);
    if (queue->closed)
        return false;
    watch->queue = queue;
    watch->watches = true;
    watch->work.run = on_work;
    TAILQ_INSERT_TAIL(&queue->watches, watch, link);
    queue_under_way(queue, 1);
    work_submit(queue->direct, &watch->work);
    return true;
}

void push_queue_watch_wake(struct push_queue *queue, struct push_watch *watch)
{
    autolock pthread_mutex_t *held = lock_take(&queue->lock);
    if (watch->watches)
        wake(watch);
}

void queue_tell_change(struct push_queue *queue, const char *id)
{
    struct push_watch *watch;
    TAILQ_FOREACH(watch, &queue->watches, link)
    {
        if (strcmp(watch->id, id) == 0)
            wake(watch);
    }
}

void queue_watches_close(struct push_queue *queue)
{
    struct push_watch *watch;
    TAILQ_FOREACH(watch, &queue->watches, link)
    {
        wake(watch);
    }
}
