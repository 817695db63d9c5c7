#include "tests/support/jobs_test.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

/* cmocka has a macro of that name. */
#undef fail

#include "base/clock.h"
#include "base/mem.h"
#include "gateway/http/jobs_internal.h"

void jobs_test_wait_resumed(struct job_connection *connection)
{
    assert_true(fake_connection_wait(&connection->http, JOBS_TEST_MS));
}

/* One job of it. */
struct task {
    struct job_script *script;
    unsigned number;
    enum job_script_does what;
};

void job_script_init(struct job_script *script)
{
    *script = (struct job_script){.lock = PTHREAD_MUTEX_INITIALIZER};
    clock_cond_init(&script->changed);
}

void job_script_open(struct job_script *script)
{
    pthread_mutex_lock(&script->lock);
    script->gate_open = true;
    pthread_cond_broadcast(&script->changed);
    pthread_mutex_unlock(&script->lock);
}

void job_script_wait(struct job_script *script, const unsigned *count, unsigned wanted)
{
    struct timespec until = clock_deadline(JOBS_TEST_MS);
    int rc = 0;
    pthread_mutex_lock(&script->lock);
    while (*count != wanted && rc == 0)
        rc = pthread_cond_timedwait(&script->changed, &script->lock, &until);
    assert_int_equal(*count, wanted);
    pthread_mutex_unlock(&script->lock);
}

static void count(struct job_script *script, unsigned *counter)
{
    pthread_mutex_lock(&script->lock);
    (*counter)++;
    pthread_cond_broadcast(&script->changed);
    pthread_mutex_unlock(&script->lock);
}

unsigned job_script_look(struct job_script *script, const unsigned *count)
{
    pthread_mutex_lock(&script->lock);
    unsigned value = *count;
    pthread_mutex_unlock(&script->lock);
    return value;
}

static void enter(struct task *task)
{
    struct job_script *script = task->script;
    pthread_mutex_lock(&script->lock);
    if (script->ran < 64)
        script->order[script->ran] = task->number;
    script->ran++;
    script->running++;
    if (script->running > script->most)
        script->most = script->running;
    pthread_cond_broadcast(&script->changed);
    pthread_mutex_unlock(&script->lock);
}

static void leave(struct task *task)
{
    pthread_mutex_lock(&task->script->lock);
    task->script->running--;
    pthread_cond_broadcast(&task->script->changed);
    pthread_mutex_unlock(&task->script->lock);
}

static void pass_gate(struct job_script *script, struct cancel *cancel)
{
    pthread_mutex_lock(&script->lock);
    while (!script->gate_open && !cancel_requested(cancel)) {
        struct timespec until = clock_deadline(10);
        pthread_cond_timedwait(&script->changed, &script->lock, &until);
    }
    pthread_mutex_unlock(&script->lock);
}

/* The body is bytes that count up; the answer is how many came, or the error. */
static void answer_body(struct job *job)
{
    struct source body = job_body(job);
    struct reply reply = REPLY_INIT(200);
    struct error err = ERROR_INIT;
    const uint8_t *data;
    size_t size = 1;
    uint64_t total = 0;
    while (size > 0 && source_pull(&body, &data, &size, &err) == ERR_OK)
        for (size_t i = 0; i < size; i++, total++)
            if (data[i] != (uint8_t)total)
                fail(&err, ERR_BAD_REQUEST, 0, "byte %llu", (unsigned long long)total);
    if (err.code != ERR_OK)
        reply_error(&reply, &err);
    else
        reply_json(&reply, xasprintf("%llu", (unsigned long long)total));
    job_answer(job, &reply);
}

static void answer_done(struct job *job)
{
    struct reply reply = REPLY_INIT(200);
    reply_json(&reply, xstrdup("done"));
    job_answer(job, &reply);
}

void *jobs_test_end(void *arg)
{
    struct job *job = arg;
    answer_done(job);
    job_over(job);
    return NULL;
}

static void hand_on(struct job *job)
{
    pthread_t thread;
    job_continue(job);
    assert_int_equal(pthread_create(&thread, NULL, jobs_test_end, job), 0);
    pthread_detach(thread);
}

/* The job, and the task with it, may be over before this returns. */
static void go_on(struct job *job, const struct task *task)
{
    struct job_script *script = task->script;
    bool gated = task->what == GOES_ON_GATED;
    struct cancel never;
    cancel_init(&never);
    job_continue(job);
    pthread_mutex_lock(&script->lock);
    script->going_on[task->number] = job;
    pthread_cond_broadcast(&script->changed);
    pthread_mutex_unlock(&script->lock);
    if (gated)
        pass_gate(script, &never);
    cancel_deinit(&never);
    count(script, &script->returned);
}

static void hold_document(struct job *job, struct job_script *script)
{
    struct error err = ERROR_INIT;
    if (job_document(job, JOB_DOCUMENT_BYTES + 1, &err) != ERR_OK) {
        job_answer_error(job, &err);
        return;
    }
    count(script, &script->received);
    pass_gate(script, job_cancelled(job));
    answer_done(job);
}

