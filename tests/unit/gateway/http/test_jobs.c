/*
 * Jobs: bodies, answers, limits and turns.
 */
#include "gateway/http/jobs_internal.h"

#include "base/mem.h"
#include "tests/support/jobs_test.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* ---- bodies ---- */

static void a_body_arrives_whole_and_is_answered(void **state)
{
    (void)state;
    static const size_t sizes[] = {0,
                                   1,
                                   JOBS_TEST_OTHER_RING - 1,
                                   JOBS_TEST_OTHER_RING,
                                   JOBS_TEST_OTHER_RING + 1,
                                   3 * JOBS_TEST_ARCHIVE_RING + 77};
    for (enum job_class class = 0; class < JOB_CLASSES; class ++)
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            char text[200];
            char expected[32];
            struct job_script script;
            struct job_connection connection;
            struct jobs *jobs = jobs_test_table(1, 1, 1);
            job_script_init(&script);
            jobs_test_start(jobs, class, &script, PULL_ALL, 0, &connection);
            jobs_test_send(&connection, 0, sizes[i]);
            job_end(connection.job);
            snprintf(expected, sizeof expected, "%zu", sizes[i]);
            assert_int_equal(jobs_test_finish(&connection, text), 200);
            assert_string_equal(text, expected);
            jobs_test_close(jobs);
            assert_int_equal(script.freed, 1);
        }
}

/* How many bytes are taken before the connection is suspended when nobody pulls. */
static size_t taken_of(struct jobs *jobs, enum job_class class)
{
    char text[200];
    struct job_script script;
    struct job_connection connection;
    job_script_init(&script);
    jobs_test_start(jobs, class, &script, GATED, 0, &connection);
    uint8_t *data = xmalloc(2 * JOBS_TEST_ARCHIVE_RING);
    for (size_t i = 0; i < 2 * JOBS_TEST_ARCHIVE_RING; i++)
        data[i] = (uint8_t)i;
    size_t taken = job_put(connection.job, data, 2 * JOBS_TEST_ARCHIVE_RING);
    assert_true(fake_connection_suspended(&connection.http));
    job_script_open(&script);
    jobs_test_wait_resumed(&connection);
    free(data);
    jobs_test_send(&connection, taken, 2 * JOBS_TEST_ARCHIVE_RING);
    assert_int_equal(job_body_bytes(connection.job), 2 * JOBS_TEST_ARCHIVE_RING);
    job_end(connection.job);
    assert_int_equal(jobs_test_finish(&connection, text), 200);
    assert_true(jobs_wait(jobs, JOBS_TEST_MS));
    return taken;
}

static void a_ring_bounds_what_is_taken(void **state)
{
    (void)state;
    struct jobs *jobs = jobs_test_table(1, 1, 1);
    assert_int_equal(taken_of(jobs, JOB_ARCHIVE), JOBS_TEST_ARCHIVE_RING);
    assert_int_equal(taken_of(jobs, JOB_BLOB), JOBS_TEST_OTHER_RING);
    assert_int_equal(taken_of(jobs, JOB_PUSH), JOBS_TEST_OTHER_RING);
    jobs_test_close(jobs);
}

static void what_nobody_wants_of_a_body_is_dropped(void **state)
{
    (void)state;
    char text[200];
    struct job_script script;
    struct job_connection connection;
    struct jobs *jobs = jobs_test_table(1, 1, 1);
    job_script_init(&script);
    jobs_test_start(jobs, JOB_BLOB, &script, NOTHING, 0, &connection);
    jobs_test_send(&connection, 0, 3 * JOBS_TEST_OTHER_RING);
    job_end(connection.job);
    assert_int_equal(jobs_test_finish(&connection, text), 200);
    assert_string_equal(text, "done");
    jobs_test_close(jobs);
}

static void work_that_says_nothing_is_an_error(void **state)
{
    (void)state;
    char text[200];
    struct job_script script;
    struct job_connection connection;
    struct jobs *jobs = jobs_test_table(1, 1, 1);
    job_script_init(&script);
    jobs_test_start(jobs, JOB_PUSH, &script, SILENT, 0, &connection);
    job_end(connection.job);
    assert_int_equal(jobs_test_finish(&connection, text), 500);
    assert_non_null(strstr(text, "INTERNAL"));
    jobs_test_close(jobs);
}

