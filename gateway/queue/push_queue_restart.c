#include "base/clock.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/access/audit.h"
#include "gateway/push/mirrors.h"
#include "gateway/push/push_log.h"
#include "gateway/queue/push_queue.h"
#include "gateway/queue/push_queue_internal.h"
#include "store/pushes.h"

#include <search.h>
#include <string.h>

/* Written together: a wait for the disk for each of many records would keep a start for minutes. */
#define CHANGED_AT_ONCE 256
#define PUSHES_AT_ONCE 16

/* The youngest push to a tag. */
struct youngest {
    char id[PUSH_ID_MAX];
    char tag[];
};

struct restart {
    struct push_queue *queue;
    bool runs;                   /* the queue: who is not orphaned is in it */
    void *youngest;              /* tsearch tree */
    struct open_target *changed; /* their records are to be written */
    size_t changed_count;
    char orphan[PUSH_ID_MAX]; /* the oldest whose name is back; "": none */
    size_t targets;           /* that go on */
    size_t orphaned;          /* that do not, by now or before */
};

bool queue_is_configured(const struct push_queue *queue, const struct push_target *target)
{
    if (target->name[0] == '\0') /* a client named it */
        return true;
    autosettings const struct settings *settings = runtime_settings(queue->runtime);
    const struct mirror_target_setting *found = mirrors_target(settings, target->name, NULL);
    return found && mirrors_leads_to(found, target->reference.host);
}

bool entry_is_configured(const struct queue_entry *entry)
{
    struct push_target target = {.name = ""};
    const char *label = entry->to->record.name;
    bool named = strncmp(label, "other:", 6) != 0;
    snprintf(target.name, sizeof target.name, "%s", named ? label : "");
    snprintf(target.reference.host, sizeof target.reference.host, "%s",
             entry->tag->repository->host->name);
    return queue_is_configured(entry->queue, &target);
}

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

/* One that does not go on supersedes nothing. */
static void note(void *self, const struct open_target *open)
{
    struct restart *restart = self;
    const struct reference *reference = &open->target.reference;
    if (queue_each_counts(reference) || !queue_is_configured(restart->queue, &open->target))
        return;
    /* The later in the list, the younger. */
    snprintf(youngest_of(restart, reference)->id, PUSH_ID_MAX, "%s", open->id);
    if (open->target.state == PUSH_ORPHANED && restart->orphan[0] == '\0')
        memcpy(restart->orphan, open->id, sizeof restart->orphan);
}

static void note_pushed(struct restart *restart, const struct push *push)
{
    for (size_t i = 0; i < push->target_count; i++) {
        const struct push_target *target = &push->targets[i];
        if (target->state != PUSH_PUSHED || queue_each_counts(&target->reference))
            continue;
        struct youngest *youngest = youngest_of(restart, &target->reference);
        if (strcmp(youngest->id, push->id) < 0)
            memcpy(youngest->id, push->id, sizeof youngest->id);
    }
}

/* What was pushed while a name was away is younger than what was orphaned by it. */
static enum errc note_all_pushed(struct restart *restart, struct error *err)
{
    struct push pushes[PUSHES_AT_ONCE];
    char before[PUSH_ID_MAX] = "";
    size_t count = PUSHES_AT_ONCE;
    bool older = restart->orphan[0] == '\0';
    while (count == PUSHES_AT_ONCE && !older) {
        if (pushes_before(restart->queue->runtime->store, before, pushes, PUSHES_AT_ONCE, &count,
                          err) != ERR_OK)
            return err->code;
        for (size_t i = 0; i < count; i++) {
            older = older || strcmp(pushes[i].id, restart->orphan) <= 0;
            if (!older)
                note_pushed(restart, &pushes[i]);
            memcpy(before, pushes[i].id, sizeof before);
            push_deinit(&pushes[i]);
        }
    }
    return ERR_OK;
}

