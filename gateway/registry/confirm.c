#include "gateway/registry/confirm.h"

#include "base/clock.h"
#include "base/lock.h"
#include "base/mem.h"
#include "gateway/registry/confirm_internal.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define CONFIRMS_AT_ONCE 8 /* that read and write records */

/* ---- one of them ---- */

void confirms_one_ended(struct confirms *confirms)
{
    autolock pthread_mutex_t *held = lock_take(&confirms->lock);
    if (--confirms->under_way == 0)
        pthread_cond_broadcast(&confirms->ended);
}

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
    confirms_one_ended(confirms);
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
    confirm_look(confirms, &target->target, &state);
    bool failed = state.word && state.word->word == WORD_FAILED;
    target->step = last_word_judge(&state, ask->answer, away || state.away);
    target->waits = target->step == STEP_DELIVER || target->step == STEP_WAIT;
    target->lacks = target->step == STEP_MISSING;
    if (ask->answer == TAG_SAME)
        last_word_there(last_words_make(confirms->words, reference_text(reference, text)),
                        &confirm->digest, state.now_ms);
    if (ask->answer == TAG_OTHER && !failed) /* it will say so again */
        last_words_make(confirms->words, reference_text(reference, text))->silent_ms =
            state.now_ms + confirm->confirm_ms;
    if (ask->answer == TAG_UNKNOWN)
        confirm_note_silence(confirms, reference_text(reference, text), confirm->confirm_ms);
    if (ask->answer == TAG_UNKNOWN && away)
        confirm_note_silence(confirms, reference->host, confirm->confirm_ms);
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
        confirm_deliver(confirm);
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
    confirm_note_end(confirms, manifest, target, clock_ms());
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
        struct mirror_target target = route->targets[i];
        snprintf(target.repository.tag, sizeof target.repository.tag, "%s", question->tag);
        if (!route->targets[i].optional && confirm_asks(confirms, &target, &state))
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
        target->asked = confirm_asks(confirms, &target->target, &state);
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
    confirms->restore.run = confirms_restore_work;
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
