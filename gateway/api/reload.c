#include "gateway/api/reload.h"

#include "base/mem.h"
#include "gateway/access/requester.h"
#include "gateway/service/reload.h"

struct reload_job {
    struct reload *reload;
    struct requester by;
};

static void run(struct job *job, void *arg)
{
    const struct reload_job *self = arg;
    const struct reload_by by = {.cause = "request", .by = &self->by};
    struct reply reply = REPLY_INIT(200);
    struct error err = ERROR_INIT;
    autojson json_t *report = NULL;
    if (reload_run(self->reload, &by, &report, &err) == ERR_OK)
        reply_json(&reply, json_compact(report));
    else
        reply_error(&reply, &err);
    job_answer(job, &reply);
}

static void free_self(void *arg)
{
    struct reload_job *self = arg;
    requester_deinit(&self->by);
    free(self);
}

struct job *reload_post(struct gateway *gateway, const struct request *request, struct reply *reply)
{
    struct reload_job *self = xcalloc(1, sizeof *self);
    const struct job_work work = {.class = JOB_LIST, .run = run, .free = free_self, .self = self};
    struct error err = ERROR_INIT;
    struct job *job = NULL;
    self->reload = gateway->reload;
    requester_of(request, &self->by);
    if (request->query[0] != '\0')
        fail(&err, ERR_BAD_REQUEST, 0, "a reload takes no parameters");
    if (err.code == ERR_OK && job_start(gateway->jobs, &work, request->peer, &job, &err) == ERR_OK)
        return job;
    free_self(self);
    reply_error(reply, &err);
    return NULL;
}
