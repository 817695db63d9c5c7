/*
 * Whose job loses its place: slow bodies, and addresses that hold more than their part.
 */
#include "gateway/http/jobs_internal.h"

#include "base/clock.h"
#include "tests/support/jobs_test.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

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

/* Until its worker waits for more of the body, which is when a pace can be judged, and has taken so
 * much in this window. */
static void wait_brought(const struct job_connection *connection, size_t bytes)
{
    struct job_pace pace = {.bytes = 0};
    int64_t until_ms = clock_ms() + JOBS_TEST_MS;
    while (!job_receives(connection->job, clock_ms(), INT64_MAX, &pace) || pace.bytes < bytes)
        assert_true(clock_ms() < until_ms && sched_yield() == 0);
}

static void wait_receiving(const struct job_connection *connection)
{
    wait_brought(connection, 0);
}

static void begin_from(struct jobs *jobs, enum job_class class, struct job_script *script,
                       uint8_t last, struct job_connection *connection)
{
    assert_int_equal(jobs_test_try_start_from(jobs, class, script, last, connection), ERR_OK);
    wait_receiving(connection);
}

static void expect_end(struct job_connection *connection, int status, const char *words)
{
    char text[200];
    assert_int_equal(jobs_test_finish(connection, text), status);
    assert_non_null(strstr(text, words));
}

static void a_slow_archive_ends_for_one_that_was_refused(void **state)
{
    (void)state;
    enum { UPLOADS = 3 };
    struct job_script script;
    struct job_connection slow[UPLOADS];
    struct job_connection late;
    struct jobs *jobs = jobs_test_table(UPLOADS, 1, 8);
    job_script_init(&script);
    for (int i = 0; i < UPLOADS; i++)
        begin_from(jobs, JOB_ARCHIVE, &script, 1, &slow[i]);
    /* Slow, but in nobody's way. */
    jobs_sweep(jobs, clock_ms() + CLIENT_PACE_MS);
    for (int i = 0; i < UPLOADS; i++)
        wait_receiving(&slow[i]);
    assert_int_equal(jobs_test_try_start_from(jobs, JOB_ARCHIVE, &script, 1, &late), ERR_BUSY);
    jobs_sweep(jobs, clock_ms());
    expect_end(&slow[UPLOADS - 1], 408, "CLIENT_STALLED"); /* the newest of them, one for one */
    job_script_wait(&script, &script.freed, 1);
    begin_from(jobs, JOB_ARCHIVE, &script, 1, &late);
    jobs_sweep(jobs, clock_ms() + CLIENT_PACE_MS);
    for (int i = 0; i < UPLOADS - 1; i++) {
        wait_receiving(&slow[i]);
        job_end(slow[i].job);
        expect_end(&slow[i], 200, "0");
    }
    job_end(late.job);
    expect_end(&late, 200, "0");
    jobs_test_close(jobs);
}

static void slow_bodies_end_for_those_that_wait(void **state)
{
    (void)state;
    for (enum job_class class = JOB_BLOB; class <= JOB_PUSH; class ++) {
        struct job_script script;
        struct job_connection slow[2];
        struct job_connection next;
        struct jobs *jobs = jobs_test_table(1, 2, 2);
        job_script_init(&script);
        begin_from(jobs, class, &script, 1, &slow[0]);
        begin_from(jobs, class, &script, 1, &slow[1]);
        jobs_sweep(jobs, clock_ms() + CLIENT_PACE_MS);
        jobs_test_send(&slow[1], 0, CLIENT_PACE_BYTES);
        wait_brought(&slow[1], CLIENT_PACE_BYTES);
        assert_int_equal(jobs_test_try_start_from(jobs, class, &script, 1, &next), ERR_OK);
        jobs_sweep(jobs, clock_ms());
        expect_end(&slow[0], 408, "others wait");
        job_end(next.job);
        expect_end(&next, 200, "0");
        job_end(slow[1].job);
        expect_end(&slow[1], 200, "65536");
        jobs_test_close(jobs);
    }
}

