#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* cmocka has a macro of that name. */
#undef fail

#include "base/clock.h"
#include "base/mem.h"
#include "gateway/http/jobs_internal.h"
#include "tests/support/fake_connection.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>

#define WAIT_MS 10000
#define ARCHIVE_RING ((size_t)1 << 20)
#define OTHER_RING ((size_t)256 << 10)

/* One request's. */
struct connection {
    struct fake_connection http;
    struct job *job;
};

static void wait_resumed(struct connection *connection)
{
    assert_true(fake_connection_wait(&connection->http, WAIT_MS));
}

/* ---- work that does what a test says ---- */

struct script {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool gate_open;
    unsigned running;
    unsigned most; /* at the same time */
    unsigned ran;
    unsigned received;
    unsigned freed;
    unsigned returned;       /* of those that go on */
    unsigned order[64];      /* which ran when */
    struct job *going_on[4]; /* by their number */
};

/* One job of it. */
struct task {
    struct script *script;
    unsigned number;
    enum {
        PULL_ALL,
        NOTHING,
        SILENT,
        GATED,
        RECEIVED_THEN_GATED,
        GOES_ON,       /* until the test ends it */
        GOES_ON_GATED, /* and its run() does not return before the gate is open */
        DOCUMENT,      /* gated, with a large one */
        HANDED_ON,     /* a thread of its own answers and ends it */
    } what;
};

static void script_init(struct script *script)
{
    *script = (struct script){.lock = PTHREAD_MUTEX_INITIALIZER};
    clock_cond_init(&script->changed);
}

static void open_gate(struct script *script)
{
    pthread_mutex_lock(&script->lock);
    script->gate_open = true;
    pthread_cond_broadcast(&script->changed);
    pthread_mutex_unlock(&script->lock);
}

static void wait_for(struct script *script, const unsigned *count, unsigned wanted)
{
    struct timespec until = clock_deadline(WAIT_MS);
    int rc = 0;
    pthread_mutex_lock(&script->lock);
    while (*count != wanted && rc == 0)
        rc = pthread_cond_timedwait(&script->changed, &script->lock, &until);
    assert_int_equal(*count, wanted);
    pthread_mutex_unlock(&script->lock);
}

static void count(struct script *script, unsigned *counter)
{
    pthread_mutex_lock(&script->lock);
    (*counter)++;
    pthread_cond_broadcast(&script->changed);
    pthread_mutex_unlock(&script->lock);
}

static unsigned look(struct script *script, const unsigned *count)
{
    pthread_mutex_lock(&script->lock);
    unsigned value = *count;
    pthread_mutex_unlock(&script->lock);
    return value;
}

static void enter(struct task *task)
{
    struct script *script = task->script;
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

static void pass_gate(struct script *script, struct cancel *cancel)
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

static void *end_it(void *arg)
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
    assert_int_equal(pthread_create(&thread, NULL, end_it, job), 0);
    pthread_detach(thread);
}

/* The job, and the task with it, may be over before this returns. */
static void go_on(struct job *job, const struct task *task)
{
    struct script *script = task->script;
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

static void hold_document(struct job *job, struct script *script)
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
    struct script *script = task->script;
    count(script, &script->freed);
    free(task);
}

static struct job *job_that_goes_on(struct script *script, unsigned number)
{
    struct timespec until = clock_deadline(WAIT_MS);
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

static int start_executor(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    const struct executor_options options = {.threads_max = 32};
    return executor_new(&options, &executor, &err) == ERR_OK ? 0 : -1;
}

static int stop_executor(void **state)
{
    (void)state;
    executor_free(executor);
    return 0;
}

static struct jobs *table(unsigned uploads, unsigned blobs, unsigned pushes)
{
    const struct jobs_limits limits = {.uploads = uploads, .blobs = blobs, .pushes = pushes};
    return jobs_new(&limits, executor);
}

static enum errc try_start(struct jobs *jobs, enum job_class class, struct script *script, int what,
                           unsigned number, struct connection *connection)
{
    struct error err = ERROR_INIT;
    struct task *task = xcalloc(1, sizeof *task);
    *task = (struct task){.script = script, .number = number, .what = what};
    const struct job_work value = {.class = class, .run = run, .free = free_task, .self = task};
    fake_connection_init(&connection->http);
    if (job_start(jobs, &value, fake_connection_peer(&connection->http), &connection->job, &err) !=
        ERR_OK)
        free(task);
    return err.code;
}

static void start(struct jobs *jobs, enum job_class class, struct script *script, int what,
                  unsigned number, struct connection *connection)
{
    assert_int_equal(try_start(jobs, class, script, what, number, connection), ERR_OK);
}

/* Bytes number `from` to `to`, as an HTTP thread would: again after each resume. */
static void send_bytes(struct connection *connection, size_t from, size_t to)
{
    uint8_t data[5000];
    while (from < to) {
        size_t n = to - from < sizeof data ? to - from : sizeof data;
        for (size_t i = 0; i < n; i++)
            data[i] = (uint8_t)(from + i);
        size_t taken = job_put(connection->job, data, n);
        from += taken;
        if (taken < n)
            wait_resumed(connection);
    }
}

/* The answer; ends the job's connection. */
static int finish(struct connection *connection, char text[200])
{
    struct reply reply;
    while (!job_reply(connection->job, &reply))
        wait_resumed(connection);
    int status = reply.status;
    snprintf(text, 200, "%.*s", (int)reply.text_size, reply.text ? reply.text : "");
    reply_deinit(&reply);
    job_drop(connection->job, true);
    return status;
}

static void close_table(struct jobs *jobs)
{
    assert_true(jobs_wait(jobs, WAIT_MS));
    jobs_free(jobs);
}

/* ---- the tests ---- */

static void a_body_arrives_whole_and_is_answered(void **state)
{
    (void)state;
    static const size_t sizes[] = {
        0, 1, OTHER_RING - 1, OTHER_RING, OTHER_RING + 1, 3 * ARCHIVE_RING + 77};
    for (enum job_class class = 0; class < JOB_CLASSES; class ++)
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            char text[200];
            char expected[32];
            struct script script;
            struct connection connection;
            struct jobs *jobs = table(1, 1, 1);
            script_init(&script);
            start(jobs, class, &script, PULL_ALL, 0, &connection);
            send_bytes(&connection, 0, sizes[i]);
            job_end(connection.job);
            snprintf(expected, sizeof expected, "%zu", sizes[i]);
            assert_int_equal(finish(&connection, text), 200);
            assert_string_equal(text, expected);
            close_table(jobs);
            assert_int_equal(script.freed, 1);
        }
}

