#include "gateway/reconcile/sweeps.h"

#include "base/clock.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/push/mirrors.h"
#include "gateway/push/push_json.h"
#include "gateway/reconcile/sweep_internal.h"

#include <assert.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* Steps at a time: they read the store, and wait for it when they have something pushed. */
#define STEPS_AT_ONCE 2

/* ---- the table ---- */

static void sweep_free(struct sweep *sweep)
{
    expected_free(sweep->expected);
    settings_free(sweep->settings);
    json_decref(sweep->items);
    free(sweep->match);
    free(sweep);
}

/* With the lock. NULL: there was none. */
static struct sweep *find(const struct sweeps *sweeps, enum sweep_kind kind, const char *target)
{
    struct sweep *sweep = sweeps->first;
    while (sweep && (sweep->kind != kind || strcmp(sweep->target, target) != 0))
        sweep = sweep->next;
    return sweep;
}

/* With the lock. */
static void forget(struct sweeps *sweeps, struct sweep *gone)
{
    struct sweep **at = &sweeps->first;
    if (gone == NULL)
        return;
    while (*at != gone)
        at = &(*at)->next;
    *at = gone->next;
    sweep_free(gone);
}

void sweep_wake(struct sweep *sweep)
{
    if (sweep->expected == NULL)
        return;
    sweep->again = sweep->again || sweep->stepping;
    if (sweep->stepping)
        return;
    sweep->stepping = true;
    work_submit(sweep->sweeps->steps, &sweep->step);
}

static struct sweep *sweep_new(struct sweeps *sweeps, const struct sweep_order *order,
                               const struct settings *settings,
                               const struct mirror_target_setting *setting)
{
    struct sweep *sweep = xcalloc(1, sizeof *sweep);
    *sweep = (struct sweep){.sweeps = sweeps,
                            .kind = order->kind,
                            .match = order->match ? xstrdup(order->match) : NULL,
                            .dry_run = order->dry_run,
                            .ended = order->ended,
                            .self = order->self,
                            .settings = settings_ref(settings),
                            .setting = setting,
                            .step = {.run = sweep_step},
                            .parent = order->cancel,
                            .begun_s = clock_wall_s(),
                            .items = json_array()};
    sweep->watch = (struct cancel_watch){.call = sweep_on_cancel, .self = sweep};
    snprintf(sweep->target, sizeof sweep->target, "%s", order->target);
    sweep->expected =
        expected_new(sweeps->runtime->store, sweeps->queue, settings, sweep->target, sweep->match);
    return sweep;
}

/* With the lock. */
static enum errc may_start(const struct sweeps *sweeps, const struct sweep *last,
                           const struct sweep_order *order, struct error *err)
{
    if (sweeps->closed)
        return fail(err, ERR_STOPPING, 0, "the gateway is stopping");
    if (last && last->ended_s == 0)
        return fail(err, ERR_ALREADY_RUNS, 0,
                    "the target %s is being looked at already; GET says how far it is, and DELETE "
                    "ends it",
                    order->target);
    return ERR_OK;
}

/* Before its first step, so that nobody takes two. */
static void watch_parent(struct sweep *sweep)
{
    if (sweep->parent && !cancel_watch(sweep->parent, &sweep->watch))
        sweep_on_cancel(sweep);
}

enum errc sweeps_start(struct sweeps *sweeps, const struct sweep_order *order, struct error *err)
{
    autosettings const struct settings *settings = runtime_settings(sweeps->runtime);
    const struct mirror_target_setting *setting = mirrors_target(settings, order->target, NULL);
    if (setting == NULL)
        return fail(err, ERR_NOT_FOUND, 0, "the configuration has no target \"%.100s\"",
                    order->target);
    pthread_mutex_lock(&sweeps->lock);
    struct sweep *last = find(sweeps, order->kind, order->target);
    if (may_start(sweeps, last, order, err) != ERR_OK) {
        pthread_mutex_unlock(&sweeps->lock);
        return err->code;
    }
    forget(sweeps, last);
    struct sweep *sweep = sweep_new(sweeps, order, settings, setting);
    sweep->next = sweeps->first;
    sweeps->first = sweep;
    sweeps->running++;
    sweep->stepping = true;
    pthread_mutex_unlock(&sweeps->lock);
    watch_parent(sweep);
    work_submit(sweeps->steps, &sweep->step);
    return ERR_OK;
}