/* Whose push it was is in its record. */
static void audit_superseded(struct runtime *runtime, const struct open_target *one)
{
    struct error err = ERROR_INIT;
    struct push push;
    bool found = false;
    if (runtime->audit == NULL || one->target.state != PUSH_SUPERSEDED ||
        pushes_get(runtime->store, one->id, &push, &found, &err) != ERR_OK || !found)
        return;
    audit_target_ended(runtime->audit, &push, &one->target);
    push_deinit(&push);
}

/* Not before their records say so: their ends are written there, too. */
static void begin_changed(struct restart *restart)
{
    struct push_queue *queue = restart->queue;
    autolock pthread_mutex_t *held = lock_take(&queue->lock);
    for (size_t i = 0; i < restart->changed_count; i++) {
        const struct open_target *one = &restart->changed[i];
        if (one->target.state == PUSH_QUEUED)
            entry_come(queue_find(queue, one->id, one->index));
    }
}

/* What was an orphan when it was read, and is none by now, is not brought back; what cannot be read
 * is looked at again at the next start. */
static void leave_out_others(struct restart *restart)
{
    struct push_queue *queue = restart->queue;
    size_t kept = 0;
    for (size_t i = 0; i < restart->changed_count; i++) {
        struct error err = ERROR_INIT;
        const struct open_target *one = &restart->changed[i];
        if (one->target.state != PUSH_QUEUED ||
            queue_recorded(queue, one->id, one->index, &err) == PUSH_ORPHANED) {
            restart->changed[kept++] = *one;
            continue;
        }
        autolock pthread_mutex_t *held = lock_take(&queue->lock);
        entry_leave(queue_find(queue, one->id, one->index));
    }
    restart->changed_count = kept;
}

static void tell_changed(const struct restart *restart)
{
    struct push_queue *queue = restart->queue;
    autolock pthread_mutex_t *held = lock_take(&queue->lock);
    for (size_t i = 0; i < restart->changed_count; i++)
        queue_tell_change(queue, restart->changed[i].id);
}

static void write_changed(struct restart *restart)
{
    struct push_queue *queue = restart->queue;
    struct push_change changes[CHANGED_AT_ONCE];
    struct error err = ERROR_INIT;
    if (restart->runs)
        leave_out_others(restart);
    for (size_t i = 0; i < restart->changed_count; i++) {
        const struct open_target *one = &restart->changed[i];
        changes[i] = (struct push_change){one->id, one->index, &one->target};
    }
    if (pushes_change(queue->runtime->store, changes, restart->changed_count, true, &err) !=
        ERR_OK) {
        log_error(
            "records of pushes are out of date, so those that are open are looked at again at "
            "the next start: %s",
            err.text);
        for (size_t i = 0; i < restart->changed_count; i++)
            if (push_state_is_final(changes[i].target->state))
                queue_write_end(queue, changes[i].id, changes[i].index, changes[i].target);
    }
    for (size_t i = 0; i < restart->changed_count; i++)
        audit_superseded(queue->runtime, &restart->changed[i]);
    tell_changed(restart);
    if (restart->runs)
        begin_changed(restart);
    restart->changed_count = 0;
}

static void change(struct restart *restart, const struct open_target *open,
                   const struct push_target *target)
{
    struct open_target *one = &restart->changed[restart->changed_count++];
    *one = *open;
    one->target = *target;
    if (restart->changed_count == CHANGED_AT_ONCE)
        write_changed(restart);
}

static void supersede(struct restart *restart, const struct open_target *open)
{
    struct push_target target = open->target;
    target.state = PUSH_SUPERSEDED;
    target.next_s = 0;
    target.ended_s = (uint64_t)clock_wall_s();
    push_log_not_begun(open->id, &target);
    pthread_mutex_lock(&restart->queue->lock);
    queue_target_ended(queue_target(restart->queue, &target), PUSH_SUPERSEDED);
    pthread_mutex_unlock(&restart->queue->lock);
    change(restart, open, &target);
}

