#include "base/cancel.h"

#include "base/clock.h"

static void request_child(void *self)
{
    cancel_request(self);
}

void cancel_init(struct cancel *cancel)
{
    cancel_init_child(cancel, NULL, "cancelled");
}

void cancel_init_child(struct cancel *cancel, struct cancel *parent, const char *why)
{
    atomic_init(&cancel->requested, false);
    cancel->parent = parent;
    cancel->why = why;
    cancel->calling = NULL;
    TAILQ_INIT(&cancel->watches);
    pthread_mutex_init(&cancel->lock, NULL);
    clock_cond_init(&cancel->changed);
    cancel->of_parent = (struct cancel_watch){.call = request_child, .self = cancel};
    if (parent && !cancel_watch(parent, &cancel->of_parent))
        atomic_store(&cancel->requested, true);
}

void cancel_deinit(struct cancel *cancel)
{
    if (cancel->parent)
        cancel_unwatch(cancel->parent, &cancel->of_parent);
    pthread_cond_destroy(&cancel->changed);
    pthread_mutex_destroy(&cancel->lock);
}

void cancel_request(struct cancel *cancel)
{
    pthread_mutex_lock(&cancel->lock);
    if (!atomic_exchange(&cancel->requested, true)) {
        pthread_cond_broadcast(&cancel->changed);
        for (struct cancel_watch *watch; (watch = TAILQ_FIRST(&cancel->watches));) {
            TAILQ_REMOVE(&cancel->watches, watch, link);
            watch->listed = false;
            cancel->calling = watch;
            cancel->caller = pthread_self();
            pthread_mutex_unlock(&cancel->lock);
            watch->call(watch->self);
            pthread_mutex_lock(&cancel->lock);
            cancel->calling = NULL;
            pthread_cond_broadcast(&cancel->changed);
        }
    }
    pthread_mutex_unlock(&cancel->lock);
}

/* A parent's comes to its children one after another: who was woken meanwhile sees it already. */
bool cancel_requested(const struct cancel *cancel)
{
    while (cancel && !atomic_load(&cancel->requested))
        cancel = cancel->parent;
    return cancel != NULL;
}

bool cancel_wait(struct cancel *cancel, int64_t ms)
{
    struct timespec until = clock_deadline(ms);
    pthread_mutex_lock(&cancel->lock);
    int rc = 0;
    while (!cancel_requested(cancel) && rc == 0)
        rc = pthread_cond_timedwait(&cancel->changed, &cancel->lock, &until);
    pthread_mutex_unlock(&cancel->lock);
    return cancel_requested(cancel);
}

enum errc cancel_check(const struct cancel *cancel, struct error *err)
{
    if (!cancel_requested(cancel))
        return ERR_OK;
    return cancel->parent && cancel_requested(cancel->parent)
               ? cancel_check(cancel->parent, err)
               : fail(err, ERR_CANCELLED, 0, "%s", cancel->why);
}

bool cancel_watch(struct cancel *cancel, struct cancel_watch *watch)
{
    autolock pthread_mutex_t *held = lock_take(&cancel->lock);
    watch->listed = !cancel_requested(cancel);
    if (watch->listed)
        TAILQ_INSERT_TAIL(&cancel->watches, watch, link);
    bool listed = watch->listed;
    return listed;
}

void cancel_unwatch(struct cancel *cancel, struct cancel_watch *watch)
{
    autolock pthread_mutex_t *held = lock_take(&cancel->lock);
    if (watch->listed)
        TAILQ_REMOVE(&cancel->watches, watch, link);
    watch->listed = false;
    while (cancel->calling == watch && !pthread_equal(cancel->caller, pthread_self()))
        pthread_cond_wait(&cancel->changed, &cancel->lock);
}