/* How many bytes are taken before the connection is suspended when nobody pulls. */
static size_t taken_of(struct jobs *jobs, enum job_class class)
{
    char text[200];
    struct script script;
    struct connection connection;
    script_init(&script);
    start(jobs, class, &script, GATED, 0, &connection);
    uint8_t *data = xmalloc(2 * ARCHIVE_RING);
    for (size_t i = 0; i < 2 * ARCHIVE_RING; i++)
        data[i] = (uint8_t)i;
    size_t taken = job_put(connection.job, data, 2 * ARCHIVE_RING);
    assert_true(fake_connection_suspended(&connection.http));
    open_gate(&script);
    wait_resumed(&connection);
    free(data);
    send_bytes(&connection, taken, 2 * ARCHIVE_RING);
    assert_int_equal(job_body_bytes(connection.job), 2 * ARCHIVE_RING);
    job_end(connection.job);
    assert_int_equal(finish(&connection, text), 200);
    assert_true(jobs_wait(jobs, WAIT_MS));
    return taken;
}

static void a_ring_bounds_what_is_taken(void **state)
{
    (void)state;
    struct jobs *jobs = table(1, 1, 1);
    assert_int_equal(taken_of(jobs, JOB_ARCHIVE), ARCHIVE_RING);
    assert_int_equal(taken_of(jobs, JOB_BLOB), OTHER_RING);
    assert_int_equal(taken_of(jobs, JOB_PUSH), OTHER_RING);
    close_table(jobs);
}

static void what_nobody_wants_of_a_body_is_dropped(void **state)
{
    (void)state;
    char text[200];
    struct script script;
    struct connection connection;
    struct jobs *jobs = table(1, 1, 1);
    script_init(&script);
    start(jobs, JOB_BLOB, &script, NOTHING, 0, &connection);
    send_bytes(&connection, 0, 3 * OTHER_RING);
    job_end(connection.job);
    assert_int_equal(finish(&connection, text), 200);
    assert_string_equal(text, "done");
    close_table(jobs);
}

static void work_that_says_nothing_is_an_error(void **state)
{
    (void)state;
    char text[200];
    struct script script;
    struct connection connection;
    struct jobs *jobs = table(1, 1, 1);
    script_init(&script);
    start(jobs, JOB_PUSH, &script, SILENT, 0, &connection);
    job_end(connection.job);
    assert_int_equal(finish(&connection, text), 500);
    assert_non_null(strstr(text, "INTERNAL"));
    close_table(jobs);
}

static void archives_beyond_a_limit_are_refused(void **state)
{
    (void)state;
    enum { UPLOADS = 2, PUSHES = 3 };
    char text[200];
    struct script script;
    struct connection connections[PUSHES + 1];
    struct jobs *jobs = table(UPLOADS, 1, PUSHES);
    script_init(&script);
    /* N - 1 and N bodies, then one too many. */
    start(jobs, JOB_ARCHIVE, &script, GATED, 0, &connections[0]);
    start(jobs, JOB_ARCHIVE, &script, RECEIVED_THEN_GATED, 1, &connections[1]);
    wait_for(&script, &script.received, 1);
    start(jobs, JOB_ARCHIVE, &script, GATED, 2, &connections[2]);
    wait_for(&script, &script.ran, 3);
    /* Two bodies and three jobs are there: both limits are reached. */
    struct connection late;
    assert_int_equal(try_start(jobs, JOB_ARCHIVE, &script, NOTHING, 3, &late), ERR_BUSY);
    open_gate(&script);
    for (int i = 0; i < 3; i++) {
        job_end(connections[i].job);
        assert_int_equal(finish(&connections[i], text), 200);
    }
    assert_true(jobs_wait(jobs, WAIT_MS));
    start(jobs, JOB_ARCHIVE, &script, NOTHING, 3, &late);
    job_end(late.job);
    assert_int_equal(finish(&late, text), 200);
    close_table(jobs);
}

