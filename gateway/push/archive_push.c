#include "gateway/push/archive_push.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/ingest/ingest.h"
#include "gateway/push/archive_route.h"
#include "gateway/push/push_log.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/random.h>

enum errc push_order_add(struct push_order *order, const char *text, struct error *err)
{
    struct reference ref;
    char name[REFERENCE_NAME_MAX + 1];
    if (reference_parse(text, &ref, err) != ERR_OK)
        return error_wrap(err, "target");
    if (ref.digest.algorithm != DIGEST_NONE)
        return fail(err, ERR_DIGEST_REFERENCE, 0,
                    "cannot push a digest reference: name a tag of %s instead",
                    reference_name(&ref, name));
    for (size_t i = 0; i < order->to_count; i++)
        if (reference_same_name(&order->to[i], &ref) && strcmp(order->to[i].tag, ref.tag) == 0)
            return ERR_OK;
    if (order->to_count == TARGETS_MAX)
        return fail(err, ERR_BAD_REQUEST, 0, "more than %d targets", TARGETS_MAX);
    order->to[order->to_count++] = ref;
    return ERR_OK;
}

static const char *const compressions[] = {
    [SETTING_CODEC_KEEP] = "keep",
    [SETTING_CODEC_GZIP] = "gzip",
    [SETTING_CODEC_ZSTD] = "zstd",
    [SETTING_CODEC_NONE] = "none",
};

enum errc compression_parse(const char *text, enum setting_codec *out, struct error *err)
{
    for (unsigned i = 0; i < sizeof compressions / sizeof compressions[0]; i++)
        if (strcmp(compressions[i], text) == 0) {
            *out = (enum setting_codec)i;
            return ERR_OK;
        }
    return fail(err, ERR_BAD_REQUEST, 0, "compression is keep, gzip, zstd or none, not \"%.40s\"",
                text);
}

const char *compression_name(enum setting_codec compression)
{
    return compressions[compression];
}

void push_order_deinit(struct push_order *order)
{
    free(order->image);
    order->image = NULL;
}

/* Milliseconds in the last id that was made or met. */
static _Atomic uint64_t last_id_ms;

/* The time, or what comes after the last one where the clock stands still or has been set back. */
static uint64_t next_id_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t now_ms = (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
    uint64_t last_ms = atomic_load(&last_id_ms);
    uint64_t ms;
    do
        ms = now_ms > last_ms ? now_ms : last_ms + 1;
    while (!atomic_compare_exchange_weak(&last_id_ms, &last_ms, ms));
    return ms;
}

/* 12 hex of milliseconds, 12 of chance. */
void push_id_make(char id[PUSH_ID_MAX])
{
    uint8_t chance[6] = {0};
    if (getrandom(chance, sizeof chance, 0) != sizeof chance)
        log_warn("no random bytes for a push id");
    snprintf(id, PUSH_ID_MAX, "%012" PRIx64 "%02x%02x%02x%02x%02x%02x", next_id_ms(), chance[0],
             chance[1], chance[2], chance[3], chance[4], chance[5]);
}

void push_id_met(const char *id)
{
    char hex[13] = "";
    memcpy(hex, id, strnlen(id, sizeof hex - 1));
    uint64_t met_ms = strtoull(hex, NULL, 16);
    uint64_t last_ms = atomic_load(&last_id_ms);
    while (met_ms > last_ms && !atomic_compare_exchange_weak(&last_id_ms, &last_ms, met_ms))
        ;
}

void push_report_init(struct push_report *report)
{
    *report = (struct push_report){0};
    push_id_make(report->id);
}

void push_report_deinit(struct push_report *report)
{
    free(report->results);
    free(report->referrers);
    push_record_deinit(&report->record);
    report->results = NULL;
    report->referrers = NULL;
}

static struct push_request request_for(const struct reference *target,
                                       const struct chosen_image *chosen)
{
    return (struct push_request){
        .target = *target,
        .manifest = chosen->manifest,
        .referrers = chosen->referrers,
        .referrer_count = chosen->referrer_count,
    };
}

static bool tag_seen(const struct chosen_image *chosen, size_t nth)
{
    for (size_t i = 0; i < nth; i++)
        if (strcmp(chosen->names[i].reference.tag, chosen->names[nth].reference.tag) == 0)
            return true;
    return false;
}

static enum errc expand_bare(const struct reference *name, const struct chosen_image *chosen,
                             struct push_request *requests, size_t *count, struct error *err)
{
    char text[REFERENCE_NAME_MAX + 1];
    if (chosen->name_count == 0)
        return fail(err, ERR_NO_TAG, 0, "no tags to push for %s: the archive names none, add one",
                    reference_name(name, text));
    for (size_t i = 0; i < chosen->name_count; i++) {
        if (tag_seen(chosen, i))
            continue;
        struct push_request *request = &requests[(*count)++];
        *request = request_for(name, chosen);
        if (reference_set_tag(&request->target, chosen->names[i].reference.tag, err) != ERR_OK)
            return err->code;
    }
    return ERR_OK;
}

