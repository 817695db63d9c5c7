/*
 * How jobs end: without their client, interrupted, cancelled, and those that go on after their run.
 */
#include "gateway/http/jobs_internal.h"

#include "base/mem.h"
#include "tests/support/jobs_test.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* cmocka has a macro of that name. */
#undef fail

/* ---- clients and bodies that end ---- */

static void a_complete_request_is_served_without_its_client(void **state)
{
    (void)state;
    struct job_script script;
    struct job_connection connections[2];
    struct jobs *jobs = jobs_test_table(1, 1, 1);
    job_script_init(&script);
    for (unsigned i = 0; i < 2; i++) {
        jobs_test_start(jobs, JOB_PUSH, &script, GATED, i, &connections[i]);
        jobs_test_send(&connections[i], 0, 1000);
        job_end(connections[i].job);
        job_drop(connections[i].job, true);
    }
    assert_false(jobs_wait(jobs, 0));
    job_script_open(&script);
    jobs_test_close(jobs);
    assert_int_equal(script.ran, 2);
    assert_int_equal(script.freed, 2);
}

static void a_lost_client_ends_the_body(void **state)
{
    (void)state;
    struct job_script script;
    struct job_connection connection;
    struct jobs *jobs = jobs_test_table(1, 1, 1);
    job_script_init(&script);
    jobs_test_start(jobs, JOB_ARCHIVE, &script, PULL_ALL, 0, &connection);
    jobs_test_send(&connection, 0, 1000);
    job_drop(connection.job, false);
    jobs_test_close(jobs);
    assert_int_equal(script.freed, 1);
}

static void an_interrupted_body_ends_at_once(void **state)
{
    (void)state;
    char text[200];
    struct job_script script;
    struct job_connection connection;
    struct error why = ERROR_INIT;
    struct jobs *jobs = jobs_test_table(1, 1, 1);
    job_script_init(&script);
    jobs_test_start(jobs, JOB_BLOB, &script, GATED, 0, &connection);
    jobs_test_send(&connection, 0, JOBS_TEST_OTHER_RING); /* which wait to be pulled */
    fail(&why, ERR_UPLOAD_BUSY, 0, "a younger request took the upload");
    assert_true(job_interrupt(connection.job, &why));
    job_script_open(&script);
    assert_int_equal(jobs_test_finish(&connection, text), 409);
    assert_non_null(strstr(text, "a younger request"));
    jobs_test_close(jobs);
}

static void a_complete_body_is_not_interrupted(void **state)
{
    (void)state;
    char text[200];
    struct job_script script;
    struct job_connection connection;
    struct error why = ERROR_INIT;
    struct jobs *jobs = jobs_test_table(1, 1, 1);
    job_script_init(&script);
    jobs_test_start(jobs, JOB_BLOB, &script, GATED, 0, &connection);
    jobs_test_send(&connection, 0, JOBS_TEST_OTHER_RING);
    job_end(connection.job);
    fail(&why, ERR_UPLOAD_BUSY, 0, "a younger request wants the upload");
    assert_false(job_interrupt(connection.job, &why));
    job_script_open(&script);
    assert_int_equal(jobs_test_finish(&connection, text), 200);
    jobs_test_close(jobs);
}

/* ---- the end ---- */

static void nothing_begins_after_the_end(void **state)
{
    (void)state;
    struct job_script script;
    struct job_connection connection;
    struct jobs *jobs = jobs_test_table(1, 1, 1);
    job_script_init(&script);
    assert_false(jobs_closed(jobs));
    jobs_close(jobs);
    assert_true(jobs_closed(jobs));
    for (enum job_class class = 0; class < JOB_CLASSES; class ++)
        assert_int_equal(jobs_test_try_start(jobs, class, &script, NOTHING, 0, &connection),
                         ERR_STOPPING);
    jobs_test_close(jobs);
}

