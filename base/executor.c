#include "base/executor.h"

#include "base/clock.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/mem.h"

#include <assert.h>
#include <search.h>
#include <string.h>

#define IDLE_MS 2000

TAILQ_HEAD(work_list, work);

/* The works of one key: one is `ahead` (queued, running or held), the others wait behind it. */
struct work_key {
    struct work_list behind;
    char text[];
};

struct work_group {
    struct executor *executor;
    unsigned limit;
    unsigned running;
};

struct work_queue {
    struct executor *executor;
    struct work_group *group; /* NULL: none */
    struct work_list works;
    size_t waiting;
    unsigned limit;
    unsigned running;
    struct work_timer pause;
    bool ready; /* listed as such: something waits that may begin, but for the group */
    TAILQ_ENTRY(work_queue) link;
};

/* A worker that waits for work, on its own stack. */
struct idle_worker {
    LIST_ENTRY(idle_worker) link;
    pthread_cond_t work; /* something may begin */
};

struct executor {
    unsigned threads_max;
    int64_t idle_ms;
    pthread_t clock;
    pthread_mutex_t lock;   /* guards what follows, and all queues, groups and keys */
    pthread_cond_t earlier; /* the first timer changed */
    pthread_cond_t ended;   /* a worker, or what it ran */
    TAILQ_HEAD(ready_queues, work_queue) ready;
    struct timer_heap timers;
    void *keys; /* tsearch tree */
    unsigned threads;
    pthread_t gone; /* the worker that ended last, not joined yet */
    bool any_gone;
    unsigned starting;                         /* of them: have not looked for work yet */
    LIST_HEAD(idle_workers, idle_worker) idle; /* last come, first woken: the others may end */
    bool closed;
};

/* What this thread runs. */
static _Thread_local const struct work *current;
static _Thread_local bool current_is_held;

/* ---- timers; with the lock ---- */

static void timer_add(struct executor *executor, struct work_timer *timer, int64_t due_ms)
{
    timer_heap_add(&executor->timers, &timer->timer, due_ms);
    if (timer_heap_first(&executor->timers) == &timer->timer)
        pthread_cond_signal(&executor->earlier);
}

static void timer_remove(struct executor *executor, struct work_timer *timer)
{
    timer_heap_remove(&executor->timers, &timer->timer);
}

/* ---- queues and keys; all with the lock ---- */

static void update_ready(struct work_queue *queue)
{
    bool ready =
        queue->waiting > 0 && queue->running < queue->limit && queue->pause.timer.position == 0;
    if (ready == queue->ready)
        return;
    queue->ready = ready;
    if (ready)
        TAILQ_INSERT_TAIL(&queue->executor->ready, queue, link);
    else
        TAILQ_REMOVE(&queue->executor->ready, queue, link);
}

static void enqueue(struct work *work)
{
    struct work_queue *queue = work->queue;
    work->place = WORK_QUEUED;
    TAILQ_INSERT_TAIL(&queue->works, work, link);
    queue->waiting++;
    update_ready(queue);
}

static void dequeue(struct work *work)
{
    struct work_queue *queue = work->queue;
    TAILQ_REMOVE(&queue->works, work, link);
    queue->waiting--;
    update_ready(queue);
}

static int compare_keys(const void *a, const void *b)
{
    return strcmp(((const struct work_key *)a)->text, ((const struct work_key *)b)->text);
}

static struct work_key *key_new(const char *text)
{
    size_t size = strlen(text) + 1;
    struct work_key *key = xmalloc(sizeof *key + size);
    memcpy(key->text, text, size);
    TAILQ_INIT(&key->behind);
    return key;
}

/* True when the work is the first of its key, or has none. */
static bool enter_key(struct executor *executor, struct work *work)
{
    work->ordered = NULL;
    if (work->key == NULL)
        return true;
    struct work_key *key = key_new(work->key);
    struct work_key **held = tsearch(key, &executor->keys, compare_keys);
    if (held == NULL)
        abort(); /* out of memory, as in base/mem.h */
    work->ordered = *held;
    if (*held == key)
        return true;
    free(key);
    work->place = WORK_BEHIND_KEY;
    TAILQ_INSERT_TAIL(&work->ordered->behind, work, link);
    return false;
}

