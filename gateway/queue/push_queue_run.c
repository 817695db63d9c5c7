#include "base/clock.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/access/audit.h"
#include "gateway/push/mirrors.h"
#include "gateway/push/push_log.h"
#include "gateway/queue/outcome.h"
#include "gateway/queue/push_queue_internal.h"
#include "store/pushes.h"

#include <stddef.h>
#include <string.h>

/* ---- records ---- */

static void write_target(struct push_queue *queue, const struct queue_entry *entry,
                         const struct push_target *target)
{
    struct error err = ERROR_INIT;
    const struct push_change change = {entry->id, entry->target, target};
    if (push_state_is_final(target->state))
        queue_write_end(queue, entry->id, entry->target, target);
    else if (pushes_change(queue->runtime->store, &change, 1, false, &err) != ERR_OK)
        log_warn("push %s: its record does not say why it waits: %s", entry->id, err.text);
}

/* Without the lock. False where there is no record, or none that can be read. */
static bool read_push(struct push_queue *queue, const struct queue_entry *entry, struct push *out,
                      struct error *err)
{
    bool found = false;
    if (pushes_get(queue->runtime->store, entry->id, out, &found, err) != ERR_OK)
        return false;
    if (found && entry->target < out->target_count)
        return true;
    if (found)
        push_deinit(out);
    fail(err, ERR_STORE, 0, "the push %s has no record of its target", entry->id);
    return false;
}

static void end_record(struct queue_entry *entry, enum push_state state)
{
    struct push_queue *queue = entry->queue;
    struct error err = ERROR_INIT;
    struct push push;
    if (!read_push(queue, entry, &push, &err)) {
        log_error("push %s: %s", entry->id, err.text);
        return;
    }
    struct push_target *target = &push.targets[entry->target];
    target->state = state;
    target->next_s = 0;
    if (push_state_is_final(state))
        target->ended_s = (uint64_t)clock_wall_s();
    write_target(queue, entry, target);
    if (push_state_is_final(state)) {
        push_log_not_begun(entry->id, target);
        audit_target_ended(queue->runtime->audit, &push, target);
        queue_tell_ended(queue, &push.manifest, target);
    }
    push_deinit(&push);
}

bool pending_is_idle(const struct queue_entry *entry)
{
    return entry->state == ENTRY_LISTED || entry->state == ENTRY_KEPT ||
           entry->state == ENTRY_PAUSED || entry->state == ENTRY_WAITS;
}

/* With the lock, which is given up meanwhile. */
static void record_as(struct queue_entry *entry, enum push_state state)
{
    pthread_mutex_unlock(&entry->queue->lock);
    end_record(entry, state);
    pthread_mutex_lock(&entry->queue->lock);
}

void pending_end(struct queue_entry *entry, enum push_state state)
{
    struct push_queue *queue = entry->queue;
    entry_set_state(entry, ENTRY_ENDS);
    if (push_state_is_final(state))
        queue_target_ended(entry->to, state);
    queue_under_way(queue, 1);
    bool back = false; /* its name is, as far as its record says */
    record_as(entry, state);
    while (state == PUSH_ORPHANED && entry_is_configured(entry) != back) {
        back = !back;
        record_as(entry, back ? PUSH_QUEUED : PUSH_ORPHANED);
    }
    if (back)
        entry_come(entry);
    else
        entry_leave(entry);
    queue_under_way(queue, -1);
}

/* ---- how a run ends ---- */

static void end_run(struct pending_run *run)
{
    push_deinit(&run->push);
    cancel_deinit(&run->cancel);
    free(run);
}

/* It goes on later: at `until_ms`, where its gate is open by then; 0: by its own failures. With the
 * lock. */
static void wait_on(struct queue_entry *entry, int64_t until_ms, struct push_target *own)
{
    int64_t now_ms = clock_ms();
    const char *host = own->reference.host;
    int64_t own_ms =
        circuit_delay_ms(queue_retry_wait_ms(entry->queue, host), entry->tries, arc4random());
    entry->next_ms = until_ms ? 0 : now_ms + own_ms;
    int64_t wait_ms = (until_ms ? until_ms : entry->next_ms) - now_ms;
    own->state = PUSH_WAITING;
    own->next_s = (uint64_t)(clock_wall_s() + (wait_ms + 999) / 1000);
}