static void cancelled_jobs_are_all_answered(void **state)
{
    (void)state;
    char text[200];
    struct job_script script;
    struct job_connection connections[5];
    struct jobs *jobs = jobs_test_table(1, 2, 1);
    job_script_init(&script);
    for (unsigned i = 0; i < 5; i++) { /* two run, three wait */
        jobs_test_start(jobs, JOB_BLOB, &script, GATED, i, &connections[i]);
        if (i < 2)
            job_script_wait(&script, &script.ran, i + 1);
    }
    uint8_t *data = xcalloc(1, 2 * JOBS_TEST_OTHER_RING);
    assert_int_equal(job_put(connections[4].job, data, 2 * JOBS_TEST_OTHER_RING),
                     JOBS_TEST_OTHER_RING);
    free(data);
    jobs_close(jobs);
    jobs_cancel(jobs);
    jobs_test_wait_resumed(&connections[4]);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(jobs_test_finish(&connections[i], text), 503);
        assert_non_null(strstr(text, "STOPPING"));
    }
    jobs_test_close(jobs);
    assert_int_equal(script.ran, 2);
    assert_int_equal(script.freed, 5);
}

/* ---- jobs that go on ---- */

static void a_job_goes_on_after_its_run(void **state)
{
    (void)state;
    char text[200];
    struct job_script script;
    struct job_connection connection;
    struct jobs *jobs = jobs_test_table(1, 1, 1);
    job_script_init(&script);
    jobs_test_start(jobs, JOB_PUSH, &script, GOES_ON, 0, &connection);
    job_end(connection.job);
    struct job *job = job_script_going_on(&script, 0);
    job_script_wait(&script, &script.returned, 1);
    struct reply none;
    assert_false(job_reply(connection.job, &none));
    assert_true(fake_connection_suspended(&connection.http));
    assert_false(jobs_wait(jobs, 0));
    assert_int_equal(job_script_look(&script, &script.freed), 0);
    jobs_test_end(job);
    assert_int_equal(jobs_test_finish(&connection, text), 200);
    assert_string_equal(text, "done");
    jobs_test_close(jobs);
    assert_int_equal(script.freed, 1);
}

static void a_job_that_goes_on_keeps_its_place(void **state)
{
    (void)state;
    char text[200];
    struct job_script script;
    struct job_connection connections[2];
    struct job_connection other;
    struct jobs *jobs = jobs_test_table(1, 1, 1);
    job_script_init(&script);
    jobs_test_start(jobs, JOB_PUSH, &script, GOES_ON, 0, &connections[0]);
    job_end(connections[0].job);
    struct job *job = job_script_going_on(&script, 0);
    job_script_wait(&script, &script.returned, 1);
    jobs_test_start(jobs, JOB_PUSH, &script, NOTHING, 1, &connections[1]);
    job_end(connections[1].job);
    /* Workers are there, for those of another class. */
    jobs_test_start(jobs, JOB_BLOB, &script, NOTHING, 2, &other);
    job_end(other.job);
    assert_int_equal(jobs_test_finish(&other, text), 200);
    assert_int_equal(job_script_look(&script, &script.ran), 2);
    jobs_test_end(job);
    assert_int_equal(jobs_test_finish(&connections[0], text), 200);
    assert_int_equal(jobs_test_finish(&connections[1], text), 200);
    jobs_test_close(jobs);
    assert_int_equal(script.order[2], 1);
}

/* An archive that goes on counts among the pushes, and not among the bodies. */
static void an_archive_that_goes_on_counts_as_a_push(void **state)
{
    (void)state;
    enum { PUSHES = 2 };
    char text[200];
    struct job_script script;
    struct job_connection connections[PUSHES + 1];
    struct jobs *jobs = jobs_test_table(1, 1, PUSHES);
    job_script_init(&script);
    for (unsigned i = 0; i < PUSHES; i++) {
        jobs_test_start(jobs, JOB_ARCHIVE, &script, GOES_ON, i, &connections[i]);
        job_end(connections[i].job);
        job_received(job_script_going_on(&script, i));
    }
    assert_int_equal(jobs_test_try_start(jobs, JOB_ARCHIVE, &script, NOTHING, 2, &connections[2]),
                     ERR_BUSY);
    for (unsigned i = 0; i < PUSHES; i++) {
        jobs_test_end(script.going_on[i]);
        assert_int_equal(jobs_test_finish(&connections[i], text), 200);
    }
    jobs_test_start(jobs, JOB_ARCHIVE, &script, NOTHING, 2, &connections[2]);
    job_end(connections[2].job);
    assert_int_equal(jobs_test_finish(&connections[2], text), 200);
    jobs_test_close(jobs);
    job_script_wait(&script, &script.returned, PUSHES);
}

