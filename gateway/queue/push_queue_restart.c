#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/push/push_log.h"
#include "gateway/queue/push_queue.h"
#include "gateway/queue/push_queue_internal.h"
#include "store/pushes.h"

#include <search.h>
#include <string.h>

/* Written together: a wait for the disk for each of many records of one tag would keep a start for
 * minutes. */
#define SUPERSEDED_AT_ONCE 256

/* The youngest push to a tag. */
struct youngest {
    char id[PUSH_ID_MAX];
    char tag[];
};

struct restart {
    struct push_queue *queue;
    void *youngest; /* tsearch tree */
    struct open_target *superseded;
    size_t superseded_count;
    size_t targets; /* that go on */
};

static int compare_youngest(const void *a, const void *b)
{
    return strcmp(((const struct youngest *)a)->tag, ((const struct youngest *)b)->tag);
}

static struct youngest *youngest_of(struct restart *restart, const struct reference *reference)
{
    char text[REFERENCE_TEXT_MAX];
    size_t size = strlen(reference_text(reference, text)) + 1;
    struct youngest *made = xcalloc(1, sizeof *made + size);
    memcpy(made->tag, text, size);
    struct youngest **held = tsearch(made, &restart->youngest, compare_youngest);
    if (held == NULL)
        abort(); /* out of memory, as in base/mem.h */
    if (*held != made)
        free(made);
    return *held;
}

static void note(void *self, const struct open_target *open)
{
    const struct reference *reference = &open->target.reference;
    if (!queue_each_counts(reference)) /* the later in the list, the younger */
        snprintf(youngest_of(self, reference)->id, PUSH_ID_MAX, "%s", open->id);
}

static void write_superseded(struct restart *restart)
{
    struct push_change changes[SUPERSEDED_AT_ONCE];
    struct error err = ERROR_INIT;
    for (size_t i = 0; i < restart->superseded_count; i++) {
        const struct open_target *one = &restart->superseded[i];
        changes[i] = (struct push_change){one->id, one->index, &one->target};
        push_log_not_begun(one->id, &one->target);
    }
    if (pushes_change(restart->queue->runtime->store, changes, restart->superseded_count, true,
                      &err) != ERR_OK)
        log_error("records of superseded pushes are out of date, so they are superseded again at "
                  "the next start: %s",
                  err.text);
    restart->superseded_count = 0;
}

static void supersede(struct restart *restart, const struct open_target *open)
{
    struct open_target *one = &restart->superseded[restart->superseded_count++];
    *one = *open;
    one->target.state = PUSH_SUPERSEDED;
    one->target.next_s = 0;
    one->target.ended_s = (uint64_t)clock_wall_s();
    if (restart->superseded_count == SUPERSEDED_AT_ONCE)
        write_superseded(restart);
}

static void take(void *self, const struct open_target *open)
{
    struct restart *restart = self;
    struct push_queue *queue = restart->queue;
    const struct reference *reference = &open->target.reference;
    if (!queue_each_counts(reference) &&
        strcmp(youngest_of(restart, reference)->id, open->id) != 0) {
        supersede(restart, open);
        return;
    }
    restart->targets++;
    pthread_mutex_lock(&queue->lock);
    queue_add_pending(queue, open->id, open->index, &open->target);
    pthread_mutex_unlock(&queue->lock);
}

static void begin_all(struct push_queue *queue)
{
    struct queue_entry *entry;
    pthread_mutex_lock(&queue->lock);
    queue->restarts = false;
    TAILQ_FOREACH(entry, &queue->pending, next)
    queue_tag_begin(queue, entry->tag);
    pthread_mutex_unlock(&queue->lock);
}

enum errc push_queue_restart(struct push_queue *queue, struct error *err)
{
    struct store *store = queue->runtime->store;
    struct restart restart = {.queue = queue};
    restart.superseded = xcalloc(SUPERSEDED_AT_ONCE, sizeof *restart.superseded);
    queue->restarts = true;
    if (pushes_each_open(store, note, &restart, err) == ERR_OK)
        pushes_each_open(store, take, &restart, err);
    if (restart.superseded_count > 0)
        write_superseded(&restart);
    tdestroy(restart.youngest, free);
    free(restart.superseded);
    if (restart.targets > 0)
        push_log_resumed(restart.targets);
    begin_all(queue);
    return err->code;
}