/* What the end of a run makes of its target: with the lock. False: nothing, it was broken off by
 * the end of the queue, or has left its tag to a younger push that a client waits for, and that may
 * fail. */
static bool decide(struct queue_entry *entry, struct push_target *own)
{
    bool pushed = own->state == PUSH_PUSHED;
    bool good = pushed || own->state == PUSH_SUPERSEDED;
    enum outcome outcome = good ? OUTCOME_TARGET : outcome_of(&own->error);
    int64_t until_ms = 0;
    own->tries = entry->tries += !good && outcome != OUTCOME_STOPPED;
    if (pushed)
        entry_note_delivered(entry);
    if (good || outcome == OUTCOME_HOST || outcome == OUTCOME_CREDENTIAL)
        until_ms = entry_tell_end(entry, own);
    else
        entry_leave_gates(entry);
    own->next_s = 0;
    entry->run = NULL; /* nobody cancels it any more */
    if (pushed)
        return true;
    if (entry->cancelled)
        own->state = PUSH_CANCELLED;
    else if (own->state == PUSH_DRIFTED)
        return true;
    else if (outcome == OUTCOME_REFUSED)
        own->state = PUSH_REFUSED;
    else if (entry_has_younger(entry) || entry_comes_late(entry))
        own->state = PUSH_SUPERSEDED;
    else if (outcome == OUTCOME_STOPPED || good)
        return false;
    else if (entry->deadline_s > 0 && (uint64_t)clock_unhurried_s() >= entry->deadline_s)
        own->state = PUSH_EXPIRED;
    else
        wait_on(entry, until_ms, own);
    return true;
}

/* With the lock. */
static void take_turn(struct queue_entry *entry)
{
    entry->next_ms = 0;
    entry_set_state(entry, ENTRY_LISTED);
    queue_tag_begin(entry->queue, entry->tag);
}

/* With the lock. Its own wait, or that of whatever lets it begin: clients go first. */
static void go_on(struct queue_entry *entry)
{
    struct push_queue *queue = entry->queue;
    if (entry->next_ms == 0 || queue->closed || entry->to->record.paused_s > 0 ||
        !TAILQ_EMPTY(&entry->tag->direct)) {
        take_turn(entry);
        return;
    }
    entry_set_state(entry, ENTRY_WAITS);
    entry->work.run = pending_work;
    entry->work.key = NULL;
    queue_under_way(queue, 1);
    work_submit_at(queue->direct, &entry->work, entry->next_ms);
}

/* The same trouble once, whatever the number of tries. */
static void tell(struct queue_entry *entry, const struct pending_run *run)
{
    uint64_t ms = (uint64_t)(clock_ms() - run->begun_ms);
    const struct push_target *own = &run->own;
    if (own->state == PUSH_WAITING)
        push_log_waiting(&run->push, own, ms, entry->told == own->error.code);
    else
        push_log_ended(&run->push, own, ms);
    if (push_state_is_final(own->state))
        audit_target_ended(entry->queue->runtime->audit, &run->push, own);
    entry->told = own->error.code;
}

/* On a worker, when the push to the target has ended. */
static void on_ended(void *self)
{
    struct queue_entry *entry = self;
    struct push_queue *queue = entry->queue;
    struct pending_run *run = entry->run;
    struct push_target *own = &run->own;
    work_release(&entry->work);
    pthread_mutex_lock(&queue->lock);
    bool changed = decide(entry, own);
    if (changed)
        queue_target_told(entry->to, own);
    pthread_mutex_unlock(&queue->lock);
    bool final = changed && push_state_is_final(own->state);
    if (final)
        own->ended_s = (uint64_t)clock_wall_s();
    if (changed) {
        tell(entry, run);
        write_target(queue, entry, own);
    }
    pthread_mutex_lock(&queue->lock);
    if (final)
        entry_leave(entry);
    else if (entry->cancelled) /* while the record was written, as what follows */
        pending_end(entry, PUSH_CANCELLED);
    else if (changed && entry_has_younger(entry))
        pending_end(entry, PUSH_SUPERSEDED);
    else if (!entry_is_configured(entry)) /* any more */
        pending_end(entry, PUSH_ORPHANED);
    else
        go_on(entry);
    pthread_mutex_unlock(&queue->lock);
    if (final) /* who asks now finds it gone */
        queue_tell_ended(queue, &run->push.manifest, own);
    end_run(run);
    pthread_mutex_lock(&queue->lock);
    queue_under_way(queue, -1);
    pthread_mutex_unlock(&queue->lock);
}

