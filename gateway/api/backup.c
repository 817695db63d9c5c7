#include "gateway/api/backup.h"

#include "base/json.h"
#include "base/mem.h"
#include "gateway/access/requester.h"
#include "gateway/service/backup_report.h"

struct backup_job {
    struct gateway *gateway;
    struct requester by;
};

static void run(struct job *job, void *self)
{
    const struct backup_job *asked = self;
    const struct runtime *runtime = asked->gateway->runtime;
    autosettings const struct settings *settings = runtime_settings(runtime);
    struct reply reply = REPLY_INIT(200);
    struct error err = ERROR_INIT;
    json_t *report = NULL;
    backup_run(settings, runtime->store, job_cancelled(job), &report, &err);
    const struct audit_event event = {.action = AUDIT_BACKUP, .object = json_text(report, "path")};
    requester_tell(&asked->by, runtime->audit, event, &err);
    if (err.code == ERR_OK)
        reply_json(&reply, json_compact_take(report));
    else
        reply_error(&reply, &err);
    job_answer(job, &reply);
}

static void drop(void *arg)
{
    struct backup_job *self = arg;
    requester_deinit(&self->by);
    free(self);
}

struct job *backup_post(struct gateway *gateway, const struct request *request, struct reply *reply)
{
    struct backup_job *self = xcalloc(1, sizeof *self);
    const struct job_work work = {.class = JOB_LIST, .run = run, .free = drop, .self = self};
    struct error err = ERROR_INIT;
    struct job *job = NULL;
    self->gateway = gateway;
    requester_of(request, &self->by);
    if (request->query[0] != '\0')
        fail(&err, ERR_BAD_REQUEST, 0, "a backup takes no parameters");
    if (err.code == ERR_OK && job_start(gateway->jobs, &work, request->peer, &job, &err) == ERR_OK)
        return job;
    drop(self);
    reply_error(reply, &err);
    return NULL;
}
