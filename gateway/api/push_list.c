#include "gateway/api/push_list.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "gateway/access/access.h"
#include "gateway/push/push_json.h"
#include "store/pushes.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define PUSHES_PATH "/v1/pushes/"
#define PUSHES_AT_ONCE 16

/* ---- what a list is about ---- */

/* Seconds since the epoch, or a time as the lists have it. */
static bool parse_time(const char *text, uint64_t *out)
{
    struct tm utc = {0};
    char *end = NULL;
    if (isdigit((unsigned char)text[0]) && text[strspn(text, "0123456789")] == '\0' &&
        strlen(text) < 12) {
        *out = strtoull(text, NULL, 10);
        return true;
    }
    end = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &utc);
    if (end == NULL || *end != '\0')
        return false;
    time_t seconds = timegm(&utc);
    *out = seconds > 0 ? (uint64_t)seconds : 0;
    return true;
}

static bool is_state(const char *name)
{
    enum push_state state;
    return strcmp(name, "partial") == 0 || push_state_by_name(name, &state);
}

static enum errc parse_limit(const char *text, size_t *out, struct error *err)
{
    size_t digits = strspn(text, "0123456789");
    unsigned long number = digits > 0 && digits < 6 ? strtoul(text, NULL, 10) : 0;
    if (text[digits] != '\0' || number == 0 || number > PUSH_LIST_LIMIT_MAX)
        return fail(err, ERR_BAD_REQUEST, 0, "\"limit\" is a number from 1 to %d",
                    PUSH_LIST_LIMIT_MAX);
    *out = number;
    return ERR_OK;
}

static enum errc take_parameter(const struct query_parameter *item, struct push_filter *out,
                                struct error *err)
{
    if (strcmp(item->name, "state") == 0) {
        if (!is_state(item->value))
            return fail(err, ERR_BAD_REQUEST, 0, "there is no state \"%.50s\"", item->value);
        out->state = item->value;
    } else if (strcmp(item->name, "target") == 0) {
        out->target = item->value;
    } else if (strcmp(item->name, "repository") == 0) {
        out->repository = item->value;
    } else if (strcmp(item->name, "after") == 0) {
        if (strlen(item->value) >= PUSH_ID_MAX)
            return fail(err, ERR_BAD_REQUEST, 0, "\"after\" is the id of a push");
        out->after = item->value;
    } else if (strcmp(item->name, "since") == 0) {
        if (!parse_time(item->value, &out->since_s))
            return fail(err, ERR_BAD_REQUEST, 0,
                        "\"since\" is a time like 2026-01-31T12:00:00Z, or seconds since 1970");
    } else if (strcmp(item->name, "limit") == 0) {
        return parse_limit(item->value, &out->limit, err);
    } else {
        return fail(err, ERR_BAD_REQUEST, 0,
                    "there is no parameter \"%.50s\": state, target, repository, since, limit, "
                    "after",
                    item->name);
    }
    return ERR_OK;
}

enum errc push_filter_parse(const struct query *query, struct push_filter *out, struct error *err)
{
    struct push_filter filter = {.limit = PUSH_LIST_LIMIT, .after = ""};
    for (size_t i = 0; i < query->count; i++) {
        bool twice = false;
        query_value(query, query->items[i].name, &twice);
        if (twice)
            return fail(err, ERR_BAD_REQUEST, 0, "\"%.50s\" is there twice", query->items[i].name);
        if (take_parameter(&query->items[i], &filter, err) != ERR_OK)
            return err->code;
    }
    *out = filter;
    return ERR_OK;
}

static bool has_state(const struct push *push, const char *name)
{
    int overall = push_overall(push);
    const char *whole = overall ? push_state_name((enum push_state)overall) : "partial";
    if (strcmp(whole, name) == 0)
        return true;
    for (size_t i = 0; i < push->target_count; i++)
        if (strcmp(push_state_name(push->targets[i].state), name) == 0)
            return true;
    return false;
}

static bool has_repository(const struct push *push, const char *name)
{
    char text[REFERENCE_NAME_MAX + 1];
    if (strcmp(push->repository, name) == 0)
        return true;
    for (size_t i = 0; i < push->target_count; i++)
        if (strcmp(reference_name(&push->targets[i].reference, text), name) == 0)
            return true;
    return false;
}

static bool has_target(const struct push *push, const char *name)
{
    for (size_t i = 0; i < push->target_count; i++)
        if (push_target_is(&push->targets[i], name))
            return true;
    return false;
}

bool push_filter_fits(const struct push_filter *filter, const struct push *push)
{
    return push->created_s >= filter->since_s &&
           (filter->state == NULL || has_state(push, filter->state)) &&
           (filter->target == NULL || has_target(push, filter->target)) &&
           (filter->repository == NULL || has_repository(push, filter->repository));
}

/* ---- jobs ---- */

struct control_job {
    struct gateway *gateway;
    struct requester by;
    enum operation operation;
    struct query query; /* owned */
    char id[PUSH_ID_MAX];
    void (*answer)(struct control_job *self, struct reply *reply, struct error *err);
};