/* ---- limits and turns ---- */

static void archives_beyond_a_limit_are_refused(void **state)
{
    (void)state;
    enum { UPLOADS = 2, PUSHES = 3 };
    char text[200];
    struct job_script script;
    struct job_connection connections[PUSHES + 1];
    struct jobs *jobs = jobs_test_table(UPLOADS, 1, PUSHES);
    job_script_init(&script);
    /* N - 1 and N bodies, then one too many. */
    jobs_test_start(jobs, JOB_ARCHIVE, &script, GATED, 0, &connections[0]);
    jobs_test_start(jobs, JOB_ARCHIVE, &script, RECEIVED_THEN_GATED, 1, &connections[1]);
    job_script_wait(&script, &script.received, 1);
    jobs_test_start(jobs, JOB_ARCHIVE, &script, GATED, 2, &connections[2]);
    job_script_wait(&script, &script.ran, 3);
    /* Two bodies and three jobs are there: both limits are reached. */
    struct job_connection late;
    assert_int_equal(jobs_test_try_start(jobs, JOB_ARCHIVE, &script, NOTHING, 3, &late), ERR_BUSY);
    job_script_open(&script);
    for (int i = 0; i < 3; i++) {
        job_end(connections[i].job);
        assert_int_equal(jobs_test_finish(&connections[i], text), 200);
    }
    assert_true(jobs_wait(jobs, JOBS_TEST_MS));
    jobs_test_start(jobs, JOB_ARCHIVE, &script, NOTHING, 3, &late);
    job_end(late.job);
    assert_int_equal(jobs_test_finish(&late, text), 200);
    jobs_test_close(jobs);
}

static void the_limit_on_bodies_is_its_own(void **state)
{
    (void)state;
    char text[200];
    struct job_script script;
    struct job_connection connections[3];
    struct jobs *jobs = jobs_test_table(1, 1, 8);
    job_script_init(&script);
    jobs_test_start(jobs, JOB_ARCHIVE, &script, GATED, 0, &connections[0]);
    assert_int_equal(jobs_test_try_start(jobs, JOB_ARCHIVE, &script, NOTHING, 1, &connections[1]),
                     ERR_BUSY);
    job_script_open(&script);
    job_end(connections[0].job);
    assert_int_equal(jobs_test_finish(&connections[0], text), 200);
    assert_true(jobs_wait(jobs, JOBS_TEST_MS));
    jobs_test_start(jobs, JOB_ARCHIVE, &script, RECEIVED_THEN_GATED, 1, &connections[1]);
    job_end(connections[1].job);
    assert_int_equal(jobs_test_finish(&connections[1], text), 200);
    jobs_test_close(jobs);
}

static void registry_clients_wait_their_turn(void **state)
{
    (void)state;
    enum { LIMIT = 2, COUNT = 9 };
    char text[200];
    struct job_script script;
    struct job_connection connections[COUNT];
    struct jobs *jobs = jobs_test_table(1, LIMIT, 1);
    job_script_init(&script);
    for (unsigned i = 0; i < COUNT; i++) {
        jobs_test_start(jobs, JOB_BLOB, &script, GATED, i, &connections[i]);
        if (i < LIMIT)
            job_script_wait(&script, &script.ran, i + 1);
        jobs_test_send(&connections[i], 0, 100);
        job_end(connections[i].job);
    }
    /* Another class does not wait for this one. */
    struct job_connection push;
    jobs_test_start(jobs, JOB_PUSH, &script, NOTHING, 63, &push);
    job_end(push.job);
    assert_int_equal(jobs_test_finish(&push, text), 200);
    assert_int_equal(job_script_look(&script, &script.ran), LIMIT + 1);
    job_script_open(&script);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(jobs_test_finish(&connections[i], text), 200);
        assert_string_equal(text, "100");
    }
    jobs_test_close(jobs);
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
    struct job_script script;
    struct job_connection connections[4];
    struct jobs *jobs = jobs_test_table(1, 1, 1);
    job_script_init(&script);
    for (unsigned i = 0; i < 4; i++)
        jobs_test_start(jobs, JOB_BLOB, &script, GATED, i, &connections[i]);
    job_script_wait(&script, &script.ran, 1);
    job_drop(connections[3].job, false); /* the last */
    job_drop(connections[1].job, false); /* the first */
    assert_int_equal(job_script_look(&script, &script.freed), 2);
    job_script_open(&script);
    job_end(connections[0].job);
    job_end(connections[2].job);
    assert_int_equal(jobs_test_finish(&connections[0], text), 200);
    assert_int_equal(jobs_test_finish(&connections[2], text), 200);
    jobs_test_close(jobs);
    assert_int_equal(script.ran, 2);
    assert_int_equal(script.order[1], 2);
}

