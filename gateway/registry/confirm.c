#include "gateway/registry/confirm.h"

#include "base/clock.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/push/push_log.h"
#include "gateway/push/stored_image.h"
#include "gateway/registry/last_word.h"
#include "store/pushes.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define CONFIRMS_AT_ONCE 8 /* that read and write records */
#define RESTORED_AT_ONCE 16

TAILQ_HEAD(waiters, confirm_waiter);

/* A required target of the repository. */
struct confirm_target {
    struct tag_ask ask;
    struct confirm *confirm;
    struct mirror_target target; /* its repository has the tag */
    /* under the lock */
    bool asked;
    enum tag_step step;
    bool waits; /* a push has to end there */
    bool lacks; /* and has failed, or is not made now */
};

enum phase { CONFIRM_ASKS, CONFIRM_DELIVERS, CONFIRM_ENDS };

/* A tag that is asked about. */
struct confirm {
    struct work work;
    struct confirms *all;
    char repository[REPOSITORY_NAME_MAX + 1];
    char tag[REFERENCE_TAG_MAX + 1];
    struct digest digest;
    int64_t confirm_ms;
    bool stored; /* nobody ever waits */
    struct error error;
    /* under the lock */
    TAILQ_ENTRY(confirm) link;
    enum phase phase;
    bool timed; /* the work waits for its time */
    size_t asking;
    struct waiters waiters;
    size_t count;
    struct confirm_target targets[];
};

struct confirms {
    struct runtime *runtime;
    struct push_queue *queue;
    struct work_queue *works;
    struct work restore;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t ended;
    struct last_words *words;
    TAILQ_HEAD(confirm_list, confirm) list;
    size_t under_way; /* those in the list, and the restore */
    bool closed;
};

/* ---- words; with the lock ---- */

static bool asks(struct confirms *confirms, const struct reference *target, struct tag_state *state)
{
    char text[REFERENCE_TEXT_MAX];
    const struct push_queue_view view = push_queue_view(confirms->queue, target);
    const struct last_word *host = last_words_find(confirms->words, target->host);
    state->word = last_words_find(confirms->words, reference_text(target, text));
    state->now_ms = clock_ms();
    state->open = view.open;
    state->away = view.away || (host && state->now_ms < host->silent_ms);
    return last_word_asks(state);
}

static void note_silence(struct confirms *confirms, const char *of, int64_t confirm_ms)
{
    last_words_make(confirms->words, of)->silent_ms =
        clock_ms() + (confirm_ms < SILENCE_MS ? confirm_ms : SILENCE_MS);
}

static void note_end(struct confirms *confirms, const struct digest *manifest,
                     const struct push_target *target, int64_t at_ms)
{
    char text[REFERENCE_TEXT_MAX];
    bool failed = push_state_is_failure(target->state);
    if (target->reference.tag[0] == '\0' || (!failed && target->state != PUSH_PUSHED))
        return;
    struct last_word *word =
        last_words_make(confirms->words, reference_text(&target->reference, text));
    if (failed)
        last_word_failed(word, manifest, at_ms);
    else
        last_word_there(word, manifest, at_ms);
}

/* ---- from records, at the start ---- */

static void restore_push(struct confirms *confirms, const struct push *push)
{
    autolock pthread_mutex_t *held = lock_take(&confirms->lock);
    for (size_t i = 0; i < push->target_count; i++) {
        char text[REFERENCE_TEXT_MAX];
        const struct push_target *target = &push->targets[i];
        int64_t age_s = clock_wall_s() - (int64_t)target->ended_s;
        /* Younger ones were read before, or have ended since. */
        if (last_words_find(confirms->words, reference_text(&target->reference, text)) == NULL)
            note_end(confirms, &push->manifest.digest, target,
                     clock_ms() - (age_s > 0 ? age_s : 0) * 1000);
    }
}

static bool goes_on(struct confirms *confirms)
{
    autolock pthread_mutex_t *held = lock_take(&confirms->lock);
    return !confirms->closed;
}

static void one_ended(struct confirms *confirms)
{
    autolock pthread_mutex_t *held = lock_take(&confirms->lock);
    if (--confirms->under_way == 0)
        pthread_cond_broadcast(&confirms->ended);
}