static void free_job(void *arg)
{
    struct control_job *self = arg;
    query_deinit(&self->query);
    requester_deinit(&self->by);
    free(self);
}

/* Of a push that comes from no repository of the registry API, only who may do so everywhere. */
static bool may_see(const struct control_job *self, const struct push *push)
{
    return access_ask(self->gateway->access, self->by.caller, self->operation, push->repository,
                      NULL) == ACCESS_YES;
}

static void run(struct job *job, void *arg)
{
    struct control_job *self = arg;
    struct reply reply = REPLY_INIT(200);
    struct error err = ERROR_INIT;
    self->answer(self, &reply, &err);
    if (err.code != ERR_OK)
        reply_error(&reply, &err);
    job_answer(job, &reply);
}

static struct job *start(struct gateway *gateway, const struct request *request, const char *id,
                         enum job_class class,
                         void (*answer)(struct control_job *, struct reply *, struct error *),
                         struct reply *reply)
{
    struct control_job *self = xcalloc(1, sizeof *self);
    const struct job_work work = {.class = class, .run = run, .free = free_job, .self = self};
    struct error err = ERROR_INIT;
    struct job *job = NULL;
    size_t size = id ? strcspn(id, "/") : 0;
    self->gateway = gateway;
    requester_of(request, &self->by);
    self->operation = strcmp(request->method, "GET") == 0 || strcmp(request->method, "HEAD") == 0
                          ? OPERATION_QUEUE_READ
                          : OPERATION_QUEUE_CONTROL;
    self->answer = answer;
    if (query_parse(request->query, &self->query, &err) == ERR_OK) {
        if (id && (size == 0 || size >= sizeof self->id))
            fail(&err, ERR_NOT_FOUND, 0, "there is no push with this id");
        else if (id)
            memcpy(self->id, id, size);
    }
    if (err.code == ERR_OK && job_start(gateway->jobs, &work, request->peer, &job, &err) == ERR_OK)
        return job;
    free_job(self);
    reply_error(reply, &err);
    return NULL;
}

/* ---- lists ---- */

/* A page while it is made: youngest first. */
struct page {
    const struct control_job *job;
    const struct push_filter *filter;
    struct push_queue *queue;
    struct store *store;
    struct push *unrecorded; /* owned; oldest first */
    size_t unrecorded_left;
    json_t *list; /* owned */
    char last[PUSH_ID_MAX];
    size_t looked_at;
    bool full; /* there may be more behind `last` */
};

static int by_id(const void *a, const void *b)
{
    return strcmp(((const struct push *)a)->id, ((const struct push *)b)->id);
}

static void take(struct page *page, const struct push *push)
{
    const char *after = page->filter->after;
    if (page->full || (after[0] && strcmp(push->id, after) >= 0) ||
        strcmp(push->id, page->last) == 0)
        return;
    memcpy(page->last, push->id, sizeof page->last);
    page->looked_at++;
    if (push_filter_fits(page->filter, push) && may_see(page->job, push))
        json_array_append_new(page->list, push_json_listed(push));
    page->full = json_array_size(page->list) >= page->filter->limit ||
                 page->looked_at >= PUSH_LIST_LOOKED_AT;
}

/* Those that are younger than the push `id`; all that are left for "". */
static void take_unrecorded(struct page *page, const char *id)
{
    while (page->unrecorded_left > 0) {
        const struct push *push = &page->unrecorded[page->unrecorded_left - 1];
        if (strcmp(push->id, id) < 0)
            return;
        take(page, push);
        page->unrecorded_left--;
    }
}

static enum errc take_recorded(struct page *page, struct error *err)
{
    struct push pushes[PUSHES_AT_ONCE];
    char before[PUSH_ID_MAX];
    size_t count = PUSHES_AT_ONCE;
    snprintf(before, sizeof before, "%s", page->filter->after);
    while (count == PUSHES_AT_ONCE && !page->full) {
        if (pushes_before(page->store, before, pushes, PUSHES_AT_ONCE, &count, err) != ERR_OK)
            return err->code;
        for (size_t i = 0; i < count; i++) {
            push_queue_look(page->queue, &pushes[i]);
            take_unrecorded(page, pushes[i].id);
            take(page, &pushes[i]);
            memcpy(before, pushes[i].id, sizeof before);
            push_deinit(&pushes[i]);
        }
    }
    return ERR_OK;
}

static void answer_page(const struct page *page, struct reply *reply)
{
    json_t *root = json_object();
    json_object_set(root, "pushes", page->list);
    if (page->full)
        json_put_text(root, "next", page->last);
    reply_json(reply, json_compact_take(root));
}

static void list(struct control_job *self, struct reply *reply, struct error *err)
{
    struct push_filter filter;
    if (push_filter_parse(&self->query, &filter, err) != ERR_OK)
        return;
    struct page page = {.job = self,
                        .filter = &filter,
                        .queue = self->gateway->queue,
                        .store = self->gateway->runtime->store,
                        .list = json_array()};
    size_t count = push_queue_unrecorded(page.queue, &page.unrecorded);
    page.unrecorded_left = count;
    if (count > 0)
        qsort(page.unrecorded, count, sizeof *page.unrecorded, by_id);
    if (take_recorded(&page, err) == ERR_OK) {
        take_unrecorded(&page, "");
        answer_page(&page, reply);
    }
    for (size_t i = 0; i < count; i++)
        push_deinit(&page.unrecorded[i]);
    free(page.unrecorded);
    json_decref(page.list);
}