static void the_limit_on_bodies_is_its_own(void **state)
{
    (void)state;
    char text[200];
    struct script script;
    struct connection connections[3];
    struct jobs *jobs = table(1, 1, 8);
    script_init(&script);
    start(jobs, JOB_ARCHIVE, &script, GATED, 0, &connections[0]);
    assert_int_equal(try_start(jobs, JOB_ARCHIVE, &script, NOTHING, 1, &connections[1]), ERR_BUSY);
    open_gate(&script);
    job_end(connections[0].job);
    assert_int_equal(finish(&connections[0], text), 200);
    assert_true(jobs_wait(jobs, WAIT_MS));
    start(jobs, JOB_ARCHIVE, &script, RECEIVED_THEN_GATED, 1, &connections[1]);
    job_end(connections[1].job);
    assert_int_equal(finish(&connections[1], text), 200);
    close_table(jobs);
}

static void registry_clients_wait_their_turn(void **state)
{
    (void)state;
    enum { LIMIT = 2, COUNT = 9 };
    char text[200];
    struct script script;
    struct connection connections[COUNT];
    struct jobs *jobs = table(1, LIMIT, 1);
    script_init(&script);
    for (unsigned i = 0; i < COUNT; i++) {
        start(jobs, JOB_BLOB, &script, GATED, i, &connections[i]);
        if (i < LIMIT)
            wait_for(&script, &script.ran, i + 1);
        send_bytes(&connections[i], 0, 100);
        job_end(connections[i].job);
    }
    /* Another class does not wait for this one. */
    struct connection push;
    start(jobs, JOB_PUSH, &script, NOTHING, 63, &push);
    job_end(push.job);
    assert_int_equal(finish(&push, text), 200);
    assert_int_equal(look(&script, &script.ran), LIMIT + 1);
    open_gate(&script);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(finish(&connections[i], text), 200);
        assert_string_equal(text, "100");
    }
    close_table(jobs);
    assert_int_equal(script.freed, COUNT + 1);
    assert_true(script.most <= LIMIT + 1);
    /* After the push, in the order they came; but each thread may pause between taking one and
     * running it, so as many as there are others may be before one that came first. */
    for (unsigned i = 0; i < COUNT - LIMIT; i++)
        assert_in_range(script.order[LIMIT + 1 + i], LIMIT, LIMIT + i + LIMIT - 1);
}

static void who_leaves_the_queue_is_not_served(void **state)
{
    (void)state;
    char text[200];
    struct script script;
    struct connection connections[4];
    struct jobs *jobs = table(1, 1, 1);
    script_init(&script);
    for (unsigned i = 0; i < 4; i++)
        start(jobs, JOB_BLOB, &script, GATED, i, &connections[i]);
    wait_for(&script, &script.ran, 1);
    job_drop(connections[3].job, false); /* the last */
    job_drop(connections[1].job, false); /* the first */
    assert_int_equal(look(&script, &script.freed), 2);
    open_gate(&script);
    job_end(connections[0].job);
    job_end(connections[2].job);
    assert_int_equal(finish(&connections[0], text), 200);
    assert_int_equal(finish(&connections[2], text), 200);
    close_table(jobs);
    assert_int_equal(script.ran, 2);
    assert_int_equal(script.order[1], 2);
}

static void a_complete_request_is_served_without_its_client(void **state)
{
    (void)state;
    struct script script;
    struct connection connections[2];
    struct jobs *jobs = table(1, 1, 1);
    script_init(&script);
    for (unsigned i = 0; i < 2; i++) {
        start(jobs, JOB_PUSH, &script, GATED, i, &connections[i]);
        send_bytes(&connections[i], 0, 1000);
        job_end(connections[i].job);
        job_drop(connections[i].job, true);
    }
    assert_false(jobs_wait(jobs, 0));
    open_gate(&script);
    close_table(jobs);
    assert_int_equal(script.ran, 2);
    assert_int_equal(script.freed, 2);
}

static void nothing_begins_after_the_end(void **state)
{
    (void)state;
    struct script script;
    struct connection connection;
    struct jobs *jobs = table(1, 1, 1);
    script_init(&script);
    assert_false(jobs_closed(jobs));
    jobs_close(jobs);
    assert_true(jobs_closed(jobs));
    for (enum job_class class = 0; class < JOB_CLASSES; class ++)
        assert_int_equal(try_start(jobs, class, &script, NOTHING, 0, &connection), ERR_STOPPING);
    close_table(jobs);
}

static void large_documents_wait_for_each_other(void **state)
{
    (void)state;
    enum { COUNT = JOB_DOCUMENTS_MAX + 3 };
    for (int stops = 0; stops < 2; stops++) {
        char text[200];
        struct script script;
        struct connection connections[COUNT];
        struct jobs *jobs = table(1, 1, COUNT);
        unsigned good = 0;
        script_init(&script);
        for (unsigned i = 0; i < COUNT; i++) {
            start(jobs, JOB_PUSH, &script, DOCUMENT, i, &connections[i]);
            job_end(connections[i].job);
        }
        wait_for(&script, &script.ran, COUNT);
        wait_for(&script, &script.received, JOB_DOCUMENTS_MAX);
        if (stops) {
            jobs_close(jobs);
            jobs_cancel(jobs);
        } else {
            open_gate(&script);
        }
        for (unsigned i = 0; i < COUNT; i++)
            good += finish(&connections[i], text) == 200;
        close_table(jobs);
        assert_in_range(good, JOB_DOCUMENTS_MAX, COUNT);
        assert_int_equal(good, script.received);
        assert_true(stops || good == COUNT);
    }
}

