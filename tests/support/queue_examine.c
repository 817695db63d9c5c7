#include "tests/support/queue_examine.h"

#include "base/clock.h"
#include "base/lock.h"
#include "gateway/queue/push_queue_internal.h"

#include <search.h>
#include <stdio.h>
#include <string.h>

/* ---- gates ---- */

/* Whoever is kept is let go by a clock, or by the end of somebody who has entered. */
static const char *gate_fault(const struct queue_gate *gate, size_t inside, size_t users)
{
    const struct circuit *circuit = &gate->gate.circuit;
    bool full = circuit->allowed > 0 && gate->gate.under_way >= circuit->allowed;
    if (gate->gate.under_way != inside)
        return "a gate miscounts who has entered";
    if (gate->gate.kept_count > 0 && !gate->queue->closed && !gate->clock_waits && !full)
        return "a gate keeps somebody whom nothing lets go";
    if (gate->users != users)
        return "credentials miscount their users";
    return NULL;
}

struct user_count {
    const struct queue_gate *login;
    size_t users;
};

static void count_repository(const void *node, VISIT visit, void *self)
{
    const struct queue_repository *repository = *(struct queue_repository *const *)node;
    struct user_count *count = self;
    if (visit == postorder || visit == leaf)
        count->users += repository->login == count->login;
}

static const char *login_fault(const struct queue_gate *login)
{
    struct user_count count = {.login = login};
    const struct queue_entry *entry;
    size_t inside = 0;
    twalk_r(login->queue->repositories, count_repository, &count);
    TAILQ_FOREACH(entry, &login->queue->pending, next)
    {
        count.users += entry->login == login;
        inside += entry->login == login && entry->began_ms > 0 &&
                  !circuit_is_stale(&login->gate.circuit, entry->login_ms);
    }
    return gate_fault(login, inside, count.users);
}

static const char *host_fault(const struct queue_gate *host)
{
    const struct queue_entry *entry;
    size_t inside = 0;
    TAILQ_FOREACH(entry, &host->queue->pending, next)
    {
        inside += entry->tag->repository->host == host && entry->began_ms > 0 &&
                  !circuit_is_stale(&host->gate.circuit, entry->began_ms);
    }
    const char *fault = gate_fault(host, inside, 0);
    for (const struct queue_gate *login = host->logins; login && !fault; login = login->next)
        fault = login_fault(login);
    return fault;
}

/* ---- tags ---- */

/* Somebody is about to see to it. */
static bool is_seen_to(const struct tag *tag)
{
    const struct queue_entry *entry;
    TAILQ_FOREACH(entry, &tag->entries, link)
    {
        if (entry->state == ENTRY_ENDS || entry->state == ENTRY_COMES)
            return true;
    }
    return false;
}

static bool keeps_cancelled(const struct tag *tag)
{
    const struct queue_entry *entry;
    TAILQ_FOREACH(entry, &tag->entries, link)
    {
        if (!entry->chain && entry->cancelled && pending_is_idle(entry) &&
            entry->state != ENTRY_WAITS)
            return true;
    }
    return false;
}

/* What may begin has begun. */
static const char *tag_fault(const struct push_queue *queue, const struct tag *tag)
{
    const struct queue_entry *direct = TAILQ_FIRST(&tag->direct);
    const struct queue_entry *entry;
    if (is_seen_to(tag))
        return NULL;
    if (keeps_cancelled(tag))
        return "what was cancelled waits on";
    if (tag->active)
        return NULL;
    if (direct)
        return direct->state == ENTRY_LISTED && direct->due ? "a client waits for nothing" : NULL;
    TAILQ_FOREACH(entry, &tag->listed, turn)
    {
        if (!entry->superseded && !queue->closed && !queue->restarts)
            return "it is listed, and nothing else of its tag is active";
    }
    return NULL;
}

/* ---- targets ---- */

struct shown_count {
    const struct queue_target *target;
    size_t entries;
    size_t counts[PUSH_STATE_MAX + 1];
};

static void count_tag(const void *node, VISIT visit, void *self)
{
    const struct tag *tag = *(struct tag *const *)node;
    struct shown_count *count = self;
    const struct queue_entry *entry;
    if (visit != postorder && visit != leaf)
        return;
    TAILQ_FOREACH(entry, &tag->entries, link)
    {
        if (entry->to != count->target)
            continue;
        count->entries++;
        count->counts[entry->shown]++;
    }
}

/* A pause that is being written is counted as an entry. */
static const char *target_fault(const struct push_queue *queue, const struct queue_target *target)
{
    struct shown_count count = {.target = target};
    twalk_r(queue->tags, count_tag, &count);
    for (size_t i = 1; i <= PUSH_STATE_MAX; i++)
        if (target->counts[i] != count.counts[i])
            return "a target miscounts what it shows";
    if (target->entries < count.entries || target->entries > count.entries + 1)
        return "a target miscounts its entries";
    return NULL;
}

/* ---- all of it ---- */

const char *queue_examine(struct push_queue *queue)
{
    autolock pthread_mutex_t *held = lock_take(&queue->lock);
    const struct queue_target *target;
    const struct queue_entry *entry;
    const char *fault = NULL;
    for (const struct queue_gate *host = queue->hosts; host && !fault; host = host->next)
        fault = host_fault(host);
    TAILQ_FOREACH(entry, &queue->pending, next)
    {
        fault = fault ? fault : tag_fault(queue, entry->tag);
    }
    TAILQ_FOREACH(target, &queue->targets.all, link)
    {
        fault = fault ? fault : target_fault(queue, target);
    }
    return fault;
}

