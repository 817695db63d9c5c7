#include "upstream/push/push_retry.h"

void push_count_attempts(struct target_push *push, unsigned made)
{
    pthread_mutex_lock(&push->lock);
    if (push->result->attempts < made)
        push->result->attempts = made;
    pthread_mutex_unlock(&push->lock);
}

enum errc push_retry(struct target_push *push, const struct push_work *work, struct error *err)
{
    struct registry_host *host = push->repository->endpoint->host;
    const struct retry retry = {
        .what = work->what,
        .gate = &host->transfers,
        .base_ms = host->retry_wait_ms,
        .stop = &push->stop,
        .attempt = work->attempt,
        .helps = work->helps,
        .tell = work->tell,
        .self = work->self,
    };
    unsigned attempts = 0;
    enum errc code = retry_run(&retry, &attempts, err);
    push_count_attempts(push, attempts);
    return code;
}
