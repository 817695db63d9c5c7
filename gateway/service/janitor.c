#include "gateway/service/janitor.h"

#include "base/cancel.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/queue/push_targets.h"
#include "gateway/service/collection.h"
#include "net/transport.h"
#include "store/blob_upload.h"
#include "store/quarantine.h"
#include "upstream/upload/upload_memory.h"

#define ROUND_MS_MAX 15000
#define ROUND_MS_MIN 250

struct janitor {
    struct runtime *runtime;
    struct push_queue *queue;
    struct cancel stop;
    pthread_t thread;
    int64_t collect_at_ms; /* the thread's own */
};

static void expire_uploads(const struct janitor *janitor)
{
    int64_t idle_ms = RUNTIME_SETTING(janitor->runtime, limits.upload_idle_ms);
    struct error err = ERROR_INIT;
    size_t count = 0;
    if (blob_uploads_expire(janitor->runtime->store, clock_ms() - idle_ms, &count, &err) != ERR_OK)
        log_warn("end unfinished uploads: %s", err.text);
    else if (count > 0)
        log_event(
            LOG_INFO, "uploads.expired",
            LOG_FIELDS(log_number("count", count), log_number("idle_s", (uint64_t)idle_ms / 1000)),
            "unfinished uploads ended: no byte came for them");
}

static void forget_pushes(const struct janitor *janitor)
{
    autosettings const struct settings *settings = runtime_settings(janitor->runtime);
    int64_t from_s = clock_unhurried_s() - settings->queue.history_ms / 1000;
    const struct pushes_history history = {.count = settings->queue.history_count,
                                           .from_s = from_s > 0 ? (uint64_t)from_s : 0};
    struct error err = ERROR_INIT;
    bool more = true;
    while (more && !cancel_requested(&janitor->stop)) {
        size_t count = 0;
        if (pushes_forget(janitor->runtime->store, &history, &count, &more, &err) == ERR_OK)
            continue;
        log_warn("forget old pushes: %s", err.text);
        return;
    }
}

static void quarantine(const struct janitor *janitor)
{
    struct error err = ERROR_INIT;
    if (quarantine_unreadable(janitor->runtime->store, NULL, &err) != ERR_OK)
        log_warn("records that cannot be read stay where they are: %s", err.text);
}

/* So that a crash costs few of them. */
static void write_leases(const struct janitor *janitor)
{
    struct error err = ERROR_INIT;
    if (store_write_leases(janitor->runtime->store, &err) != ERR_OK)
        log_warn("%s", err.text);
}

static void collect(struct janitor *janitor)
{
    autosettings const struct settings *settings = runtime_settings(janitor->runtime);
    struct collect_report report;
    struct error err = ERROR_INIT;
    if (janitor->collect_at_ms > clock_ms() + settings->keep.every_ms) /* it was longer before */
        janitor->collect_at_ms = clock_ms() + settings->keep.every_ms;
    if (clock_ms() < janitor->collect_at_ms)
        return;
    if (collection_run(settings, janitor->runtime->store, false, &janitor->stop, &report, &err) !=
            ERR_OK &&
        err.code != ERR_COLLECTING && err.code != ERR_CANCELLED)
        log_event(LOG_WARN, "collection.failed",
                  LOG_FIELDS(log_text("code", error_name(err.code)), log_text("error", err.text)),
                  "%s", err.text);
    collect_report_deinit(&report);
    janitor->collect_at_ms = clock_ms() + settings->keep.every_ms;
}

static int64_t round_ms(const struct janitor *janitor)
{
    autosettings const struct settings *settings = runtime_settings(janitor->runtime);
    int64_t ms = settings->limits.upload_idle_ms / 4;
    if (ms > settings->keep.every_ms)
        ms = settings->keep.every_ms;
    return ms < ROUND_MS_MIN ? ROUND_MS_MIN : ms > ROUND_MS_MAX ? ROUND_MS_MAX : ms;
}

static void *janitor_thread(void *arg)
{
    struct janitor *janitor = arg;
    do {
        expire_uploads(janitor);
        push_queue_record_targets(janitor->queue);
        push_queue_expire(janitor->queue, (uint64_t)clock_unhurried_s());
        forget_pushes(janitor);
        quarantine(janitor);
        write_leases(janitor);
        collect(janitor);
        transport_close_idle(TRANSPORT_IDLE_MS);
        upload_memory_expire(janitor->runtime->upstream->uploads,
                             janitor->runtime->upstream->registries);
        registries_forget(janitor->runtime->upstream->registries);
    } while (!cancel_wait(&janitor->stop, round_ms(janitor)));
    return NULL;
}

enum errc janitor_start(struct runtime *runtime, struct push_queue *queue, struct janitor **out,
                        struct error *err)
{
    struct janitor *janitor = xcalloc(1, sizeof *janitor);
    janitor->runtime = runtime;
    janitor->queue = queue;
    janitor->collect_at_ms = clock_ms() + RUNTIME_SETTING(runtime, keep.every_ms);
    cancel_init(&janitor->stop);
    int rc = pthread_create(&janitor->thread, NULL, janitor_thread, janitor);
    if (rc != 0) {
        cancel_deinit(&janitor->stop);
        free(janitor);
        return fail(err, ERR_IO, rc, "start a thread for cleaning up");
    }
    *out = janitor;
    return ERR_OK;
}

void janitor_stop(struct janitor *janitor)
{
    if (janitor == NULL)
        return;
    cancel_request(&janitor->stop);
    pthread_join(janitor->thread, NULL);
    cancel_deinit(&janitor->stop);
    free(janitor);
}
