#include "base/buf.h"
#include "base/clock.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/queue/push_queue_internal.h"
#include "gateway/queue/push_targets.h"
#include "store/pushes.h"

#include <search.h>
#include <stdio.h>
#include <string.h>

/* Those that are not configured: clients name any number of hosts. */
#define OTHERS_MAX 256
#define RECORDS_AT_ONCE 64
#define KNOWN_TEXT_MAX 600

/* ---- by name; with the lock ---- */

static int compare_targets(const void *a, const void *b)
{
    return strcmp(((const struct queue_target *)a)->record.name,
                  ((const struct queue_target *)b)->record.name);
}

static struct queue_target *find(const struct push_queue *queue, const char *name)
{
    struct queue_target wanted;
    if (strlen(name) > TARGET_LABEL_MAX)
        return NULL;
    snprintf(wanted.record.name, sizeof wanted.record.name, "%s", name);
    struct queue_target **found = tfind(&wanted, &queue->targets.by_name, compare_targets);
    return found ? *found : NULL;
}

/* The first of those that are not configured and of which nothing is left, where they are many. It
 * is freed when the store has forgotten it. */
static void forget_other(struct push_queue *queue)
{
    struct queue_target *target;
    if (queue->targets.others <= OTHERS_MAX)
        return;
    TAILQ_FOREACH(target, &queue->targets.all, link)
    {
        if (!target->configured && target->entries == 0 && target->record.paused_s == 0)
            break;
    }
    if (target == NULL)
        return;
    queue->targets.others--;
    tdelete(target, &queue->targets.by_name, compare_targets);
    TAILQ_REMOVE(&queue->targets.all, target, link);
    queue_target_drop_logins(target);
    TAILQ_INSERT_TAIL(&queue->targets.gone, target, link);
}

static struct queue_target *make(struct push_queue *queue, const char *name, bool configured)
{
    struct queue_target *target = xcalloc(1, sizeof *target);
    snprintf(target->record.name, sizeof target->record.name, "%s", name);
    target->configured = configured;
    TAILQ_INIT(&target->open);
    if (tsearch(target, &queue->targets.by_name, compare_targets) == NULL)
        abort(); /* out of memory, as in base/mem.h */
    TAILQ_INSERT_TAIL(&queue->targets.all, target, link);
    queue->targets.others += !configured;
    forget_other(queue);
    return target;
}

struct queue_target *queue_target(struct push_queue *queue, const struct push_target *of)
{
    char name[TARGET_LABEL_MAX + 1];
    struct queue_target *target = find(queue, push_target_label(of, name));
    if (target == NULL)
        target = make(queue, name, false);
    snprintf(target->host, sizeof target->host, "%s", of->reference.host);
    return target;
}

static void configure(struct push_queue *queue, const struct mirror_target_setting *setting)
{
    struct reference reference = {.host = ""};
    struct queue_target *target = find(queue, setting->label);
    autofree char *host = xasprintf("%.*s/x", (int)strcspn(setting->target, "/"), setting->target);
    struct error ignored = ERROR_INIT;
    if (target == NULL)
        target = make(queue, setting->label, true);
    queue->targets.others -= !target->configured;
    target->configured = true;
    if (reference_parse(host, &reference, &ignored) == ERR_OK)
        memcpy(target->host, reference.host, sizeof target->host);
}

void queue_targets_init(struct push_queue *queue)
{
    TAILQ_INIT(&queue->targets.all);
    TAILQ_INIT(&queue->targets.gone);
    queue_targets_configure(queue);
}

void queue_targets_configure(struct push_queue *queue)
{
    autosettings const struct settings *settings = runtime_settings(queue->runtime);
    struct queue_target *target;
    TAILQ_FOREACH(target, &queue->targets.all, link)
    {
        queue->targets.others += target->configured;
        target->configured = false;
    }
    for (size_t i = 0; i < settings->mirror_count; i++)
        for (size_t j = 0; j < settings->mirrors[i].target_count; j++)
            configure(queue, &settings->mirrors[i].targets[j]);
}

