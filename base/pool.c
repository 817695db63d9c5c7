#include "base/pool.h"

#include "base/lock.h"
#include "base/mem.h"

#include <assert.h>

struct pool {
    pthread_mutex_t lock;
    pthread_cond_t work; /* a job was queued, or stopping */
    pthread_cond_t done; /* a job has run */
    struct pool_job *head;
    struct pool_job **tail;
    bool stopping;
    unsigned count;
    pthread_t threads[];
};

/* With the lock, which is given back while the job runs. */
static void run_first(struct pool *pool)
{
    struct pool_job *job = pool->head;
    pool->head = job->next;
    if (pool->head == NULL)
        pool->tail = &pool->head;
    pthread_mutex_unlock(&pool->lock);

    job->run(job);

    pthread_mutex_lock(&pool->lock);
    job->pending = false;
    pthread_cond_broadcast(&pool->done);
}

static void *worker(void *arg)
{
    struct pool *pool = arg;
    pthread_mutex_lock(&pool->lock);
    while (!pool->stopping) {
        if (pool->head)
            run_first(pool);
        else
            pthread_cond_wait(&pool->work, &pool->lock);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

enum errc pool_new(unsigned threads, struct pool **out, struct error *err)
{
    assert(threads > 0);
    struct pool *pool = xcalloc(1, sizeof *pool + threads * sizeof pool->threads[0]);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->work, NULL);
    pthread_cond_init(&pool->done, NULL);
    pool->tail = &pool->head;
    for (; pool->count < threads; pool->count++) {
        int rc = pthread_create(&pool->threads[pool->count], NULL, worker, pool);
        if (rc != 0) {
            pool_free(pool);
            return fail(err, ERR_IO, rc, "start a worker thread");
        }
    }
    *out = pool;
    return ERR_OK;
}

void pool_free(struct pool *pool)
{
    if (pool == NULL)
        return;
    pthread_mutex_lock(&pool->lock);
    assert(pool->head == NULL);
    pool->stopping = true;
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->count; i++)
        pthread_join(pool->threads[i], NULL);
    pthread_cond_destroy(&pool->done);
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

unsigned pool_threads(const struct pool *pool)
{
    return pool->count;
}

void pool_submit(struct pool *pool, struct pool_job *job)
{
    autolock pthread_mutex_t *held = lock_take(&pool->lock);
    assert(!job->pending);
    job->pending = true;
    job->next = NULL;
    *pool->tail = job;
    pool->tail = &job->next;
    pthread_cond_signal(&pool->work);
}

void pool_wait(struct pool *pool, struct pool_job *job)
{
    autolock pthread_mutex_t *held = lock_take(&pool->lock);
    while (job->pending) {
        if (pool->head)
            run_first(pool);
        else
            pthread_cond_wait(&pool->done, &pool->lock);
    }
}
