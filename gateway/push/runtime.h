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
    const struct settings *settings; /* borrowed until runtime_close */
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

/* How files are taken in. `compression` is what a request asked for, else the configuration's
 * counts; SETTING_CODEC_KEEP means what the configuration says, and there gzip. */
struct file_intake_options runtime_file_options(const struct runtime *runtime,
                                                enum setting_codec compression);

#endif