static void leave_key(struct executor *executor, struct work_key *key)
{
    if (key == NULL)
        return;
    struct work *next = TAILQ_FIRST(&key->behind);
    if (next) {
        TAILQ_REMOVE(&key->behind, next, link);
        enqueue(next);
        return;
    }
    tdelete(key, &executor->keys, compare_keys);
    free(key);
}

static void submit(struct work_queue *queue, struct work *work)
{
    work->queue = queue;
    if (enter_key(queue->executor, work))
        enqueue(work);
}

/* By turn; in a group those of which nothing runs are first. */
static struct work_queue *choose(struct executor *executor)
{
    struct work_queue *first = NULL;
    struct work_queue *queue;
    TAILQ_FOREACH(queue, &executor->ready, link)
    {
        if (queue->group && queue->group->running >= queue->group->limit)
            continue;
        if (queue->running == 0)
            return queue;
        if (first == NULL)
            first = queue;
    }
    return first;
}

static void take_place(struct work_queue *queue)
{
    queue->running++;
    if (queue->group)
        queue->group->running++;
    if (queue->ready) { /* the next turn is another queue's */
        TAILQ_REMOVE(&queue->executor->ready, queue, link);
        TAILQ_INSERT_TAIL(&queue->executor->ready, queue, link);
    }
    update_ready(queue);
}

static void give_place(struct work_queue *queue, struct work_key *key)
{
    queue->running--;
    if (queue->group)
        queue->group->running--;
    leave_key(queue->executor, key);
    update_ready(queue);
    pthread_cond_broadcast(&queue->executor->ended);
}

/* ---- workers ---- */

static void *worker(void *arg);

/* Without the lock; the thread was counted. */
static int create_worker(struct executor *executor)
{
    pthread_t thread;
    return pthread_create(&thread, NULL, worker, executor);
}

static void start_worker(struct executor *executor)
{
    int rc = create_worker(executor);
    if (rc == 0)
        return;
    log_debug("no further thread, %u do the work: %s", executor_threads(executor) - 1,
              strerror(rc));
    autolock pthread_mutex_t *held = lock_take(&executor->lock);
    executor->starting--;
    executor->threads--;
    pthread_cond_broadcast(&executor->ended);
}

/* With the lock. One worker starts at a time: when it takes its first work it looks whether another
 * is needed, so that many short works make few workers. True: the caller has to start_worker() once
 * it has given the lock up. */
static bool wake_worker(struct executor *executor)
{
    if (TAILQ_EMPTY(&executor->ready) || choose(executor) == NULL)
        return false;
    if (!LIST_EMPTY(&executor->idle)) {
        pthread_cond_signal(&LIST_FIRST(&executor->idle)->work);
        return false;
    }
    bool another =
        executor->threads < executor->threads_max && executor->starting == 0 && !executor->closed;
    executor->threads += another;
    executor->starting += another;
    return another;
}

static void unlock_and_wake(struct executor *executor)
{
    bool another = wake_worker(executor);
    pthread_mutex_unlock(&executor->lock);
    if (another)
        start_worker(executor);
}

/* Gives the lock up while it runs. */
static void run_one(struct executor *executor, struct work_queue *queue)
{
    struct work *work = TAILQ_FIRST(&queue->works);
    struct work_key *key = work->ordered;
    dequeue(work);
    take_place(queue);
    work->place = WORK_NOWHERE;
    current = work;
    current_is_held = false;
    struct log_scope outer = log_scope_enter(&work->scope);
    unlock_and_wake(executor);
    work->run(work);
    log_scope_end(&outer);
    pthread_mutex_lock(&executor->lock);
    current = NULL;
    if (!current_is_held)
        give_place(queue, key);
}

/* False when the worker was idle long enough to end, and nothing came in that moment. */
static bool wait_for_work(struct executor *executor)
{
    struct timespec until = clock_deadline(executor->idle_ms);
    bool last = executor->threads == 1;
    struct idle_worker self;
    clock_cond_init(&self.work);
    LIST_INSERT_HEAD(&executor->idle, &self, link);
    int rc = last ? pthread_cond_wait(&self.work, &executor->lock)
                  : pthread_cond_timedwait(&self.work, &executor->lock, &until);
    LIST_REMOVE(&self, link);
    pthread_cond_destroy(&self.work);
    return rc == 0 || executor->threads == 1 || choose(executor) != NULL;
}

/* With the lock, which it gives up. A worker joins the one that ended before it, so who joins the
 * last has joined all. Until then a thread may still be giving back what libraries keep for it, and
 * at the end of the process those libraries would be gone under it. */