static void slow_bodies_end_when_it_stops(void **state)
{
    (void)state;
    struct job_script script;
    struct job_connection slow;
    struct job_connection waits[3];
    struct jobs *jobs = jobs_test_table(1, 1, 1);
    job_script_init(&script);
    begin_from(jobs, JOB_BLOB, &script, 1, &slow);
    for (int i = 0; i < 3; i++)
        assert_int_equal(jobs_test_try_start_from(jobs, JOB_BLOB, &script, 1, &waits[i]), ERR_OK);
    jobs_test_send(&waits[1], 0, CLIENT_PACE_BYTES);
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
    jobs_test_close(jobs);
}

/* A has all places. When B waits in vain, A's slowest body ends, down to half of the places. */
static void an_address_gives_up_what_is_over_half(void **state)
{
    (void)state;
    enum { BLOBS = 4 };
    struct job_script script;
    struct job_connection a[BLOBS];
    struct job_connection b[BLOBS];
    struct jobs *jobs = jobs_test_table(1, BLOBS, 1);
    job_script_init(&script);
    for (int i = 0; i < BLOBS; i++)
        begin_from(jobs, JOB_BLOB, &script, 1, &a[i]);
    for (int i = 0; i < BLOBS; i++) {
        jobs_test_send(&a[i], 0, CLIENT_PACE_BYTES * (size_t)(i + 1)); /* each is fast enough */
        wait_brought(&a[i], CLIENT_PACE_BYTES * (size_t)(i + 1));
    }
    jobs_sweep(jobs, clock_ms() + CLIENT_PACE_MS);
    for (int i = 0; i < BLOBS; i++) {
        assert_int_equal(jobs_test_try_start_from(jobs, JOB_BLOB, &script, 2, &b[i]), ERR_OK);
        jobs_test_send(&a[i], CLIENT_PACE_BYTES * (size_t)(i + 1),
                       CLIENT_PACE_BYTES * (size_t)(i + 2));
        wait_brought(&a[i], CLIENT_PACE_BYTES);
    }
    jobs_sweep(jobs, clock_ms() + SHARE_WAIT_MS - 1000);
    assert_int_equal(job_script_look(&script, &script.ran), BLOBS);
    for (unsigned i = 0; i < BLOBS / 2; i++) {
        jobs_sweep(jobs, clock_ms() + SHARE_WAIT_MS);
        expect_end(&a[i], 503, "another client waits");
        job_script_wait(&script, &script.ran, BLOBS + i + 1);
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
    jobs_test_close(jobs);
}

/* The free place of an archive is kept for the address that holds fewer and was refused. */
static void a_free_place_goes_to_who_holds_fewest(void **state)
{
    (void)state;
    struct job_script script;
    struct job_connection a[3];
    struct job_connection b;
    struct jobs *jobs = jobs_test_table(2, 1, 8);
    job_script_init(&script);
    begin_from(jobs, JOB_ARCHIVE, &script, 1, &a[0]);
    begin_from(jobs, JOB_ARCHIVE, &script, 1, &a[1]);
    assert_int_equal(jobs_test_try_start_from(jobs, JOB_ARCHIVE, &script, 2, &b), ERR_BUSY);
    job_end(a[0].job);
    expect_end(&a[0], 200, "0");
    job_script_wait(&script, &script.freed, 1);
    assert_int_equal(jobs_test_try_start_from(jobs, JOB_ARCHIVE, &script, 1, &a[2]), ERR_BUSY);
    begin_from(jobs, JOB_ARCHIVE, &script, 2, &b);
    job_end(a[1].job);
    expect_end(&a[1], 200, "0");
    job_script_wait(&script, &script.freed, 2);
    begin_from(jobs, JOB_ARCHIVE, &script, 1, &a[2]);
    job_end(a[2].job);
    job_end(b.job);
    expect_end(&a[2], 200, "0");
    expect_end(&b, 200, "0");
    jobs_test_close(jobs);
}

/* Of those that wait the next is one of the address that holds fewest. */
static void turns_go_to_who_holds_fewest(void **state)
{
    (void)state;
    struct job_script script;
    struct job_connection a[3];
    struct job_connection b;
    struct jobs *jobs = jobs_test_table(1, 2, 1);
    job_script_init(&script);
    begin_from(jobs, JOB_BLOB, &script, 1, &a[0]);
    begin_from(jobs, JOB_BLOB, &script, 1, &a[1]);
    assert_int_equal(jobs_test_try_start_from(jobs, JOB_BLOB, &script, 1, &a[2]), ERR_OK);
    assert_int_equal(jobs_test_try_start_from(jobs, JOB_BLOB, &script, 2, &b), ERR_OK);
    job_end(a[0].job);
    expect_end(&a[0], 200, "0");
    job_script_wait(&script, &script.ran, 3);
    assert_int_equal(script.order[2], 2);
    job_end(a[1].job);
    job_end(a[2].job);
    job_end(b.job);
    expect_end(&a[1], 200, "0");
    expect_end(&a[2], 200, "0");
    expect_end(&b, 200, "0");
    jobs_test_close(jobs);
}

/* Wherever it comes from; and who else comes from there is another one. */
static void turns_are_shared_by_who_is_known(void **state)
{
    (void)state;
    struct job_script script;
    struct job_connection a[3];
    struct job_connection b;
    struct jobs *jobs = jobs_test_table(1, 2, 1);
    job_script_init(&script);
    for (uint8_t i = 0; i < 3; i++) {
        assert_int_equal(jobs_test_try_start_as(jobs, JOB_BLOB, &script, 1, i, &a[i]), ERR_OK);
        if (i < 2)
            wait_receiving(&a[i]);
    }
    assert_int_equal(jobs_test_try_start_as(jobs, JOB_BLOB, &script, 2, 0, &b), ERR_OK);
    job_end(a[1].job);
    expect_end(&a[1], 200, "0");
    job_script_wait(&script, &script.ran, 3);
    assert_int_equal(script.order[2], 2);
    job_end(a[0].job);
    job_end(a[2].job);
    job_end(b.job);
    expect_end(&a[0], 200, "0");
    expect_end(&a[2], 200, "0");
    expect_end(&b, 200, "0");
    jobs_test_close(jobs);
}

/* The newest of the address with most requests is refused when there are too many. */
static void requests_are_bounded(void **state)
{
    (void)state;
    struct job_script script;
    static struct job_connection a[REQUESTS_MAX];
    struct job_connection late;
    struct job_connection b;
    struct jobs *jobs = jobs_test_table(1, 1, 1);
    job_script_init(&script);
    for (int i = 0; i < REQUESTS_MAX; i++)
        assert_int_equal(jobs_test_try_start_from(jobs, JOB_BLOB, &script, 1, &a[i]), ERR_OK);
    assert_int_equal(jobs_test_try_start_from(jobs, JOB_BLOB, &script, 1, &late), ERR_BUSY);
    assert_int_equal(jobs_test_try_start_from(jobs, JOB_BLOB, &script, 2, &b), ERR_OK);
    expect_end(&a[REQUESTS_MAX - 1], 503, "TOO_MANY_UPLOADS");
    jobs_close(jobs);
    jobs_cancel(jobs);
    for (int i = 0; i < REQUESTS_MAX - 1; i++)
        expect_end(&a[i], 503, "STOPPING");
    expect_end(&b, 503, "STOPPING");
    jobs_test_close(jobs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slow_body_is_known_by_its_pace),
        cmocka_unit_test(a_slow_archive_ends_for_one_that_was_refused),
        cmocka_unit_test(slow_bodies_end_for_those_that_wait),
        cmocka_unit_test(slow_bodies_end_when_it_stops),
        cmocka_unit_test(an_address_gives_up_what_is_over_half),
        cmocka_unit_test(a_free_place_goes_to_who_holds_fewest),
        cmocka_unit_test(turns_go_to_who_holds_fewest),
        cmocka_unit_test(turns_are_shared_by_who_is_known),
        cmocka_unit_test(requests_are_bounded),
    };
    return cmocka_run_group_tests(tests, jobs_test_set_up, jobs_test_tear_down);
}
