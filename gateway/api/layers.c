#include "gateway/api/layers.h"

#include "base/log.h"
#include "base/mem.h"
#include "gateway/api/answer.h"
#include "gateway/api/layer_claims.h"
#include "gateway/http/query.h"
#include "gateway/ingest/form_choice.h"
#include "gateway/ingest/layer_intake.h"
#include "gateway/push/archive_push.h"
#include "store/health.h"

#include <string.h>

#define LAYERS_PATH "/v1/layers/"

static enum errc find_form(struct gateway *gateway, const struct caller *caller,
                           const struct digest *diff_id, enum setting_codec compression,
                           struct layer_form *out, struct error *err)
{
    const struct file_intake_options files = runtime_file_options(gateway->runtime, compression);
    const struct form_preference preference = {
        .codec = files.codec, .effort = files.effort, .seen = true};
    struct layer_form forms[LAYER_FORMS_MAX];
    char text[DIGEST_TEXT_MAX];
    size_t count = 0;
    if (layer_forms(files.store, diff_id, forms, &count, err) != ERR_OK)
        return err->code;
    const struct layer_form *form = form_choose(&preference, forms, count);
    if (form == NULL || !layer_claims_has(gateway, caller, diff_id))
        return fail(err, ERR_BLOB_NOT_HELD, 0, "no layer with the diffID %s is held",
                    digest_text(diff_id, text));
    *out = *form;
    return ERR_OK;
}

/* ---- parameters ---- */

struct layer_parameters {
    struct digest diff_id; /* DIGEST_NONE: none was given */
    enum setting_codec compression;
};

/* The diffIDs of images are SHA-256, whatever the algorithm of a blob's digest. */
static enum errc parse_diff_id(const char *text, struct digest *out, struct error *err)
{
    struct digest diff_id;
    if (digest_parse(text, &diff_id, err) != ERR_OK)
        return error_wrap(err, "diffID");
    if (diff_id.algorithm != DIGEST_SHA256)
        return fail(err, ERR_DIGEST_INVALID, 0, "a diffID is a sha256 digest");
    *out = diff_id;
    return ERR_OK;
}

static enum errc check_names(const struct query *query, bool takes_diff_id, struct error *err)
{
    for (size_t i = 0; i < query->count; i++) {
        const struct query_parameter *item = &query->items[i];
        bool twice = false;
        bool known = strcmp(item->name, "compression") == 0 ||
                     (takes_diff_id && strcmp(item->name, "diff_id") == 0);
        if (!known)
            return fail(err, ERR_BAD_REQUEST, 0, "there is no parameter \"%.100s\": %scompression",
                        item->name, takes_diff_id ? "diff_id, " : "");
        query_value(query, item->name, &twice);
        if (twice)
            return fail(err, ERR_BAD_REQUEST, 0, "the parameter \"%s\" is there twice", item->name);
    }
    return ERR_OK;
}

static enum errc read_query(const struct query *query, bool takes_diff_id,
                            struct layer_parameters *out, struct error *err)
{
    if (check_names(query, takes_diff_id, err) != ERR_OK)
        return err->code;
    const char *compression = query_value(query, "compression", NULL);
    const char *diff_id = query_value(query, "diff_id", NULL);
    if (compression && compression_parse(compression, &out->compression, err) != ERR_OK)
        return err->code;
    return diff_id ? parse_diff_id(diff_id, &out->diff_id, err) : ERR_OK;
}

static enum errc read_parameters(const struct request *request, bool takes_diff_id,
                                 struct layer_parameters *out, struct error *err)
{
    struct query query;
    if (query_parse(request->query, &query, err) != ERR_OK)
        return err->code;
    enum errc rc = read_query(&query, takes_diff_id, out, err);
    query_deinit(&query);
    return rc;
}

static enum errc read_length(const struct request *request, uint64_t limit, uint64_t *out,
                             struct error *err)
{
    bool known = false;
    uint64_t length = 0;
    if (request_length_within(request, "layer", limit, &known, &length, err) != ERR_OK)
        return err->code;
    *out = known ? length : FILE_SIZE_UNKNOWN;
    return ERR_OK;
}

/* ---- POST, PUT /v1/layers ---- */

