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

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define WAIT_MS 10000
#define ARCHIVE_RING ((size_t)1 << 20)
#define OTHER_RING ((size_t)256 << 10)

/* ---- a connection that remembers whether it is suspended ---- */

struct connection {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int suspended;
    struct job *job;
};

static void suspend(void *arg)
{
    struct connection *connection = arg;
    pthread_mutex_lock(&connection->lock);
    connection->suspended++;
    pthread_mutex_unlock(&connection->lock);
}

static void resume(void *arg)
{
    struct connection *connection = arg;
    pthread_mutex_lock(&connection->lock);
    connection->suspended--;
    pthread_cond_broadcast(&connection->changed);
    pthread_mutex_unlock(&connection->lock);
}

static void connection_init(struct connection *connection)
{
    *connection = (struct connection){.lock = PTHREAD_MUTEX_INITIALIZER};
    clock_cond_init(&connection->changed);
}

static bool is_suspended(struct connection *connection)
{
    pthread_mutex_lock(&connection->lock);
    bool suspended = connection->suspended > 0;
    pthread_mutex_unlock(&connection->lock);
    return suspended;
}

static void wait_resumed(struct connection *connection)
{
    struct timespec until = clock_deadline(WAIT_MS);
    int rc = 0;
    pthread_mutex_lock(&connection->lock);
    while (connection->suspended > 0 && rc == 0)
        rc = pthread_cond_timedwait(&connection->changed, &connection->lock, &until);
    assert_int_equal(connection->suspended, 0);
    pthread_mutex_unlock(&connection->lock);
}

/* ---- work that does what a test says ---- */

struct work {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool gate_open;
    unsigned running;
    unsigned most; /* at the same time */
    unsigned ran;
    unsigned received;
    unsigned freed;
    unsigned order[64]; /* which ran when */
    pid_t threads[64];
    unsigned thread_count;
};

/* One job of it. */
struct task {
    struct work *work;
    unsigned number;
    enum { PULL_ALL, NOTHING, SILENT, GATED, RECEIVED_THEN_GATED } what;
};

static void work_init(struct work *work)
{
    *work = (struct work){.lock = PTHREAD_MUTEX_INITIALIZER};
    clock_cond_init(&work->changed);
}

static void open_gate(struct work *work)
{
    pthread_mutex_lock(&work->lock);
    work->gate_open = true;
    pthread_cond_broadcast(&work->changed);
    pthread_mutex_unlock(&work->lock);
}

static void wait_for(struct work *work, const unsigned *count, unsigned wanted)
{
    struct timespec until = clock_deadline(WAIT_MS);
    int rc = 0;
    pthread_mutex_lock(&work->lock);
    while (*count != wanted && rc == 0)
        rc = pthread_cond_timedwait(&work->changed, &work->lock, &until);
    assert_int_equal(*count, wanted);
    pthread_mutex_unlock(&work->lock);
}

static void count(struct work *work, unsigned *counter)
{
    pthread_mutex_lock(&work->lock);
    (*counter)++;
    pthread_cond_broadcast(&work->changed);
    pthread_mutex_unlock(&work->lock);
}

static unsigned look(struct work *work, const unsigned *count)
{
    pthread_mutex_lock(&work->lock);
    unsigned value = *count;
    pthread_mutex_unlock(&work->lock);
    return value;
}

static void note_thread(struct work *work)
{
    for (unsigned i = 0; i < work->thread_count; i++)
        if (work->threads[i] == gettid())
            return;
    if (work->thread_count < 64)
        work->threads[work->thread_count++] = gettid();
}

static void enter(struct task *task)
{
    struct work *work = task->work;
    pthread_mutex_lock(&work->lock);
    if (work->ran < 64)
        work->order[work->ran] = task->number;
    work->ran++;
    work->running++;
    if (work->running > work->most)
        work->most = work->running;
    note_thread(work);
    pthread_cond_broadcast(&work->changed);
    pthread_mutex_unlock(&work->lock);
}

static void leave(struct task *task)
{
    pthread_mutex_lock(&task->work->lock);
    task->work->running--;
    pthread_cond_broadcast(&task->work->changed);
    pthread_mutex_unlock(&task->work->lock);
}