static void join_gone(struct executor *executor, bool i_follow)
{
    bool any = executor->any_gone;
    pthread_t gone = executor->gone;
    executor->any_gone = i_follow;
    if (i_follow)
        executor->gone = pthread_self();
    pthread_mutex_unlock(&executor->lock);
    if (any)
        pthread_join(gone, NULL);
}

static void *worker(void *arg)
{
    struct executor *executor = arg;
    pthread_mutex_lock(&executor->lock);
    executor->starting--;
    for (bool more = true; more;) {
        struct work_queue *queue = choose(executor);
        if (queue)
            run_one(executor, queue);
        else
            more = !executor->closed && wait_for_work(executor);
    }
    executor->threads--;
    pthread_cond_broadcast(&executor->ended);
    join_gone(executor, true);
    return NULL;
}

/* ---- the clock ---- */

static void fire(struct executor *executor, struct work_timer *timer)
{
    timer_remove(executor, timer);
    if (timer->paused)
        update_ready(timer->paused);
    else
        submit(timer->work->queue, timer->work);
}

static void *watch_clock(void *arg)
{
    struct executor *executor = arg;
    pthread_mutex_lock(&executor->lock);
    while (!executor->closed) {
        struct heap_timer *first = timer_heap_first(&executor->timers);
        int64_t left_ms = first ? first->due_ms - clock_ms() : 0;
        if (first && left_ms <= 0) {
            fire(executor, (struct work_timer *)first);
            unlock_and_wake(executor);
            pthread_mutex_lock(&executor->lock);
        } else if (first) {
            struct timespec until = clock_deadline(left_ms);
            pthread_cond_timedwait(&executor->earlier, &executor->lock, &until);
        } else {
            pthread_cond_wait(&executor->earlier, &executor->lock);
        }
    }
    pthread_mutex_unlock(&executor->lock);
    return NULL;
}

/* ---- its life ---- */

static void deinit(struct executor *executor)
{
    pthread_cond_destroy(&executor->earlier);
    pthread_cond_destroy(&executor->ended);
    pthread_mutex_destroy(&executor->lock);
    timer_heap_deinit(&executor->timers);
    free(executor);
}

enum errc executor_new(const struct executor_options *options, struct executor **out,
                       struct error *err)
{
    struct executor *executor = xcalloc(1, sizeof *executor);
    assert(options->threads_max > 0);
    executor->threads_max = options->threads_max;
    executor->idle_ms = options->idle_ms > 0 ? options->idle_ms : IDLE_MS;
    TAILQ_INIT(&executor->ready);
    LIST_INIT(&executor->idle);
    pthread_mutex_init(&executor->lock, NULL);
    clock_cond_init(&executor->earlier);
    pthread_cond_init(&executor->ended, NULL);
    int rc = pthread_create(&executor->clock, NULL, watch_clock, executor);
    if (rc != 0) {
        deinit(executor);
        return fail(err, ERR_MEMORY, rc, "start a thread");
    }
    executor->threads = executor->starting = 1;
    rc = create_worker(executor);
    if (rc != 0) {
        executor->threads = 0;
        executor_free(executor);
        return fail(err, ERR_MEMORY, rc, "start a thread");
    }
    *out = executor;
    return ERR_OK;
}

void executor_free(struct executor *executor)
{
    if (executor == NULL)
        return;
    pthread_mutex_lock(&executor->lock);
    assert(TAILQ_EMPTY(&executor->ready) && executor->timers.count == 0 && executor->keys == NULL);
    executor->closed = true;
    struct idle_worker *idle;
    LIST_FOREACH(idle, &executor->idle, link)
    {
        pthread_cond_signal(&idle->work);
    }
    pthread_cond_signal(&executor->earlier);
    while (executor->threads > 0)
        pthread_cond_wait(&executor->ended, &executor->lock);
    join_gone(executor, false);
    pthread_join(executor->clock, NULL);
    deinit(executor);
}

unsigned executor_threads(struct executor *executor)
{
    autolock pthread_mutex_t *held = lock_take(&executor->lock);
    return executor->threads;
}

struct work_group *work_group_new(struct executor *executor, unsigned limit)
{
    struct work_group *group = xcalloc(1, sizeof *group);
    group->executor = executor;
    group->limit = limit;
    return group;
}

