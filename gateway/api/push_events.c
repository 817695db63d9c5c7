#include "gateway/api/push_events.h"

#include "base/clock.h"
#include "base/mem.h"
#include "gateway/access/access.h"
#include "gateway/api/answer.h"
#include "gateway/api/event_stream.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EVENTS_PATH_BEFORE "/v1/pushes/"
#define SSE_TYPE "text/event-stream"
#define EVENT_ID_MAX 17
/* Times of a gate are computed from two clocks. */
#define NEXT_JITTER_S 2

/* What was told of a target. */
struct told {
    enum push_state state;
    unsigned tries;
    enum errc why;
    uint64_t next_s;
};

struct follower {
    struct push_watch watch;
    struct gateway *gateway;
    atomic_uint references; /* the watch's and the reader's */
    struct event_stream *stream;
    struct body_source body; /* the stream's */
    bool sse;
    bool begun;
    char last[EVENT_ID_MAX]; /* of Last-Event-ID; "": none */
    int64_t told_ms;
    struct told *told; /* owned, one a target; zeroes before */
    size_t count;
};

/* ---- what there is to tell ---- */

static struct told told_of(const struct push_target *target)
{
    return (struct told){.state = target->state,
                         .tries = target->tries,
                         .why = target->error.code,
                         .next_s = target->next_s};
}

static bool is_news(const struct told *before, const struct told *now)
{
    uint64_t moved =
        before->next_s > now->next_s ? before->next_s - now->next_s : now->next_s - before->next_s;
    return before->state != now->state || before->tries != now->tries || before->why != now->why ||
           moved > NEXT_JITTER_S;
}

/* FNV-1a. A next time passes by itself, and is not part of it. */
static void event_id(const struct told *told, size_t count, char out[EVENT_ID_MAX])
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < count; i++) {
        const uint32_t words[] = {(uint32_t)told[i].state, told[i].tries, (uint32_t)told[i].why};
        for (size_t w = 0; w < sizeof words / sizeof words[0]; w++)
            hash = (hash ^ words[w]) * UINT64_C(0x100000001b3);
    }
    snprintf(out, EVENT_ID_MAX, "%016llx", (unsigned long long)hash);
}

static bool has_ended(const struct push *push)
{
    for (size_t i = 0; i < push->target_count; i++)
        if (!push_state_is_final(push->targets[i].state))
            return false;
    return true;
}

static void push_event_id(const struct push *push, char out[EVENT_ID_MAX])
{
    autofree struct told *now = xcalloc(push->target_count, sizeof *now);
    for (size_t i = 0; i < push->target_count; i++)
        now[i] = told_of(&push->targets[i]);
    event_id(now, push->target_count, out);
}

/* ---- telling it ---- */

/* `text` is a line, taken; `key` as event_stream_line(). */
static void tell(struct follower *follower, char *text, const char *key)
{
    char id[EVENT_ID_MAX];
    follower->told_ms = clock_ms();
    if (follower->sse) {
        event_id(follower->told, follower->count, id);
        char *framed = xasprintf("id: %s\ndata: %s\n", id, text);
        free(text);
        text = framed;
    }
    event_stream_line(follower->stream, text, key);
}

static void tell_rest(struct follower *follower)
{
    if (clock_ms() - follower->told_ms < FOLLOWER_REST_MS / 2)
        return;
    follower->told_ms = clock_ms();
    event_stream_line(follower->stream, xstrdup(follower->sse ? ":\n\n" : "{}\n"), "rest");
}

static void tell_changes(struct follower *follower, const struct push *push)
{
    char text[REFERENCE_TEXT_MAX];
    for (size_t i = 0; i < push->target_count && i < follower->count; i++) {
        const struct push_target *target = &push->targets[i];
        const struct told now = told_of(target);
        if (!is_news(&follower->told[i], &now))
            continue;
        follower->told[i] = now;
        tell(follower, answer_change(target),
             push_state_is_final(now.state) ? NULL : reference_text(&target->reference, text));
    }
}

/* A client that comes again knows what was so then. */
static void begin(struct follower *follower, const struct push *push)
{
    char id[EVENT_ID_MAX];
    follower->begun = true;
    follower->told = xcalloc(push->target_count, sizeof *follower->told);
    follower->count = push->target_count;
    push_event_id(push, id);
    if (strcmp(follower->last, id) != 0) {
        tell(follower, answer_begin(push), NULL);
        return;
    }
    for (size_t i = 0; i < push->target_count; i++)
        follower->told[i] = told_of(&push->targets[i]);
}

static void tell_end(struct follower *follower, const char *why)
{
    const struct progress_event event = {.kind = PROGRESS_MESSAGE, .target = "", .status = why};
    tell(follower, answer_event(&event), NULL);
}

static struct follower *follower_of(struct push_watch *watch)
{
    return (struct follower *)((char *)watch - offsetof(struct follower, watch));
}

static bool look(struct push_watch *watch, bool closed)
{
    struct follower *follower = follower_of(watch);
    struct error err = ERROR_INIT;
    struct push push;
    bool found = false;
    if (event_stream_abandoned(follower->stream))
        return false;
    push_queue_find(follower->gateway->queue, watch->id, &push, &found, &err);
    if (!found) {
        tell_end(follower, err.code ? err.text : "the push is not in the history any more");
        return false;
    }
    if (!follower->begun)
        begin(follower, &push);
    tell_changes(follower, &push);
    bool ended = has_ended(&push);
    push_deinit(&push);
    if (closed && !ended)
        tell_end(follower, "the gateway is stopping: follow the push again when it is back");
    else if (!ended)
        tell_rest(follower);
    return !closed && !ended;
}