static void cancelled_jobs_are_all_answered(void **state)
{
    (void)state;
    char text[200];
    struct script script;
    struct connection connections[5];
    struct jobs *jobs = table(1, 2, 1);
    script_init(&script);
    for (unsigned i = 0; i < 5; i++) { /* two run, three wait */
        start(jobs, JOB_BLOB, &script, GATED, i, &connections[i]);
        if (i < 2)
            wait_for(&script, &script.ran, i + 1);
    }
    uint8_t *data = xcalloc(1, 2 * OTHER_RING);
    assert_int_equal(job_put(connections[4].job, data, 2 * OTHER_RING), OTHER_RING);
    free(data);
    jobs_close(jobs);
    jobs_cancel(jobs);
    wait_resumed(&connections[4]);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(finish(&connections[i], text), 503);
        assert_non_null(strstr(text, "STOPPING"));
    }
    close_table(jobs);
    assert_int_equal(script.ran, 2);
    assert_int_equal(script.freed, 5);
}

static void a_lost_client_ends_the_body(void **state)
{
    (void)state;
    struct script script;
    struct connection connection;
    struct jobs *jobs = table(1, 1, 1);
    script_init(&script);
    start(jobs, JOB_ARCHIVE, &script, PULL_ALL, 0, &connection);
    send_bytes(&connection, 0, 1000);
    job_drop(connection.job, false);
    close_table(jobs);
    assert_int_equal(script.freed, 1);
}

static void an_interrupted_body_ends_at_once(void **state)
{
    (void)state;
    char text[200];
    struct script script;
    struct connection connection;
    struct error why = ERROR_INIT;
    struct jobs *jobs = table(1, 1, 1);
    script_init(&script);
    start(jobs, JOB_BLOB, &script, GATED, 0, &connection);
    send_bytes(&connection, 0, OTHER_RING); /* which wait to be pulled */
    fail(&why, ERR_UPLOAD_BUSY, 0, "a younger request took the upload");
    assert_true(job_interrupt(connection.job, &why));
    open_gate(&script);
    assert_int_equal(finish(&connection, text), 409);
    assert_non_null(strstr(text, "a younger request"));
    close_table(jobs);
}

static void a_complete_body_is_not_interrupted(void **state)
{
    (void)state;
    char text[200];
    struct script script;
    struct connection connection;
    struct error why = ERROR_INIT;
    struct jobs *jobs = table(1, 1, 1);
    script_init(&script);
    start(jobs, JOB_BLOB, &script, GATED, 0, &connection);
    send_bytes(&connection, 0, OTHER_RING);
    job_end(connection.job);
    fail(&why, ERR_UPLOAD_BUSY, 0, "a younger request wants the upload");
    assert_false(job_interrupt(connection.job, &why));
    open_gate(&script);
    assert_int_equal(finish(&connection, text), 200);
    close_table(jobs);
}

/* ---- jobs that go on ---- */

static void a_job_goes_on_after_its_run(void **state)
{
    (void)state;
    char text[200];
    struct script script;
    struct connection connection;
    struct jobs *jobs = table(1, 1, 1);
    script_init(&script);
    start(jobs, JOB_PUSH, &script, GOES_ON, 0, &connection);
    job_end(connection.job);
    struct job *job = job_that_goes_on(&script, 0);
    wait_for(&script, &script.returned, 1);
    struct reply none;
    assert_false(job_reply(connection.job, &none));
    assert_true(fake_connection_suspended(&connection.http));
    assert_false(jobs_wait(jobs, 0));
    assert_int_equal(look(&script, &script.freed), 0);
    end_it(job);
    assert_int_equal(finish(&connection, text), 200);
    assert_string_equal(text, "done");
    close_table(jobs);
    assert_int_equal(script.freed, 1);
}

static void a_job_that_goes_on_keeps_its_place(void **state)
{
    (void)state;
    char text[200];
    struct script script;
    struct connection connections[2];
    struct connection other;
    struct jobs *jobs = table(1, 1, 1);
    script_init(&script);
    start(jobs, JOB_PUSH, &script, GOES_ON, 0, &connections[0]);
    job_end(connections[0].job);
    struct job *job = job_that_goes_on(&script, 0);
    wait_for(&script, &script.returned, 1);
    start(jobs, JOB_PUSH, &script, NOTHING, 1, &connections[1]);
    job_end(connections[1].job);
    /* Workers are there, for those of another class. */
    start(jobs, JOB_BLOB, &script, NOTHING, 2, &other);
    job_end(other.job);
    assert_int_equal(finish(&other, text), 200);
    assert_int_equal(look(&script, &script.ran), 2);
    end_it(job);
    assert_int_equal(finish(&connections[0], text), 200);
    assert_int_equal(finish(&connections[1], text), 200);
    close_table(jobs);
    assert_int_equal(script.order[2], 1);
}