static void a_job_may_be_over_before_its_run_returns(void **state)
{
    (void)state;
    char text[200];
    struct job_script script;
    struct job_connection connections[2];
    struct jobs *jobs = jobs_test_table(1, 1, 1);
    job_script_init(&script);
    jobs_test_start(jobs, JOB_PUSH, &script, GOES_ON_GATED, 0, &connections[0]);
    job_end(connections[0].job);
    jobs_test_end(job_script_going_on(&script, 0));
    assert_int_equal(jobs_test_finish(&connections[0], text), 200);
    assert_int_equal(job_script_look(&script, &script.freed), 1);
    /* Its place is another's. */
    jobs_test_start(jobs, JOB_PUSH, &script, NOTHING, 1, &connections[1]);
    job_end(connections[1].job);
    assert_int_equal(jobs_test_finish(&connections[1], text), 200);
    assert_int_equal(job_script_look(&script, &script.returned), 0);
    jobs_test_close(jobs);
    job_script_open(&script);
    job_script_wait(&script, &script.returned, 1);
}

static void a_job_that_goes_on_without_an_answer_is_an_error(void **state)
{
    (void)state;
    char text[200];
    struct job_script script;
    struct job_connection connection;
    struct jobs *jobs = jobs_test_table(1, 1, 1);
    job_script_init(&script);
    jobs_test_start(jobs, JOB_PUSH, &script, GOES_ON, 0, &connection);
    job_end(connection.job);
    job_over(job_script_going_on(&script, 0));
    assert_int_equal(jobs_test_finish(&connection, text), 500);
    assert_non_null(strstr(text, "INTERNAL"));
    jobs_test_close(jobs);
    job_script_wait(&script, &script.returned, 1);
}

/* It is asked to end, and ends when it says so. */
static void a_job_that_goes_on_is_cancelled(void **state)
{
    (void)state;
    char text[200];
    struct job_script script;
    struct job_connection connection;
    struct jobs *jobs = jobs_test_table(1, 1, 1);
    job_script_init(&script);
    jobs_test_start(jobs, JOB_PUSH, &script, GOES_ON, 0, &connection);
    job_end(connection.job);
    struct job *job = job_script_going_on(&script, 0);
    job_script_wait(&script, &script.returned, 1);
    assert_false(cancel_requested(job_cancelled(job)));
    jobs_close(jobs);
    jobs_cancel(jobs);
    assert_true(cancel_requested(job_cancelled(job)));
    assert_false(jobs_wait(jobs, 0));
    jobs_test_end(job);
    assert_int_equal(jobs_test_finish(&connection, text), 200);
    jobs_test_close(jobs);
}

static void a_job_that_goes_on_outlives_its_client(void **state)
{
    (void)state;
    for (int complete = 0; complete < 2; complete++) {
        struct job_script script;
        struct job_connection connection;
        struct jobs *jobs = jobs_test_table(1, 1, 1);
        job_script_init(&script);
        jobs_test_start(jobs, JOB_PUSH, &script, GOES_ON, 0, &connection);
        struct job *job = job_script_going_on(&script, 0);
        job_script_wait(&script, &script.returned, 1);
        job_drop(connection.job, complete);
        assert_false(jobs_wait(jobs, 0));
        jobs_test_end(job);
        jobs_test_close(jobs);
        assert_int_equal(script.freed, 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_complete_request_is_served_without_its_client),
        cmocka_unit_test(nothing_begins_after_the_end),
        cmocka_unit_test(cancelled_jobs_are_all_answered),
        cmocka_unit_test(a_lost_client_ends_the_body),
        cmocka_unit_test(an_interrupted_body_ends_at_once),
        cmocka_unit_test(a_complete_body_is_not_interrupted),
        cmocka_unit_test(a_job_goes_on_after_its_run),
        cmocka_unit_test(a_job_that_goes_on_keeps_its_place),
        cmocka_unit_test(an_archive_that_goes_on_counts_as_a_push),
        cmocka_unit_test(a_job_may_be_over_before_its_run_returns),
        cmocka_unit_test(a_job_that_goes_on_without_an_answer_is_an_error),
        cmocka_unit_test(a_job_that_goes_on_is_cancelled),
        cmocka_unit_test(a_job_that_goes_on_outlives_its_client),
    };
    return cmocka_run_group_tests(tests, jobs_test_set_up, jobs_test_tear_down);
}