static bool is_empty(const struct queue_gate *gate)
{
    return gate->gate.under_way == 0 && gate->gate.kept_count == 0;
}

static bool counts_nothing(const struct queue_target *target)
{
    for (size_t i = 0; i <= PUSH_STATE_MAX; i++)
        if (target->counts[i] > 0)
            return false;
    return target->entries == 0 && TAILQ_EMPTY(&target->open);
}

bool queue_examine_is_quiet(struct push_queue *queue)
{
    autolock pthread_mutex_t *held = lock_take(&queue->lock);
    const struct queue_target *target;
    bool quiet = TAILQ_EMPTY(&queue->pending) && TAILQ_EMPTY(&queue->directs);
    TAILQ_FOREACH(target, &queue->targets.all, link)
    {
        quiet = quiet && counts_nothing(target);
    }
    for (const struct queue_gate *host = queue->hosts; host; host = host->next) {
        quiet = quiet && is_empty(host);
        for (const struct queue_gate *login = host->logins; login; login = login->next)
            quiet = quiet && is_empty(login);
    }
    return quiet;
}

bool queue_examine_has(struct push_queue *queue, const char *id, size_t target)
{
    autolock pthread_mutex_t *held = lock_take(&queue->lock);
    return queue_find(queue, id, target) != NULL;
}

bool queue_examine_waits(struct push_queue *queue, int64_t ms, char id[PUSH_ID_MAX])
{
    autolock pthread_mutex_t *held = lock_take(&queue->lock);
    const struct queue_entry *entry;
    int64_t soon_ms = clock_ms() + ms;
    TAILQ_FOREACH(entry, &queue->pending, next)
    {
        const struct gate *gate = entry->place.gate;
        if ((gate && gate->circuit.until_ms > soon_ms) || entry->next_ms > soon_ms) {
            memcpy(id, entry->id, PUSH_ID_MAX);
            return true;
        }
    }
    return false;
}

/* ---- what it looks like ---- */

static void dump_gate(const struct queue_gate *gate, const char *kind, int64_t now_ms)
{
    const struct circuit *circuit = &gate->gate.circuit;
    fprintf(stderr,
            "%s %s (%p): state %d allowed %u under_way %u kept %zu users %u seen %u clock %d "
            "until %+lld\n",
            kind, gate->name, (const void *)gate, (int)circuit_state(circuit, now_ms),
            circuit->allowed, gate->gate.under_way, gate->gate.kept_count, gate->users, gate->seen,
            gate->clock_waits, (long long)(circuit->until_ms - now_ms));
}

static void dump_entry(const struct queue_entry *entry, int64_t now_ms)
{
    static const char *const states[] = {"comes", "listed", "kept", "paused",
                                         "waits", "runs",   "ends"};
    const struct tag *tag = entry->tag;
    bool at_host = entry->place.gate == &tag->repository->host->gate;
    fprintf(stderr,
            "entry %s/%zu of %s: %s%s%s%s%s, shown %d, next %+lld, began %+lld, kept by %s, "
            "login %p, its repository's %p, %s\n",
            entry->id, entry->target, tag->key, states[entry->state],
            entry->cancelled ? " cancelled" : "", entry->superseded ? " superseded" : "",
            entry->yields ? " yields" : "", tag->active == entry ? " active" : "", entry->shown,
            entry->next_ms ? (long long)(entry->next_ms - now_ms) : 0,
            entry->began_ms ? (long long)(entry->began_ms - now_ms) : 0,
            entry->place.gate == NULL ? "none"
            : at_host                 ? "the host"
                                      : "a login",
            (const void *)entry->login, (const void *)tag->repository->login,
            TAILQ_EMPTY(&tag->direct) ? "no client waits" : "a client waits");
}

static void dump_target(const struct queue_target *target)
{
    fprintf(stderr, "target %s: entries %zu%s%s", target->record.name, target->entries,
            target->record.paused_s > 0 ? " paused" : "", target->configured ? " configured" : "");
    for (size_t i = 1; i <= PUSH_STATE_MAX; i++)
        if (target->counts[i] > 0)
            fprintf(stderr, " %s %zu", push_state_name((enum push_state)i), target->counts[i]);
    fprintf(stderr, "\n");
}

void queue_examine_dump(struct push_queue *queue)
{
    autolock pthread_mutex_t *held = lock_take(&queue->lock);
    int64_t now_ms = clock_ms();
    const struct queue_entry *entry;
    const struct queue_target *target;
    fprintf(stderr, "queue: under_way %zu%s%s\n", queue->under_way, queue->closed ? " closed" : "",
            queue->restarts ? " restarts" : "");
    for (const struct queue_gate *host = queue->hosts; host; host = host->next) {
        dump_gate(host, "host", now_ms);
        for (const struct queue_gate *login = host->logins; login; login = login->next)
            dump_gate(login, "login", now_ms);
    }
    TAILQ_FOREACH(entry, &queue->pending, next)
    {
        dump_entry(entry, now_ms);
    }
    TAILQ_FOREACH(target, &queue->targets.all, link)
    {
        dump_target(target);
    }
}