static void on_restore(struct work *work)
{
    struct confirms *confirms =
        (struct confirms *)((char *)work - offsetof(struct confirms, restore));
    struct push *some = xcalloc(RESTORED_AT_ONCE, sizeof *some);
    struct error err = ERROR_INIT;
    char before[PUSH_ID_MAX] = "";
    size_t count = RESTORED_AT_ONCE;
    for (size_t all = 0; all < CONFIRM_RESTORED && count == RESTORED_AT_ONCE; all += count) {
        if (!goes_on(confirms) || pushes_before(confirms->runtime->store, before, some,
                                                RESTORED_AT_ONCE, &count, &err) != ERR_OK)
            break;
        for (size_t i = 0; i < count; i++) {
            restore_push(confirms, &some[i]);
            memcpy(before, some[i].id, sizeof before);
            push_deinit(&some[i]);
        }
    }
    if (err.code != ERR_OK)
        log_warn("what became of pushes is not known, so their targets are asked: %s", err.text);
    free(some);
    one_ended(confirms);
}

/* ---- one of them ---- */

static struct confirm *confirm_new(struct confirms *confirms,
                                   const struct confirm_question *question)
{
    const struct mirror_route *route = question->route;
    struct confirm *confirm =
        xcalloc(1, sizeof *confirm + route->count * sizeof confirm->targets[0]);
    confirm->all = confirms;
    confirm->digest = question->manifest->digest;
    confirm->confirm_ms = route->confirm_ms;
    confirm->stored = route->acknowledge == ACKNOWLEDGE_STORED;
    snprintf(confirm->repository, sizeof confirm->repository, "%s", question->repository);
    snprintf(confirm->tag, sizeof confirm->tag, "%s", question->tag);
    TAILQ_INIT(&confirm->waiters);
    for (size_t i = 0; i < route->count; i++) {
        struct confirm_target *target = &confirm->targets[confirm->count];
        if (route->targets[i].optional)
            continue;
        target->confirm = confirm;
        target->target = route->targets[i];
        snprintf(target->target.repository.tag, sizeof target->target.repository.tag, "%s",
                 question->tag);
        confirm->count++;
    }
    return confirm;
}

static bool is_same(const struct confirm *a, const struct confirm *b)
{
    return strcmp(a->tag, b->tag) == 0 && strcmp(a->repository, b->repository) == 0 &&
           digest_equal(&a->digest, &b->digest);
}

static struct tag_state state_of(const struct confirm *confirm)
{
    return (struct tag_state){
        .digest = &confirm->digest, .confirm_ms = confirm->confirm_ms, .waits = !confirm->stored};
}

static bool any_waits(const struct confirm *confirm)
{
    for (size_t i = 0; i < confirm->count; i++)
        if (confirm->targets[i].waits)
            return true;
    return false;
}

/* ---- its end ---- */

/* With the lock. */
static void conclude(struct confirm *confirm)
{
    const struct confirm_target *lacking = NULL;
    char text[REFERENCE_TEXT_MAX];
    for (size_t i = 0; i < confirm->count && lacking == NULL; i++)
        if (confirm->targets[i].lacks || confirm->targets[i].waits)
            lacking = &confirm->targets[i];
    if (lacking == NULL || confirm->error.code != ERR_OK)
        return;
    reference_text(&lacking->target.repository, text);
    if (confirm->all->closed)
        fail(&confirm->error, ERR_STOPPING, 0, "the gateway is stopping, and %s is not there yet",
             text);
    else
        fail(&confirm->error, ERR_MANIFEST_NOT_HELD, 0, "%s is not there%s", text,
             lacking->waits ? ", and pushing it again takes long"
                            : ": a push of it has failed; push it again to see why");
}

static void end(struct confirm *confirm)
{
    struct confirms *confirms = confirm->all;
    struct waiters waiters = TAILQ_HEAD_INITIALIZER(waiters);
    struct confirm_waiter *waiter, *next;
    pthread_mutex_lock(&confirms->lock);
    conclude(confirm);
    confirm->phase = CONFIRM_ENDS;
    TAILQ_REMOVE(&confirms->list, confirm, link);
    TAILQ_CONCAT(&waiters, &confirm->waiters, link);
    pthread_mutex_unlock(&confirms->lock);
    for (waiter = TAILQ_FIRST(&waiters); waiter; waiter = next) {
        next = TAILQ_NEXT(waiter, link);
        waiter->ended(waiter, &confirm->error);
    }
    free(confirm);
    one_ended(confirms);
}

