#include "gateway/api/backup.h"

#include "gateway/service/backup_report.h"

static void run(struct job *job, void *self)
{
    const struct gateway *gateway = self;
    struct reply reply = REPLY_INIT(200);
    struct error err = ERROR_INIT;
    json_t *report = NULL;
    if (backup_run(gateway->runtime->settings, gateway->runtime->store, job_cancelled(job), &report,
                   &err) == ERR_OK)
        reply_json(&reply, json_compact_take(report));
    else
        reply_error(&reply, &err);
    job_answer(job, &reply);
}

static void keep_gateway(void *self)
{
    (void)self;
}

struct job *backup_post(struct gateway *gateway, const struct request *request, struct reply *reply)
{
    const struct job_work work = {
        .class = JOB_LIST, .run = run, .free = keep_gateway, .self = gateway};
    struct error err = ERROR_INIT;
    struct job *job = NULL;
    if (request->query[0] != '\0')
        fail(&err, ERR_BAD_REQUEST, 0, "a backup takes no parameters");
    if (err.code == ERR_OK && job_start(gateway->jobs, &work, request->peer, &job, &err) == ERR_OK)
        return job;
    reply_error(reply, &err);
    return NULL;
}
