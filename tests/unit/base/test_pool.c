#include "base/pool.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define JOBS 200

struct sum {
    struct pool_job job;
    int input;
    int output;
};

static void square(struct pool_job *job)
{
    struct sum *sum = (struct sum *)job;
    sum->output = sum->input * sum->input;
}

static void every_job_runs_once_and_can_be_waited_for(void **state)
{
    (void)state;
    for (unsigned threads = 1; threads <= 4; threads++) {
        struct error err = ERROR_INIT;
        struct pool *pool = NULL;
        static struct sum sums[JOBS];
        assert_int_equal(pool_new(threads, &pool, &err), ERR_OK);
        assert_int_equal(pool_threads(pool), threads);
        for (int round = 0; round < 3; round++) {
            for (int i = 0; i < JOBS; i++) {
                sums[i] = (struct sum){.job.run = square, .input = i + round};
                pool_submit(pool, &sums[i].job);
            }
            for (int i = JOBS - 1; i >= 0; i--) {
                pool_wait(pool, &sums[i].job);
                assert_int_equal(sums[i].output, (i + round) * (i + round));
            }
        }
        pool_wait(pool, &sums[0].job);
        pool_free(pool);
    }
    pool_free(NULL);
}

struct gate {
    struct pool_job job;
    pthread_barrier_t *reached, *open;
};

static void hold(struct pool_job *job)
{
    struct gate *gate = (struct gate *)job;
    pthread_barrier_wait(gate->reached);
    pthread_barrier_wait(gate->open);
}

struct ordered {
    struct pool_job job;
    int *clock;
    int at;
    pthread_t thread;
};

static void note_order(struct pool_job *job)
{
    struct ordered *ordered = (struct ordered *)job;
    ordered->at = (*ordered->clock)++;
    ordered->thread = pthread_self();
}

/* The only worker is held: whoever waits runs what is queued, first in first out. */
static void who_waits_runs_what_is_queued(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct pool *pool = NULL;
    pthread_barrier_t reached, open;
    struct gate gate = {.job.run = hold, .reached = &reached, .open = &open};
    struct ordered jobs[JOBS];
    int clock = 0;
    assert_int_equal(pthread_barrier_init(&reached, NULL, 2), 0);
    assert_int_equal(pthread_barrier_init(&open, NULL, 2), 0);
    assert_int_equal(pool_new(1, &pool, &err), ERR_OK);
    pool_submit(pool, &gate.job);
    pthread_barrier_wait(&reached);
    for (int i = 0; i < JOBS; i++) {
        jobs[i] = (struct ordered){.job.run = note_order, .clock = &clock};
        pool_submit(pool, &jobs[i].job);
    }
    pool_wait(pool, &jobs[JOBS / 2].job);
    assert_int_equal(clock, JOBS / 2 + 1);
    pool_wait(pool, &jobs[JOBS - 1].job);
    for (int i = 0; i < JOBS; i++) {
        pool_wait(pool, &jobs[i].job);
        assert_int_equal(jobs[i].at, i);
        assert_true(pthread_equal(jobs[i].thread, pthread_self()));
    }
    pthread_barrier_wait(&open);
    pool_wait(pool, &gate.job);
    pool_free(pool);
    pthread_barrier_destroy(&reached);
    pthread_barrier_destroy(&open);
}

struct meeting {
    struct pool_job job;
    pthread_barrier_t *barrier;
};

static void meet(struct pool_job *job)
{
    pthread_barrier_wait(((struct meeting *)job)->barrier);
}

/* Ends only when all of them run at the same time: two on workers, one on the thread that waits. */
static void threads_work_side_by_side(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct pool *pool = NULL;
    pthread_barrier_t barrier;
    struct meeting meetings[3];
    assert_int_equal(pool_new(2, &pool, &err), ERR_OK);
    assert_int_equal(pthread_barrier_init(&barrier, NULL, 3), 0);
    for (int i = 0; i < 3; i++) {
        meetings[i] = (struct meeting){.job.run = meet, .barrier = &barrier};
        pool_submit(pool, &meetings[i].job);
    }
    for (int i = 0; i < 3; i++)
        pool_wait(pool, &meetings[i].job);
    pool_free(pool);
    pthread_barrier_destroy(&barrier);
}

static void *use_the_pool(void *arg)
{
    struct pool *pool = arg;
    struct sum sum = {.job.run = square};
    for (int i = 0; i < 500; i++) {
        sum.input = i;
        pool_submit(pool, &sum.job);
        pool_wait(pool, &sum.job);
        if (sum.output != i * i)
            return arg;
    }
    return NULL;
}

static void many_threads_share_a_pool(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct pool *pool = NULL;
    pthread_t users[4];
    assert_int_equal(pool_new(2, &pool, &err), ERR_OK);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&users[i], NULL, use_the_pool, pool), 0);
    for (int i = 0; i < 4; i++) {
        void *failed = NULL;
        pthread_join(users[i], &failed);
        assert_null(failed);
    }
    pool_free(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_job_runs_once_and_can_be_waited_for),
        cmocka_unit_test(who_waits_runs_what_is_queued),
        cmocka_unit_test(threads_work_side_by_side),
        cmocka_unit_test(many_threads_share_a_pool),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