static void orphan(struct restart *restart, const struct open_target *open)
{
    struct push_target target = open->target;
    target.state = PUSH_ORPHANED;
    target.next_s = 0;
    restart->orphaned++;
    if (open->target.state != PUSH_ORPHANED)
        change(restart, open, &target);
}

/* While the queue runs, its entry is there before its record says so; who has one is left to it. */
static bool reserve(struct restart *restart, const struct open_target *open,
                    const struct push_target *target)
{
    struct push_queue *queue = restart->queue;
    autolock pthread_mutex_t *held = lock_take(&queue->lock);
    if (queue_find(queue, open->id, open->index))
        return false;
    queue_reserve_pending(queue, open->id, open->index, target);
    return true;
}

/* Its name is back: with all its time, since it could do nothing with what is over. */
static bool adopt(struct restart *restart, const struct open_target *open,
                  struct push_target *target)
{
    int64_t keep_ms = RUNTIME_SETTING(restart->queue->runtime, queue.keep_trying_ms);
    target->state = PUSH_QUEUED;
    target->deadline_s = keep_ms > 0 ? (uint64_t)(clock_wall_s() + keep_ms / 1000) : 0;
    if (restart->runs && !reserve(restart, open, target))
        return false;
    change(restart, open, target);
    return true;
}

static void take(void *self, const struct open_target *open)
{
    struct restart *restart = self;
    struct push_queue *queue = restart->queue;
    struct push_target target = open->target;
    if (restart->runs && target.state != PUSH_ORPHANED)
        return;
    if (!queue_is_configured(queue, &target)) {
        orphan(restart, open);
        return;
    }
    if (!queue_each_counts(&target.reference) &&
        strcmp(youngest_of(restart, &target.reference)->id, open->id) != 0) {
        supersede(restart, open);
        return;
    }
    if (target.state == PUSH_ORPHANED && !adopt(restart, open, &target))
        return;
    restart->targets++;
    if (restart->runs)
        return;
    pthread_mutex_lock(&queue->lock);
    queue_add_pending(queue, open->id, open->index, &target);
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

static enum errc look_at_all(struct restart *restart, struct error *err)
{
    struct store *store = restart->queue->runtime->store;
    restart->changed = xcalloc(CHANGED_AT_ONCE, sizeof *restart->changed);
    if (pushes_each_open(store, note, restart, err) == ERR_OK &&
        note_all_pushed(restart, err) == ERR_OK)
        pushes_each_open(store, take, restart, err);
    if (restart->changed_count > 0)
        write_changed(restart);
    tdestroy(restart->youngest, free);
    free(restart->changed);
    if (restart->orphaned > 0)
        push_log_orphaned(restart->orphaned);
    if (restart->targets > 0)
        push_log_resumed(restart->targets);
    return err->code;
}

enum errc push_queue_restart(struct push_queue *queue, struct error *err)
{
    struct restart restart = {.queue = queue};
    queue->restarts = true;
    if (queue_targets_read(queue, err) == ERR_OK)
        look_at_all(&restart, err);
    begin_all(queue);
    return err->code;
}

/* ---- another configuration ---- */

static struct queue_entry *next_stray(struct push_queue *queue)
{
    struct queue_entry *entry;
    TAILQ_FOREACH(entry, &queue->pending, next)
    {
        if (pending_is_idle(entry) && !entry_is_configured(entry) &&
            (entry_take_back(entry), entry->state == ENTRY_LISTED))
            return entry;
    }
    return NULL;
}

void push_queue_changed(struct push_queue *queue)
{
    struct restart restart = {.queue = queue, .runs = true};
    struct error err = ERROR_INIT;
    struct queue_entry *entry;
    pthread_mutex_lock(&queue->lock);
    queue_targets_configure(queue);
    while ((entry = next_stray(queue)))
        pending_end(entry, PUSH_ORPHANED);
    pthread_mutex_unlock(&queue->lock);
    if (look_at_all(&restart, &err) != ERR_OK)
        log_error("pushes to targets that are there again go on at the next start: %s", err.text);
}
