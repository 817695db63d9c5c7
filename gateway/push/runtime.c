#include "gateway/push/runtime.h"

#include "base/lock.h"
#include "base/log.h"
#include "base/mem.h"
#include "config/certificates.h"
#include "config/settings_stamp.h"
#include "store/store_local.h"

#include <unistd.h>

#define SHORT_WORKS 48

static char *copy_or_null(const char *text)
{
    return text ? xstrdup(text) : NULL;
}

static void find_certificates(const char *host, struct registry_certificates *out)
{
    struct stored_certificates stored = certificates_find(host);
    *out = (struct registry_certificates){.ca_file = copy_or_null(stored.ca),
                                          .client_certificate = copy_or_null(stored.certificate),
                                          .client_key = copy_or_null(stored.key)};
    certificates_clear(&stored);
}

static enum upload_method upload_way_of(enum setting_upload setting)
{
    switch (setting) {
    case UPLOAD_PUT:
        return UPLOAD_METHOD_PUT;
    case UPLOAD_PATCH:
        return UPLOAD_METHOD_PATCH;
    case UPLOAD_CHUNKED:
        return UPLOAD_METHOD_CHUNKED;
    case UPLOAD_POST:
        return UPLOAD_METHOD_POST;
    case UPLOAD_AUTO:
        break;
    }
    return UPLOAD_METHOD_AUTO;
}

/* Owned; its texts are the settings'. */
static struct registry_options *registry_options_of(const struct settings *settings)
{
    struct registry_options *hosts = xcalloc(settings->registry_count, sizeof *hosts);
    for (size_t i = 0; i < settings->registry_count; i++) {
        const struct registry_setting *setting = &settings->registries[i];
        hosts[i] =
            (struct registry_options){.host = setting->host,
                                      .endpoints = (const char *const *)setting->endpoints.items,
                                      .endpoint_count = setting->endpoints.count,
                                      .ca_file = setting->ca,
                                      .client_certificate = setting->client_certificate,
                                      .client_key = setting->client_key,
                                      .upload = upload_way_of(setting->upload),
                                      .chunk_bytes = setting->chunk_bytes,
                                      .plain_http = setting->plain_http,
                                      .retry_wait_ms = setting->retry_wait_ms,
                                      .schema1_fallback = setting->schema1 == SCHEMA1_FALLBACK,
                                      .revision = settings_registry_stamp(setting)};
    }
    return hosts;
}

static enum errc open_upstream(const struct settings *settings, struct runtime *runtime,
                               struct error *err)
{
    autofree struct registry_options *hosts = registry_options_of(settings);
    const struct upstream_options options = {
        .store = runtime->store,
        .executor = runtime->executor,
        .transfers = settings->limits.transfers,
        .registries = {.registries = hosts,
                       .registry_count = settings->registry_count,
                       .transfers_per_registry = settings->limits.pushes_per_registry,
                       .requests_per_registry = settings->limits.requests_per_registry,
                       .credentials = registry_logins_source(runtime->logins),
                       .certificates = find_certificates,
                       .user_agent = "slipway/" SLIPWAY_VERSION}};
    return upstream_new(&options, &runtime->upstream, err);
}

/* One for whatever may block at the same time: bodies, what holds a place of a push, transfers and
 * requests to registries, requests without a body or with a form, and the few that end. */
static unsigned threads_max(const struct settings *settings)
{
    return settings->limits.uploads + settings->limits.blobs + 2 * settings->limits.pushes +
           settings->limits.transfers + SHORT_WORKS;
}

/* A client sends its first byte, or the request that will bring it, long before. */
#define UPLOAD_YIELD_MS 10000

enum errc runtime_open(const struct settings *settings, bool brief, struct runtime **out,
                       struct error *err)
{
    struct runtime *runtime = xcalloc(1, sizeof *runtime);
    uint64_t free_space = settings->limits.free_space_bytes;
    const struct store_options store = {
        .map_size_bytes = settings->store.map_bytes,
        .keep_free_bytes = brief        ? 0
                           : free_space ? free_space
                                        : STORE_KEEP_FREE_DEFAULT,
        .uploads = {.all = settings->limits.upload_sessions,
                    .per_repository = settings->limits.upload_sessions_per_repository,
                    .per_client = settings->limits.upload_sessions_per_client,
                    .yield_ms = UPLOAD_YIELD_MS},
        .has_leases = !brief,
        .leave_volatile = brief};
    const struct executor_options threads = {.threads_max = threads_max(settings)};
    long workers = sysconf(_SC_NPROCESSORS_ONLN) - 1;
    pthread_mutex_init(&runtime->settings_lock, NULL);
    runtime->settings = settings_ref(settings);
    runtime->metrics = metrics_new();
    runtime->logins = registry_logins_new(settings);
    if (store_open_local(settings->data, &store, &runtime->store, err) != ERR_OK ||
        pool_new(workers > 0 ? (unsigned)workers : 1, &runtime->codecs, err) != ERR_OK ||
        executor_new(&threads, &runtime->executor, err) != ERR_OK ||
        open_upstream(settings, runtime, err) != ERR_OK) {
        runtime_close(runtime);
        return err->code;
    }
    runtime->early = early_uploads_new(runtime->upstream);
    *out = runtime;
    return ERR_OK;
}

void runtime_close(struct runtime *runtime)
{
    if (runtime == NULL)
        return;
    early_uploads_close(runtime->early);
    early_uploads_free(runtime->early);
    upstream_free(runtime->upstream);
    registry_logins_free(runtime->logins);
    executor_free(runtime->executor);
    pool_free(runtime->codecs);
    if (runtime->store)
        store_close(runtime->store);
    metrics_free(runtime->metrics);
    settings_free(runtime->settings);
    pthread_mutex_destroy(&runtime->settings_lock);
    free(runtime);
}

const struct settings *runtime_settings(const struct runtime *runtime)
{
    autolock pthread_mutex_t *held =
        lock_take(&((struct runtime *)(uintptr_t)runtime)->settings_lock);
    return settings_ref(runtime->settings);
}

enum errc runtime_change(struct runtime *runtime, const struct settings *settings,
                         struct error *err)
{
    autofree struct registry_options *hosts = registry_options_of(settings);
    if (registries_check(hosts, settings->registry_count, err) != ERR_OK)
        return err->code;
    pthread_mutex_lock(&runtime->settings_lock);
    const struct settings *before = runtime->settings;
    runtime->settings = settings_ref(settings);
    pthread_mutex_unlock(&runtime->settings_lock);
    settings_free(before);
    registry_logins_change(runtime->logins, settings);
    registries_change(runtime->upstream->registries, hosts, settings->registry_count);
    return ERR_OK;
}

struct file_intake_options runtime_file_options(const struct runtime *runtime,
                                                enum setting_codec compression)
{
    static const enum codec codecs[] = {
        [SETTING_CODEC_KEEP] = CODEC_GZIP,
        [SETTING_CODEC_GZIP] = CODEC_GZIP,
        [SETTING_CODEC_ZSTD] = CODEC_ZSTD,
        [SETTING_CODEC_NONE] = CODEC_NONE,
    };
    autosettings const struct settings *settings = runtime_settings(runtime);
    if (compression == SETTING_CODEC_KEEP)
        compression = settings->compression.codec;
    return (struct file_intake_options){
        .store = runtime->store,
        .codecs = runtime->codecs,
        .codec = codecs[compression],
        .effort = settings->compression.effort == SETTING_EFFORT_BEST ? EFFORT_BEST : EFFORT_FAST};
}