/* ---- how it begins ---- */

static struct pending_run *new_run(struct queue_entry *entry, struct error *err)
{
    autosettings const struct settings *settings = runtime_settings(entry->queue->runtime);
    struct pending_run *run = xcalloc(1, sizeof *run);
    if (!read_push(entry->queue, entry, &run->push, err)) {
        free(run);
        return NULL;
    }
    run->own = run->push.targets[entry->target];
    if (run->own.first_s == 0)
        run->own.first_s = (uint64_t)clock_wall_s();
    run->own.policy = mirrors_tag_policy(settings, run->own.name, run->own.reference.tag);
    run->begun_ms = clock_ms();
    run->one = run->push;
    run->one.targets = &run->own;
    run->one.target_count = 1;
    cancel_init_child(&run->cancel, &entry->queue->cancel, "cancelled");
    return run;
}

/* What is not recorded cannot be pushed. It is not lost: the next start reads what there is. */
static void give_up(struct queue_entry *entry, const struct error *err)
{
    struct push_queue *queue = entry->queue;
    log_error("push %s cannot go on: %s", entry->id, err->text);
    pthread_mutex_lock(&queue->lock);
    entry_leave_gates(entry);
    entry_leave(entry);
    queue_under_way(queue, -1);
    pthread_mutex_unlock(&queue->lock);
}

static bool pending_keeps_tag(void *self)
{
    const struct queue_entry *entry = self;
    autolock pthread_mutex_t *held = lock_take(&entry->queue->lock);
    return entry_keeps_tag(entry);
}

static bool pending_admits(void *self, const struct digest *login)
{
    struct queue_entry *entry = self;
    autolock pthread_mutex_t *held = lock_take(&entry->queue->lock);
    return entry_enter_login(entry, login);
}

/* What was decided about it when its work had begun, and nobody could take it back any more; 0:
 * nothing. With the lock. */
static enum push_state end_of(const struct queue_entry *entry)
{
    if (entry->cancelled)
        return PUSH_CANCELLED;
    if (entry_has_younger(entry) || entry_comes_late(entry))
        return PUSH_SUPERSEDED;
    return entry_is_configured(entry) ? (enum push_state)0 : PUSH_ORPHANED;
}

/* False where it is to wait on: one of its gates was closed, or its own wait is over and its gates
 * have not been asked yet. With the lock, which may be given up meanwhile. */
static bool may_run(struct queue_entry *entry)
{
    struct push_queue *queue = entry->queue;
    if (entry->began_ms > 0 && !entry_is_stale(entry) && !queue->closed &&
        entry->to->record.paused_s == 0) {
        entry_set_state(entry, ENTRY_RUNS);
        return true;
    }
    entry_leave_gates(entry);
    enum push_state end = queue->closed ? (enum push_state)0 : end_of(entry);
    if (end)
        pending_end(entry, end);
    else
        take_turn(entry);
    queue_under_way(queue, -1);
    return false;
}

void pending_work(struct work *work)
{
    struct queue_entry *entry =
        (struct queue_entry *)((char *)work - offsetof(struct queue_entry, work));
    struct push_queue *queue = entry->queue;
    struct error err = ERROR_INIT;
    autoscope struct log_scope outer = log_scope_begin("push", entry->id);
    pthread_mutex_lock(&queue->lock);
    bool runs = may_run(entry);
    pthread_mutex_unlock(&queue->lock);
    if (!runs)
        return;
    struct pending_run *run = new_run(entry, &err);
    if (run == NULL) {
        give_up(entry, &err);
        return;
    }
    const struct push_options options = {.upstream = queue->runtime->upstream,
                                         .remembers = true,
                                         .once = true,
                                         .probes = entry->probes,
                                         .admits = pending_admits,
                                         .keeps_tag = pending_keeps_tag,
                                         .cancel = &run->cancel,
                                         .ended = on_ended,
                                         .self = entry};
    work_hold(work);
    pthread_mutex_lock(&queue->lock);
    entry->run = run;
    queue_tell_change(queue, entry->id);
    if (entry->cancelled || entry->to->record.paused_s > 0)
        cancel_request(&run->cancel);
    pthread_mutex_unlock(&queue->lock);
    push_start(&options, &run->one, 0);
}