static void pass_gate(struct work *work, struct cancel *cancel)
{
    pthread_mutex_lock(&work->lock);
    while (!work->gate_open && !cancel_requested(cancel)) {
        struct timespec until = clock_deadline(10);
        pthread_cond_timedwait(&work->changed, &work->lock, &until);
    }
    pthread_mutex_unlock(&work->lock);
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

static void run(struct job *job, void *arg)
{
    struct task *task = arg;
    enter(task);
    if (task->what == RECEIVED_THEN_GATED) {
        job_received(job);
        count(task->work, &task->work->received);
    }
    if (task->what == GATED || task->what == RECEIVED_THEN_GATED)
        pass_gate(task->work, job_cancelled(job));
    if (task->what == PULL_ALL || task->what == GATED)
        answer_body(job);
    if (task->what == NOTHING || task->what == RECEIVED_THEN_GATED) {
        struct reply reply = REPLY_INIT(200);
        reply_json(&reply, xstrdup("done"));
        job_answer(job, &reply);
    }
    leave(task);
}

static void free_task(void *arg)
{
    struct task *task = arg;
    struct work *work = task->work;
    count(work, &work->freed);
    free(task);
}

static struct jobs *table(unsigned uploads, unsigned blobs, unsigned pushes)
{
    const struct jobs_limits limits = {.uploads = uploads, .blobs = blobs, .pushes = pushes};
    return jobs_new(&limits);
}

static enum errc try_start(struct jobs *jobs, enum job_class class, struct work *work, int what,
                           unsigned number, struct connection *connection)
{
    struct error err = ERROR_INIT;
    struct task *task = xcalloc(1, sizeof *task);
    *task = (struct task){.work = work, .number = number, .what = what};
    const struct job_work value = {.class = class, .run = run, .free = free_task, .self = task};
    struct suspendable attached = {.suspend = suspend, .resume = resume, .connection = connection};
    connection_init(connection);
    if (job_start(jobs, &value, attached, &connection->job, &err) != ERR_OK)
        free(task);
    return err.code;
}

static void start(struct jobs *jobs, enum job_class class, struct work *work, int what,
                  unsigned number, struct connection *connection)
{
    assert_int_equal(try_start(jobs, class, work, what, number, connection), ERR_OK);
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
            struct work work;
            struct connection connection;
            struct jobs *jobs = table(1, 1, 1);
            work_init(&work);
            start(jobs, class, &work, PULL_ALL, 0, &connection);
            send_bytes(&connection, 0, sizes[i]);
            job_end(connection.job);
            snprintf(expected, sizeof expected, "%zu", sizes[i]);
            assert_int_equal(finish(&connection, text), 200);
            assert_string_equal(text, expected);
            close_table(jobs);
            assert_int_equal(work.freed, 1);
        }
}

/* How many bytes are taken before the connection is suspended when nobody pulls. */
static size_t taken_of(struct jobs *jobs, enum job_class class)
{
    char text[200];
    struct work work;
    struct connection connection;
    work_init(&work);
    start(jobs, class, &work, GATED, 0, &connection);
    uint8_t *data = xmalloc(2 * ARCHIVE_RING);
    for (size_t i = 0; i < 2 * ARCHIVE_RING; i++)
        data[i] = (uint8_t)i;
    size_t taken = job_put(connection.job, data, 2 * ARCHIVE_RING);
    assert_true(is_suspended(&connection));
    open_gate(&work);
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
    struct work work;
    struct connection connection;
    struct jobs *jobs = table(1, 1, 1);
    work_init(&work);
    start(jobs, JOB_BLOB, &work, NOTHING, 0, &connection);
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
    struct work work;
    struct connection connection;
    struct jobs *jobs = table(1, 1, 1);
    work_init(&work);
    start(jobs, JOB_PUSH, &work, SILENT, 0, &connection);
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
    struct work work;
    struct connection connections[PUSHES + 1];
    struct jobs *jobs = table(UPLOADS, 1, PUSHES);
    work_init(&work);
    /* N - 1 and N bodies, then one too many. */
    start(jobs, JOB_ARCHIVE, &work, GATED, 0, &connections[0]);
    start(jobs, JOB_ARCHIVE, &work, RECEIVED_THEN_GATED, 1, &connections[1]);
    wait_for(&work, &work.received, 1);
    start(jobs, JOB_ARCHIVE, &work, GATED, 2, &connections[2]);
    wait_for(&work, &work.ran, 3);
    /* Two bodies and three jobs are there: both limits are reached. */
    struct connection late;
    assert_int_equal(try_start(jobs, JOB_ARCHIVE, &work, NOTHING, 3, &late), ERR_BUSY);
    open_gate(&work);
    for (int i = 0; i < 3; i++) {
        job_end(connections[i].job);
        assert_int_equal(finish(&connections[i], text), 200);
    }
    assert_true(jobs_wait(jobs, WAIT_MS));
    start(jobs, JOB_ARCHIVE, &work, NOTHING, 3, &late);
    job_end(late.job);
    assert_int_equal(finish(&late, text), 200);
    close_table(jobs);
}

