#include "gateway/images.h"

#include "base/mem.h"
#include "gateway/push_job.h"
#include "gateway/query.h"

#include <string.h>

struct image_job {
    struct engine *engine;
    struct push_order order;
    bool has_compression;
    bool wants_events;
};

/* ---- parameters ---- */

static enum errc take_once(bool *seen, const char *key, struct error *err)
{
    if (*seen)
        return fail(err, ERR_BAD_REQUEST, 0, "the parameter \"%s\" is there twice", key);
    *seen = true;
    return ERR_OK;
}

static enum errc take_parameter(struct image_job *self, const char *key, const char *value,
                                struct error *err)
{
    struct push_order *order = &self->order;
    bool has_image = order->image != NULL;
    if (*value == '\0')
        return fail(err, ERR_BAD_REQUEST, 0, "the parameter \"%.100s\" has no value", key);
    if (strcmp(key, "to") == 0)
        return push_order_add(order, value, err);
    if (strcmp(key, "image") == 0) {
        if (take_once(&has_image, key, err) == ERR_OK)
            order->image = xstrdup(value);
        return err->code;
    }
    if (strcmp(key, "platform") == 0)
        return take_once(&order->has_platform, key, err) == ERR_OK
                   ? platform_parse(value, &order->platform, err)
                   : err->code;
    if (strcmp(key, "compression") == 0)
        return take_once(&self->has_compression, key, err) == ERR_OK
                   ? compression_parse(value, &order->compression, err)
                   : err->code;
    return fail(err, ERR_BAD_REQUEST, 0,
                "there is no parameter \"%.100s\": to, image, platform, compression", key);
}

static enum errc take_parameters(struct image_job *self, const char *text, struct error *err)
{
    struct query query;
    if (query_parse(text, &query, err) != ERR_OK)
        return err->code;
    for (size_t i = 0; i < query.count && err->code == ERR_OK; i++)
        take_parameter(self, query.items[i].name, query.items[i].value, err);
    query_deinit(&query);
    return err->code;
}

static enum errc check_length(const struct request *request, uint64_t limit, struct error *err)
{
    bool known = false;
    uint64_t length = 0;
    if (request_length(request, &known, &length, err) != ERR_OK)
        return err->code;
    if (known && length > limit)
        return fail(err, ERR_ARCHIVE_TOO_LARGE, 0,
                    "the archive has %llu bytes, the limit is %llu (limits.archive)",
                    (unsigned long long)length, (unsigned long long)limit);
    return ERR_OK;
}

/* ---- the job ---- */

static void run(struct job *job, void *arg)
{
    const struct image_job *self = arg;
    struct push_report report;
    struct push_request *requests = NULL;
    push_report_init(&report);
    enum errc rc = archive_take(self->engine, &self->order, job_body(job), job_cancelled(job),
                                &report, &requests, &report.error);
    job_received(job);
    if (rc == ERR_OK)
        push_job_send(job, self->engine, requests, self->wants_events, &report);
    else
        push_job_refuse(job, "archive", &report);
    free(requests);
    push_report_deinit(&report);
}

static void free_self(void *arg)
{
    struct image_job *self = arg;
    push_order_deinit(&self->order);
    free(self);
}

struct job *images_post(struct gateway *gateway, const struct request *request, struct reply *reply)
{
    struct error err = ERROR_INIT;
    struct engine *engine = gateway->engine;
    struct image_job *self = xcalloc(1, sizeof *self);
    struct job_work work = {.class = JOB_ARCHIVE, .run = run, .free = free_self, .self = self};
    struct job *job = NULL;
    self->engine = engine;
    self->wants_events = request_accepts(request, "application/x-ndjson");
    if (take_parameters(self, request->query, &err) != ERR_OK ||
        check_length(request, engine->settings->limits.archive_bytes, &err) != ERR_OK ||
        job_start(gateway->jobs, &work, request_feeder(request), &job, &err) != ERR_OK) {
        free_self(self);
        reply_error(reply, &err);
        return NULL;
    }
    return job;
}