/* An archive that goes on counts among the pushes, and not among the bodies. */
static void an_archive_that_goes_on_counts_as_a_push(void **state)
{
    (void)state;
    enum { PUSHES = 2 };
    char text[200];
    struct script script;
    struct connection connections[PUSHES + 1];
    struct jobs *jobs = table(1, 1, PUSHES);
    script_init(&script);
    for (unsigned i = 0; i < PUSHES; i++) {
        start(jobs, JOB_ARCHIVE, &script, GOES_ON, i, &connections[i]);
        job_end(connections[i].job);
        job_received(job_that_goes_on(&script, i));
    }
    assert_int_equal(try_start(jobs, JOB_ARCHIVE, &script, NOTHING, 2, &connections[2]), ERR_BUSY);
    for (unsigned i = 0; i < PUSHES; i++) {
        end_it(script.going_on[i]);
        assert_int_equal(finish(&connections[i], text), 200);
    }
    start(jobs, JOB_ARCHIVE, &script, NOTHING, 2, &connections[2]);
    job_end(connections[2].job);
    assert_int_equal(finish(&connections[2], text), 200);
    close_table(jobs);
    wait_for(&script, &script.returned, PUSHES);
}

static void a_job_may_be_over_before_its_run_returns(void **state)
{
    (void)state;
    char text[200];
    struct script script;
    struct connection connections[2];
    struct jobs *jobs = table(1, 1, 1);
    script_init(&script);
    start(jobs, JOB_PUSH, &script, GOES_ON_GATED, 0, &connections[0]);
    job_end(connections[0].job);
    end_it(job_that_goes_on(&script, 0));
    assert_int_equal(finish(&connections[0], text), 200);
    assert_int_equal(look(&script, &script.freed), 1);
    /* Its place is another's. */
    start(jobs, JOB_PUSH, &script, NOTHING, 1, &connections[1]);
    job_end(connections[1].job);
    assert_int_equal(finish(&connections[1], text), 200);
    assert_int_equal(look(&script, &script.returned), 0);
    close_table(jobs);
    open_gate(&script);
    wait_for(&script, &script.returned, 1);
}

static void a_job_that_goes_on_without_an_answer_is_an_error(void **state)
{
    (void)state;
    char text[200];
    struct script script;
    struct connection connection;
    struct jobs *jobs = table(1, 1, 1);
    script_init(&script);
    start(jobs, JOB_PUSH, &script, GOES_ON, 0, &connection);
    job_end(connection.job);
    job_over(job_that_goes_on(&script, 0));
    assert_int_equal(finish(&connection, text), 500);
    assert_non_null(strstr(text, "INTERNAL"));
    close_table(jobs);
    wait_for(&script, &script.returned, 1);
}

/* It is asked to end, and ends when it says so. */
static void a_job_that_goes_on_is_cancelled(void **state)
{
    (void)state;
    char text[200];
    struct script script;
    struct connection connection;
    struct jobs *jobs = table(1, 1, 1);
    script_init(&script);
    start(jobs, JOB_PUSH, &script, GOES_ON, 0, &connection);
    job_end(connection.job);
    struct job *job = job_that_goes_on(&script, 0);
    wait_for(&script, &script.returned, 1);
    assert_false(cancel_requested(job_cancelled(job)));
    jobs_close(jobs);
    jobs_cancel(jobs);
    assert_true(cancel_requested(job_cancelled(job)));
    assert_false(jobs_wait(jobs, 0));
    end_it(job);
    assert_int_equal(finish(&connection, text), 200);
    close_table(jobs);
}

static void a_job_that_goes_on_outlives_its_client(void **state)
{
    (void)state;
    for (int complete = 0; complete < 2; complete++) {
        struct script script;
        struct connection connection;
        struct jobs *jobs = table(1, 1, 1);
        script_init(&script);
        start(jobs, JOB_PUSH, &script, GOES_ON, 0, &connection);
        struct job *job = job_that_goes_on(&script, 0);
        wait_for(&script, &script.returned, 1);
        job_drop(connection.job, complete);
        assert_false(jobs_wait(jobs, 0));
        end_it(job);
        close_table(jobs);
        assert_int_equal(script.freed, 1);
    }
}

/* ---- all at once ---- */

struct client {
    struct jobs *jobs;
    struct script *script;
    unsigned number;
    unsigned answered;
    unsigned refused; /* of those that would have stayed for the answer */
};

static void *client_thread(void *arg)
{
    struct client *client = arg;
    for (unsigned i = 0; i < 60; i++) {
        char text[200];
        struct connection connection;
        enum job_class class = (client->number + i) % JOB_BRIEF; /* those with a limit */
        int what = i % 5 == 0 ? NOTHING : i % 5 == 2 ? HANDED_ON : PULL_ALL;
        if (try_start(client->jobs, class, client->script, what, 0, &connection) != ERR_OK) {
            client->refused += i % 6 != 1;
            continue;
        }
        send_bytes(&connection, 0, (size_t)(i % 7) * 60000);
        if (i % 6 == 1) {
            job_drop(connection.job, false);
            continue;
        }
        job_end(connection.job);
        client->answered += finish(&connection, text) == 200;
    }
    return NULL;
}