static void take_record(void *self, const struct target_record *record)
{
    struct push_queue *queue = self;
    autolock pthread_mutex_t *held = lock_take(&queue->lock);
    struct queue_target *target = find(queue, record->name);
    bool other = strncmp(record->name, "other:", 6) == 0;
    if (target == NULL && !other && record->paused_s == 0)
        return; /* it was in another configuration */
    if (target == NULL)
        target = make(queue, record->name, false);
    target->record = *record;
    if (other)
        snprintf(target->host, sizeof target->host, "%s", record->name + 6);
}

enum errc queue_targets_read(struct push_queue *queue, struct error *err)
{
    return targets_each(queue->runtime->store, take_record, queue, err);
}

static void keep(void *node)
{
    (void)node;
}

static void free_all(struct target_list *list)
{
    for (struct queue_target *target; (target = TAILQ_FIRST(list));) {
        TAILQ_REMOVE(list, target, link);
        free(target);
    }
}

void queue_targets_free(struct push_queue *queue)
{
    tdestroy(queue->targets.by_name, keep);
    free_all(&queue->targets.all);
    free_all(&queue->targets.gone);
}

/* ---- its entries; with the lock ---- */

/* 0: it does not take part. */
static int shown_state(const struct queue_entry *entry)
{
    switch (entry->state) {
    case ENTRY_COMES:
    case ENTRY_ENDS:
        return 0;
    case ENTRY_RUNS:
        return PUSH_RUNNING;
    case ENTRY_KEPT:
    case ENTRY_PAUSED:
        return PUSH_WAITING;
    case ENTRY_WAITS:
        return entry->next_ms > 0 ? PUSH_WAITING : PUSH_QUEUED;
    case ENTRY_LISTED:
        break;
    }
    return PUSH_QUEUED;
}

void entry_count(struct queue_entry *entry)
{
    struct queue_target *target = entry->to;
    int shown = shown_state(entry);
    if (entry->shown)
        target->counts[entry->shown]--;
    if (shown)
        target->counts[shown]++;
    entry->shown = shown;
}

/* Most are younger than all others, and where old ones begin anew each is older than all before. */
void entry_open(struct queue_entry *entry)
{
    struct entry_list *open = &entry->to->open;
    struct queue_entry *at = TAILQ_FIRST(open);
    if (at && entry_is_older(entry, at)) {
        TAILQ_INSERT_HEAD(open, entry, open);
        return;
    }
    at = TAILQ_LAST(open, entry_list);
    while (at && entry_is_older(entry, at))
        at = TAILQ_PREV(at, entry_list, open);
    if (at)
        TAILQ_INSERT_AFTER(open, at, entry, open);
    else
        TAILQ_INSERT_HEAD(open, entry, open);
}

void queue_target_ended(struct queue_target *target, enum push_state state)
{
    target->outcomes[state]++;
}

/* What somebody here has decided says nothing about the target. */
static bool is_failure(const struct push_target *of)
{
    enum errc code = of->error.code;
    return of->state != PUSH_SUPERSEDED && of->state != PUSH_CANCELLED && code != ERR_OK &&
           code != ERR_CANCELLED && code != ERR_STOPPING && code != ERR_TARGET_PAUSED;
}

void queue_target_told(struct queue_target *target, const struct push_target *of)
{
    uint64_t now_s = (uint64_t)clock_wall_s();
    if (push_state_is_final(of->state))
        queue_target_ended(target, of->state);
    if (of->state == PUSH_PUSHED) {
        target->record.success_s = now_s;
        target->dirty = true;
    } else if (is_failure(of)) {
        target->record.failure_s = now_s;
        target->record.failure = of->error;
        target->dirty = true;
    }
}

bool queue_target_refuses(const struct queue_target *target, struct error *err)
{
    char since[CLOCK_TEXT_MAX];
    if (target->record.paused_s == 0)
        return false;
    fail(err, ERR_TARGET_PAUSED, 0, "the target %.100s is paused by an operator, since %s",
         target->record.name, clock_text_of((int64_t)target->record.paused_s, since));
    return true;
}

/* ---- how they are ---- */