static enum errc expand_targets(const struct push_order *order, const struct chosen_image *chosen,
                                struct push_request **out, size_t *out_count, struct error *err)
{
    size_t most = order->to_count * (chosen->name_count + 1);
    autofree struct push_request *requests = xcalloc(most, sizeof *requests);
    size_t count = 0;
    for (size_t i = 0; i < order->to_count; i++) {
        if (order->to[i].tag[0])
            requests[count++] = request_for(&order->to[i], chosen);
        else if (expand_bare(&order->to[i], chosen, requests, &count, err) != ERR_OK)
            return err->code;
    }
    *out = mem_take(&requests);
    *out_count = count;
    return ERR_OK;
}

static void put_names(struct batch *batch, const struct chosen_image *chosen)
{
    for (size_t i = 0; i < chosen->name_count; i++)
        if (chosen->names[i].reference.path[0])
            batch_put_reference(batch, &chosen->names[i].reference, &chosen->manifest.digest,
                                chosen->manifest.media_type);
}

static enum errc take_into(struct engine *engine, const struct push_order *order,
                           struct source source, struct cancel *cancel, struct batch *batch,
                           struct push_report *report, struct push_request **requests,
                           struct error *err)
{
    struct ingest_options options = {.files = engine_file_options(engine, order->compression),
                                     .limit_bytes = engine->settings->limits.archive_bytes};
    struct image_wish wish = {.image = order->image,
                              .platform = order->has_platform ? &order->platform : NULL,
                              .codec = options.files.codec,
                              .effort = options.files.effort,
                              .codecs = engine->codecs,
                              .cancel = cancel};
    struct catalog *catalog = NULL;
    struct chosen_image chosen = {0};
    if (ingest_archive(&options, source, cancel, batch, &catalog, err) != ERR_OK)
        return err->code;
    enum errc rc = image_choose(catalog, batch, &wish, &chosen, err);
    catalog_free(catalog);
    if (rc == ERR_OK && order->to_count > 0)
        rc = expand_targets(order, &chosen, requests, &report->count, err);
    else if (rc == ERR_OK)
        rc = archive_route(engine->settings, &chosen, batch, report, requests, err);
    if (rc == ERR_OK) {
        put_names(batch, &chosen);
        report->has_image = true;
        report->manifest = chosen.manifest;
        report->config = chosen.config;
        report->referrers = mem_take(&chosen.referrers);
        report->referrer_count = chosen.referrer_count;
    }
    chosen_image_deinit(&chosen);
    return rc;
}

enum errc archive_take(struct engine *engine, const struct push_order *order, struct source source,
                       struct cancel *cancel, struct push_report *report,
                       struct push_request **requests, struct error *err)
{
    struct batch *batch = NULL;
    struct push_request *expanded = NULL;
    if (batch_begin(engine->store, BATCH_VOLATILE, &batch, err) != ERR_OK)
        return err->code;
    if (take_into(engine, order, source, cancel, batch, report, &expanded, err) != ERR_OK) {
        batch_abort(batch);
        return err->code;
    }
    if (batch_commit(batch, err) != ERR_OK) {
        free(expanded);
        return err->code;
    }
    *requests = expanded;
    return ERR_OK;
}

void archive_send(struct engine *engine, const struct push_request *requests,
                  const struct progress *progress, struct cancel *cancel,
                  struct push_report *report)
{
    size_t now = report->count - report->behind;
    report->results = xcalloc(report->count, sizeof *report->results);
    push_all(engine->store, engine->registries, requests, now, (unsigned)now, progress, cancel,
             report->results);
    for (size_t i = now; i < report->count; i++)
        report->results[i] = (struct push_result){
            .state = PUSH_RUNNING, .target = requests[i].target, .optional = requests[i].optional};
}

bool push_report_is_promise(const struct push_report *report)
{
    return report->behind > 0 && report->behind == report->count;
}

const struct error *push_report_failure(const struct push_report *report)
{
    if (report->error.code != ERR_OK)
        return &report->error;
    for (size_t i = 0; i < report->count; i++)
        if (report->results[i].state == PUSH_FAILED && !report->results[i].optional)
            return &report->results[i].error;
    return NULL;
}

void push_result_log(const char *id, const struct push_result *result)
{
    char target[REFERENCE_TEXT_MAX];
    reference_text(&result->target, target);
    if (result->state == PUSH_PUSHED)
        push_log_pushed(id, target, &result->digest, result->bytes_uploaded);
    else
        push_log_failed(id, target, &result->error);
}
