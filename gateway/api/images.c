#include "gateway/api/images.h"

#include "base/log.h"
#include "base/mem.h"
#include "gateway/api/answer.h"
#include "gateway/api/layer_claims.h"
#include "gateway/api/push_job.h"
#include "gateway/http/query.h"
#include "gateway/ingest/config_image.h"
#include "gateway/push/archive_push.h"
#include "store/health.h"
#include "store/pushes.h"

#include <string.h>

struct image_job {
    struct push_call request;
    bool has_compression;
    bool docker; /* of a config */
    bool has_held;
    bool has_early;
    struct held_layers held;
};

/* ---- parameters ---- */

static enum errc take_once(bool *seen, const char *key, struct error *err)
{
    if (*seen)
        return fail(err, ERR_BAD_REQUEST, 0, "the parameter \"%s\" is there twice", key);
    *seen = true;
    return ERR_OK;
}

static bool may_use(void *self, const struct digest *layer)
{
    const struct push_call *call = self;
    return layer_claims_has(call->gateway, call->by.caller, layer);
}

static enum errc take_held(struct image_job *self, const char *value, struct error *err)
{
    if (strcmp(value, "1") != 0)
        return fail(err, ERR_BAD_REQUEST, 0, "held is 1, not \"%.40s\"", value);
    self->held = (struct held_layers){.may_use = may_use, .self = &self->request};
    self->request.order.held = &self->held;
    return ERR_OK;
}

static enum errc take_early(struct push_order *order, const char *value, struct error *err)
{
    if (strcmp(value, "1") != 0)
        return fail(err, ERR_BAD_REQUEST, 0, "early is 1, not \"%.40s\"", value);
    order->early = true;
    return ERR_OK;
}