static struct target_circuit circuit_of(const struct queue_gate *gate, int64_t now_ms)
{
    struct target_circuit view = {.state = CIRCUIT_CLOSED};
    if (gate == NULL)
        return view;
    view.state = circuit_state(&gate->gate.circuit, now_ms);
    if (view.state == CIRCUIT_CLOSED)
        return view;
    view.why = gate->why;
    if (view.state == CIRCUIT_OPEN)
        view.until_s =
            (uint64_t)(clock_wall_s() + (gate->gate.circuit.until_ms - now_ms + 999) / 1000);
    return view;
}

static void view_of(const struct push_queue *queue, const struct queue_target *target,
                    struct target_view *out)
{
    const struct queue_entry *oldest = TAILQ_FIRST(&target->open);
    int64_t now_ms = clock_ms();
    *out = (struct target_view){.record = target->record, .configured = target->configured};
    memcpy(out->host, target->host, sizeof out->host);
    memcpy(out->counts, target->counts, sizeof out->counts);
    memcpy(out->outcomes, target->outcomes, sizeof out->outcomes);
    out->circuit = circuit_of(queue_host_find(queue, target->host), now_ms);
    for (size_t i = 0; i < TARGET_LOGINS_MAX && target->logins[i]; i++)
        if (i == 0 || target->logins[i]->users > 0) /* others are not in use any more */
            out->logins[out->login_count++] = circuit_of(target->logins[i], now_ms);
    if (oldest) {
        memcpy(out->oldest, oldest->id, sizeof out->oldest);
        out->oldest_s = push_id_time_s(oldest->id);
    }
}

size_t push_queue_targets(struct push_queue *queue, struct target_view **out)
{
    struct queue_target *target;
    size_t count = 0;
    autolock pthread_mutex_t *held = lock_take(&queue->lock);
    TAILQ_FOREACH(target, &queue->targets.all, link)
    {
        count++;
    }
    struct target_view *views = xcalloc(count, sizeof *views);
    count = 0;
    TAILQ_FOREACH(target, &queue->targets.all, link)
    {
        view_of(queue, target, &views[count++]);
    }
    *out = views;
    return count;
}

/* ---- what is remembered ---- */

/* Records are written by one at a time, so that the last one written is the last one meant. With
 * the lock. */
static void begin_writing(struct push_queue *queue)
{
    while (queue->targets.writing)
        pthread_cond_wait(&queue->targets.written, &queue->lock);
    queue->targets.writing = true;
}

static void end_writing(struct push_queue *queue)
{
    queue->targets.writing = false;
    pthread_cond_signal(&queue->targets.written);
}

static size_t take_changed(struct push_queue *queue, struct target_record *records)
{
    struct queue_target *target;
    size_t count = 0;
    TAILQ_FOREACH(target, &queue->targets.all, link)
    {
        if (!target->dirty || count == RECORDS_AT_ONCE)
            continue;
        records[count++] = target->record;
        target->dirty = false;
    }
    return count;
}

/* With the lock, which is given up meanwhile. */
static void write_changed(struct push_queue *queue, struct target_record *records)
{
    struct error err = ERROR_INIT;
    size_t count;
    while (err.code == ERR_OK && (count = take_changed(queue, records)) > 0) {
        pthread_mutex_unlock(&queue->lock);
        if (targets_put(queue->runtime->store, records, count, false, &err) != ERR_OK)
            log_debug("what is remembered of %zu targets is not written: %s", count, err.text);
        pthread_mutex_lock(&queue->lock);
    }
}

static void forget_gone(struct push_queue *queue)
{
    for (struct queue_target *target; (target = TAILQ_FIRST(&queue->targets.gone));) {
        struct error err = ERROR_INIT;
        TAILQ_REMOVE(&queue->targets.gone, target, link);
        bool back = find(queue, target->record.name) != NULL;
        pthread_mutex_unlock(&queue->lock);
        if (!back && targets_remove(queue->runtime->store, target->record.name, &err) != ERR_OK)
            log_debug("the target %s is not forgotten: %s", target->record.name, err.text);
        free(target);
        pthread_mutex_lock(&queue->lock);
    }
}

