#include "gateway/push/delivery.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/push/archive_push.h"
#include "gateway/push/push_known.h"
#include "gateway/push/push_log.h"

#include <string.h>

enum errc delivery_plan(struct gateway *gateway, const char *repository, const char *tag,
                        const struct descriptor *manifest, struct delivery *out, struct error *err)
{
    struct delivery delivery = {.gateway = gateway, .manifest = *manifest};
    if (mirrors_route(gateway->engine->settings, repository, &delivery.route, err) != ERR_OK)
        return err->code;
    snprintf(delivery.tag, sizeof delivery.tag, "%s", tag);
    push_id_make(delivery.id);
    *out = delivery;
    return ERR_OK;
}

bool delivery_goes_nowhere(const struct delivery *delivery)
{
    return delivery->route.count == 0;
}

bool delivery_waits(const struct delivery *delivery)
{
    return delivery->route.count > 0 && delivery->route.acknowledge == ACKNOWLEDGE_PUSHED;
}

static struct reference target_of(const struct delivery *delivery, size_t index)
{
    struct reference target = delivery->route.targets[index].repository;
    memcpy(target.tag, delivery->tag, sizeof target.tag);
    if (target.tag[0] == '\0')
        target.digest = delivery->manifest.digest;
    return target;
}

/* "r.example.com/team/app:1: status 403: REASON, and 2 more targets failed". */
static enum errc describe(const struct push_result *first, size_t more, struct error *err)
{
    char target[REFERENCE_TEXT_MAX];
    char status[32] = "";
    char others[48] = "";
    if (first->error.status > 0)
        snprintf(status, sizeof status, "status %d: ", first->error.status);
    if (more > 0)
        snprintf(others, sizeof others, "; %zu more target%s failed", more, more == 1 ? "" : "s");
    fail(err, first->error.code, 0, "%s: %s%.600s%s", reference_text(&first->target, target),
         status, first->error.text, others);
    err->status = first->error.status;
    return err->code;
}

static enum errc judge(const struct push_result *results, size_t count, struct error *err)
{
    const struct push_result *first = NULL;
    size_t failed = 0;
    for (size_t i = 0; i < count; i++) {
        if (results[i].state == PUSH_PUSHED)
            continue;
        failed++;
        if (first == NULL && !results[i].optional)
            first = &results[i];
    }
    return first ? describe(first, failed - 1, err) : ERR_OK;
}

enum errc delivery_run(const struct delivery *delivery, struct cancel *cancel, struct error *err)
{
    size_t count = delivery->route.count;
    struct gateway *gateway = delivery->gateway;
    autoscope struct log_scope outer = log_scope_begin("push", delivery->id);
    push_log_accepted(delivery->id, &delivery->manifest.digest, count);
    autofree struct push_request *requests = xcalloc(count, sizeof *requests);
    autofree struct push_result *results = xcalloc(count, sizeof *results);
    for (size_t i = 0; i < count; i++)
        requests[i] = (struct push_request){.target = target_of(delivery, i),
                                            .manifest = delivery->manifest,
                                            .optional = delivery->route.targets[i].optional};
    push_known(gateway->engine, gateway->ahead, requests, count, cancel, results);
    for (size_t i = 0; i < count; i++) {
        push_result_log(delivery->id, &results[i]);
        if (results[i].state == PUSH_PUSHED)
            behind_overtaken(gateway->behind, &results[i].target);
    }
    return judge(results, count, err);
}

/* The targets are owned. */
static struct push_record record_of(const struct delivery *delivery)
{
    size_t count = delivery->route.count;
    struct push_record record = {.created_s = (uint64_t)clock_wall_s(),
                                 .manifest = delivery->manifest,
                                 .targets = xcalloc(count, sizeof *record.targets),
                                 .target_count = count};
    memcpy(record.id, delivery->id, sizeof record.id);
    for (size_t i = 0; i < count; i++)
        record.targets[i] =
            (struct push_record_target){.target = target_of(delivery, i),
                                        .optional = delivery->route.targets[i].optional,
                                        .state = PUSH_RECORD_WAITING};
    return record;
}

void delivery_record(const struct delivery *delivery, struct batch *batch)
{
    struct push_record record = record_of(delivery);
    batch_put_push(batch, &record);
    push_record_deinit(&record);
}

void delivery_start(const struct delivery *delivery)
{
    struct push_record record = record_of(delivery);
    push_log_accepted(record.id, &record.manifest.digest, record.target_count);
    behind_start(delivery->gateway->behind, &record);
    push_record_deinit(&record);
}

void delivery_ahead(struct gateway *gateway, const char *repository, const struct digest *digest,
                    uint64_t size)
{
    struct error ignored = ERROR_INIT;
    struct mirror_route route;
    const struct descriptor blob = {.digest = *digest, .size = size};
    if (mirrors_route(gateway->engine->settings, repository, &route, &ignored) != ERR_OK)
        return;
    for (size_t i = 0; i < route.count; i++)
        ahead_send(gateway->ahead, &route.targets[i].repository, &blob);
}
