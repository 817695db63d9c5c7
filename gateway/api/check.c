#include "gateway/api/check.h"

#include "base/json.h"
#include "base/mem.h"
#include "gateway/access/requester.h"
#include "gateway/api/push_job.h"
#include "gateway/http/query.h"
#include "gateway/service/checker.h"
#include "store/quarantine.h"

#include <stdio.h>
#include <string.h>

#define QUARANTINE_LIST_LIMIT 100

enum errc check_parse(const char *data, size_t size, bool *repair, struct error *err)
{
    autojson json_t *root = NULL;
    *repair = false;
    if (size == 0)
        return ERR_OK;
    if (json_parse(data, size, CHECK_BODY_MAX, "the body", &root, err) != ERR_OK)
        return err->code;
    const json_t *value = json_object_get(root, "repair");
    if (!json_is_object(root) || json_object_size(root) != (value ? 1u : 0u) ||
        (value && !json_is_boolean(value)))
        return fail(err, ERR_BAD_REQUEST, 0, "the body is {} or {\"repair\": true or false}");
    *repair = json_is_true(value);
    return ERR_OK;
}

struct check_job {
    struct gateway *gateway;
    struct requester by;
    struct query query; /* owned */
    enum errc (*answer)(struct check_job *self, struct job *job, struct reply *reply,
                        struct error *err);
};

static void free_self(void *arg)
{
    struct check_job *self = arg;
    query_deinit(&self->query);
    requester_deinit(&self->by);
    free(self);
}

static void run(struct job *job, void *arg)
{
    struct check_job *self = arg;
    struct reply reply = REPLY_INIT(200);
    struct error err = ERROR_INIT;
    if (self->answer(self, job, &reply, &err) != ERR_OK)
        reply_error(&reply, &err);
    job_answer(job, &reply);
}

static struct job *start(struct gateway *gateway, const struct request *request,
                         enum errc (*answer)(struct check_job *, struct job *, struct reply *,
                                             struct error *),
                         struct reply *reply)
{
    struct check_job *self = xcalloc(1, sizeof *self);
    const struct job_work work = {.class = JOB_BRIEF, .run = run, .free = free_self, .self = self};
    struct error err = ERROR_INIT;
    struct job *job = NULL;
    self->gateway = gateway;
    self->answer = answer;
    requester_of(request, &self->by);
    if (query_parse(request->query, &self->query, &err) == ERR_OK &&
        job_start(gateway->jobs, &work, request->peer, &job, &err) == ERR_OK)
        return job;
    free_self(self);
    reply_error(reply, &err);
    return NULL;
}

static enum errc refuse_parameters(const struct check_job *self, struct error *err)
{
    if (self->query.count == 0)
        return ERR_OK;
    return fail(err, ERR_BAD_REQUEST, 0, "a check takes no parameters");
}

static enum errc show(struct check_job *self, struct job *job, struct reply *reply,
                      struct error *err)
{
    (void)job;
    if (refuse_parameters(self, err) == ERR_OK)
        reply_json(reply, checker_report(self->gateway->checker));
    return err->code;
}

static enum errc begin(struct check_job *self, struct job *job, struct reply *reply,
                       struct error *err)
{
    autobuf struct buf body = BUF_INIT(CHECK_BODY_MAX);
    bool repair = false;
    if (push_job_document(job, "the body", &body, err) != ERR_OK ||
        check_parse(buf_cstr(&body), body.size, &repair, err) != ERR_OK ||
        refuse_parameters(self, err) != ERR_OK)
        return err->code;
    const struct audit_event event = {.action = AUDIT_CHECK};
    checker_begin(self->gateway->checker, repair, err);
    requester_tell(&self->by, self->gateway->runtime->audit, event, err);
    if (err->code != ERR_OK)
        return err->code;
    reply->status = 202;
    reply_header(reply, "Location", "/v1/check");
    return show(self, job, reply, err);
}

static enum errc cancel(struct check_job *self, struct job *job, struct reply *reply,
                        struct error *err)
{
    if (refuse_parameters(self, err) != ERR_OK)
        return err->code;
    checker_cancel(self->gateway->checker);
    return show(self, job, reply, err);
}

struct job *check_post(struct gateway *gateway, const struct request *request, struct reply *reply)
{
    return start(gateway, request, begin, reply);
}

struct job *check_get(struct gateway *gateway, const struct request *request, struct reply *reply)
{
    return start(gateway, request, show, reply);
}

struct job *check_delete(struct gateway *gateway, const struct request *request,
                         struct reply *reply)
{
    return start(gateway, request, cancel, reply);
}

/* ---- the quarantine ---- */

static enum errc read_parameters(const struct query *query, size_t *limit, const char **after,
                                 struct error *err)
{
    *limit = QUARANTINE_LIST_LIMIT;
    *after = "";
    for (size_t i = 0; i < query->count; i++) {
        const struct query_parameter *item = &query->items[i];
        size_t digits = strspn(item->value, "0123456789");
        if (strcmp(item->name, "after") == 0 && strlen(item->value) < QUARANTINE_ID_MAX)
            *after = item->value;
        else if (strcmp(item->name, "limit") == 0 && digits > 0 && digits < 5 &&
                 item->value[digits] == '\0' && strtoul(item->value, NULL, 10) > 0 &&
                 strtoul(item->value, NULL, 10) <= QUARANTINE_LIST_MAX)
            *limit = strtoul(item->value, NULL, 10);
        else
            return fail(err, ERR_BAD_REQUEST, 0,
                        "the parameters are \"limit\", a number from 1 to %d, and \"after\", an id",
                        QUARANTINE_LIST_MAX);
    }
    return ERR_OK;
}

static json_t *item_json(const struct quarantine_item *item)
{
    json_t *object = json_object();
    json_put_text(object, "id", item->id);
    json_put_text(object, "what", item->what);
    if (item->table[0] != '\0')
        json_put_text(object, "table", item->table);
    json_put_text(object, "name", item->name);
    json_put_text(object, "reason", item->reason);
    json_put_number(object, "at", item->at_s);
    json_put_number(object, "size", item->size);
    return object;
}

static enum errc list(struct check_job *self, struct job *job, struct reply *reply,
                      struct error *err)
{
    (void)job;
    struct store *store = self->gateway->runtime->store;
    const char *after = NULL;
    size_t limit = 0;
    size_t count = 0;
    bool more = false;
    if (read_parameters(&self->query, &limit, &after, err) != ERR_OK)
        return err->code;
    autofree struct quarantine_item *items = xcalloc(limit, sizeof *items);
    if (quarantine_list(store, after, items, limit, &count, &more, err) != ERR_OK)
        return err->code;
    json_t *root = json_object();
    json_t *all = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(all, item_json(&items[i]));
    json_put_number(root, "count", quarantine_count(store));
    json_object_set_new(root, "items", all);
    if (more)
        json_put_text(root, "next", items[count - 1].id);
    reply_json(reply, json_compact_take(root));
    return ERR_OK;
}

struct job *quarantine_get(struct gateway *gateway, const struct request *request,
                           struct reply *reply)
{
    return start(gateway, request, list, reply);
}