void push_queue_record_targets(struct push_queue *queue)
{
    autofree struct target_record *records = xcalloc(RECORDS_AT_ONCE, sizeof *records);
    autolock pthread_mutex_t *held = lock_take(&queue->lock);
    begin_writing(queue);
    forget_gone(queue);
    write_changed(queue, records);
    end_writing(queue);
}

/* ---- pauses ---- */

static void fail_unknown(const struct push_queue *queue, const char *name, struct error *err)
{
    const struct queue_target *target;
    autobuf struct buf known = BUF_INIT(KNOWN_TEXT_MAX);
    TAILQ_FOREACH(target, &queue->targets.all, link)
    {
        buf_format(&known, "%s%s", known.size > 0 ? ", " : "", target->record.name);
    }
    fail(err, ERR_NOT_FOUND, 0, "there is no target \"%.100s\"; known are: %s%s", name,
         known.size > 0 ? buf_cstr(&known) : "none", known.overflowed ? ", and more" : "");
}

/* With the lock. */
static void break_off(struct queue_target *target)
{
    struct queue_entry *entry;
    TAILQ_FOREACH(entry, &target->open, open)
    {
        if (entry->run)
            cancel_request(&entry->run->cancel);
        entry_take_back(entry);
        queue_tag_begin(entry->queue, entry->tag);
    }
}

/* With the lock. */
static void let_go(struct queue_target *target)
{
    struct queue_entry *entry;
    TAILQ_FOREACH(entry, &target->open, open)
    {
        if (entry->state != ENTRY_PAUSED)
            continue;
        entry_set_state(entry, ENTRY_LISTED);
        queue_tag_begin(entry->queue, entry->tag);
    }
}

/* Written before it is so: a pause that a restart forgets is none. With the lock, which is given up
 * meanwhile. */
static enum errc pause_target(struct push_queue *queue, struct queue_target *target, bool paused,
                              struct error *err)
{
    struct target_record record = target->record;
    record.paused_s = paused ? (uint64_t)clock_wall_s() : 0;
    target->entries++; /* it is not forgotten meanwhile */
    pthread_mutex_unlock(&queue->lock);
    enum errc rc = targets_put(queue->runtime->store, &record, 1, true, err);
    pthread_mutex_lock(&queue->lock);
    target->entries--;
    if (rc != ERR_OK)
        return rc;
    target->record.paused_s = record.paused_s;
    if (paused)
        break_off(target);
    else
        let_go(target);
    return ERR_OK;
}

/* *changed: it was not so before. */
static enum errc set_paused(struct push_queue *queue, const char *name, bool paused, bool *changed,
                            struct target_view *out, struct error *err)
{
    autolock pthread_mutex_t *held = lock_take(&queue->lock);
    begin_writing(queue);
    struct queue_target *target = find(queue, name);
    *changed = target && (target->record.paused_s > 0) != paused;
    if (target == NULL)
        fail_unknown(queue, name, err);
    else if (*changed)
        pause_target(queue, target, paused, err);
    if (err->code == ERR_OK)
        view_of(queue, target, out);
    end_writing(queue);
    return err->code;
}

enum errc push_queue_pause(struct push_queue *queue, const char *name, bool paused,
                           struct target_view *out, struct error *err)
{
    bool changed;
    if (set_paused(queue, name, paused, &changed, out, err) == ERR_OK && changed)
        log_event(LOG_INFO, paused ? "target.paused" : "target.resumed",
                  LOG_FIELDS(log_text("target", name)), "%s",
                  paused ? "target is paused by an operator" : "target goes on");
    return err->code;
}

bool push_queue_is_paused(struct push_queue *queue, const char *name, const char *host)
{
    struct push_target of = {.name = ""};
    char label[TARGET_LABEL_MAX + 1];
    snprintf(of.name, sizeof of.name, "%s", name);
    snprintf(of.reference.host, sizeof of.reference.host, "%s", host);
    autolock pthread_mutex_t *held = lock_take(&queue->lock);
    const struct queue_target *target = find(queue, push_target_label(&of, label));
    return target && target->record.paused_s > 0;
}