/* It need not wait for its time. With the lock. */
static void hurry(struct confirm *confirm)
{
    struct work_queue *works = confirm->all->works;
    if (!confirm->timed || !work_cancel(works, &confirm->work))
        return;
    confirm->timed = false;
    work_submit(works, &confirm->work);
}

/* ---- pushing again ---- */

/* The targets that lack it. */
static void route_to(const struct confirm *confirm, struct mirror_route *route)
{
    route->acknowledge = ACKNOWLEDGE_STORED;
    route->count = 0;
    for (size_t i = 0; i < confirm->count; i++) {
        const struct confirm_target *target = &confirm->targets[i];
        if (target->step == STEP_QUEUE || target->step == STEP_DELIVER)
            route->targets[route->count++] = target->target;
    }
}

static enum errc plan(const struct confirm *confirm, const struct mirror_route *route,
                      struct push *push, struct error *err)
{
    struct runtime *runtime = confirm->all->runtime;
    struct stored_image image;
    char digest[DIGEST_TEXT_MAX];
    autofree char *name =
        xasprintf("%s@%s", confirm->repository, digest_text(&confirm->digest, digest));
    if (stored_image_find(runtime->store, name, &image, err) != ERR_OK)
        return err->code;
    push->manifest = image.manifest;
    push->config = image.config;
    push->referrers = mem_take(&image.referrers);
    push->referrer_count = image.referrer_count;
    snprintf(push->repository, sizeof push->repository, "%s", confirm->repository);
    stored_image_deinit(&image);
    return mirrors_plan(runtime->settings, route, confirm->tag, PUSH_TARGETS_MAX, push, err);
}

/* What is remembered of a repository that has lost something is not worth much. */
static void forget(const struct confirm *confirm, const struct push *push)
{
    struct upstream *upstream = confirm->all->runtime->upstream;
    for (size_t i = 0; i < push->target_count; i++) {
        char text[REFERENCE_TEXT_MAX];
        repository_memory_forget(upstream->memory, &push->targets[i].reference);
        log_event(LOG_INFO, "mirror.lacks",
                  LOG_FIELDS(log_text("repository", confirm->repository),
                             log_text("tag", confirm->tag),
                             log_text("target", reference_text(&push->targets[i].reference, text)),
                             log_text("push", push->id)),
                  "a mirror does not have what is held here: it is pushed again");
    }
}

static void deliver(struct confirm *confirm)
{
    struct confirms *confirms = confirm->all;
    struct error *err = &confirm->error;
    autofree struct mirror_route *route = xcalloc(1, sizeof *route);
    struct push push = {0};
    route_to(confirm, route);
    if (route->count == 0)
        return;
    if (plan(confirm, route, &push, err) == ERR_OK) {
        pushes_accept(confirms->runtime->store, &push);
        pushes_put(confirms->runtime->store, &push, true, err);
    }
    if (err->code == ERR_OK) {
        push_log_accepted(&push);
        forget(confirm, &push);
        push_queue_start(confirms->queue, &push);
    } else {
        log_error("%s:%s is not pushed again: %s", confirm->repository, confirm->tag, err->text);
    }
    push_deinit(&push);
}

/* ---- steps ---- */

/* With the lock. */
static void judge(struct confirm_target *target)
{
    struct confirm *confirm = target->confirm;
    struct confirms *confirms = confirm->all;
    const struct tag_ask *ask = &target->ask;
    struct tag_state state = state_of(confirm);
    const struct reference *reference = &target->target.repository;
    char text[REFERENCE_TEXT_MAX];
    bool away = error_party(ask->error.code) == PARTY_NETWORK;
    asks(confirms, reference, &state);
    target->step = last_word_judge(&state, ask->answer, away || state.away);
    target->waits = target->step == STEP_DELIVER || target->step == STEP_WAIT;
    target->lacks = target->step == STEP_MISSING;
    if (ask->answer == TAG_SAME)
        last_word_there(last_words_make(confirms->words, reference_text(reference, text)),
                        &confirm->digest, state.now_ms);
    if (ask->answer == TAG_UNKNOWN)
        note_silence(confirms, reference_text(reference, text), confirm->confirm_ms);
    if (ask->answer == TAG_UNKNOWN && away)
        note_silence(confirms, reference->host, confirm->confirm_ms);
}