static void many_clients_at_once(void **state)
{
    (void)state;
    enum { CLIENTS = 12 };
    pthread_t threads[CLIENTS];
    struct client clients[CLIENTS];
    struct script script;
    struct jobs *jobs = table(2, 3, 4);
    unsigned done = 0;
    script_init(&script);
    for (unsigned i = 0; i < CLIENTS; i++) {
        clients[i] = (struct client){.jobs = jobs, .script = &script, .number = i};
        assert_int_equal(pthread_create(&threads[i], NULL, client_thread, &clients[i]), 0);
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        pthread_join(threads[i], NULL);
        done += clients[i].answered + clients[i].refused;
    }
    close_table(jobs);
    assert_int_equal(done, CLIENTS * 50);
    assert_int_equal(script.running, 0);
    assert_true(script.most <= 4 + 3 + 4);
}

/* ---- who loses its place ---- */

/* A client that sends a byte now and then never stalls, and would hold its turn for days. */
static void a_slow_body_is_known_by_its_pace(void **state)
{
    (void)state;
    struct job_pace pace = {.waits_ms = 1};
    job_pace_note(&pace, CLIENT_PACE_MS, 1, CLIENT_PACE_MS);
    assert_false(job_pace_below(&pace, CLIENT_PACE_BYTES));
    job_pace_note(&pace, 1 + CLIENT_PACE_MS, 1, CLIENT_PACE_MS);
    assert_true(job_pace_below(&pace, CLIENT_PACE_BYTES));
    assert_true(job_pace_below(&pace, 3));
    assert_false(job_pace_below(&pace, 2));
    /* It stays slow until it has brought enough since. */
    job_pace_note(&pace, 2 + CLIENT_PACE_MS, CLIENT_PACE_BYTES - 1, CLIENT_PACE_MS);
    assert_true(job_pace_below(&pace, CLIENT_PACE_BYTES));
    job_pace_note(&pace, 3 + CLIENT_PACE_MS, 1, CLIENT_PACE_MS);
    assert_false(job_pace_below(&pace, CLIENT_PACE_BYTES));
    job_pace_note(&pace, 1 + 2 * CLIENT_PACE_MS, 0, CLIENT_PACE_MS);
    assert_false(job_pace_below(&pace, CLIENT_PACE_BYTES));
    /* Time in which nobody waits for it does not count. */
    pace = (struct job_pace){.waits_ms = 0};
    job_pace_note(&pace, 10 * CLIENT_PACE_MS, 0, CLIENT_PACE_MS);
    assert_false(job_pace_below(&pace, CLIENT_PACE_BYTES));
}

static struct peer from_address(struct connection *connection, uint8_t last)
{
    struct peer peer = fake_connection_peer(&connection->http);
    peer.address.bytes[15] = last;
    return peer;
}

static enum errc try_start_from(struct jobs *jobs, enum job_class class, struct script *script,
                                uint8_t last, struct connection *connection)
{
    struct error err = ERROR_INIT;
    struct task *task = xcalloc(1, sizeof *task);
    *task = (struct task){.script = script, .number = last, .what = PULL_ALL};
    const struct job_work work = {.class = class, .run = run, .free = free_task, .self = task};
    fake_connection_init(&connection->http);
    if (job_start(jobs, &work, from_address(connection, last), &connection->job, &err) != ERR_OK)
        free(task);
    return err.code;
}

/* Until its worker waits for more of the body, which is when a pace can be judged, and has taken so
 * much in this window. */
static void wait_brought(const struct connection *connection, size_t bytes)
{
    struct job_pace pace = {.bytes = 0};
    int64_t until_ms = clock_ms() + WAIT_MS;
    while (!job_receives(connection->job, clock_ms(), INT64_MAX, &pace) || pace.bytes < bytes)
        assert_true(clock_ms() < until_ms && sched_yield() == 0);
}

static void wait_receiving(const struct connection *connection)
{
    wait_brought(connection, 0);
}

static void begin_from(struct jobs *jobs, enum job_class class, struct script *script, uint8_t last,
                       struct connection *connection)
{
    assert_int_equal(try_start_from(jobs, class, script, last, connection), ERR_OK);
    wait_receiving(connection);
}

static void expect_end(struct connection *connection, int status, const char *words)
{
    char text[200];
    assert_int_equal(finish(connection, text), status);
    assert_non_null(strstr(text, words));
}

static void a_slow_archive_ends_for_one_that_was_refused(void **state)
{
    (void)state;
    enum { UPLOADS = 3 };
    struct script script;
    struct connection slow[UPLOADS];
    struct connection late;
    struct jobs *jobs = table(UPLOADS, 1, 8);
    script_init(&script);
    for (int i = 0; i < UPLOADS; i++)
        begin_from(jobs, JOB_ARCHIVE, &script, 1, &slow[i]);
    /* Slow, but in nobody's way. */
    jobs_sweep(jobs, clock_ms() + CLIENT_PACE_MS);
    for (int i = 0; i < UPLOADS; i++)
        wait_receiving(&slow[i]);
    assert_int_equal(try_start_from(jobs, JOB_ARCHIVE, &script, 1, &late), ERR_BUSY);
    jobs_sweep(jobs, clock_ms());
    expect_end(&slow[UPLOADS - 1], 408, "CLIENT_STALLED"); /* the newest of them, one for one */
    wait_for(&script, &script.freed, 1);
    begin_from(jobs, JOB_ARCHIVE, &script, 1, &late);
    jobs_sweep(jobs, clock_ms() + CLIENT_PACE_MS);
    for (int i = 0; i < UPLOADS - 1; i++) {
        wait_receiving(&slow[i]);
        job_end(slow[i].job);
        expect_end(&slow[i], 200, "0");
    }
    job_end(late.job);
    expect_end(&late, 200, "0");
    close_table(jobs);
}