static void run(struct job *job, void *arg)
{
    struct task *task = arg;
    enter(task);
    if (task->what == DOCUMENT)
        hold_document(job, task->script);
    if (task->what == GOES_ON || task->what == GOES_ON_GATED) {
        leave(task);
        go_on(job, task);
        return;
    }
    if (task->what == HANDED_ON) {
        leave(task);
        hand_on(job);
        return;
    }
    if (task->what == RECEIVED_THEN_GATED) {
        job_received(job);
        count(task->script, &task->script->received);
    }
    if (task->what == GATED || task->what == RECEIVED_THEN_GATED)
        pass_gate(task->script, job_cancelled(job));
    if (task->what == PULL_ALL || task->what == GATED)
        answer_body(job);
    if (task->what == NOTHING || task->what == RECEIVED_THEN_GATED)
        answer_done(job);
    leave(task);
}

static void free_task(void *arg)
{
    struct task *task = arg;
    struct job_script *script = task->script;
    count(script, &script->freed);
    free(task);
}

struct job *job_script_going_on(struct job_script *script, unsigned number)
{
    struct timespec until = clock_deadline(JOBS_TEST_MS);
    int rc = 0;
    pthread_mutex_lock(&script->lock);
    while (script->going_on[number] == NULL && rc == 0)
        rc = pthread_cond_timedwait(&script->changed, &script->lock, &until);
    struct job *job = script->going_on[number];
    pthread_mutex_unlock(&script->lock);
    assert_non_null(job);
    return job;
}

static struct executor *executor;

int jobs_test_set_up(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    const struct executor_options options = {.threads_max = 32};
    return executor_new(&options, &executor, &err) == ERR_OK ? 0 : -1;
}

int jobs_test_tear_down(void **state)
{
    (void)state;
    executor_free(executor);
    return 0;
}

struct jobs *jobs_test_table(unsigned uploads, unsigned blobs, unsigned pushes)
{
    const struct jobs_limits limits = {.uploads = uploads, .blobs = blobs, .pushes = pushes};
    return jobs_new(&limits, executor);
}

static enum errc try_start(struct jobs *jobs, enum job_class class, const struct task *what,
                           struct peer peer, struct job_connection *connection)
{
    struct error err = ERROR_INIT;
    struct task *task = xmalloc(sizeof *task);
    *task = *what;
    const struct job_work work = {.class = class, .run = run, .free = free_task, .self = task};
    if (job_start(jobs, &work, peer, &connection->job, &err) != ERR_OK)
        free(task);
    return err.code;
}

enum errc jobs_test_try_start(struct jobs *jobs, enum job_class class, struct job_script *script,
                              enum job_script_does what, unsigned number,
                              struct job_connection *connection)
{
    const struct task task = {.script = script, .number = number, .what = what};
    fake_connection_init(&connection->http);
    return try_start(jobs, class, &task, fake_connection_peer(&connection->http), connection);
}

enum errc jobs_test_try_start_from(struct jobs *jobs, enum job_class class,
                                   struct job_script *script, uint8_t last,
                                   struct job_connection *connection)
{
    const struct task task = {.script = script, .number = last, .what = PULL_ALL};
    fake_connection_init(&connection->http);
    struct peer peer = fake_connection_peer(&connection->http);
    peer.address.bytes[15] = last;
    return try_start(jobs, class, &task, peer, connection);
}

enum errc jobs_test_try_start_as(struct jobs *jobs, enum job_class class, struct job_script *script,
                                 uint8_t who, uint8_t last, struct job_connection *connection)
{
    const struct task task = {.script = script, .number = who, .what = PULL_ALL};
    fake_connection_init(&connection->http);
    struct peer peer = fake_connection_peer(&connection->http);
    peer.address.bytes[15] = last;
    peer.known = true;
    peer.share = (struct net_address){.bytes = {PEER_SHARE_PREFIX, who}};
    return try_start(jobs, class, &task, peer, connection);
}

void jobs_test_start(struct jobs *jobs, enum job_class class, struct job_script *script,
                     enum job_script_does what, unsigned number, struct job_connection *connection)
{
    assert_int_equal(jobs_test_try_start(jobs, class, script, what, number, connection), ERR_OK);
}

void jobs_test_send(struct job_connection *connection, size_t from, size_t to)
{
    uint8_t data[5000];
    while (from < to) {
        size_t n = to - from < sizeof data ? to - from : sizeof data;
        for (size_t i = 0; i < n; i++)
            data[i] = (uint8_t)(from + i);
        size_t taken = job_put(connection->job, data, n);
        from += taken;
        if (taken < n)
            jobs_test_wait_resumed(connection);
    }
}

int jobs_test_finish(struct job_connection *connection, char text[200])
{
    struct reply reply;
    while (!job_reply(connection->job, &reply))
        jobs_test_wait_resumed(connection);
    int status = reply.status;
    snprintf(text, 200, "%.*s", (int)reply.text_size, reply.text ? reply.text : "");
    reply_deinit(&reply);
    job_drop(connection->job, true);
    return status;
}

void jobs_test_close(struct jobs *jobs)
{
    assert_true(jobs_wait(jobs, JOBS_TEST_MS));
    jobs_free(jobs);
}