static void the_limit_on_bodies_is_its_own(void **state)
{
    (void)state;
    char text[200];
    struct work work;
    struct connection connections[3];
    struct jobs *jobs = table(1, 1, 8);
    work_init(&work);
    start(jobs, JOB_ARCHIVE, &work, GATED, 0, &connections[0]);
    assert_int_equal(try_start(jobs, JOB_ARCHIVE, &work, NOTHING, 1, &connections[1]), ERR_BUSY);
    open_gate(&work);
    job_end(connections[0].job);
    assert_int_equal(finish(&connections[0], text), 200);
    assert_true(jobs_wait(jobs, WAIT_MS));
    start(jobs, JOB_ARCHIVE, &work, RECEIVED_THEN_GATED, 1, &connections[1]);
    job_end(connections[1].job);
    assert_int_equal(finish(&connections[1], text), 200);
    close_table(jobs);
}

static void registry_clients_wait_their_turn(void **state)
{
    (void)state;
    enum { LIMIT = 2, COUNT = 9 };
    char text[200];
    struct work work;
    struct connection connections[COUNT];
    struct jobs *jobs = table(1, LIMIT, 1);
    work_init(&work);
    for (unsigned i = 0; i < COUNT; i++) {
        start(jobs, JOB_BLOB, &work, GATED, i, &connections[i]);
        if (i < LIMIT)
            wait_for(&work, &work.ran, i + 1);
        send_bytes(&connections[i], 0, 100);
        job_end(connections[i].job);
    }
    /* Another class does not wait for this one. */
    struct connection push;
    start(jobs, JOB_PUSH, &work, NOTHING, 63, &push);
    job_end(push.job);
    assert_int_equal(finish(&push, text), 200);
    assert_int_equal(look(&work, &work.ran), LIMIT + 1);
    open_gate(&work);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(finish(&connections[i], text), 200);
        assert_string_equal(text, "100");
    }
    close_table(jobs);
    assert_int_equal(work.freed, COUNT + 1);
    assert_true(work.most <= LIMIT + 1);
    assert_true(work.thread_count <= LIMIT + 1);
    /* After the push, in the order they came; but each thread may pause between taking one and
     * running it, so as many as there are others may be before one that came first. */
    for (unsigned i = 0; i < COUNT - LIMIT; i++)
        assert_in_range(work.order[LIMIT + 1 + i], LIMIT, LIMIT + i + LIMIT - 1);
}

static void who_leaves_the_queue_is_not_served(void **state)
{
    (void)state;
    char text[200];
    struct work work;
    struct connection connections[4];
    struct jobs *jobs = table(1, 1, 1);
    work_init(&work);
    for (unsigned i = 0; i < 4; i++)
        start(jobs, JOB_BLOB, &work, GATED, i, &connections[i]);
    wait_for(&work, &work.ran, 1);
    job_drop(connections[3].job, false); /* the last */
    job_drop(connections[1].job, false); /* the first */
    assert_int_equal(look(&work, &work.freed), 2);
    open_gate(&work);
    job_end(connections[0].job);
    job_end(connections[2].job);
    assert_int_equal(finish(&connections[0], text), 200);
    assert_int_equal(finish(&connections[2], text), 200);
    close_table(jobs);
    assert_int_equal(work.ran, 2);
    assert_int_equal(work.order[1], 2);
}

static void a_complete_request_is_served_without_its_client(void **state)
{
    (void)state;
    struct work work;
    struct connection connections[2];
    struct jobs *jobs = table(1, 1, 1);
    work_init(&work);
    for (unsigned i = 0; i < 2; i++) {
        start(jobs, JOB_PUSH, &work, GATED, i, &connections[i]);
        send_bytes(&connections[i], 0, 1000);
        job_end(connections[i].job);
        job_drop(connections[i].job, true);
    }
    assert_false(jobs_wait(jobs, 0));
    open_gate(&work);
    close_table(jobs);
    assert_int_equal(work.ran, 2);
    assert_int_equal(work.freed, 2);
}

static void nothing_begins_after_the_end(void **state)
{
    (void)state;
    struct work work;
    struct connection connection;
    struct jobs *jobs = table(1, 1, 1);
    work_init(&work);
    assert_false(jobs_closed(jobs));
    jobs_close(jobs);
    assert_true(jobs_closed(jobs));
    for (enum job_class class = 0; class < JOB_CLASSES; class ++)
        assert_int_equal(try_start(jobs, class, &work, NOTHING, 0, &connection), ERR_STOPPING);
    close_table(jobs);
}

