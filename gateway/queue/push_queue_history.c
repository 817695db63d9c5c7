#include "base/clock.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/queue/push_queue.h"
#include "gateway/queue/push_queue_internal.h"
#include "store/pushes.h"

#include <stddef.h>

/* So many are written together, so long after the first of them. */
#define RECORDED_AT_ONCE 64
#define RECORD_AFTER_MS 200

/* More than the store can take in are not kept: they are history, and nobody waits for them. */
#define OVER_MAX 4096

static void drop_first(struct push_queue *queue)
{
    struct over *over = TAILQ_FIRST(&queue->over);
    TAILQ_REMOVE(&queue->over, over, link);
    queue->over_count--;
    push_deinit(&over->push);
    free(over);
}

/* With the lock, which is given up meanwhile. They stay in the list until the store has them, so
 * that whoever looks for a push finds it in one place or the other. */
static void record_some(struct push_queue *queue)
{
    const struct push *some[RECORDED_AT_ONCE];
    struct error err = ERROR_INIT;
    struct over *over;
    size_t count = 0;
    TAILQ_FOREACH(over, &queue->over, link)
    {
        if (count < RECORDED_AT_ONCE)
            some[count++] = &over->push;
    }
    pthread_mutex_unlock(&queue->lock);
    if (pushes_record(queue->runtime->store, some, count, &err) != ERR_OK)
        log_warn("%zu pushes that have ended are not in the history: %s", count, err.text);
    pthread_mutex_lock(&queue->lock);
    for (size_t i = 0; i < count; i++) {
        queue_tell_change(queue, some[i]->id);
        drop_first(queue);
    }
}

static void on_time(struct work *work)
{
    struct push_queue *queue =
        (struct push_queue *)((char *)work - offsetof(struct push_queue, recorder));
    autolock pthread_mutex_t *held = lock_take(&queue->lock);
    queue->recorder_waits = false;
    queue->recording = true;
    while (queue->over_count > 0)
        record_some(queue);
    queue->recording = false;
    queue_under_way(queue, -1);
}

void queue_note_over(struct push_queue *queue, const struct push *push)
{
    struct over *over = xcalloc(1, sizeof *over);
    push_copy(push, &over->push);
    TAILQ_INSERT_TAIL(&queue->over, over, link);
    queue->over_count++;
    queue_tell_change(queue, push->id);
    if (queue->over_count > OVER_MAX && !queue->recording)
        drop_first(queue);
    if (queue->recorder_waits || queue->recording)
        return;
    queue->recorder_waits = true;
    queue->recorder.run = on_time;
    queue_under_way(queue, 1);
    work_submit_at(queue->direct, &queue->recorder, clock_ms() + RECORD_AFTER_MS);
}

void queue_record_all(struct push_queue *queue)
{
    autolock pthread_mutex_t *held = lock_take(&queue->lock);
    while (queue->over_count > 0)
        record_some(queue);
}

size_t push_queue_over_of_key(struct push_queue *queue, const struct digest *name,
                              struct push **out)
{
    struct over *over;
    size_t count = 0;
    *out = NULL;
    autolock pthread_mutex_t *held = lock_take(&queue->lock);
    TAILQ_FOREACH(over, &queue->over, link)
    {
        if (!digest_equal(&over->push.key.name, name))
            continue;
        *out = xrealloc(*out, count + 1, sizeof **out);
        push_copy(&over->push, &(*out)[count++]);
    }
    return count;
}