void work_group_free(struct work_group *group)
{
    free(group);
}

struct work_queue *work_queue_new(struct executor *executor, struct work_group *group,
                                  unsigned limit)
{
    struct work_queue *queue = xcalloc(1, sizeof *queue);
    queue->executor = executor;
    queue->group = group;
    queue->limit = limit;
    queue->pause.paused = queue;
    TAILQ_INIT(&queue->works);
    return queue;
}

void work_queue_free(struct work_queue *queue)
{
    if (queue == NULL)
        return;
    struct executor *executor = queue->executor;
    pthread_mutex_lock(&executor->lock);
    while (queue->running > 0) /* its last run() is about to return */
        pthread_cond_wait(&executor->ended, &executor->lock);
    assert(queue->waiting == 0);
    if (queue->pause.timer.position > 0)
        timer_remove(executor, &queue->pause);
    pthread_mutex_unlock(&executor->lock);
    free(queue);
}

void work_queue_set_limit(struct work_queue *queue, unsigned limit)
{
    struct executor *executor = queue->executor;
    pthread_mutex_lock(&executor->lock);
    queue->limit = limit;
    update_ready(queue);
    unlock_and_wake(executor);
}

void work_queue_pause(struct work_queue *queue, int64_t until_ms)
{
    struct executor *executor = queue->executor;
    autolock pthread_mutex_t *held = lock_take(&executor->lock);
    bool paused = queue->pause.timer.position > 0;
    if (!paused || queue->pause.timer.due_ms < until_ms) {
        if (paused)
            timer_remove(executor, &queue->pause);
        timer_add(executor, &queue->pause, until_ms);
        update_ready(queue);
    }
}

size_t work_queue_waiting(struct work_queue *queue)
{
    autolock pthread_mutex_t *held = lock_take(&queue->executor->lock);
    return queue->waiting;
}

bool work_queue_has_place(struct work_queue *queue)
{
    autolock pthread_mutex_t *held = lock_take(&queue->executor->lock);
    bool group_full = queue->group && queue->group->running >= queue->group->limit;
    bool place = queue->running + queue->waiting < queue->limit &&
                 queue->pause.timer.position == 0 && !group_full;
    return place;
}

/* ---- works ---- */

static void take_scope(struct work *work)
{
    if (!work->scoped)
        work->scope = log_scope_now();
    work->scoped = true;
}

void work_submit(struct work_queue *queue, struct work *work)
{
    struct executor *executor = queue->executor;
    take_scope(work);
    pthread_mutex_lock(&executor->lock);
    assert(work->place == WORK_NOWHERE);
    submit(queue, work);
    unlock_and_wake(executor);
}

void work_submit_at(struct work_queue *queue, struct work *work, int64_t due_ms)
{
    struct executor *executor = queue->executor;
    take_scope(work);
    autolock pthread_mutex_t *held = lock_take(&executor->lock);
    assert(work->place == WORK_NOWHERE);
    work->queue = queue;
    work->place = WORK_TIMED;
    work->timer.work = work;
    timer_add(executor, &work->timer, due_ms);
}

bool work_cancel(struct work_queue *queue, struct work *work)
{
    struct executor *executor = queue->executor;
    bool mine = true;
    pthread_mutex_lock(&executor->lock);
    switch (work->place) {
    case WORK_QUEUED:
        dequeue(work);
        leave_key(executor, work->ordered);
        break;
    case WORK_BEHIND_KEY:
        TAILQ_REMOVE(&work->ordered->behind, work, link);
        break;
    case WORK_TIMED:
        timer_remove(executor, &work->timer);
        break;
    case WORK_NOWHERE:
    case WORK_HELD:
        mine = false;
        break;
    }
    if (mine)
        work->place = WORK_NOWHERE;
    unlock_and_wake(executor);
    return mine;
}

void work_hold(struct work *work)
{
    struct executor *executor = work->queue->executor;
    assert(current == work && !current_is_held);
    current_is_held = true;
    autolock pthread_mutex_t *held = lock_take(&executor->lock);
    work->place = WORK_HELD;
}

void work_release(struct work *work)
{
    struct executor *executor = work->queue->executor;
    pthread_mutex_lock(&executor->lock);
    assert(work->place == WORK_HELD);
    work->place = WORK_NOWHERE;
    give_place(work->queue, work->ordered);
    unlock_and_wake(executor);
}
