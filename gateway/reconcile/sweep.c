#include "base/clock.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/push/mirrors.h"
#include "gateway/push/push_json.h"
#include "gateway/reconcile/sweep_internal.h"
#include "store/pushed_tags.h"

#include <stddef.h>
#include <string.h>

/* In one step, so that one sweep does not keep a worker from others for long. */
#define TAGS_A_STEP 16

static const char *const words[FINDINGS] = {
    [FOUND_SAME] = "same",       [FOUND_ABSENT] = "absent",   [FOUND_OTHER] = "other",
    [FOUND_DRIFTED] = "drifted", [FOUND_UNKNOWN] = "unknown", [FOUND_PENDING] = "pending",
    [FOUND_PUSHED] = "pushed",   [FOUND_MISSING] = "missing", [FOUND_LOST] = "lost",
};

/* ---- what was found ---- */

/* One that is as it should be is not listed. */
static bool is_listed(enum finding finding)
{
    return finding != FOUND_SAME && finding != FOUND_PUSHED;
}

static json_t *item_of(const struct expected_tag *tag, enum finding finding,
                       const struct digest *there, bool queued, const struct error *why)
{
    char text[REFERENCE_TEXT_MAX];
    json_t *item = json_object();
    json_put_text(item, "reference", reference_text(&tag->reference, text));
    json_put_text(item, "outcome", words[finding]);
    push_json_put_digest(item, "expected", &tag->digest);
    if (there && there->algorithm != DIGEST_NONE)
        push_json_put_digest(item, "found", there);
    if (queued)
        json_object_set_new(item, "queued", json_true());
    if (why && why->code != ERR_OK)
        json_object_set_new(item, "error", push_json_failure(why));
    return item;
}

static void note(struct sweep *sweep, const struct expected_tag *tag, enum finding finding,
                 const struct digest *there, bool queued, const struct error *why)
{
    autolock pthread_mutex_t *held = lock_take(&sweep->sweeps->lock);
    sweep->found[finding]++;
    sweep->queued += queued;
    if (!is_listed(finding))
        return;
    if (json_array_size(sweep->items) < SWEEP_ITEMS_MAX)
        json_array_append_new(sweep->items, item_of(tag, finding, there, queued, why));
    else
        sweep->unlisted++;
}

static void fail_sweep(struct sweep *sweep, const struct error *err)
{
    autolock pthread_mutex_t *held = lock_take(&sweep->sweeps->lock);
    if (sweep->state == SWEEP_RUNS)
        sweep->error = *err;
    sweep->state = SWEEP_FAILED;
}

/* It is to be there, and is not. */
static void push_it(struct sweep *sweep, const struct expected_tag *tag, const char *as_of,
                    enum finding finding, const struct digest *there)
{
    struct error err = ERROR_INIT;
    enum pushed_again again = AGAIN_PENDING;
    if (sweep_push(sweep, tag, as_of, &again, &err) != ERR_OK)
        fail_sweep(sweep, &err);
    else if (again == AGAIN_QUEUED)
        note(sweep, tag, finding, there, true, NULL);
    else if (again == AGAIN_LOST)
        note(sweep, tag, FOUND_LOST, there, false, &err);
    else
        note(sweep, tag, FOUND_PENDING, there, false, NULL);
}

/* The target's policy leaves it as it is. */
static bool is_left(struct sweep *sweep, const struct expected_tag *tag, const struct digest *there)
{
    struct error err = ERROR_INIT;
    struct digest last;
    bool known = false;
    enum push_tag_policy policy =
        mirrors_tag_policy(sweep->settings, sweep->target, tag->reference.tag);
    if (policy != TAG_DRIFT_STAYS)
        return policy != TAG_MOVES;
    if (pushed_tags_get(sweep->sweeps->runtime->store, &tag->reference, &known, &last, &err) !=
        ERR_OK)
        log_warn("reconciling %s: %s", sweep->target, err.text);
    return !known || !digest_equal(&last, there);
}

/* ---- questions ---- */

/* With the lock. */
static void count_failure(struct sweep *sweep, const struct error *why)
{
    if (++sweep->failures < SWEEP_FAILURES_MAX || sweep->gave_up)
        return;
    sweep->gave_up = true;
    sweep->error = *why;
}

