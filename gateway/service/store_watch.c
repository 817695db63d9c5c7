#include "gateway/service/store_watch.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <pthread.h>
#include <stdatomic.h>

struct store_watch {
    struct store *store;
    void (*broken)(void);
    atomic_bool stopping;
    pthread_t thread;
    /* the thread's own */
    enum store_health told;
    int64_t since_ms; /* it refuses */
    int64_t told_ms;
    bool low; /* and it was told */
    int64_t low_ms;
};

static void log_fault(enum log_level level, const char *event, const struct error *why,
                      int64_t for_ms, const char *message)
{
    log_event(level, event,
              LOG_FIELDS(log_text("code", error_name(why->code)),
                         log_text("party", party_name(error_party(why->code))),
                         log_text("error", why->text), log_number("ms", (uint64_t)for_ms)),
              "%s", message);
}

static void tell_refusing(struct store_watch *watch, const struct error *why)
{
    int64_t now_ms = clock_ms();
    if (watch->told != STORE_REFUSING) {
        log_fault(LOG_ERROR, "store.refusing", why, 0,
                  "the data folder cannot be written to: every push is refused, and /readyz is "
                  "503, until it can");
        watch->since_ms = watch->told_ms = now_ms;
    } else if (now_ms - watch->told_ms >= STORE_WATCH_REMIND_MS) {
        log_fault(LOG_WARN, "store.refusing", why, now_ms - watch->since_ms,
                  "the data folder can still not be written to");
        watch->told_ms = now_ms;
    }
}

static void tell_low(struct store_watch *watch, const struct error *why)
{
    int64_t now_ms = clock_ms();
    /* Around the floor it is met again and again. */
    if (watch->low || (watch->low_ms > 0 && now_ms - watch->low_ms < STORE_WATCH_REMIND_MS))
        return;
    log_fault(LOG_WARN, "store.low", why, 0,
              "the data folder has little room left: archives, layers and blobs are refused, and "
              "/readyz is 503, until there is more; what was promised goes on");
    watch->low = true;
    watch->low_ms = now_ms;
}

/* It takes writes, after a time in which it did not. */
static void tell_mended(int64_t since_ms, const char *message)
{
    log_event(LOG_INFO, "store.mended",
              LOG_FIELDS(log_number("ms", (uint64_t)(clock_ms() - since_ms))), "%s", message);
}

static void tell(struct store_watch *watch)
{
    struct error why = ERROR_INIT;
    enum store_health now = store_health(watch->store, &why);
    if (now == STORE_REFUSING) {
        tell_refusing(watch, &why);
    } else if (now == STORE_BROKEN && watch->told != STORE_BROKEN) {
        log_fault(LOG_ERROR, "store.broken", &why, 0,
                  "the disk did not take what was written to the data folder: what it holds is "
                  "known again after a new start");
        watch->broken();
    } else if (now != STORE_BROKEN) {
        if (watch->told == STORE_REFUSING)
            tell_mended(watch->since_ms, "the data folder can be written to again");
        if (now == STORE_LOW)
            tell_low(watch, &why);
        else if (watch->low)
            tell_mended(watch->low_ms, "the data folder has room again");
        watch->low = now == STORE_LOW && watch->low;
    }
    watch->told = now;
}

/* What comes of a probe is the store's health. */
static void probe(const struct store_watch *watch)
{
    struct error err = ERROR_INIT;
    bool wanted = watch->told == STORE_REFUSING ||
                  (watch->told != STORE_BROKEN && store_looks_full(watch->store));
    if (wanted && store_probe(watch->store, &err) != ERR_OK)
        log_debug("probe of the data folder: %s", err.text);
}

static void *watch_thread(void *arg)
{
    struct store_watch *watch = arg;
    uint64_t seen = 0;
    while (!atomic_load(&watch->stopping)) {
        uint64_t now = store_health_wait(watch->store, seen, STORE_WATCH_PROBE_MS);
        if (now == seen)
            probe(watch);
        seen = now;
        tell(watch);
    }
    return NULL;
}

enum errc store_watch_start(struct store *store, void (*broken)(void), struct store_watch **out,
                            struct error *err)
{
    struct store_watch *watch = xcalloc(1, sizeof *watch);
    watch->store = store;
    watch->broken = broken;
    int rc = pthread_create(&watch->thread, NULL, watch_thread, watch);
    if (rc != 0) {
        free(watch);
        return fail(err, ERR_IO, rc, "start a thread that looks after the data folder");
    }
    *out = watch;
    return ERR_OK;
}

void store_watch_stop(struct store_watch *watch)
{
    if (watch == NULL)
        return;
    atomic_store(&watch->stopping, true);
    store_health_wake(watch->store);
    pthread_join(watch->thread, NULL);
    free(watch);
}
