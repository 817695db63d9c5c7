#include "gateway/api/targets.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "gateway/access/requester.h"
#include "gateway/push/push_json.h"
#include "gateway/queue/push_targets.h"

#include <string.h>

#define TARGETS_PATH "/v1/targets/"

/* ---- shapes ---- */

static json_t *circuit_value(const struct target_circuit *circuit)
{
    static const char *const names[] = {
        [CIRCUIT_CLOSED] = "closed", [CIRCUIT_HALF_OPEN] = "half-open", [CIRCUIT_OPEN] = "open"};
    json_t *value = json_object();
    json_put_text(value, "state", names[circuit->state]);
    push_json_put_time(value, "until", circuit->until_s);
    if (circuit->state != CIRCUIT_CLOSED && circuit->why.code != ERR_OK)
        json_object_set_new(value, "error", push_json_failure(&circuit->why));
    return value;
}

static json_t *counts_value(const struct target_view *view)
{
    static const enum push_state states[] = {PUSH_QUEUED, PUSH_RUNNING, PUSH_WAITING};
    json_t *value = json_object();
    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++)
        json_put_number(value, push_state_name(states[i]), view->counts[states[i]]);
    return value;
}

static json_t *oldest_value(const struct target_view *view)
{
    uint64_t now_s = (uint64_t)clock_wall_s();
    json_t *value = json_object();
    json_put_text(value, "push", view->oldest);
    json_put_number(value, "seconds", now_s > view->oldest_s ? now_s - view->oldest_s : 0);
    return value;
}

static json_t *last_error_value(const struct target_record *record)
{
    json_t *value = push_json_failure(&record->failure);
    push_json_put_time(value, "at", record->failure_s);
    return value;
}

static json_t *target_value(const struct target_view *view)
{
    const struct target_record *record = &view->record;
    json_t *value = json_object();
    json_put_text(value, "name", record->name);
    json_object_set_new(value, "configured", json_boolean(view->configured));
    json_put_text(value, "registry", view->host);
    json_object_set_new(value, "paused", json_boolean(record->paused_s > 0));
    push_json_put_time(value, "paused_at", record->paused_s);
    json_object_set_new(value, "circuit", circuit_value(&view->circuit));
    json_t *logins = json_array();
    for (size_t i = 0; i < view->login_count; i++)
        json_array_append_new(logins, circuit_value(&view->logins[i]));
    json_object_set_new(value, "logins", logins);
    json_object_set_new(value, "counts", counts_value(view));
    if (view->oldest[0])
        json_object_set_new(value, "oldest_waiting", oldest_value(view));
    push_json_put_time(value, "last_success_at", record->success_s);
    if (record->failure_s > 0)
        json_object_set_new(value, "last_error", last_error_value(record));
    return value;
}

/* ---- handlers ---- */

struct job *targets_list(struct gateway *gateway, const struct request *request,
                         struct reply *reply)
{
    (void)request;
    struct target_view *views = NULL;
    size_t count = push_queue_targets(gateway->queue, &views);
    json_t *root = json_object();
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, target_value(&views[i]));
    json_object_set_new(root, "targets", list);
    free(views);
    reply->status = 200;
    reply_json(reply, json_compact_take(root));
    return NULL;
}

struct pause_job {
    struct gateway *gateway;
    struct requester by;
    bool paused;
    char name[];
};

static void drop(void *arg)
{
    struct pause_job *self = arg;
    requester_deinit(&self->by);
    free(self);
}

static void run(struct job *job, void *arg)
{
    const struct pause_job *self = arg;
    struct reply reply = REPLY_INIT(200);
    struct error err = ERROR_INIT;
    autofree struct target_view *view = xcalloc(1, sizeof *view);
    const struct audit_event event = {.action = self->paused ? AUDIT_PAUSE : AUDIT_RESUME,
                                      .object = self->name};
    push_queue_pause(self->gateway->queue, self->name, self->paused, view, &err);
    requester_tell(&self->by, self->gateway->runtime->audit, event, &err);
    if (err.code == ERR_OK)
        reply_json(&reply, json_compact_take(target_value(view)));
    else
        reply_error(&reply, &err);
    job_answer(job, &reply);
}

static struct job *start(struct gateway *gateway, const struct request *request, bool paused,
                         struct reply *reply)
{
    const char *name = request->path + strlen(TARGETS_PATH);
    size_t size = strcspn(name, "/");
    struct pause_job *self = xcalloc(1, sizeof *self + size + 1);
    const struct job_work work = {.class = JOB_BRIEF, .run = run, .free = drop, .self = self};
    struct error err = ERROR_INIT;
    struct job *job = NULL;
    self->gateway = gateway;
    requester_of(request, &self->by);
    self->paused = paused;
    memcpy(self->name, name, size);
    if (job_start(gateway->jobs, &work, request->peer, &job, &err) == ERR_OK)
        return job;
    drop(self);
    reply_error(reply, &err);
    return NULL;
}

struct job *target_pause(struct gateway *gateway, const struct request *request,
                         struct reply *reply)
{
    return start(gateway, request, true, reply);
}

struct job *target_resume(struct gateway *gateway, const struct request *request,
                          struct reply *reply)
{
    return start(gateway, request, false, reply);
}
