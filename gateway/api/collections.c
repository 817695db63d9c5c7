#include "gateway/api/collections.h"

#include "base/json.h"
#include "base/mem.h"
#include "gateway/api/push_job.h"
#include "gateway/service/collection.h"

#include <string.h>

#define BODY_MAX ((size_t)4096)

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

static enum errc collect(struct job *job, const struct gateway *gateway, struct reply *reply,
                         struct error *err)
{
    struct collect_report report = {.items = NULL};
    bool dry_run = false;
    autobuf struct buf body = BUF_INIT(BODY_MAX);
    if (push_job_document(job, "the body", &body, err) != ERR_OK ||
        parse(&body, &dry_run, err) != ERR_OK)
        return err->code;
    job_received(job);
    if (collection_run(gateway->runtime->settings, gateway->runtime->store, dry_run,
                       job_cancelled(job), &report, err) == ERR_OK)
        reply_json(reply, json_compact_take(collection_json(&report, dry_run)));
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

static void keep_gateway(void *self)
{
    (void)self;
}

struct job *collections_post(struct gateway *gateway, const struct request *request,
                             struct reply *reply)
{
    const struct job_work work = {
        .class = JOB_LIST, .run = run, .free = keep_gateway, .self = gateway};
    struct error err = ERROR_INIT;
    struct job *job = NULL;
    if (request->query[0] != '\0')
        fail(&err, ERR_BAD_REQUEST, 0, "there are no parameters: the body says all");
    if (err.code == ERR_OK && job_start(gateway->jobs, &work, request->peer, &job, &err) == ERR_OK)
        return job;
    reply_error(reply, &err);
    return NULL;
}