static void cancelled_jobs_are_all_answered(void **state)
{
    (void)state;
    char text[200];
    struct work work;
    struct connection connections[5];
    struct jobs *jobs = table(1, 2, 1);
    work_init(&work);
    for (unsigned i = 0; i < 5; i++) { /* two run, three wait */
        start(jobs, JOB_BLOB, &work, GATED, i, &connections[i]);
        if (i < 2)
            wait_for(&work, &work.ran, i + 1);
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
    assert_int_equal(work.ran, 2);
    assert_int_equal(work.freed, 5);
}

static void a_lost_client_ends_the_body(void **state)
{
    (void)state;
    struct work work;
    struct connection connection;
    struct jobs *jobs = table(1, 1, 1);
    work_init(&work);
    start(jobs, JOB_ARCHIVE, &work, PULL_ALL, 0, &connection);
    send_bytes(&connection, 0, 1000);
    job_drop(connection.job, false);
    close_table(jobs);
    assert_int_equal(work.freed, 1);
}

static void an_interrupted_body_ends_at_once(void **state)
{
    (void)state;
    char text[200];
    struct work work;
    struct connection connection;
    struct error why = ERROR_INIT;
    struct jobs *jobs = table(1, 1, 1);
    work_init(&work);
    start(jobs, JOB_BLOB, &work, GATED, 0, &connection);
    send_bytes(&connection, 0, OTHER_RING); /* which wait to be pulled */
    fail(&why, ERR_UPLOAD_BUSY, 0, "a younger request took the upload");
    assert_true(job_interrupt(connection.job, &why));
    open_gate(&work);
    assert_int_equal(finish(&connection, text), 409);
    assert_non_null(strstr(text, "a younger request"));
    close_table(jobs);
}

static void a_complete_body_is_not_interrupted(void **state)
{
    (void)state;
    char text[200];
    struct work work;
    struct connection connection;
    struct error why = ERROR_INIT;
    struct jobs *jobs = table(1, 1, 1);
    work_init(&work);
    start(jobs, JOB_BLOB, &work, GATED, 0, &connection);
    send_bytes(&connection, 0, OTHER_RING);
    job_end(connection.job);
    fail(&why, ERR_UPLOAD_BUSY, 0, "a younger request wants the upload");
    assert_false(job_interrupt(connection.job, &why));
    open_gate(&work);
    assert_int_equal(finish(&connection, text), 200);
    close_table(jobs);
}

/* ---- all at once ---- */

struct client {
    struct jobs *jobs;
    struct work *work;
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
        int what = i % 5 == 0 ? NOTHING : PULL_ALL;
        if (try_start(client->jobs, class, client->work, what, 0, &connection) != ERR_OK) {
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
    struct work work;
    struct jobs *jobs = table(2, 3, 4);
    unsigned done = 0;
    work_init(&work);
    for (unsigned i = 0; i < CLIENTS; i++) {
        clients[i] = (struct client){.jobs = jobs, .work = &work, .number = i};
        assert_int_equal(pthread_create(&threads[i], NULL, client_thread, &clients[i]), 0);
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        pthread_join(threads[i], NULL);
        done += clients[i].answered + clients[i].refused;
    }
    close_table(jobs);
    assert_int_equal(done, CLIENTS * 50);
    assert_int_equal(work.running, 0);
    assert_true(work.most <= 4 + 3 + 4);
}

/* A client that sends a byte now and then never stalls, and would hold its turn for days. */
static void a_slow_body_is_known_by_its_pace(void **state)
{
    (void)state;
    struct job_pace pace = {.waited_ms = 0};
    assert_false(job_pace_is_slow(&pace, CLIENT_IDLE_MS - 1, 1));
    assert_true(job_pace_is_slow(&pace, 1, 1));
    /* It begins anew. */
    assert_false(job_pace_is_slow(&pace, CLIENT_IDLE_MS - 1, CLIENT_PACE_BYTES - 1));
    assert_false(job_pace_is_slow(&pace, 1, 1));
    assert_false(job_pace_is_slow(&pace, CLIENT_IDLE_MS - 1, 0));
    assert_true(job_pace_is_slow(&pace, 2, CLIENT_PACE_BYTES - 1));
    /* A fast one is never waited for, whatever its size. */
    for (int i = 0; i < 1000; i++)
        assert_false(job_pace_is_slow(&pace, 0, 1));
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
        cmocka_unit_test(cancelled_jobs_are_all_answered),
        cmocka_unit_test(a_lost_client_ends_the_body),
        cmocka_unit_test(an_interrupted_body_ends_at_once),
        cmocka_unit_test(a_complete_body_is_not_interrupted),
        cmocka_unit_test(a_slow_body_is_known_by_its_pace),
        cmocka_unit_test(many_clients_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
