/*
 * The threads on which everything that may block runs, and the queues in which it waits for them.
 *
 * A `work` is one thing to be done: a request of a client, a blob on its way to a registry, a step
 * of a push. It is embedded in its owner and waits as a value: in its queue for a place, behind
 * another work of the same key, or until a time. Only what runs has a thread. A worker takes a
 * work, runs it, and takes the next; workers are made as needed and end when they were idle for a
 * while.
 *
 *     executor_new, work_queue_new..., { work_submit, run }..., work_queue_free..., executor_free
 *
 * What a queue offers:
 * - at most `limit` of its works run at once; queues of one group share a limit beside their own;
 * - first in, first out; among queues by turn, and in a group first those of which nothing runs;
 * - a pause until a time, in which nothing of it begins;
 * - an order by key: works of one key, in whatever queues, run one at a time as they were
 * submitted;
 * - a work that goes on without a thread (work_hold) keeps its place and its key until
 * work_release.
 *
 * Safety. From work_submit() on, a work is the executor's until its run() is called; from then on
 * it is run()'s: the executor touches it no more, so run() may free it, or submit it again as the
 * last thing that it does. A work that is held must live until work_release() returned.
 * work_cancel() gives a work back to its owner that has not begun. A queue is freed when nothing of
 * it waits or is held and the last run() has done its work: work_queue_free() waits for that to
 * return, so it is not called from there. An executor is freed after its queues. Whoever owns works
 * counts them: there is no "wait for all".
 *
 * A work runs in the log scope of the thread that submitted it first (base/log.h).
 *
 * When no thread can be made (a limit on tasks), what waits is done by the workers that there are,
 * of which there is always one; nothing fails for it.
 *
 * Threads: any. One lock inside; no work runs under it. Beside the workers there is one thread that
 * watches the clock for works and pauses whose time has come.
 */
#ifndef SLIPWAY_BASE_EXECUTOR_H
#define SLIPWAY_BASE_EXECUTOR_H

#include "base/log.h"
#include "base/timer_heap.h"

#include <stdint.h>
#include <sys/queue.h>

struct executor;
struct work_group;
struct work_queue;

/* Something that waits for a time; the executor's. */
struct work_timer {
    struct heap_timer timer; /* first member: the executor finds the rest by it */
    struct work_queue *paused;
    struct work *work;
};

enum work_place { WORK_NOWHERE, WORK_QUEUED, WORK_BEHIND_KEY, WORK_TIMED, WORK_HELD };

struct work {
    void (*run)(struct work *work);
    const char *key; /* NULL: none; borrowed until run() is called, or as long as it is held */
    /* the executor's: zeroed before the first submission */
    struct work_queue *queue;
    struct work_key *ordered;
    struct work_timer timer;
    enum work_place place;
    TAILQ_ENTRY(work) link;
    bool scoped;
    struct log_scope scope;
};

struct executor_options {
    unsigned threads_max; /* workers; at least 1 */
    int64_t idle_ms;      /* a worker beyond the first ends after so long; 0 = 2000 */
};

/* ERR_MEMORY when not even the first threads can be made. */
enum errc executor_new(const struct executor_options *options, struct executor **out,
                       struct error *err);
/* When it returns, its threads have ended with all that libraries kept for them. NULL: no-op. */
void executor_free(struct executor *executor);

/* Workers at this moment, busy and idle. */
unsigned executor_threads(struct executor *executor);

struct work_group *work_group_new(struct executor *executor, unsigned limit);
void work_group_free(struct work_group *group); /* after its queues; NULL is a no-op */

/* `group` may be NULL. */
struct work_queue *work_queue_new(struct executor *executor, struct work_group *group,
                                  unsigned limit);
void work_queue_free(struct work_queue *queue); /* NULL is a no-op */

/* From now on at most so many run at once; what runs goes on. At least 1. */
void work_queue_set_limit(struct work_queue *queue, unsigned limit);

/* Nothing of the queue begins before `until_ms` (clock_ms()); an earlier time than a pause that
 * stands changes nothing. */
void work_queue_pause(struct work_queue *queue, int64_t until_ms);

/* Works that wait for a place in it: not those behind a key, not those until a time. */
size_t work_queue_waiting(struct work_queue *queue);
/* A work submitted now would begin at once, as far as the queue and its group say. */
bool work_queue_has_place(struct work_queue *queue);

void work_submit(struct work_queue *queue, struct work *work);
/* The same at `due_ms` (clock_ms()), or at once when that is past. */
void work_submit_at(struct work_queue *queue, struct work *work, int64_t due_ms);

/* True: it had not begun and is its owner's again. False: it runs, ran, is held, or never was
 * submitted. `queue` is where it was submitted last. */
bool work_cancel(struct work_queue *queue, struct work *work);

/* Within run(), before anything that may call work_release(): the work goes on after run()
 * returned. */
void work_hold(struct work *work);
/* Once, from any thread, also before run() has returned. */
void work_release(struct work *work);

#endif
