#include "base/cancel.h"

#include "base/clock.h"

void cancel_init(struct cancel *cancel)
{
    atomic_init(&cancel->requested, false);
    pthread_mutex_init(&cancel->lock, NULL);
    clock_cond_init(&cancel->changed);
}

void cancel_deinit(struct cancel *cancel)
{
    pthread_cond_destroy(&cancel->changed);
    pthread_mutex_destroy(&cancel->lock);
}

void cancel_request(struct cancel *cancel)
{
    pthread_mutex_lock(&cancel->lock);
    atomic_store(&cancel->requested, true);
    pthread_cond_broadcast(&cancel->changed);
    pthread_mutex_unlock(&cancel->lock);
}

bool cancel_requested(const struct cancel *cancel)
{
    return atomic_load_explicit(&cancel->requested, memory_order_acquire);
}

bool cancel_wait(struct cancel *cancel, int64_t ms)
{
    struct timespec until = clock_deadline(ms);
    pthread_mutex_lock(&cancel->lock);
    int rc = 0;
    while (!atomic_load(&cancel->requested) && rc == 0)
        rc = pthread_cond_timedwait(&cancel->changed, &cancel->lock, &until);
    pthread_mutex_unlock(&cancel->lock);
    return cancel_requested(cancel);
}

enum errc cancel_check(const struct cancel *cancel, struct error *err)
{
    if (!cancel_requested(cancel))
        return ERR_OK;
    return fail(err, ERR_CANCELLED, 0, "cancelled");
}
