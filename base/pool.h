/*
 * A pool of worker threads for short, CPU-bound jobs (compression). Jobs never block and never wait
 * for other jobs, so any number of users can share one pool without deadlock.
 *
 * Who waits for a job runs what is queued meanwhile. So there is one worker less than there are
 * cores: with more threads than cores that all have something to do, the one that feeds the others
 * waits for its turn on a core while they run dry.
 *
 * A job is embedded in its owner's memory. The queue is a list of those: its length is bounded by
 * the number of job slots that the owners have, each of which is bounded by its owner. Order is
 * first in, first out.
 *
 * Threads: any thread submits; job->run is called on a worker, or within somebody's pool_wait. The
 * memory of a job belongs to the worker from pool_submit until pool_wait returned.
 */
#ifndef SLIPWAY_BASE_POOL_H
#define SLIPWAY_BASE_POOL_H

#include "base/error.h"

struct pool;

struct pool_job {
    void (*run)(struct pool_job *job);
    struct pool_job *next; /* the pool's */
    bool pending;          /* the pool's, under its lock */
};

/* `threads` workers, at least 1. */
enum errc pool_new(unsigned threads, struct pool **out, struct error *err);

/* Every submitted job must have been waited for. */
void pool_free(struct pool *pool);

unsigned pool_threads(const struct pool *pool);

void pool_submit(struct pool *pool, struct pool_job *job);

/* Returns when the job has run; at once when it is not pending. Runs queued jobs until then, of
 * others, too. */
void pool_wait(struct pool *pool, struct pool_job *job);

#endif