static void judge(struct sweep *sweep, const struct sweep_ask *one)
{
    const struct tag_ask *ask = &one->ask;
    pthread_mutex_lock(&sweep->sweeps->lock);
    if (ask->answer == TAG_UNKNOWN)
        count_failure(sweep, &ask->error);
    else
        sweep->failures = 0;
    bool over = sweep->cancelled;
    pthread_mutex_unlock(&sweep->sweeps->lock);
    if (ask->answer == TAG_SAME)
        note(sweep, &one->tag, FOUND_SAME, NULL, false, NULL);
    else if (ask->answer == TAG_UNKNOWN)
        note(sweep, &one->tag, FOUND_UNKNOWN, NULL, false, &ask->error);
    else if (ask->answer == TAG_OTHER && is_left(sweep, &one->tag, &ask->digest))
        note(sweep, &one->tag, FOUND_DRIFTED, &ask->digest, false, NULL);
    else if (!over)
        push_it(sweep, &one->tag, one->as_of,
                ask->answer == TAG_ABSENT ? FOUND_ABSENT : FOUND_OTHER, &ask->digest);
}

static void on_answer(struct tag_ask *ask)
{
    struct sweep_ask *one = (struct sweep_ask *)((char *)ask - offsetof(struct sweep_ask, ask));
    struct sweep *sweep = one->sweep;
    struct sweeps *sweeps = sweep->sweeps;
    judge(sweep, one);
    autolock pthread_mutex_t *held = lock_take(&sweeps->lock);
    one->used = false;
    sweep->asking--;
    sweep_wake(sweep);
}

/* With the lock; there is a place. */
static struct sweep_ask *take_place(struct sweep *sweep, const struct expected_tag *tag)
{
    struct sweep_ask *one = sweep->asks;
    while (one->used)
        one++;
    *one = (struct sweep_ask){.ask = {.expected = tag->digest, .answered = on_answer},
                              .sweep = sweep,
                              .tag = *tag,
                              .used = true};
    memcpy(one->as_of, expected_as_of(sweep->expected), sizeof one->as_of);
    sweep->asking++;
    return one;
}

static void ask(struct sweep *sweep, const struct expected_tag *tag)
{
    struct sweeps *sweeps = sweep->sweeps;
    struct error why = ERROR_INIT;
    bool away = push_queue_is_away(sweeps->queue, tag->reference.host, &why);
    pthread_mutex_lock(&sweeps->lock);
    if (away && !sweep->gave_up) {
        sweep->gave_up = true;
        sweep->error = why;
    }
    struct sweep_ask *one = sweep->gave_up ? NULL : take_place(sweep, tag);
    pthread_mutex_unlock(&sweeps->lock);
    if (one)
        tag_ask_start(sweeps->runtime->upstream->tag_asks, &one->tag.reference, &one->ask);
    else
        note(sweep, tag, FOUND_UNKNOWN, NULL, false, NULL);
}

void sweep_on_cancel(void *self)
{
    struct sweep *sweep = self;
    struct sweeps *sweeps = sweep->sweeps;
    autolock pthread_mutex_t *held = lock_take(&sweeps->lock);
    sweep->cancelled = true;
    sweep_wake(sweep);
}

/* Those that were not answered yet are no more. */
static void drop_questions(struct sweep *sweep)
{
    struct sweeps *sweeps = sweep->sweeps;
    for (size_t i = 0; i < SWEEP_ASKS_MAX; i++) {
        struct sweep_ask *one = &sweep->asks[i];
        pthread_mutex_lock(&sweeps->lock);
        bool used = one->used;
        pthread_mutex_unlock(&sweeps->lock);
        if (!used || !tag_ask_cancel(sweeps->runtime->upstream->tag_asks, &one->ask))
            continue;
        pthread_mutex_lock(&sweeps->lock);
        one->used = false;
        sweep->asking--;
        pthread_mutex_unlock(&sweeps->lock);
    }
}

/* ---- steps ---- */