bool sweeps_cancel(struct sweeps *sweeps, enum sweep_kind kind, const char *target)
{
    autolock pthread_mutex_t *held = lock_take(&sweeps->lock);
    struct sweep *sweep = find(sweeps, kind, target);
    if (sweep == NULL || sweep->ended_s != 0)
        return false;
    sweep->cancelled = true;
    sweep_wake(sweep);
    return true;
}

/* ---- reports ---- */

static void put_time(json_t *object, const char *key, int64_t seconds)
{
    char text[CLOCK_TEXT_MAX];
    if (seconds > 0)
        json_put_text(object, key, clock_text_of(seconds, text));
}

/* Each kind has its own. */
static void put_counts(const struct sweep *sweep, json_t *object)
{
    static const struct {
        enum finding finding;
        enum sweep_kind kind;
        const char *name;
    } counts[] = {
        {FOUND_SAME, SWEEP_RECONCILE, "same"},       {FOUND_ABSENT, SWEEP_RECONCILE, "absent"},
        {FOUND_OTHER, SWEEP_RECONCILE, "other"},     {FOUND_DRIFTED, SWEEP_RECONCILE, "drifted"},
        {FOUND_UNKNOWN, SWEEP_RECONCILE, "unknown"}, {FOUND_PUSHED, SWEEP_BACKFILL, "pushed"},
        {FOUND_MISSING, SWEEP_BACKFILL, "missing"},
    };
    size_t all = 0;
    for (size_t i = 0; i < FINDINGS; i++)
        all += sweep->found[i];
    json_put_number(object, "tags", all);
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        if (counts[i].kind == sweep->kind)
            json_put_number(object, counts[i].name, sweep->found[counts[i].finding]);
    json_put_number(object, "pending", sweep->found[FOUND_PENDING]);
    json_put_number(object, "lost", sweep->found[FOUND_LOST]);
    json_put_number(object, "queued", sweep->queued);
}

json_t *sweep_report(const struct sweep *sweep)
{
    static const char *const states[] = {[SWEEP_RUNS] = "running",
                                         [SWEEP_DONE] = "done",
                                         [SWEEP_CANCELLED] = "cancelled",
                                         [SWEEP_FAILED] = "failed"};
    bool runs = sweep->ended_s == 0;
    json_t *root = json_object();
    json_put_text(root, "target", sweep->target);
    json_put_text(root, "state", states[runs ? SWEEP_RUNS : sweep->state]);
    json_object_set_new(root, "dry_run", json_boolean(sweep->dry_run));
    put_time(root, "started_at", sweep->begun_s);
    put_time(root, "ended_at", sweep->ended_s);
    put_counts(sweep, root);
    if (sweep->error.code != ERR_OK)
        json_object_set_new(root, "error", push_json_failure(&sweep->error));
    json_object_set_new(root, "items", json_deep_copy(sweep->items));
    if (sweep->unlisted > 0)
        json_put_number(root, "unlisted", sweep->unlisted);
    return root;
}

json_t *sweeps_report(struct sweeps *sweeps, enum sweep_kind kind, const char *target)
{
    autolock pthread_mutex_t *held = lock_take(&sweeps->lock);
    const struct sweep *sweep = find(sweeps, kind, target);
    return sweep ? sweep_report(sweep) : NULL;
}

/* ---- queue.reconcile ---- */

/* With the lock. */
static void set_clock(struct sweeps *sweeps, int64_t wait_ms)
{
    if (sweeps->closed)
        return;
    sweeps->clock_waits = true;
    sweeps->running++;
    work_submit_at(sweeps->steps, &sweeps->clock, clock_ms() + wait_ms);
}

