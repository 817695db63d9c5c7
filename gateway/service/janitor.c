#include "gateway/service/janitor.h"

#include "base/cancel.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/transport.h"
#include "store/blob_upload.h"

#define ROUND_MS_MAX 15000
#define ROUND_MS_MIN 250

struct janitor {
    struct store *store;
    struct registries *registries;
    int64_t upload_idle_ms;
    struct cancel stop;
    pthread_t thread;
};

static void expire_uploads(const struct janitor *janitor)
{
    struct error err = ERROR_INIT;
    size_t count = 0;
    if (blob_uploads_expire(janitor->store, clock_ms() - janitor->upload_idle_ms, &count, &err) !=
        ERR_OK)
        log_warn("end unfinished uploads: %s", err.text);
    else if (count > 0)
        log_event(LOG_INFO, "uploads.expired",
                  LOG_FIELDS(log_number("count", count),
                             log_number("idle_s", (uint64_t)janitor->upload_idle_ms / 1000)),
                  "unfinished uploads ended: no byte came for them");
}

static int64_t round_ms(const struct janitor *janitor)
{
    int64_t ms = janitor->upload_idle_ms / 4;
    return ms < ROUND_MS_MIN ? ROUND_MS_MIN : ms > ROUND_MS_MAX ? ROUND_MS_MAX : ms;
}

static void *janitor_thread(void *arg)
{
    struct janitor *janitor = arg;
    do {
        expire_uploads(janitor);
        transport_close_idle(TRANSPORT_IDLE_MS);
        registries_forget(janitor->registries);
    } while (!cancel_wait(&janitor->stop, round_ms(janitor)));
    return NULL;
}

enum errc janitor_start(struct store *store, struct registries *registries, int64_t upload_idle_ms,
                        struct janitor **out, struct error *err)
{
    struct janitor *janitor = xcalloc(1, sizeof *janitor);
    janitor->store = store;
    janitor->registries = registries;
    janitor->upload_idle_ms = upload_idle_ms;
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