static enum errc take_parameter(struct image_job *self, const char *key, const char *value,
                                struct error *err)
{
    struct push_order *order = &self->request.order;
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
    if (strcmp(key, "held") == 0)
        return take_once(&self->has_held, key, err) == ERR_OK ? take_held(self, value, err)
                                                              : err->code;
    if (strcmp(key, "early") == 0)
        return take_once(&self->has_early, key, err) == ERR_OK ? take_early(order, value, err)
                                                               : err->code;
    return fail(err, ERR_BAD_REQUEST, 0,
                "there is no parameter \"%.100s\": to, image, platform, compression, held, early",
                key);
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

/* What leaves early leaves before an image is chosen. */
static enum errc check_early(const struct push_order *order, struct error *err)
{
    if (!order->early || (order->push.target_count > 0 && !order->image && !order->has_platform))
        return ERR_OK;
    return fail(err, ERR_BAD_REQUEST, 0,
                "early=1 is for an archive of one image that is pushed whole to targets that are "
                "named: with to, without image and platform");
}

static enum errc check_archive(const struct image_job *self, const struct request *request,
                               struct error *err)
{
    const struct runtime *runtime = self->request.gateway->runtime;
    bool known = false;
    uint64_t length = 0;
    if (check_early(&self->request.order, err) != ERR_OK)
        return err->code;
    if (request_length_within(request, "archive", RUNTIME_SETTING(runtime, limits.archive_bytes),
                              &known, &length, err) != ERR_OK)
        return err->code;
    return store_check_room(runtime->store, err);
}

/* A config is one image and has no name, so there is nothing to choose and nothing to derive. */
static enum errc check_config_order(const struct image_job *self, struct error *err)
{
    char name[REFERENCE_NAME_MAX + 1];
    const struct push_order *order = &self->request.order;
    if (order->image || order->has_platform || order->held || order->early)
        return fail(err, ERR_BAD_REQUEST, 0,
                    "image, platform, held and early are for an archive: a config is one image, "
                    "whose layers are held");
    if (self->docker && order->compression == SETTING_CODEC_ZSTD)
        return fail(err, ERR_BAD_REQUEST, 0,
                    "zstd layers need an OCI manifest: send the config as " MEDIA_OCI_CONFIG);
    if (order->push.target_count == 0)
        return fail(err, ERR_NO_TARGET, 0,
                    "no target: a config has no name, so say to=HOST/REPOSITORY:TAG");
    for (size_t i = 0; i < order->push.target_count; i++)
        if (order->push.targets[i].reference.tag[0] == '\0')
            return fail(err, ERR_NO_TAG, 0, "a config has no name, so the target %s needs a tag",
                        reference_name(&order->push.targets[i].reference, name));
    return ERR_OK;
}

/* ---- archives ---- */

static void claim(void *self, const struct digest *layer)
{
    const struct push_call *call = self;
    layer_claims_add(call->gateway, call->by.caller, layer);
}

/* `missing`: the layers that it is refused for. */
static void refuse(struct job *job, const struct digest *missing, size_t count,
                   const struct error *err)
{
    struct reply reply = REPLY_INIT(0);
    if (count == 0) {
        push_job_refuse(job, err);
        return;
    }
    reply_refuse(&reply, error_http_status(err->code), answer_missing(err, missing, count), err);
    job_answer(job, &reply);
}

static void run_archive(struct job *job, void *arg)
{
    struct image_job *self = arg;
    struct error err = ERROR_INIT;
    if (!push_job_begin(job, &self->request, NULL))
        return;
    self->request.order.brought = claim;
    self->request.order.self = &self->request;
    enum errc rc = archive_take(self->request.gateway->runtime, &self->request.order, job_body(job),
                                job_cancelled(job), &err);
    job_received(job);
    if (rc == ERR_OK) {
        push_job_send(job, &self->request);
        return;
    }
    request_claim_release(&self->request.claim);
    refuse(job, self->held.missing, err.code == ERR_LAYER_UNKNOWN ? self->held.missing_count : 0,
           &err);
}

/* ---- configs ---- */

static enum errc make_image(struct job *job, const struct image_job *self,
                            const struct config_order *order, struct config_image *image,
                            struct error *err)
{
    autobatch struct batch *batch =
        batch_begin(self->request.gateway->runtime->store, BATCH_VOLATILE);
    if (config_image_make(order, job_cancelled(job), batch, image, err) != ERR_OK)
        return err->code;
    return batch_commit(mem_take(&batch), err);
}

static enum errc take_config(struct job *job, const struct image_job *self, const struct buf *body,
                             struct config_image *image, struct error *err)
{
    const struct file_intake_options files =
        runtime_file_options(self->request.gateway->runtime, self->request.order.compression);
    const struct config_order order = {
        .store = self->request.gateway->runtime->store,
        .preference = {.codec = files.codec, .effort = files.effort, .no_zstd = self->docker},
        .limit_bytes = RUNTIME_SETTING(self->request.gateway->runtime, limits.archive_bytes),
        .docker = self->docker,
        .may_use = may_use,
        .self = (void *)(uintptr_t)&self->request,
        .data = buf_cstr(body),
        .size = body->size};
    return make_image(job, self, &order, image, err);
}

static void run_config(struct job *job, void *arg)
{
    struct image_job *self = arg;
    struct push *push = &self->request.order.push;
    struct config_image image = {0};
    struct error err = ERROR_INIT;
    autobuf struct buf body = BUF_INIT(IMAGE_CONFIG_LIMIT_BYTES);
    if (push_job_document(job, "the config", &body, &err) == ERR_OK) {
        if (!push_job_begin(job, &self->request, &body))
            return;
        take_config(job, self, &body, &image, &err);
    }
    buf_deinit(&body);
    job_received(job);
    if (err.code == ERR_OK) {
        push->manifest = image.manifest;
        push->config = image.config;
        pushes_accept(self->request.gateway->runtime->store, push);
        push_job_send(job, &self->request);
    } else {
        request_claim_release(&self->request.claim);
        refuse(job, image.missing, image.missing_count, &err);
    }
    config_image_deinit(&image);
}

/* ---- the route ---- */

static void free_self(void *arg)
{
    struct image_job *self = arg;
    free(self->held.missing);
    push_call_deinit(&self->request);
    free(self);
}

static enum errc check_request(struct image_job *self, const struct request *request, bool config,
                               struct error *err)
{
    if (take_parameters(self, request->query, err) != ERR_OK)
        return err->code;
    if (push_call_check(&self->request, err) != ERR_OK)
        return err->code;
    return config ? check_config_order(self, err) : check_archive(self, request, err);
}

struct job *images_post(struct gateway *gateway, const struct request *request, struct reply *reply)
{
    struct error err = ERROR_INIT;
    struct image_job *self = xcalloc(1, sizeof *self);
    bool config = config_image_type(request_header(request, "Content-Type"), &self->docker);
    struct job_work work = {.class = config ? JOB_PUSH : JOB_ARCHIVE,
                            .run = config ? run_config : run_archive,
                            .free = free_self,
                            .self = self};
    struct job *job = NULL;
    if (push_call_init(gateway, request, &self->request, &err) != ERR_OK ||
        check_request(self, request, config, &err) != ERR_OK ||
        job_start(gateway->jobs, &work, request->peer, &job, &err) != ERR_OK) {
        free_self(self);
        reply_error(reply, &err);
        return NULL;
    }
    return job;
}
