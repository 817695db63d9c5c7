#include "base/clock.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/queue/push_queue.h"
#include "gateway/queue/push_queue_internal.h"
#include "store/pushes.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* So many are written together, so long after the first of them. */
#define RECORDED_AT_ONCE 64
#define RECORD_AFTER_MS 200
/* What the store does not take is tried again so much later. */
#define AGAIN_AFTER_MS 1000

/* More than the store can take in are not kept: they are history, and nobody waits for them. */
#define OVER_MAX 4096
#define UNWRITTEN_MAX 4096

static void record_later(struct push_queue *queue, int64_t ms);

static void drop_first(struct push_queue *queue)
{
    struct over *over = TAILQ_FIRST(&queue->over);
    TAILQ_REMOVE(&queue->over, over, link);
    queue->over_count--;
    push_deinit(&over->push);
    free(over);
}

/* With the lock, which is given up meanwhile. They stay in the list until the store has them, so
 * that whoever looks for a push finds it in one place or the other. False: it does not take them.
 */
static bool record_some(struct push_queue *queue)
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
    bool taken = pushes_record(queue->runtime->store, some, count, &err) == ERR_OK;
    if (!taken)
        log_debug("pushes that have ended are not in the history yet: %s", err.text);
    pthread_mutex_lock(&queue->lock);
    for (size_t i = 0; taken && i < count; i++) {
        queue_tell_change(queue, some[i]->id);
        drop_first(queue);
    }
    return taken;
}

/* ---- ends of pushes after the answer ---- */

/* False: too many wait. With the lock. */
static bool keep(struct push_queue *queue, const char *id, size_t target,
                 const struct push_target *end)
{
    if (queue->unwritten_count == UNWRITTEN_MAX)
        return false;
    struct unwritten *unwritten = xcalloc(1, sizeof *unwritten);
    *unwritten = (struct unwritten){.target = target, .end = *end};
    snprintf(unwritten->id, sizeof unwritten->id, "%s", id);
    TAILQ_INSERT_TAIL(&queue->unwritten, unwritten, link);
    queue->unwritten_count++;
    record_later(queue, queue->closed ? 0 : AGAIN_AFTER_MS);
    return true;
}

static void drop_first_end(struct push_queue *queue)
{
    struct unwritten *first = TAILQ_FIRST(&queue->unwritten);
    TAILQ_REMOVE(&queue->unwritten, first, link);
    queue->unwritten_count--;
    free(first);
}

/* As record_some(). */
static bool write_some_ends(struct push_queue *queue)
{
    struct push_change some[RECORDED_AT_ONCE];
    struct error err = ERROR_INIT;
    const struct unwritten *at;
    size_t count = 0;
    TAILQ_FOREACH(at, &queue->unwritten, link)
    {
        if (count < RECORDED_AT_ONCE)
            some[count++] = (struct push_change){at->id, at->target, &at->end};
    }
    pthread_mutex_unlock(&queue->lock);
    bool taken = pushes_change(queue->runtime->store, some, count, true, &err) == ERR_OK;
    if (!taken)
        log_debug("ends of pushes are not written yet: %s", err.text);
    pthread_mutex_lock(&queue->lock);
    for (size_t i = 0; taken && i < count; i++)
        drop_first_end(queue);
    return taken;
}

void queue_write_end(struct push_queue *queue, const char *id, size_t target,
                     const struct push_target *end)
{
    struct error err = ERROR_INIT;
    const struct push_change change = {id, target, end};
    pthread_mutex_lock(&queue->lock);
    bool kept = !TAILQ_EMPTY(&queue->unwritten) && keep(queue, id, target, end);
    pthread_mutex_unlock(&queue->lock);
    if (kept || pushes_change(queue->runtime->store, &change, 1, true, &err) == ERR_OK)
        return;
    pthread_mutex_lock(&queue->lock);
    kept = keep(queue, id, target, end);
    pthread_mutex_unlock(&queue->lock);
    if (kept)
        log_error("push %s: its end is recorded as soon as the store takes it: %s", id, err.text);
    else
        log_error("push %s: its record is out of date, so a target that has the image may get it "
                  "again at the next start: %s",
                  id, err.text);
}

const struct push_target *queue_unwritten(const struct push_queue *queue, const char *id,
                                          size_t target)
{
    const struct unwritten *at;
    TAILQ_FOREACH(at, &queue->unwritten, link)
    {
        if (at->target == target && strcmp(at->id, id) == 0)
            return &at->end;
    }
    return NULL;
}

/* ---- when ---- */

/* With the lock. */
static bool record(struct push_queue *queue)
{
    bool taken = true;
    while (taken && queue->unwritten_count + queue->over_count > 0)
        taken = queue->unwritten_count > 0 ? write_some_ends(queue) : record_some(queue);
    return taken;
}

static void on_time(struct work *work)
{
    struct push_queue *queue =
        (struct push_queue *)((char *)work - offsetof(struct push_queue, recorder));
    autolock pthread_mutex_t *held = lock_take(&queue->lock);
    queue->recorder_waits = false;
    queue->recording = true;
    bool taken = record(queue);
    queue->recording = false;
    if (!taken && !queue->closed)
        record_later(queue, AGAIN_AFTER_MS);
    queue_under_way(queue, -1);
}

static void record_later(struct push_queue *queue, int64_t ms)
{
    if (queue->recorder_waits || queue->recording)
        return;
    queue->recorder_waits = true;
    queue->recorder.run = on_time;
    queue_under_way(queue, 1);
    work_submit_at(queue->direct, &queue->recorder, clock_ms() + ms);
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
    record_later(queue, RECORD_AFTER_MS);
}

void queue_history_close(struct push_queue *queue)
{
    if (queue->recorder_waits && work_cancel(queue->direct, &queue->recorder))
        work_submit(queue->direct, &queue->recorder);
}

void queue_record_all(struct push_queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    record(queue);
    size_t ends = queue->unwritten_count;
    size_t lost = queue->over_count;
    while (queue->unwritten_count > 0)
        drop_first_end(queue);
    while (queue->over_count > 0)
        drop_first(queue);
    pthread_mutex_unlock(&queue->lock);
    if (ends + lost > 0)
        log_error("the store has not taken the ends of %zu pushes, whose targets may get their "
                  "images again at the next start, and %zu pushes are not in the history",
                  ends, lost);
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
