#include "gateway/api/collections.h"

#include "base/json.h"
#include "base/mem.h"
#include "gateway/access/requester.h"
#include "gateway/api/push_job.h"
#include "gateway/service/collection.h"

#include <string.h>

#define BODY_MAX ((size_t)4096)

struct collect_job {
    struct gateway *gateway;
    struct requester by;
};

/* No body is an empty object. */
static enum errc parse(const struct buf *body, bool *dry_run, struct error *err)
{
    const char *key = NULL;
    json_t *value = NULL;
    autojson json_t *root = NULL;
    if (body->size == 0)
        return ERR_OK;
    if (json_parse(buf_cstr(body), body->size, BODY_MAX, "the body", &root, err) != ERR_OK)
        return err->code;
    if (!json_is_object(root))
        return fail(err, ERR_BAD_REQUEST, 0, "the body is no object");
    json_object_foreach(root, key, value)
    {
        if (strcmp(key, "dry_run") != 0)
            return fail(err, ERR_BAD_REQUEST, 0, "there is no member \"%.100s\": dry_run", key);
        if (!json_is_boolean(value))
            return fail(err, ERR_BAD_REQUEST, 0, "\"dry_run\" is true or false");
        *dry_run = json_is_true(value);
    }
    return ERR_OK;
}

static void tell(const struct collect_job *self, const struct collect_report *report,
                 const struct error *err)
{
    const struct audit_event event = {.action = AUDIT_COLLECT, .count = report->gone.blobs};
    requester_tell(&self->by, self->gateway->runtime->audit, event, err);
}

static enum errc collect(struct job *job, const struct collect_job *self, struct reply *reply,
                         struct error *err)
{
    struct collect_report report = {.items = NULL};
    const struct runtime *runtime = self->gateway->runtime;
    autosettings const struct settings *settings = runtime_settings(runtime);
    bool dry_run = false;
    autobuf struct buf body = BUF_INIT(BODY_MAX);
    if (push_job_document(job, "the body", &body, err) != ERR_OK ||
        parse(&body, &dry_run, err) != ERR_OK)
        return err->code;
    job_received(job);
    if (collection_run(settings, runtime->store, dry_run, job_cancelled(job), &report, err) ==
        ERR_OK)
        reply_json(reply, json_compact_take(collection_json(&report, dry_run)));
    if (!dry_run)
        tell(self, &report, err);
    collect_report_deinit(&report);
    return err->code;
}

static void run(struct job *job, void *self)
{
    struct reply reply = REPLY_INIT(200);
    struct error err = ERROR_INIT;
    if (collect(job, self, &reply, &err) != ERR_OK)
        reply_error(&reply, &err);
    job_answer(job, &reply);
}

static void drop(void *arg)
{
    struct collect_job *self = arg;
    requester_deinit(&self->by);
    free(self);
}

struct job *collections_post(struct gateway *gateway, const struct request *request,
                             struct reply *reply)
{
    struct collect_job *self = xcalloc(1, sizeof *self);
    const struct job_work work = {.class = JOB_LIST, .run = run, .free = drop, .self = self};
    struct error err = ERROR_INIT;
    struct job *job = NULL;
    self->gateway = gateway;
    requester_of(request, &self->by);
    if (request->query[0] != '\0')
        fail(&err, ERR_BAD_REQUEST, 0, "there are no parameters: the body says all");
    if (err.code == ERR_OK && job_start(gateway->jobs, &work, request->peer, &job, &err) == ERR_OK)
        return job;
    drop(self);
    reply_error(reply, &err);
    return NULL;
}
