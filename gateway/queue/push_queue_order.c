#include "base/mem.h"
#include "gateway/queue/push_queue_internal.h"
#include "image/referrer_list.h"

#include <search.h>
#include <string.h>

/* Between its acceptance and its coming a push is for moments only. */
#define KEPT_TAGS_MAX 1024

static int compare_tags(const void *a, const void *b)
{
    return strcmp(((const struct tag *)a)->key, ((const struct tag *)b)->key);
}

bool queue_each_counts(const struct reference *target)
{
    return target->tag[0] == '\0' || referrer_list_tag_fits(target->tag);
}

static struct tag *tag_new(const struct reference *target)
{
    char text[REFERENCE_TEXT_MAX];
    size_t size = strlen(reference_text(target, text)) + 1;
    struct tag *tag = xcalloc(1, sizeof *tag + size);
    memcpy(tag->key, text, size);
    return tag;
}

struct tag *queue_find_tag(struct push_queue *queue, const struct reference *target)
{
    autofree struct tag *wanted = tag_new(target);
    struct tag **held = tfind(wanted, &queue->tags, compare_tags);
    return held ? *held : NULL;
}

struct tag *queue_tag(struct push_queue *queue, const struct reference *target)
{
    struct tag *tag = tag_new(target);
    tag->each_counts = queue_each_counts(target);
    TAILQ_INIT(&tag->entries);
    TAILQ_INIT(&tag->listed);
    TAILQ_INIT(&tag->direct);
    struct tag **held = tsearch(tag, &queue->tags, compare_tags);
    if (held == NULL)
        abort(); /* out of memory, as in base/mem.h */
    if (*held != tag)
        free(tag);
    tag = *held;
    if (tag->repository == NULL)
        tag->repository = queue_repository(queue, target);
    if (tag->is_kept) {
        TAILQ_REMOVE(&queue->kept, tag, link);
        queue->kept_count--;
        tag->is_kept = false;
    }
    return tag;
}

bool entry_is_older(const struct queue_entry *a, const struct queue_entry *b)
{
    return strcmp(a->id, b->id) < 0;
}

void entry_add(struct queue_entry *entry)
{
    struct queue_entry *at = TAILQ_LAST(&entry->tag->entries, entry_list);
    while (at && entry_is_older(entry, at))
        at = TAILQ_PREV(at, entry_list, link);
    if (at)
        TAILQ_INSERT_AFTER(&entry->tag->entries, at, entry, link);
    else
        TAILQ_INSERT_HEAD(&entry->tag->entries, entry, link);
}

/* Most are younger than all others; one that was taken back is older. */
void entry_take_turn(struct entry_list *list, struct queue_entry *entry)
{
    struct queue_entry *at = TAILQ_FIRST(list);
    if (at && entry_is_older(entry, at)) {
        TAILQ_INSERT_HEAD(list, entry, turn);
        return;
    }
    at = TAILQ_LAST(list, entry_list);
    while (at && entry_is_older(entry, at))
        at = TAILQ_PREV(at, entry_list, turn);
    if (at)
        TAILQ_INSERT_AFTER(list, at, entry, turn);
    else
        TAILQ_INSERT_HEAD(list, entry, turn);
}

/* So that nobody has to walk through all entries of a tag, of which a digest has any number. */
void entry_set_state(struct queue_entry *entry, enum entry_state state)
{
    struct tag *tag = entry->tag;
    bool pending = entry->chain == NULL;
    if (pending && entry->state == ENTRY_LISTED)
        TAILQ_REMOVE(&tag->listed, entry, turn);
    if (tag->active == entry &&
        (state == ENTRY_LISTED || state == ENTRY_PAUSED || state == ENTRY_ENDS))
        tag->active = NULL;
    entry->state = state;
    queue_tell_change(entry->queue, entry->id);
    if (pending && state == ENTRY_LISTED)
        entry_take_turn(&tag->listed, entry);
    if ((state == ENTRY_WAITS || state == ENTRY_KEPT) && tag->active == NULL)
        tag->active = entry;
    entry_count(entry);
}

static void forget_tag(struct push_queue *queue, struct tag *tag)
{
    tdelete(tag, &queue->tags, compare_tags);
    queue_repository_release(queue, tag->repository);
    free(tag);
}

static void keep_tag(struct push_queue *queue, struct tag *tag)
{
    struct tag *oldest = TAILQ_FIRST(&queue->kept);
    if (queue->kept_count == KEPT_TAGS_MAX) {
        TAILQ_REMOVE(&queue->kept, oldest, link);
        queue->kept_count--;
        forget_tag(queue, oldest);
    }
    TAILQ_INSERT_TAIL(&queue->kept, tag, link);
    queue->kept_count++;
    tag->is_kept = true;
}

/* Without entries it is kept or freed. */
void queue_tag_update(struct push_queue *queue, struct tag *tag)
{
    if (!TAILQ_EMPTY(&tag->entries))
        queue_tag_begin(queue, tag);
    else if (tag->delivered[0] && !tag->each_counts)
        keep_tag(queue, tag);
    else
        forget_tag(queue, tag);
}