static void judge_all(struct confirm *confirm)
{
    autolock pthread_mutex_t *held = lock_take(&confirm->all->lock);
    confirm->phase = CONFIRM_DELIVERS;
    for (size_t i = 0; i < confirm->count; i++) {
        struct confirm_target *target = &confirm->targets[i];
        if (target->asked && confirm->all->closed)
            target->waits = true; /* for good: see conclude() */
        else if (target->asked)
            judge(target);
    }
}

/* Until a push has ended, or for long enough. False: there is nothing to wait for. */
static bool wait_for_push(struct confirm *confirm)
{
    struct confirms *confirms = confirm->all;
    autolock pthread_mutex_t *held = lock_take(&confirms->lock);
    if (confirm->stored || confirm->error.code != ERR_OK || confirms->closed || !any_waits(confirm))
        return false;
    confirm->timed = true;
    work_submit_at(confirms->works, &confirm->work, clock_ms() + CONFIRM_DELIVERY_MS);
    return true;
}

static void on_work(struct work *work)
{
    struct confirm *confirm = (struct confirm *)((char *)work - offsetof(struct confirm, work));
    if (confirm->phase == CONFIRM_ASKS) {
        judge_all(confirm);
        deliver(confirm);
        if (wait_for_push(confirm))
            return;
    }
    end(confirm);
}

/* ---- what is waited for ---- */

/* With the lock. */
static void answered_locked(struct confirm *confirm)
{
    if (--confirm->asking == 0)
        work_submit(confirm->all->works, &confirm->work);
}

static void on_answer(struct tag_ask *ask)
{
    struct confirm *confirm = ((struct confirm_target *)ask)->confirm;
    autolock pthread_mutex_t *held = lock_take(&confirm->all->lock);
    answered_locked(confirm);
}

/* A push to the tag has ended there. One that was superseded leaves its place to another. With the
 * lock. */
static void push_ended(struct confirm *confirm, const struct push_target *ended)
{
    struct push_queue *queue = confirm->all->queue;
    for (size_t i = 0; i < confirm->count; i++) {
        struct confirm_target *target = &confirm->targets[i];
        if (!target->waits || !reference_same_target(&target->target.repository, &ended->reference))
            continue;
        if (ended->state == PUSH_SUPERSEDED && push_queue_view(queue, &ended->reference).open)
            continue;
        target->waits = false;
        target->lacks = push_state_is_failure(ended->state);
    }
    if (!any_waits(confirm))
        hurry(confirm);
}

static void on_ended(void *self, const struct digest *manifest, const struct push_target *target)
{
    struct confirms *confirms = self;
    struct confirm *confirm;
    autolock pthread_mutex_t *held = lock_take(&confirms->lock);
    note_end(confirms, manifest, target, clock_ms());
    TAILQ_FOREACH(confirm, &confirms->list, link)
    {
        if (confirm->phase == CONFIRM_DELIVERS)
            push_ended(confirm, target);
    }
}

/* ---- who asks ---- */

bool confirm_is_due(struct confirms *confirms, const struct confirm_question *question)
{
    const struct mirror_route *route = question->route;
    autolock pthread_mutex_t *held = lock_take(&confirms->lock);
    for (size_t i = 0; i < route->count; i++) {
        struct tag_state state = {.digest = &question->manifest->digest,
                                  .confirm_ms = route->confirm_ms,
                                  .waits = route->acknowledge == ACKNOWLEDGE_PUSHED};
        struct reference target = route->targets[i].repository;
        snprintf(target.tag, sizeof target.tag, "%s", question->tag);
        if (!route->targets[i].optional && asks(confirms, &target, &state))
            return true;
    }
    return false;
}

