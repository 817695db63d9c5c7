/*
 * What every command that pushes needs, opened once: the store, the codec threads, the executor,
 * the registries.
 *
 * The runtime is where settings become the small option structs of the modules below; none of them
 * sees the configuration. Any thread may use an open runtime; runtime_close() comes after all of
 * them.
 */
#ifndef SLIPWAY_GATEWAY_PUSH_ENGINE_H
#define SLIPWAY_GATEWAY_PUSH_ENGINE_H

#include "base/executor.h"
#include "base/metrics.h"
#include "base/pool.h"
#include "config/settings.h"
#include "gateway/ingest/file_intake.h"
#include "gateway/push/registry_logins.h"
#include "store/store.h"
#include "upstream/push/early_upload.h"
#include "upstream/push/upstream.h"

struct audit;

struct runtime {
    pthread_mutex_t settings_lock;
    const struct settings *settings; /* under the lock: runtime_settings() */
    struct store *store;
    struct pool *codecs;
    struct executor *executor;
    struct registry_logins *logins;
    struct upstream *upstream;
    struct early_uploads *early;
    struct metrics *metrics;
    struct audit *audit; /* of the server: gateway/access/audit.h; NULL: there is none */
};

/* `brief`: for one push, so closing does not wait for the disk: what the push stored is kept until
 * the machine restarts, as a cache. */
enum errc runtime_open(const struct settings *settings, bool brief, struct runtime **out,
                       struct error *err);
void runtime_close(struct runtime *runtime);

/* The configuration as it is now: owned, settings_free(). What is asked more than once for one
 * request, or one push, is asked of the same. */
const struct settings *runtime_settings(const struct runtime *runtime);
/* One number of it. */
#define RUNTIME_SETTING(RUNTIME, MEMBER)                                                           \
    ({                                                                                             \
        autosettings const struct settings *now_ = runtime_settings(RUNTIME);                      \
        now_->MEMBER;                                                                              \
    })

/* Another configuration counts from now on; `settings` is copied (one reference). Hosts of
 * registries whose entry, or a file that it names, is another one are reached anew; what is under
 * way to them goes on as it began. ERR_SETTINGS: nothing has changed. One thread at a time. */
enum errc runtime_change(struct runtime *runtime, const struct settings *settings,
                         struct error *err);

/* How files are taken in. `compression` is what a request asked for, else the configuration's
 * counts; SETTING_CODEC_KEEP means what the configuration says, and there gzip. */
struct file_intake_options runtime_file_options(const struct runtime *runtime,
                                                enum setting_codec compression);

#endif
