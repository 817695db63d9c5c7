#include "gateway/api/robots.h"

#include "base/json.h"
#include "base/mem.h"
#include "gateway/access/requester.h"
#include "gateway/access/robots.h"
#include "gateway/api/push_job.h"

#include <string.h>

#define ROBOTS_PATH "/v1/robots/"
#define BODY_MAX ((size_t)4096)

struct robot_job {
    struct runtime *runtime;
    struct requester by;
    enum robot_action action;
    char name[];
};

static enum errc read_body(struct job *job, json_t **body, struct error *err)
{
    autobuf struct buf bytes = BUF_INIT(BODY_MAX);
    if (push_job_document(job, "the body", &bytes, err) != ERR_OK)
        return err->code;
    job_received(job);
    return json_parse(buf_cstr(&bytes), bytes.size, BODY_MAX, "the body", body, err);
}

static void drop(void *arg)
{
    struct robot_job *self = arg;
    requester_deinit(&self->by);
    free(self);
}

static void tell(const struct robot_job *self, const json_t *body, const struct error *err)
{
    static const enum audit_action actions[] = {[ROBOT_CREATE] = AUDIT_ROBOT_CREATE,
                                                [ROBOT_DISABLE] = AUDIT_ROBOT_DISABLE,
                                                [ROBOT_REMOVE] = AUDIT_ROBOT_REMOVE};
    const char *name = self->action == ROBOT_CREATE ? json_text(body, "name") : self->name;
    if (self->action == ROBOT_LIST)
        return;
    const struct audit_event event = {.action = actions[self->action], .object = name};
    requester_tell(&self->by, self->runtime->audit, event, err);
}

static void run(struct job *job, void *arg)
{
    const struct robot_job *self = arg;
    struct reply reply = REPLY_INIT(self->action == ROBOT_CREATE   ? 201
                                    : self->action == ROBOT_REMOVE ? 204
                                                                   : 200);
    struct error err = ERROR_INIT;
    autojson json_t *body = NULL;
    json_t *answer = NULL;
    if (self->action == ROBOT_CREATE)
        read_body(job, &body, &err);
    if (err.code == ERR_OK)
        robots_do(self->runtime->store, self->action, self->name, body, &answer, &err);
    tell(self, body, &err);
    if (err.code != ERR_OK)
        reply_error(&reply, &err);
    else if (answer)
        reply_json(&reply, json_compact_take(answer));
    job_answer(job, &reply);
}

static struct job *start(struct gateway *gateway, const struct request *request,
                         enum robot_action action, struct reply *reply)
{
    bool named = action == ROBOT_REMOVE || action == ROBOT_DISABLE;
    const char *name = named ? request->path + strlen(ROBOTS_PATH) : "";
    size_t size = strcspn(name, "/");
    struct robot_job *self = xcalloc(1, sizeof *self + size + 1);
    const struct job_work work = {.class = JOB_BRIEF, .run = run, .free = drop, .self = self};
    struct error err = ERROR_INIT;
    struct job *job = NULL;
    self->runtime = gateway->runtime;
    requester_of(request, &self->by);
    self->action = action;
    memcpy(self->name, name, size);
    if (job_start(gateway->jobs, &work, request->peer, &job, &err) == ERR_OK)
        return job;
    drop(self);
    reply_error(reply, &err);
    return NULL;
}

struct job *robots_list(struct gateway *gateway, const struct request *request, struct reply *reply)
{
    return start(gateway, request, ROBOT_LIST, reply);
}

struct job *robots_post(struct gateway *gateway, const struct request *request, struct reply *reply)
{
    return start(gateway, request, ROBOT_CREATE, reply);
}

struct job *robot_delete(struct gateway *gateway, const struct request *request,
                         struct reply *reply)
{
    return start(gateway, request, ROBOT_REMOVE, reply);
}

struct job *robot_disable(struct gateway *gateway, const struct request *request,
                          struct reply *reply)
{
    return start(gateway, request, ROBOT_DISABLE, reply);
}