static void ask_all(struct confirm *confirm)
{
    struct confirms *confirms = confirm->all;
    pthread_mutex_lock(&confirms->lock);
    confirm->asking = 1;
    for (size_t i = 0; i < confirm->count; i++) {
        struct confirm_target *target = &confirm->targets[i];
        struct tag_state state = state_of(confirm);
        target->ask = (struct tag_ask){.expected = confirm->digest, .answered = on_answer};
        target->asked = asks(confirms, &target->target.repository, &state);
        confirm->asking += target->asked;
    }
    pthread_mutex_unlock(&confirms->lock);
    for (size_t i = 0; i < confirm->count; i++)
        if (confirm->targets[i].asked)
            tag_ask_start(confirms->runtime->upstream->tag_asks,
                          &confirm->targets[i].target.repository, &confirm->targets[i].ask);
    autolock pthread_mutex_t *held = lock_take(&confirms->lock);
    answered_locked(confirm);
}

/* With the lock. The one that there is, or the new one; NULL: none is to be made. */
static struct confirm *join(struct confirm *made, struct confirm_waiter *waiter)
{
    struct confirms *confirms = made->all;
    struct confirm *confirm;
    TAILQ_FOREACH(confirm, &confirms->list, link)
    {
        if (is_same(confirm, made))
            break;
    }
    if (confirm == NULL && (confirms->closed || (!waiter && confirms->under_way >= CONFIRMS_MAX)))
        return NULL;
    if (confirm == NULL) {
        confirm = made;
        confirm->work.run = on_work;
        TAILQ_INSERT_TAIL(&confirms->list, confirm, link);
        confirms->under_way++;
    }
    if (waiter)
        TAILQ_INSERT_TAIL(&confirm->waiters, waiter, link);
    return confirm;
}

void confirm_begin(struct confirms *confirms, const struct confirm_question *question,
                   struct confirm_waiter *waiter)
{
    struct confirm *made = confirm_new(confirms, question);
    pthread_mutex_lock(&confirms->lock);
    const struct confirm *joined = join(made, waiter);
    pthread_mutex_unlock(&confirms->lock);
    if (joined == made) {
        ask_all(made);
        return;
    }
    free(made);
    if (joined || waiter == NULL)
        return;
    struct error err = ERROR_INIT;
    fail(&err, ERR_STOPPING, 0, "the gateway is stopping");
    waiter->ended(waiter, &err);
}

/* ---- the life of all ---- */

struct confirms *confirms_new(struct runtime *runtime, struct push_queue *queue)
{
    struct confirms *confirms = xcalloc(1, sizeof *confirms);
    confirms->runtime = runtime;
    confirms->queue = queue;
    confirms->works = work_queue_new(runtime->executor, NULL, CONFIRMS_AT_ONCE);
    confirms->words = last_words_new();
    pthread_mutex_init(&confirms->lock, NULL);
    pthread_cond_init(&confirms->ended, NULL);
    TAILQ_INIT(&confirms->list);
    push_queue_listen(queue, on_ended, confirms);
    confirms->under_way = 1;
    confirms->restore.run = on_restore;
    work_submit(confirms->works, &confirms->restore);
    return confirms;
}

/* With the lock. */
static void cancel_asks(struct confirm *confirm)
{
    struct tag_asks *asked = confirm->all->runtime->upstream->tag_asks;
    for (size_t i = 0; i < confirm->count; i++) {
        struct confirm_target *target = &confirm->targets[i];
        if (target->asked && tag_ask_cancel(asked, &target->ask))
            answered_locked(confirm);
    }
}

void confirms_close(struct confirms *confirms)
{
    struct confirm *confirm;
    if (confirms == NULL)
        return;
    autolock pthread_mutex_t *held = lock_take(&confirms->lock);
    confirms->closed = true;
    TAILQ_FOREACH(confirm, &confirms->list, link)
    {
        if (confirm->phase == CONFIRM_ASKS)
            cancel_asks(confirm);
        else
            hurry(confirm);
    }
}

void confirms_free(struct confirms *confirms)
{
    if (confirms == NULL)
        return;
    pthread_mutex_lock(&confirms->lock);
    while (confirms->under_way > 0)
        pthread_cond_wait(&confirms->ended, &confirms->lock);
    pthread_mutex_unlock(&confirms->lock);
    work_queue_free(confirms->works);
    last_words_free(confirms->words);
    pthread_cond_destroy(&confirms->ended);
    pthread_mutex_destroy(&confirms->lock);
    free(confirms);
}
