#include "gateway/push/behind.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/thread.h"
#include "gateway/push/archive_push.h"
#include "gateway/push/behind_lanes.h"
#include "gateway/push/push_known.h"
#include "gateway/push/push_log.h"

#include <assert.h>
#include <string.h>

struct behind {
    struct engine *engine;
    struct ahead *ahead;
    struct cancel cancel;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t ended;
    struct lanes lanes;
    unsigned threads;
    bool closed;
};

/* What a thread is started with. */
struct post {
    struct behind *behind;
    struct lane_host *host;
};

struct behind *behind_new(struct engine *engine, struct ahead *ahead)
{
    struct behind *behind = xcalloc(1, sizeof *behind);
    behind->engine = engine;
    behind->ahead = ahead;
    cancel_init(&behind->cancel);
    pthread_mutex_init(&behind->lock, NULL);
    clock_cond_init(&behind->ended);
    return behind;
}

void behind_close(struct behind *behind)
{
    pthread_mutex_lock(&behind->lock);
    behind->closed = true;
    pthread_mutex_unlock(&behind->lock);
    cancel_request(&behind->cancel);
}

bool behind_wait(struct behind *behind, int64_t ms)
{
    struct timespec until = clock_deadline(ms);
    int rc = 0;
    pthread_mutex_lock(&behind->lock);
    while (behind->threads > 0 && rc == 0)
        rc = pthread_cond_timedwait(&behind->ended, &behind->lock, &until);
    bool none = behind->threads == 0;
    pthread_mutex_unlock(&behind->lock);
    return none;
}

void behind_free(struct behind *behind)
{
    if (behind == NULL)
        return;
    assert(behind->threads == 0);
    lanes_deinit(&behind->lanes);
    cancel_deinit(&behind->cancel);
    pthread_cond_destroy(&behind->ended);
    pthread_mutex_destroy(&behind->lock);
    free(behind);
}

/* ---- records ---- */

static void write_record(struct behind *behind, const struct push_record *record, bool over)
{
    struct error err = ERROR_INIT;
    enum errc rc = over ? pushes_remove(behind->engine->store, record->id, &err)
                        : pushes_put(behind->engine->store, record, &err);
    if (rc != ERR_OK)
        log_error("push %s: its record is out of date, so targets that have the image get it again "
                  "at the next start: %s",
                  record->id, err.text);
}

/* By the thread that set `writing`: until the store has the last state. The promise is gone
 * afterwards if nothing is left to do for it. */
static void settle(struct behind *behind, struct promise *promise)
{
    bool over = false;
    pthread_mutex_lock(&behind->lock);
    while (promise->changed) {
        struct push_record record;
        push_record_copy(&promise->record, &record);
        over = promise->open == 0;
        promise->changed = false;
        pthread_mutex_unlock(&behind->lock);
        write_record(behind, &record, over);
        push_record_deinit(&record);
        pthread_mutex_lock(&behind->lock);
    }
    promise->writing = false;
    if (over)
        lanes_drop(&behind->lanes, promise);
    pthread_mutex_unlock(&behind->lock);
}

/* True when the caller has to settle() it. The lock is held. */
static bool mark_changed(struct promise *promise)
{
    bool mine = !promise->writing;
    promise->changed = true;
    promise->writing = true;
    return mine;
}

/* ---- the work ---- */

/* What time or an operator can mend: the registry is away or cannot be trusted now, slipway itself
 * cannot go on. Anything else would end in the same way again. */
static bool may_pass(enum errc code)
{
    switch (code) {
    case ERR_CANCELLED:
    case ERR_SETTINGS:
    case ERR_CREDENTIALS:
    case ERR_NO_SPACE:
    case ERR_STORE_FULL:
    case ERR_STORE:
        return true;
    default:
        return error_retriable(code) || error_party(code) == PARTY_NETWORK;
    }
}

static void push_errand(struct behind *behind, const struct errand *errand,
                        struct push_result *result)
{
    const struct push_record *record = &errand->promise->record;
    autoscope struct log_scope outer = log_scope_begin("push", record->id);
    const struct push_record_target *target = errand_target(errand);
    autofree struct push_referrer *referrers = xcalloc(record->referrer_count, sizeof *referrers);
    for (size_t i = 0; i < record->referrer_count; i++) {
        referrers[i].manifest = record->referrers[i].manifest;
        memcpy(referrers[i].tag, record->referrers[i].tag, sizeof referrers[i].tag);
    }
    struct push_request request = {
        .target = target->target,
        .manifest = record->manifest,
        .referrers = referrers,
        .referrer_count = record->referrer_count,
        .optional = target->optional,
    };
    push_known(behind->engine, behind->ahead, &request, 1, &behind->cancel, result);
}