/* Unless it is off. With the lock. */
static void set_round(struct sweeps *sweeps)
{
    int64_t wait_ms = RUNTIME_SETTING(sweeps->runtime, queue.reconcile_ms);
    sweeps->rounds = wait_ms > 0;
    if (sweeps->rounds)
        set_clock(sweeps, wait_ms);
}

void sweeps_changed(struct sweeps *sweeps)
{
    autolock pthread_mutex_t *held = lock_take(&sweeps->lock);
    if (!sweeps->rounds)
        set_round(sweeps);
}

/* NULL: there are no others. Borrowed from the settings. */
static const char *next_target(struct sweeps *sweeps, const struct settings *settings)
{
    size_t left = sweeps->next_target++;
    for (size_t i = 0; i < settings->mirror_count; i++) {
        if (left < settings->mirrors[i].target_count)
            return settings->mirrors[i].targets[left].label;
        left -= settings->mirrors[i].target_count;
    }
    sweeps->next_target = 0;
    return NULL;
}

static void on_one_ended(void *self, json_t *report)
{
    struct sweeps *sweeps = self;
    json_decref(report);
    autolock pthread_mutex_t *held = lock_take(&sweeps->lock);
    set_clock(sweeps, 0);
}

/* The next target, or the next round. */
static void on_clock(struct work *work)
{
    struct sweeps *sweeps = (struct sweeps *)((char *)work - offsetof(struct sweeps, clock));
    struct sweep_order order = {.kind = SWEEP_RECONCILE, .ended = on_one_ended, .self = sweeps};
    autosettings const struct settings *settings = runtime_settings(sweeps->runtime);
    bool begun = false;
    while (!begun && (order.target = next_target(sweeps, settings))) {
        struct error err = ERROR_INIT;
        begun = sweeps_start(sweeps, &order, &err) == ERR_OK;
        if (!begun)
            log_info("reconciling %s by itself: %s", order.target, err.text);
    }
    autolock pthread_mutex_t *held = lock_take(&sweeps->lock);
    sweeps->clock_waits = sweeps->clock_waits && begun;
    if (!begun)
        set_round(sweeps);
    if (--sweeps->running == 0)
        pthread_cond_broadcast(&sweeps->idle);
}

/* ---- its life ---- */

struct sweeps *sweeps_new(struct runtime *runtime, struct push_queue *queue)
{
    struct sweeps *sweeps = xcalloc(1, sizeof *sweeps);
    sweeps->runtime = runtime;
    sweeps->queue = queue;
    sweeps->steps = work_queue_new(runtime->executor, NULL, STEPS_AT_ONCE);
    sweeps->clock.run = on_clock;
    pthread_mutex_init(&sweeps->lock, NULL);
    clock_cond_init(&sweeps->idle);
    set_round(sweeps);
    return sweeps;
}

void sweeps_close(struct sweeps *sweeps)
{
    autolock pthread_mutex_t *held = lock_take(&sweeps->lock);
    sweeps->closed = true;
    if (sweeps->clock_waits && work_cancel(sweeps->steps, &sweeps->clock)) {
        sweeps->clock_waits = false;
        if (--sweeps->running == 0)
            pthread_cond_broadcast(&sweeps->idle);
    }
    for (struct sweep *sweep = sweeps->first; sweep; sweep = sweep->next) {
        sweep->cancelled = true;
        sweep_wake(sweep);
    }
}

bool sweeps_wait(struct sweeps *sweeps, int64_t ms)
{
    struct timespec until = clock_deadline(ms);
    int rc = 0;
    autolock pthread_mutex_t *held = lock_take(&sweeps->lock);
    while (sweeps->running > 0 && rc == 0)
        rc = pthread_cond_timedwait(&sweeps->idle, &sweeps->lock, &until);
    return sweeps->running == 0;
}

void sweeps_free(struct sweeps *sweeps)
{
    if (sweeps == NULL)
        return;
    assert(sweeps->running == 0);
    while (sweeps->first)
        forget(sweeps, sweeps->first);
    work_queue_free(sweeps->steps);
    pthread_cond_destroy(&sweeps->idle);
    pthread_mutex_destroy(&sweeps->lock);
    free(sweeps);
}
