#include "gateway/service/checker.h"

#include "base/clock.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/service/check_report.h"

#include <stddef.h>

/* After so long others have their turn. */
#define TURN_MS 20

struct checker {
    struct store *store;
    struct push_queue *pushes;
    struct work_queue *queue;
    struct work work;
    pthread_mutex_t lock; /* guards what follows; never held while a step is made */
    pthread_cond_t ended;
    struct check *check; /* the work's, while it runs */
    bool cancelled;
    bool closed;
    struct check_report report;
};

static void found(void *self, const struct check_problem *problem)
{
    struct checker *checker = self;
    autolock pthread_mutex_t *held = lock_take(&checker->lock);
    check_report_found(&checker->report, problem);
}

static void mended(void *self, const char *push)
{
    struct checker *checker = self;
    push_queue_take(checker->pushes, push);
}

struct checker *checker_new(struct store *store, struct executor *executor,
                            struct push_queue *queue)
{
    struct checker *checker = xcalloc(1, sizeof *checker);
    checker->store = store;
    checker->pushes = queue;
    checker->queue = work_queue_new(executor, NULL, 1);
    pthread_mutex_init(&checker->lock, NULL);
    pthread_cond_init(&checker->ended, NULL);
    check_report_init(&checker->report, false);
    checker->report.state = "none";
    return checker;
}

/* With the lock. */
static void end(struct checker *checker, const char *state)
{
    const struct check_counts *counts = &checker->report.counts;
    checker->report.counts = check_counts(checker->check);
    checker->report.state = state;
    check_free(checker->check);
    checker->check = NULL;
    pthread_cond_broadcast(&checker->ended);
    log_event(counts->problems > counts->repaired ? LOG_WARN : LOG_INFO, "store.checked",
              LOG_FIELDS(log_text("state", state), log_number("blobs", counts->blobs),
                         log_number("bytes", counts->bytes), log_number("records", counts->records),
                         log_number("problems", counts->problems),
                         log_number("repaired", counts->repaired),
                         log_text("error", checker->report.error.text)),
              "the check of the data folder has ended");
}

static bool is_cancelled(struct checker *checker)
{
    autolock pthread_mutex_t *held = lock_take(&checker->lock);
    checker->report.counts = check_counts(checker->check);
    return checker->cancelled;
}

static void run(struct work *work)
{
    struct checker *checker = (struct checker *)((char *)work - offsetof(struct checker, work));
    int64_t until_ms = clock_ms() + TURN_MS;
    struct error err = ERROR_INIT;
    bool more = true;
    int64_t wait_ms = 0;
    while (more && wait_ms == 0 && err.code == ERR_OK && clock_ms() < until_ms &&
           !is_cancelled(checker))
        check_step(checker->check, &more, &wait_ms, &err);
    autolock pthread_mutex_t *held = lock_take(&checker->lock);
    if (more && err.code == ERR_OK && !checker->cancelled) {
        work_submit_at(checker->queue, work, clock_ms() + wait_ms);
        return;
    }
    checker->report.error = err;
    end(checker, err.code != ERR_OK ? "failed" : more ? "cancelled" : "done");
}

enum errc checker_begin(struct checker *checker, bool repair, struct error *err)
{
    const struct check_options options = {.repair = repair,
                                          .shared = true,
                                          .bytes_per_s = CHECKER_BYTES_PER_S,
                                          .found = found,
                                          .mended = mended,
                                          .self = checker};
    autolock pthread_mutex_t *held = lock_take(&checker->lock);
    if (checker->closed)
        return fail(err, ERR_STOPPING, 0, "the gateway is stopping");
    if (checker->check != NULL)
        return ERR_OK;
    check_report_deinit(&checker->report);
    check_report_init(&checker->report, repair);
    checker->cancelled = false;
    checker->check = check_new(checker->store, &options);
    checker->work = (struct work){.run = run};
    work_submit(checker->queue, &checker->work);
    return ERR_OK;
}

/* It may wait for its time: then it is ended here. */
void checker_cancel(struct checker *checker)
{
    pthread_mutex_lock(&checker->lock);
    bool runs = checker->check != NULL;
    checker->cancelled = true; /* seen before the work submits itself again */
    pthread_mutex_unlock(&checker->lock);
    if (!runs || !work_cancel(checker->queue, &checker->work))
        return;
    autolock pthread_mutex_t *held = lock_take(&checker->lock);
    end(checker, "cancelled");
}

void checker_close(struct checker *checker)
{
    pthread_mutex_lock(&checker->lock);
    checker->closed = true;
    pthread_mutex_unlock(&checker->lock);
    checker_cancel(checker);
    autolock pthread_mutex_t *held = lock_take(&checker->lock);
    while (checker->check != NULL)
        pthread_cond_wait(&checker->ended, &checker->lock);
}

void checker_free(struct checker *checker)
{
    if (checker == NULL)
        return;
    work_queue_free(checker->queue);
    check_report_deinit(&checker->report);
    pthread_cond_destroy(&checker->ended);
    pthread_mutex_destroy(&checker->lock);
    free(checker);
}

char *checker_report(struct checker *checker)
{
    autolock pthread_mutex_t *held = lock_take(&checker->lock);
    return json_compact_take(check_report_json(&checker->report));
}
