/*
 * What the tests of jobs share: work that does what a test says, and connections through which it
 * gets its body and gives its answer.
 */
#ifndef SLIPWAY_TESTS_JOBS_TEST_H
#define SLIPWAY_TESTS_JOBS_TEST_H

#include "gateway/http/jobs.h"
#include "tests/support/fake_connection.h"

#define JOBS_TEST_MS 10000

/* How much of a body is taken before somebody pulls. */
#define JOBS_TEST_ARCHIVE_RING ((size_t)1 << 20)
#define JOBS_TEST_OTHER_RING ((size_t)256 << 10)

/* Of a group of tests, for cmocka: the executor of the tables. */
int jobs_test_set_up(void **state);
int jobs_test_tear_down(void **state);

struct jobs *jobs_test_table(unsigned uploads, unsigned blobs, unsigned pushes);
/* Waits until nothing is under way any more. */
void jobs_test_close(struct jobs *jobs);

/* ---- work ---- */

enum job_script_does {
    PULL_ALL,
    NOTHING,
    SILENT,
    GATED,
    RECEIVED_THEN_GATED,
    GOES_ON,       /* until the test ends it */
    GOES_ON_GATED, /* and its run() does not return before the gate is open */
    DOCUMENT,      /* gated, with a large one */
    HANDED_ON,     /* a thread of its own answers and ends it */
};

/* Shared by the jobs that do as it says. */
struct job_script {
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

void job_script_init(struct job_script *script);
void job_script_open(struct job_script *script);
/* Until one of its counts is so much, and what it is now. */
void job_script_wait(struct job_script *script, const unsigned *count, unsigned wanted);
unsigned job_script_look(struct job_script *script, const unsigned *count);
/* The job of that number, which goes on. */
struct job *job_script_going_on(struct job_script *script, unsigned number);
/* Answer a job that goes on, and end it. NULL. */
void *jobs_test_end(void *job);

/* ---- requests ---- */

/* One request's. */
struct job_connection {
    struct fake_connection http;
    struct job *job;
};

enum errc jobs_test_try_start(struct jobs *jobs, enum job_class class, struct job_script *script,
                              enum job_script_does what, unsigned number,
                              struct job_connection *connection);
void jobs_test_start(struct jobs *jobs, enum job_class class, struct job_script *script,
                     enum job_script_does what, unsigned number, struct job_connection *connection);
/* PULL_ALL, for a client at an address that ends so. */
enum errc jobs_test_try_start_from(struct jobs *jobs, enum job_class class,
                                   struct job_script *script, uint8_t last,
                                   struct job_connection *connection);

/* The same for one that is known to be `who`, which is its number in the script. */
enum errc jobs_test_try_start_as(struct jobs *jobs, enum job_class class, struct job_script *script,
                                 uint8_t who, uint8_t last, struct job_connection *connection);

void jobs_test_wait_resumed(struct job_connection *connection);
/* Bytes number `from` to `to`, as an HTTP thread would: again after each resume. */
void jobs_test_send(struct job_connection *connection, size_t from, size_t to);
/* The answer; ends the job's connection. */
int jobs_test_finish(struct job_connection *connection, char text[200]);

#endif