struct layer_job {
    struct gateway *gateway;
    struct runtime *runtime;
    struct caller *caller; /* a reference */
    struct layer_order order;
};

static enum errc take_layer(struct job *job, const struct layer_job *self, struct stored_layer *out,
                            struct error *err)
{
    autobatch struct batch *batch = batch_begin(self->runtime->store, BATCH_DURABLE);
    struct stored_layer layer;
    if (layer_take(&self->order, job_body(job), job_cancelled(job), batch, &layer, err) != ERR_OK ||
        batch_commit(mem_take(&batch), err) != ERR_OK)
        return err->code;
    *out = layer;
    return ERR_OK;
}

static void describe(struct reply *reply, int status, const struct digest *diff_id,
                     const struct layer_form *form)
{
    char digest[DIGEST_TEXT_MAX];
    reply->status = status;
    reply_header(reply, "Docker-Content-Digest", "%s", digest_text(&form->digest, digest));
    reply_json(reply, answer_layer(diff_id, form));
}

static void run(struct job *job, void *arg)
{
    struct error err = ERROR_INIT;
    struct stored_layer layer;
    struct reply reply = REPLY_INIT(0);
    const struct layer_job *self = arg;
    char diff_id[DIGEST_TEXT_MAX];
    enum errc rc = take_layer(job, self, &layer, &err);
    job_received(job);
    if (rc == ERR_OK) {
        layer_claims_add(self->gateway, self->caller, &layer.diff_id);
        digest_text(&layer.diff_id, diff_id);
        log_event(LOG_INFO, "layer.stored",
                  LOG_FIELDS(log_text("diff_id", diff_id), log_number("bytes", layer.form.size)),
                  "layer stored");
        reply_header(&reply, "Location", LAYERS_PATH "%s", diff_id);
        describe(&reply, 201, &layer.diff_id, &layer.form);
    } else {
        reply_error(&reply, &err);
    }
    job_answer(job, &reply);
}

static void free_self(void *arg)
{
    struct layer_job *self = arg;
    caller_unref(self->caller);
    free(self);
}

struct job *layers_post(struct gateway *gateway, const struct request *request, struct reply *reply)
{
    struct error err = ERROR_INIT;
    struct layer_parameters parameters = {.compression = SETTING_CODEC_KEEP};
    struct layer_job *self = xcalloc(1, sizeof *self);
    struct job_work work = {.class = JOB_ARCHIVE, .run = run, .free = free_self, .self = self};
    struct job *job = NULL;
    self->gateway = gateway;
    self->runtime = gateway->runtime;
    self->caller = caller_ref(request->caller);
    self->order.limit_bytes = RUNTIME_SETTING(gateway->runtime, limits.archive_bytes);
    if (read_parameters(request, true, &parameters, &err) == ERR_OK &&
        read_length(request, self->order.limit_bytes, &self->order.size, &err) == ERR_OK &&
        store_check_room(gateway->runtime->store, &err) == ERR_OK) {
        self->order.files = runtime_file_options(gateway->runtime, parameters.compression);
        self->order.diff_id = parameters.diff_id;
        job_start(gateway->jobs, &work, request->peer, &job, &err);
    }
    if (job == NULL) {
        free_self(self);
        reply_error(reply, &err);
    }
    return job;
}

/* ---- GET, HEAD /v1/layers/DIFFID ---- */

static enum errc read_path(const char *path, struct digest *out, struct error *err)
{
    autofree char *text = NULL;
    const char *segment = path + strlen(LAYERS_PATH);
    if (percent_decode(segment, strlen(segment), &text, err) != ERR_OK)
        return err->code;
    return parse_diff_id(text, out, err);
}

struct job *layers_get(struct gateway *gateway, const struct request *request, struct reply *reply)
{
    struct error err = ERROR_INIT;
    struct layer_parameters parameters = {.compression = SETTING_CODEC_KEEP};
    struct digest diff_id;
    struct layer_form form;
    if (read_path(request->path, &diff_id, &err) == ERR_OK &&
        read_parameters(request, false, &parameters, &err) == ERR_OK &&
        find_form(gateway, request->caller, &diff_id, parameters.compression, &form, &err) ==
            ERR_OK)
        describe(reply, 200, &diff_id, &form);
    else
        reply_error(reply, &err);
    return NULL;
}