/* ---- its life ---- */

static void unref(struct follower *follower)
{
    if (atomic_fetch_sub(&follower->references, 1) > 1)
        return;
    free(follower->told);
    free(follower);
}

static void over(struct push_watch *watch)
{
    struct follower *follower = follower_of(watch);
    event_stream_end(follower->stream);
    event_stream_unref(follower->stream);
    atomic_fetch_sub(&follower->gateway->followers, 1);
    unref(follower);
}

static ssize_t read_body(void *self, char *out, size_t size)
{
    struct follower *follower = self;
    return follower->body.read(follower->body.self, out, size);
}

static void release_body(void *self)
{
    struct follower *follower = self;
    follower->body.release(follower->body.self);
    push_queue_watch_wake(follower->gateway->queue, &follower->watch);
    unref(follower);
}

/* NULL: there are too many, or the gateway stops. */
static struct follower *follower_new(struct gateway *gateway, struct suspendable connection,
                                     const char *id, bool sse, const char *last, struct error *err)
{
    if (atomic_fetch_add(&gateway->followers, 1) >= FOLLOWERS_MAX) {
        atomic_fetch_sub(&gateway->followers, 1);
        fail(err, ERR_TOO_MANY, 0,
             "%d clients follow pushes already: ask for the push itself now and then",
             FOLLOWERS_MAX);
        return NULL;
    }
    struct follower *follower = xcalloc(1, sizeof *follower);
    follower->gateway = gateway;
    follower->sse = sse;
    follower->stream = event_stream_new();
    follower->body = event_stream_body(follower->stream);
    follower->watch.rest_ms = FOLLOWER_REST_MS;
    follower->watch.look = look;
    follower->watch.over = over;
    snprintf(follower->watch.id, sizeof follower->watch.id, "%s", id);
    snprintf(follower->last, sizeof follower->last, "%s", last);
    atomic_init(&follower->references, 2);
    event_stream_attach(follower->stream, connection);
    if (push_queue_watch(gateway->queue, &follower->watch))
        return follower;
    fail(err, ERR_STOPPING, 0, "the gateway is stopping");
    over(&follower->watch);
    release_body(follower);
    return NULL;
}

/* ---- the request ---- */

struct events_job {
    struct gateway *gateway;
    struct caller *caller; /* a reference */
    char id[PUSH_ID_MAX];
    bool sse;
    char last[EVENT_ID_MAX];
};

static void answer(const struct events_job *self, const struct job *job, struct reply *reply,
                   struct error *err)
{
    char id[EVENT_ID_MAX];
    struct push push;
    bool found = false;
    if (push_queue_find(self->gateway->queue, self->id, &push, &found, err) != ERR_OK)
        return;
    if (found && access_ask(self->gateway->access, self->caller, OPERATION_QUEUE_READ,
                            push.repository, NULL) != ACCESS_YES) {
        push_deinit(&push);
        found = false;
    }
    if (!found) {
        fail(err, ERR_NOT_FOUND, 0, "there is no push %s; history is kept for a while only",
             self->id);
        return;
    }
    push_event_id(&push, id);
    bool knows_all = self->sse && has_ended(&push) && strcmp(id, self->last) == 0;
    push_deinit(&push);
    if (knows_all) {
        reply->status = 204;
        return;
    }
    struct follower *follower =
        follower_new(self->gateway, job_connection(job), self->id, self->sse, self->last, err);
    if (follower == NULL)
        return;
    reply_header(reply, MHD_HTTP_HEADER_CACHE_CONTROL, "no-cache");
    reply_header(reply, "X-Accel-Buffering", "no"); /* nginx passes each event on */
    reply_source(reply, self->sse ? SSE_TYPE : EVENT_STREAM_TYPE,
                 (struct body_source){read_body, release_body, follower});
}

static void run(struct job *job, void *arg)
{
    const struct events_job *self = arg;
    struct reply reply = REPLY_INIT(200);
    struct error err = ERROR_INIT;
    answer(self, job, &reply, &err);
    if (err.code != ERR_OK)
        reply_error(&reply, &err);
    job_answer(job, &reply);
}

static void free_self(void *arg)
{
    struct events_job *self = arg;
    caller_unref(self->caller);
    free(self);
}

struct job *push_events(struct gateway *gateway, const struct request *request, struct reply *reply)
{
    struct events_job *self = xcalloc(1, sizeof *self);
    const struct job_work work = {.class = JOB_BRIEF, .run = run, .free = free_self, .self = self};
    const char *id = request->path + strlen(EVENTS_PATH_BEFORE);
    const char *last = request_header(request, "Last-Event-ID");
    struct error err = ERROR_INIT;
    struct job *job = NULL;
    size_t size = strcspn(id, "/");
    self->gateway = gateway;
    self->caller = caller_ref(request->caller);
    self->sse = request_accepts(request, SSE_TYPE);
    snprintf(self->last, sizeof self->last, "%s", last ? last : "");
    if (size == 0 || size >= sizeof self->id)
        fail(&err, ERR_NOT_FOUND, 0, "there is no push with this id");
    else if (request->query[0])
        fail(&err, ERR_BAD_REQUEST, 0, "there are no parameters: the path says all");
    else {
        memcpy(self->id, id, size);
        if (job_start(gateway->jobs, &work, request->peer, &job, &err) == ERR_OK)
            return job;
    }
    free_self(self);
    reply_error(reply, &err);
    return NULL;
}