static void tell(const struct errand *errand, const struct push_result *result)
{
    const char *id = errand->promise->record.id;
    char text[REFERENCE_TEXT_MAX];
    reference_text(&errand_target(errand)->target, text);
    if (errand->left_out)
        push_log_superseded(id, text);
    else if (result->state == PUSH_FAILED && may_pass(result->error.code))
        push_log_postponed(id, text, &result->error);
    else
        push_result_log(id, result);
}

/* Takes the errand. */
static void finish(struct behind *behind, struct errand *errand, const struct push_result *result)
{
    struct promise *promise = errand->promise;
    bool pushed = result->state == PUSH_PUSHED;
    bool write = false;
    pthread_mutex_lock(&behind->lock);
    if (errand->left_out || pushed || !may_pass(result->error.code)) {
        lanes_end(errand, pushed ? PUSH_RECORD_PUSHED : PUSH_RECORD_FAILED);
        write = mark_changed(promise);
    } else if (!lanes_park(errand)) {
        write = mark_changed(promise);
    }
    pthread_mutex_unlock(&behind->lock);
    if (write)
        settle(behind, promise);
}

static struct errand *take(struct behind *behind, struct lane_host *host)
{
    pthread_mutex_lock(&behind->lock);
    struct errand *errand = behind->closed ? NULL : lanes_take(host);
    if (errand == NULL) {
        host->threads--;
        behind->threads--;
        pthread_cond_broadcast(&behind->ended);
    }
    pthread_mutex_unlock(&behind->lock);
    return errand;
}

static void *work(void *arg)
{
    struct post post = *(struct post *)arg;
    free(arg);
    for (struct errand *errand; (errand = take(post.behind, post.host)) != NULL;) {
        struct push_result result = {.state = PUSH_FAILED};
        if (!errand->left_out)
            push_errand(post.behind, errand, &result);
        tell(errand, &result);
        finish(post.behind, errand, &result);
    }
    return NULL;
}

static bool start_thread(struct behind *behind, struct lane_host *host)
{
    struct post *post = xcalloc(1, sizeof *post);
    *post = (struct post){.behind = behind, .host = host};
    int rc = thread_detached(work, post);
    if (rc == 0)
        return true;
    log_error("no thread for a push to %s: %s", host->name, strerror(rc));
    free(post);
    pthread_mutex_lock(&behind->lock);
    host->threads--;
    behind->threads--;
    pthread_cond_broadcast(&behind->ended);
    pthread_mutex_unlock(&behind->lock);
    return false;
}

/* Threads for what waits. Where none can be started, it waits for the next call, or start. */
static void man(struct behind *behind)
{
    unsigned most = behind->engine->settings->limits.pushes_per_registry;
    struct lane_host *host;
    do {
        pthread_mutex_lock(&behind->lock);
        host = behind->closed ? NULL : lanes_short_of_threads(&behind->lanes, most);
        if (host) {
            host->threads++;
            behind->threads++;
        }
        pthread_mutex_unlock(&behind->lock);
    } while (host && start_thread(behind, host));
}

void behind_start(struct behind *behind, const struct push_record *record)
{
    struct promise *promise = NULL;
    bool write = false;
    pthread_mutex_lock(&behind->lock);
    if (!behind->closed) {
        promise = lanes_add(&behind->lanes, record);
        write = promise->open == 0 && mark_changed(promise);
    }
    pthread_mutex_unlock(&behind->lock);
    if (write)
        settle(behind, promise);
    man(behind);
}

void behind_overtaken(struct behind *behind, const struct reference *target)
{
    pthread_mutex_lock(&behind->lock);
    lanes_overtake(&behind->lanes, target, NULL);
    pthread_mutex_unlock(&behind->lock);
    man(behind);
}

enum errc behind_restart(struct behind *behind, struct error *err)
{
    struct push_record *records = NULL;
    size_t count = 0;
    if (pushes_list(behind->engine->store, &records, &count, err) != ERR_OK)
        return err->code;
    if (count > 0)
        push_log_resumed(count);
    for (size_t i = 0; i < count; i++) {
        push_id_met(records[i].id);
        behind_start(behind, &records[i]);
        push_record_deinit(&records[i]);
    }
    free(records);
    return ERR_OK;
}