static void slow_bodies_end_for_those_that_wait(void **state)
{
    (void)state;
    for (enum job_class class = JOB_BLOB; class <= JOB_PUSH; class ++) {
        struct script script;
        struct connection slow[2];
        struct connection next;
        struct jobs *jobs = table(1, 2, 2);
        script_init(&script);
        begin_from(jobs, class, &script, 1, &slow[0]);
        begin_from(jobs, class, &script, 1, &slow[1]);
        jobs_sweep(jobs, clock_ms() + CLIENT_PACE_MS);
        send_bytes(&slow[1], 0, CLIENT_PACE_BYTES);
        wait_brought(&slow[1], CLIENT_PACE_BYTES);
        assert_int_equal(try_start_from(jobs, class, &script, 1, &next), ERR_OK);
        jobs_sweep(jobs, clock_ms());
        expect_end(&slow[0], 408, "others wait");
        job_end(next.job);
        expect_end(&next, 200, "0");
        job_end(slow[1].job);
        expect_end(&slow[1], 200, "65536");
        close_table(jobs);
    }
}

static void slow_bodies_end_when_it_stops(void **state)
{
    (void)state;
    struct script script;
    struct connection slow;
    struct connection waits[3];
    struct jobs *jobs = table(1, 1, 1);
    script_init(&script);
    begin_from(jobs, JOB_BLOB, &script, 1, &slow);
    for (int i = 0; i < 3; i++)
        assert_int_equal(try_start_from(jobs, JOB_BLOB, &script, 1, &waits[i]), ERR_OK);
    send_bytes(&waits[1], 0, CLIENT_PACE_BYTES);
    job_end(waits[2].job);
    jobs_close(jobs);
    jobs_sweep(jobs, clock_ms() + STOPPING_PACE_MS - 1000);
    wait_receiving(&slow);
    jobs_sweep(jobs, clock_ms() + STOPPING_PACE_MS);
    expect_end(&slow, 503, "STOPPING");
    expect_end(&waits[0], 503, "STOPPING");
    job_end(waits[1].job);
    expect_end(&waits[1], 200, "65536");
    expect_end(&waits[2], 200, "0");
    close_table(jobs);
}

/* A has all places. When B waits in vain, A's slowest body ends, down to half of the places. */
static void an_address_gives_up_what_is_over_half(void **state)
{
    (void)state;
    enum { BLOBS = 4 };
    struct script script;
    struct connection a[BLOBS];
    struct connection b[BLOBS];
    struct jobs *jobs = table(1, BLOBS, 1);
    script_init(&script);
    for (int i = 0; i < BLOBS; i++)
        begin_from(jobs, JOB_BLOB, &script, 1, &a[i]);
    for (int i = 0; i < BLOBS; i++) {
        send_bytes(&a[i], 0, CLIENT_PACE_BYTES * (size_t)(i + 1)); /* each is fast enough */
        wait_brought(&a[i], CLIENT_PACE_BYTES * (size_t)(i + 1));
    }
    jobs_sweep(jobs, clock_ms() + CLIENT_PACE_MS);
    for (int i = 0; i < BLOBS; i++) {
        assert_int_equal(try_start_from(jobs, JOB_BLOB, &script, 2, &b[i]), ERR_OK);
        send_bytes(&a[i], CLIENT_PACE_BYTES * (size_t)(i + 1), CLIENT_PACE_BYTES * (size_t)(i + 2));
        wait_brought(&a[i], CLIENT_PACE_BYTES);
    }
    jobs_sweep(jobs, clock_ms() + SHARE_WAIT_MS - 1000);
    assert_int_equal(look(&script, &script.ran), BLOBS);
    for (unsigned i = 0; i < BLOBS / 2; i++) {
        jobs_sweep(jobs, clock_ms() + SHARE_WAIT_MS);
        expect_end(&a[i], 503, "another client waits");
        wait_for(&script, &script.ran, BLOBS + i + 1);
        wait_receiving(&b[i]);
    }
    jobs_sweep(jobs, clock_ms() + SHARE_WAIT_MS);
    for (int i = 0; i < BLOBS; i++) {
        job_end(b[i].job);
        if (i >= BLOBS / 2)
            job_end(a[i].job);
    }
    for (int i = 0; i < BLOBS; i++)
        expect_end(&b[i], 200, "0");
    for (int i = BLOBS / 2; i < BLOBS; i++)
        expect_end(&a[i], 200, "");
    close_table(jobs);
}