static void look_at(struct sweep *sweep, const struct expected_tag *tag)
{
    if (tag->pending)
        note(sweep, tag, FOUND_PENDING, NULL, false, NULL);
    else if (sweep->kind == SWEEP_RECONCILE)
        ask(sweep, tag);
    else if (tag->pushed)
        note(sweep, tag, FOUND_PUSHED, NULL, false, NULL);
    else
        push_it(sweep, tag, expected_as_of(sweep->expected), FOUND_MISSING, NULL);
}

static bool may_go_on(struct sweep *sweep)
{
    autolock pthread_mutex_t *held = lock_take(&sweep->sweeps->lock);
    return sweep->asking < SWEEP_ASKS_MAX && sweep->state == SWEEP_RUNS && !sweep->exhausted &&
           !sweep->cancelled;
}

static void take_tags(struct sweep *sweep)
{
    for (size_t i = 0; i < TAGS_A_STEP && may_go_on(sweep); i++) {
        struct error err = ERROR_INIT;
        struct expected_tag tag;
        bool more = false;
        if (expected_next(sweep->expected, &tag, &more, &err) != ERR_OK)
            fail_sweep(sweep, &err);
        else if (more)
            look_at(sweep, &tag);
        else
            sweep->exhausted = true;
    }
}

static void tell(const struct sweep *sweep)
{
    bool well = sweep->state == SWEEP_DONE && sweep->found[FOUND_UNKNOWN] == 0;
    log_event(well ? LOG_INFO : LOG_WARN,
              sweep->kind == SWEEP_RECONCILE ? "target.reconciled" : "target.backfilled",
              LOG_FIELDS(log_text("target", sweep->target), log_number("queued", sweep->queued),
                         log_number("drifted", sweep->found[FOUND_DRIFTED]),
                         log_number("unknown", sweep->found[FOUND_UNKNOWN]),
                         log_text("error", sweep->error.code ? sweep->error.text : NULL)),
              sweep->kind == SWEEP_RECONCILE ? "target reconciled" : "target backfilled");
}

/* The last thing that is done with a sweep that has run. */
static void end(struct sweep *sweep)
{
    struct sweeps *sweeps = sweep->sweeps;
    void (*ended)(void *, json_t *) = sweep->ended;
    void *self = sweep->self;
    if (sweep->parent)
        cancel_unwatch(sweep->parent, &sweep->watch);
    pthread_mutex_lock(&sweeps->lock);
    if (sweep->state == SWEEP_RUNS)
        sweep->state = sweep->exhausted ? SWEEP_DONE : SWEEP_CANCELLED;
    pthread_mutex_unlock(&sweeps->lock);
    tell(sweep);
    struct expected *expected = sweep->expected;
    pthread_mutex_lock(&sweeps->lock);
    sweep->ended_s = clock_wall_s(); /* from now on another one may take its place */
    json_t *report = ended ? sweep_report(sweep) : NULL;
    sweep->expected = NULL;
    pthread_mutex_unlock(&sweeps->lock);
    expected_free(expected);
    if (ended)
        ended(self, report);
    autolock pthread_mutex_t *held = lock_take(&sweeps->lock);
    if (--sweeps->running == 0)
        pthread_cond_broadcast(&sweeps->idle);
}

/* True: it is over. Else it goes on now, or when it is woken. */
static bool rest(struct sweep *sweep)
{
    autolock pthread_mutex_t *held = lock_take(&sweep->sweeps->lock);
    bool stops = sweep->exhausted || sweep->state != SWEEP_RUNS || sweep->cancelled;
    if (stops && sweep->asking == 0)
        return true; /* still `stepping`: nobody else takes a step */
    sweep->stepping = sweep->again || (!stops && sweep->asking < SWEEP_ASKS_MAX);
    sweep->again = false;
    if (sweep->stepping)
        work_submit(sweep->sweeps->steps, &sweep->step);
    return false;
}

static bool is_cancelled(struct sweep *sweep)
{
    autolock pthread_mutex_t *held = lock_take(&sweep->sweeps->lock);
    return sweep->cancelled;
}

void sweep_step(struct work *work)
{
    struct sweep *sweep = (struct sweep *)((char *)work - offsetof(struct sweep, step));
    take_tags(sweep);
    if (is_cancelled(sweep))
        drop_questions(sweep);
    if (rest(sweep))
        end(sweep);
}
