#include "base/log.h"
#include "base/mem.h"
#include "gateway/push/push_log.h"
#include "gateway/queue/push_queue.h"
#include "gateway/queue/push_queue_internal.h"

#include <search.h>
#include <string.h>

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

static bool may_be_superseded(const struct push_target *target)
{
    return target->stored && target->state == PUSH_WAITING &&
           !queue_each_counts(&target->reference);
}

/* True when a target of the push is superseded by what is in `younger`, which gets its own. */
static bool supersede_by(struct push *push, void **younger)
{
    char text[REFERENCE_TEXT_MAX];
    bool changed = false;
    for (size_t i = 0; i < push->target_count; i++) {
        struct push_target *target = &push->targets[i];
        if (!may_be_superseded(target) ||
            tfind(reference_text(&target->reference, text), younger, compare_texts) == NULL)
            continue;
        push_log_superseded(push->id, target);
        target->state = PUSH_SUPERSEDED;
        changed = true;
    }
    for (size_t i = 0; i < push->target_count; i++)
        if (may_be_superseded(&push->targets[i]))
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
            queue_tag_update(queue, queue_tag(queue, &pushes[i].targets[k].reference));
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