struct job *pushes_list(struct gateway *gateway, const struct request *request, struct reply *reply)
{
    return start(gateway, request, NULL, JOB_LIST, list, reply);
}

/* ---- one push ---- */

/* `out` is to be deinited. ERR_NOT_FOUND. */
static enum errc find(const struct control_job *self, struct push *out, struct error *err)
{
    bool found = false;
    if (push_queue_find(self->gateway->queue, self->id, out, &found, err) != ERR_OK)
        return err->code;
    if (found && may_see(self, out))
        return ERR_OK;
    if (found)
        push_deinit(out);
    return fail(err, ERR_NOT_FOUND, 0, "there is no push %s; history is kept for a while only",
                self->id);
}

static enum errc refuse_parameters(const struct control_job *self, struct error *err)
{
    if (self->query.count == 0)
        return ERR_OK;
    return fail(err, ERR_BAD_REQUEST, 0, "there are no parameters: the path says all");
}

static void show(struct control_job *self, struct reply *reply, struct error *err)
{
    struct push push;
    if (refuse_parameters(self, err) != ERR_OK || find(self, &push, err) != ERR_OK)
        return;
    reply_json(reply, json_compact_take(push_json_listed(&push)));
    push_deinit(&push);
}

static void tell(const struct control_job *self, struct audit_event event, const struct error *err)
{
    event.push = self->id;
    requester_tell(&self->by, self->gateway->runtime->audit, event, err);
}

/* What had come to its end stays as it is, and is shown. */
static void cancel(struct control_job *self, struct reply *reply, struct error *err)
{
    struct push push;
    if (refuse_parameters(self, err) != ERR_OK || find(self, &push, err) != ERR_OK)
        return;
    if (push_queue_cancel(self->gateway->queue, self->id, push.target_count))
        tell(self, (struct audit_event){.action = AUDIT_CANCEL, .repository = push.repository},
             err);
    push_deinit(&push);
    show(self, reply, err);
}

static const char *id_of(const struct request *request)
{
    return request->path + strlen(PUSHES_PATH);
}

struct job *push_get(struct gateway *gateway, const struct request *request, struct reply *reply)
{
    return start(gateway, request, id_of(request), JOB_BRIEF, show, reply);
}

struct job *push_delete(struct gateway *gateway, const struct request *request, struct reply *reply)
{
    return start(gateway, request, id_of(request), JOB_BRIEF, cancel, reply);
}

/* ---- trying again ---- */

static void retry_wanted(const struct control_job *self, struct push_retry *wanted,
                         struct reply *reply, struct error *err)
{
    int64_t keep_ms = RUNTIME_SETTING(self->gateway->runtime, queue.keep_trying_ms);
    struct push_retried done = {.retried = 0};
    if (keep_ms > 0)
        wanted->deadline_s = (uint64_t)(clock_wall_s() + keep_ms / 1000);
    push_queue_retry(self->gateway->queue, wanted, &done, err);
    const struct audit_event event = {
        .action = AUDIT_RETRY, .object = wanted->target, .count = done.retried};
    tell(self, event, err);
    if (err->code != ERR_OK)
        return;
    json_t *root = json_object();
    json_put_number(root, "retried", done.retried);
    json_put_number(root, "superseded", done.superseded);
    reply_json(reply, json_compact_take(root));
}

static void retry_one(struct control_job *self, struct reply *reply, struct error *err)
{
    struct push push;
    struct push_retry wanted = {.id = self->id};
    if (refuse_parameters(self, err) != ERR_OK || find(self, &push, err) != ERR_OK)
        return;
    push_deinit(&push);
    retry_wanted(self, &wanted, reply, err);
}

/* Not all there is by mistake. */
static void retry_many(struct control_job *self, struct reply *reply, struct error *err)
{
    struct push_filter filter;
    struct push_retry wanted = {.id = NULL};
    if (push_filter_parse(&self->query, &filter, err) != ERR_OK)
        return;
    if ((filter.target == NULL && filter.state == NULL) || filter.repository || filter.after[0] ||
        filter.since_s || filter.limit != PUSH_LIST_LIMIT ||
        (filter.state && !push_state_by_name(filter.state, &wanted.state))) {
        fail(err, ERR_BAD_REQUEST, 0,
             "say which: \"target\", \"state\" (of a target, like failed or waiting), or both");
        return;
    }
    wanted.target = filter.target;
    retry_wanted(self, &wanted, reply, err);
}

struct job *push_retry(struct gateway *gateway, const struct request *request, struct reply *reply)
{
    return start(gateway, request, id_of(request), JOB_LIST, retry_one, reply);
}

struct job *pushes_retry(struct gateway *gateway, const struct request *request,
                         struct reply *reply)
{
    return start(gateway, request, NULL, JOB_LIST, retry_many, reply);
}