static void large_documents_wait_for_each_other(void **state)
{
    (void)state;
    enum { COUNT = JOB_DOCUMENTS_MAX + 3 };
    for (int stops = 0; stops < 2; stops++) {
        char text[200];
        struct job_script script;
        struct job_connection connections[COUNT];
        struct jobs *jobs = jobs_test_table(1, 1, COUNT);
        unsigned good = 0;
        job_script_init(&script);
        for (unsigned i = 0; i < COUNT; i++) {
            jobs_test_start(jobs, JOB_PUSH, &script, DOCUMENT, i, &connections[i]);
            job_end(connections[i].job);
        }
        job_script_wait(&script, &script.ran, COUNT);
        job_script_wait(&script, &script.received, JOB_DOCUMENTS_MAX);
        if (stops) {
            jobs_close(jobs);
            jobs_cancel(jobs);
        } else {
            job_script_open(&script);
        }
        for (unsigned i = 0; i < COUNT; i++)
            good += jobs_test_finish(&connections[i], text) == 200;
        jobs_test_close(jobs);
        assert_in_range(good, JOB_DOCUMENTS_MAX, COUNT);
        assert_int_equal(good, script.received);
        assert_true(stops || good == COUNT);
    }
}

/* ---- all at once ---- */

struct client {
    struct jobs *jobs;
    struct job_script *script;
    unsigned number;
    unsigned answered;
    unsigned refused; /* of those that would have stayed for the answer */
};

static void *client_thread(void *arg)
{
    struct client *client = arg;
    for (unsigned i = 0; i < 60; i++) {
        char text[200];
        struct job_connection connection;
        enum job_class class = (client->number + i) % JOB_BRIEF; /* those with a limit */
        enum job_script_does what = i % 5 == 0 ? NOTHING : i % 5 == 2 ? HANDED_ON : PULL_ALL;
        if (jobs_test_try_start(client->jobs, class, client->script, what, 0, &connection) !=
            ERR_OK) {
            client->refused += i % 6 != 1;
            continue;
        }
        jobs_test_send(&connection, 0, (size_t)(i % 7) * 60000);
        if (i % 6 == 1) {
            job_drop(connection.job, false);
            continue;
        }
        job_end(connection.job);
        client->answered += jobs_test_finish(&connection, text) == 200;
    }
    return NULL;
}

static void many_clients_at_once(void **state)
{
    (void)state;
    enum { CLIENTS = 12 };
    pthread_t threads[CLIENTS];
    struct client clients[CLIENTS];
    struct job_script script;
    struct jobs *jobs = jobs_test_table(2, 3, 4);
    unsigned done = 0;
    job_script_init(&script);
    for (unsigned i = 0; i < CLIENTS; i++) {
        clients[i] = (struct client){.jobs = jobs, .script = &script, .number = i};
        assert_int_equal(pthread_create(&threads[i], NULL, client_thread, &clients[i]), 0);
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        pthread_join(threads[i], NULL);
        done += clients[i].answered + clients[i].refused;
    }
    jobs_test_close(jobs);
    assert_int_equal(done, CLIENTS * 50);
    assert_int_equal(script.running, 0);
    assert_true(script.most <= 4 + 3 + 4);
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
        cmocka_unit_test(large_documents_wait_for_each_other),
        cmocka_unit_test(many_clients_at_once),
    };
    return cmocka_run_group_tests(tests, jobs_test_set_up, jobs_test_tear_down);
}
