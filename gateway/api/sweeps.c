#include "gateway/api/sweeps.h"

#include "base/json.h"
#include "base/mem.h"
#include "config/settings_types.h"
#include "gateway/access/requester.h"
#include "gateway/api/push_job.h"
#include "gateway/reconcile/sweeps.h"

#include <string.h>

#define TARGETS_PATH "/v1/targets/"
#define BODY_MAX ((size_t)4 << 10)

struct sweep_job {
    struct gateway *gateway;
    struct requester by;
    struct job *job;
    struct sweep_order order;
    char target[SETTING_TARGET_NAME_MAX + 1];
    char match[SETTING_PATTERN_MAX + 1];
};

/* ---- the body: all of it may be left out ---- */

static enum errc take_match(struct sweep_job *self, const json_t *value, struct error *err)
{
    const char *text = json_string_value(value);
    size_t size = text ? strlen(text) : 0;
    if (size == 0 || size > SETTING_PATTERN_MAX || size != json_string_length(value))
        return fail(err, ERR_BAD_REQUEST, 0,
                    "\"match\" is a pattern of repositories, of 1 to %d bytes",
                    SETTING_PATTERN_MAX);
    memcpy(self->match, text, size + 1);
    self->order.match = self->match;
    return ERR_OK;
}

static enum errc take_members(struct sweep_job *self, const json_t *root, struct error *err)
{
    const char *key = NULL;
    json_t *value = NULL;
    if (!json_is_object(root))
        return fail(err, ERR_BAD_REQUEST, 0, "the body is no object");
    json_object_foreach((json_t *)(uintptr_t)root, key, value)
    {
        bool match = strcmp(key, "match") == 0 && self->order.kind == SWEEP_BACKFILL;
        if (match && take_match(self, value, err) != ERR_OK)
            return err->code;
        if (match)
            continue;
        if (strcmp(key, "dry_run") != 0)
            return fail(err, ERR_BAD_REQUEST, 0, "there is no member \"%.50s\": %sdry_run", key,
                        self->order.kind == SWEEP_BACKFILL ? "match, " : "");
        if (!json_is_boolean(value))
            return fail(err, ERR_BAD_REQUEST, 0, "\"dry_run\" is true or false");
        self->order.dry_run = json_is_true(value);
    }
    return ERR_OK;
}

static enum errc read_body(struct job *job, struct sweep_job *self, struct error *err)
{
    autobuf struct buf body = BUF_INIT(BODY_MAX);
    autojson json_t *root = NULL;
    if (push_job_document(job, "the body", &body, err) != ERR_OK)
        return err->code;
    job_received(job);
    if (body.size == 0)
        return ERR_OK;
    if (json_parse(buf_cstr(&body), body.size, BODY_MAX, "the body", &root, err) != ERR_OK)
        return err->code;
    return take_members(self, root, err);
}

/* ---- the job ---- */

static void drop(void *arg)
{
    struct sweep_job *self = arg;
    requester_deinit(&self->by);
    free(self);
}

static void tell(const struct sweep_job *self, const struct error *err)
{
    const struct audit_event event = {
        .action = self->order.kind == SWEEP_BACKFILL ? AUDIT_BACKFILL : AUDIT_RECONCILE,
        .object = self->target};
    if (!self->order.dry_run)
        requester_tell(&self->by, self->gateway->runtime->audit, event, err);
}

static void on_ended(void *arg, json_t *report)
{
    struct sweep_job *self = arg;
    struct job *job = self->job;
    struct reply reply = REPLY_INIT(200);
    reply_json(&reply, json_compact_take(report));
    job_answer(job, &reply);
    job_over(job);
}

static void run(struct job *job, void *arg)
{
    struct sweep_job *self = arg;
    struct error err = ERROR_INIT;
    if (read_body(job, self, &err) != ERR_OK) {
        push_job_refuse(job, &err);
        return;
    }
    job_document_over(job);
    job_continue(job);
    self->job = job;
    self->order.cancel = job_cancelled(job);
    self->order.ended = on_ended;
    self->order.self = self;
    struct sweep_job asked = *self; /* which is gone with the sweep, maybe at once */
    caller_ref(asked.by.caller);
    sweeps_start(self->gateway->sweeps, &self->order, &err);
    tell(&asked, &err);
    requester_deinit(&asked.by);
    if (err.code == ERR_OK)
        return;
    push_job_refuse(job, &err);
    job_over(job);
}

static struct job *begin(struct sweep_job *self, const struct request *request, struct reply *reply)
{
    const struct job_work work = {.class = JOB_PUSH, .run = run, .free = drop, .self = self};
    struct error err = ERROR_INIT;
    struct job *job = NULL;
    if (job_start(self->gateway->jobs, &work, request->peer, &job, &err) == ERR_OK)
        return job;
    drop(self);
    reply_error(reply, &err);
    return NULL;
}

/* ---- how far it is ---- */

static void show(const struct sweep_job *self, struct reply *reply, struct error *err)
{
    json_t *report = sweeps_report(self->gateway->sweeps, self->order.kind, self->order.target);
    if (report == NULL)
        fail(err, ERR_NOT_FOUND, 0, "there was none for \"%.100s\" since the start",
             self->order.target);
    else
        reply_json(reply, json_compact_take(report));
}

static enum errc check(const struct request *request, struct sweep_job *self, struct error *err)
{
    const char *name = request->path + strlen(TARGETS_PATH);
    size_t size = strcspn(name, "/");
    if (request->query[0] != '\0')
        return fail(err, ERR_BAD_REQUEST, 0, "there are no parameters: the body says all");
    if (size == 0 || size > SETTING_TARGET_NAME_MAX)
        return fail(err, ERR_NOT_FOUND, 0, "the configuration has no such target");
    memcpy(self->target, name, size);
    self->order.target = self->target;
    return ERR_OK;
}

static struct job *handle(struct gateway *gateway, const struct request *request,
                          enum sweep_kind kind, struct reply *reply)
{
    struct error err = ERROR_INIT;
    struct sweep_job *self = xcalloc(1, sizeof *self);
    self->gateway = gateway;
    requester_of(request, &self->by);
    self->order.kind = kind;
    if (check(request, self, &err) == ERR_OK && strcmp(request->method, "POST") == 0)
        return begin(self, request, reply);
    reply->status = 200;
    if (err.code == ERR_OK && strcmp(request->method, "DELETE") == 0)
        sweeps_cancel(gateway->sweeps, kind, self->order.target);
    if (err.code == ERR_OK)
        show(self, reply, &err);
    if (err.code != ERR_OK)
        reply_error(reply, &err);
    drop(self);
    return NULL;
}

struct job *target_reconcile(struct gateway *gateway, const struct request *request,
                             struct reply *reply)
{
    return handle(gateway, request, SWEEP_RECONCILE, reply);
}

struct job *target_backfill(struct gateway *gateway, const struct request *request,
                            struct reply *reply)
{
    return handle(gateway, request, SWEEP_BACKFILL, reply);
}