void entry_note_delivered(const struct queue_entry *entry)
{
    struct tag *tag = entry->tag;
    if (!entry->yields && strcmp(tag->delivered, entry->id) < 0)
        memcpy(tag->delivered, entry->id, sizeof tag->delivered);
}

/* A younger push of its tag has ended already. */
bool entry_comes_late(const struct queue_entry *entry)
{
    return !entry->tag->each_counts && strcmp(entry->id, entry->tag->delivered) < 0;
}

/* The entry has ended, and is freed. */
void entry_leave(struct queue_entry *entry)
{
    struct push_queue *queue = entry->queue;
    struct tag *tag = entry->tag;
    entry_set_state(entry, ENTRY_ENDS);
    entry->to->entries--;
    if (entry->chain)
        TAILQ_REMOVE(&tag->direct, entry, turn);
    else
        entry_forget(entry);
    TAILQ_REMOVE(&tag->entries, entry, link);
    free(entry);
    queue_tag_update(queue, tag);
}

bool entry_take_back(struct queue_entry *entry)
{
    if (entry->state == ENTRY_KEPT || entry->state == ENTRY_PAUSED) {
        gate_give_back(&entry->place);
        entry_set_state(entry, ENTRY_LISTED);
        return true;
    }
    if (entry->state != ENTRY_WAITS || !work_cancel(entry->queue->direct, &entry->work))
        return false;
    entry->next_ms = 0;
    entry_set_state(entry, ENTRY_LISTED);
    entry_leave_gates(entry);
    queue_under_way(entry->queue, -1);
    return true;
}

static struct queue_entry *next_superseded(const struct tag *tag)
{
    struct queue_entry *entry;
    TAILQ_FOREACH(entry, &tag->entries, link)
    {
        if (entry->superseded && entry->state != ENTRY_ENDS)
            return entry;
    }
    return NULL;
}

/* The older pushes after the answer that have not begun. The tag is there as long as `by` is in it.
 * With the lock, which is given up meanwhile. */
void entry_supersede_older(struct tag *tag, const struct queue_entry *by)
{
    struct queue_entry *entry;
    if (tag->each_counts)
        return;
    TAILQ_FOREACH(entry, &tag->entries, link)
    {
        if (entry == by || entry->chain || !(entry_is_older(entry, by) || entry->yields))
            continue;
        entry_take_back(entry);
        entry->superseded |= entry->state == ENTRY_LISTED;
    }
    while ((entry = next_superseded(tag)))
        pending_end(entry, PUSH_SUPERSEDED);
}

/* What was cancelled only comes to its end, and nothing has to wait for that. With the lock. */
static void begin_cancelled(struct tag *tag)
{
    struct queue_entry *entry;
    TAILQ_FOREACH(entry, &tag->direct, turn)
    {
        if (entry->state == ENTRY_LISTED && entry->due &&
            cancel_requested(&entry->chain->direct->cancel))
            direct_begin(entry);
    }
}

static struct queue_entry *first_listed(const struct tag *tag)
{
    struct queue_entry *entry = TAILQ_FIRST(&tag->listed);
    while (entry && entry->superseded)
        entry = TAILQ_NEXT(entry, turn);
    return entry;
}

/* What may begin now, where nothing of the tag does: the oldest push that a client waits for;
 * without any, what is pushed after the answer. With the lock. */
void queue_tag_begin(struct push_queue *queue, struct tag *tag)
{
    begin_cancelled(tag);
    struct queue_entry *entry = TAILQ_FIRST(&tag->direct);
    if (tag->active)
        return;
    if (entry) {
        if (entry->state == ENTRY_LISTED && entry->due)
            direct_begin(entry);
        return;
    }
    if (queue->closed || queue->restarts)
        return;
    while (tag->active == NULL && (entry = first_listed(tag))) /* paused ones are not active */
        entry_begin(entry);
}

bool entry_is_alone(const struct queue_entry *entry)
{
    return TAILQ_FIRST(&entry->tag->entries) == entry && TAILQ_NEXT(entry, link) == NULL;
}

bool entry_has_younger(const struct queue_entry *entry)
{
    const struct queue_entry *at = entry;
    if (entry->yields)
        return !entry_is_alone(entry);
    while ((at = TAILQ_NEXT(at, link)))
        if (at->chain == NULL && !at->yields)
            return !entry->tag->each_counts;
    return false;
}

static bool is_over(const struct queue_entry *entry)
{
    return entry->state == ENTRY_ENDS || entry->cancelled ||
           (entry->chain && cancel_requested(&entry->chain->direct->cancel));
}

bool entry_keeps_tag(const struct queue_entry *entry)
{
    const struct queue_entry *at = entry;
    if (entry->tag->each_counts)
        return true;
    while ((at = TAILQ_NEXT(at, link)) && (is_over(at) || at->yields))
        continue;
    return at == NULL && !entry_comes_late(entry);
}

static void free_tag(void *node)
{
    struct tag *tag = node;
    for (struct queue_entry *entry; (entry = TAILQ_FIRST(&tag->entries));) {
        TAILQ_REMOVE(&tag->entries, entry, link);
        free(entry);
    }
    free(tag);
}

void queue_tags_free(struct push_queue *queue)
{
    tdestroy(queue->tags, free_tag);
    tdestroy(queue->repositories, free);
}