/* The free place of an archive is kept for the address that holds fewer and was refused. */
static void a_free_place_goes_to_who_holds_fewest(void **state)
{
    (void)state;
    struct script script;
    struct connection a[3];
    struct connection b;
    struct jobs *jobs = table(2, 1, 8);
    script_init(&script);
    begin_from(jobs, JOB_ARCHIVE, &script, 1, &a[0]);
    begin_from(jobs, JOB_ARCHIVE, &script, 1, &a[1]);
    assert_int_equal(try_start_from(jobs, JOB_ARCHIVE, &script, 2, &b), ERR_BUSY);
    job_end(a[0].job);
    expect_end(&a[0], 200, "0");
    wait_for(&script, &script.freed, 1);
    assert_int_equal(try_start_from(jobs, JOB_ARCHIVE, &script, 1, &a[2]), ERR_BUSY);
    begin_from(jobs, JOB_ARCHIVE, &script, 2, &b);
    job_end(a[1].job);
    expect_end(&a[1], 200, "0");
    wait_for(&script, &script.freed, 2);
    begin_from(jobs, JOB_ARCHIVE, &script, 1, &a[2]);
    job_end(a[2].job);
    job_end(b.job);
    expect_end(&a[2], 200, "0");
    expect_end(&b, 200, "0");
    close_table(jobs);
}

/* Of those that wait the next is one of the address that holds fewest. */
static void turns_go_to_who_holds_fewest(void **state)
{
    (void)state;
    struct script script;
    struct connection a[3];
    struct connection b;
    struct jobs *jobs = table(1, 2, 1);
    script_init(&script);
    begin_from(jobs, JOB_BLOB, &script, 1, &a[0]);
    begin_from(jobs, JOB_BLOB, &script, 1, &a[1]);
    assert_int_equal(try_start_from(jobs, JOB_BLOB, &script, 1, &a[2]), ERR_OK);
    assert_int_equal(try_start_from(jobs, JOB_BLOB, &script, 2, &b), ERR_OK);
    job_end(a[0].job);
    expect_end(&a[0], 200, "0");
    wait_for(&script, &script.ran, 3);
    assert_int_equal(script.order[2], 2);
    job_end(a[1].job);
    job_end(a[2].job);
    job_end(b.job);
    expect_end(&a[1], 200, "0");
    expect_end(&a[2], 200, "0");
    expect_end(&b, 200, "0");
    close_table(jobs);
}

/* The newest of the address with most requests is refused when there are too many. */
static void requests_are_bounded(void **state)
{
    (void)state;
    struct script script;
    static struct connection a[REQUESTS_MAX];
    struct connection late;
    struct connection b;
    struct jobs *jobs = table(1, 1, 1);
    script_init(&script);
    for (int i = 0; i < REQUESTS_MAX; i++)
        assert_int_equal(try_start_from(jobs, JOB_BLOB, &script, 1, &a[i]), ERR_OK);
    assert_int_equal(try_start_from(jobs, JOB_BLOB, &script, 1, &late), ERR_BUSY);
    assert_int_equal(try_start_from(jobs, JOB_BLOB, &script, 2, &b), ERR_OK);
    expect_end(&a[REQUESTS_MAX - 1], 503, "TOO_MANY_UPLOADS");
    jobs_close(jobs);
    jobs_cancel(jobs);
    for (int i = 0; i < REQUESTS_MAX - 1; i++)
        expect_end(&a[i], 503, "STOPPING");
    expect_end(&b, 503, "STOPPING");
    close_table(jobs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_body_arrives_whole_and_is_answered),
        cmocka_unit_test(a_ring_bounds_what_is_taken),
        cmocka_unit_test(what_nobody_wants_of_a_body_is_dropped),
        cmocka_unit_test(work_that_says_nothing_is_an_error),
        cmocka_unit_test(archives_beyond_a_limit_are_refused),
        cmocka_unit_test(the_limit_on_bodies_is_its_own),
        cmocka_unit_test(registry_clients_wait_their_turn),
        cmocka_unit_test(who_leaves_the_queue_is_not_served),
        cmocka_unit_test(a_complete_request_is_served_without_its_client),
        cmocka_unit_test(nothing_begins_after_the_end),
        cmocka_unit_test(large_documents_wait_for_each_other),
        cmocka_unit_test(cancelled_jobs_are_all_answered),
        cmocka_unit_test(a_lost_client_ends_the_body),
        cmocka_unit_test(an_interrupted_body_ends_at_once),
        cmocka_unit_test(a_complete_body_is_not_interrupted),
        cmocka_unit_test(a_slow_body_is_known_by_its_pace),
        cmocka_unit_test(a_slow_archive_ends_for_one_that_was_refused),
        cmocka_unit_test(slow_bodies_end_for_those_that_wait),
        cmocka_unit_test(slow_bodies_end_when_it_stops),
        cmocka_unit_test(an_address_gives_up_what_is_over_half),
        cmocka_unit_test(a_free_place_goes_to_who_holds_fewest),
        cmocka_unit_test(turns_go_to_who_holds_fewest),
        cmocka_unit_test(requests_are_bounded),
        cmocka_unit_test(a_job_goes_on_after_its_run),
        cmocka_unit_test(a_job_that_goes_on_keeps_its_place),
        cmocka_unit_test(an_archive_that_goes_on_counts_as_a_push),
        cmocka_unit_test(a_job_may_be_over_before_its_run_returns),
        cmocka_unit_test(a_job_that_goes_on_without_an_answer_is_an_error),
        cmocka_unit_test(a_job_that_goes_on_is_cancelled),
        cmocka_unit_test(a_job_that_goes_on_outlives_its_client),
        cmocka_unit_test(many_clients_at_once),
    };
    return cmocka_run_group_tests(tests, start_executor, stop_executor);
}
