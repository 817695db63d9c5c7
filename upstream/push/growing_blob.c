#include "upstream/push/growing_blob.h"

#include "base/lock.h"
#include "base/mem.h"

#include <unistd.h>

struct growing_blob {
    int fd;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t handed;
    LIST_HEAD(growing_watches, growing_watch) watches;
    enum growth growth;
    uint64_t bytes;
    struct descriptor whole;
    unsigned references;
    unsigned senders;
};

struct growing_blob *growing_blob_new(int fd)
{
    struct growing_blob *blob = xcalloc(1, sizeof *blob);
    blob->fd = fd;
    blob->references = 1;
    LIST_INIT(&blob->watches);
    pthread_mutex_init(&blob->lock, NULL);
    pthread_cond_init(&blob->handed, NULL);
    return blob;
}

struct growing_blob *growing_blob_hold(struct growing_blob *blob)
{
    autolock pthread_mutex_t *held = lock_take(&blob->lock);
    blob->references++;
    return blob;
}

void growing_blob_release(struct growing_blob *blob)
{
    if (blob == NULL)
        return;
    pthread_mutex_lock(&blob->lock);
    bool last = --blob->references == 0;
    pthread_mutex_unlock(&blob->lock);
    if (!last)
        return;
    close(blob->fd);
    pthread_cond_destroy(&blob->handed);
    pthread_mutex_destroy(&blob->lock);
    free(blob);
}

/* With the lock. */
static void tell(struct growing_blob *blob)
{
    struct growing_watch *watch;
    LIST_FOREACH(watch, &blob->watches, link)
    {
        watch->call(watch->self, blob->growth, blob->bytes);
    }
}

void growing_blob_grew(struct growing_blob *blob, uint64_t bytes)
{
    autolock pthread_mutex_t *held = lock_take(&blob->lock);
    blob->bytes += bytes;
    tell(blob);
}

void growing_blob_ended(struct growing_blob *blob, const struct descriptor *whole)
{
    autolock pthread_mutex_t *held = lock_take(&blob->lock);
    blob->growth = whole ? BLOB_IS_WHOLE : BLOB_BROKE;
    if (whole)
        blob->whole = *whole;
    tell(blob);
}

int growing_blob_fd(const struct growing_blob *blob)
{
    return blob->fd;
}

enum growth growing_blob_now(struct growing_blob *blob, uint64_t *bytes, struct descriptor *whole)
{
    autolock pthread_mutex_t *held = lock_take(&blob->lock);
    *bytes = blob->bytes;
    if (blob->growth == BLOB_IS_WHOLE)
        *whole = blob->whole;
    return blob->growth;
}

void growing_blob_watch(struct growing_blob *blob, struct growing_watch *watch)
{
    autolock pthread_mutex_t *held = lock_take(&blob->lock);
    LIST_INSERT_HEAD(&blob->watches, watch, link);
    watch->call(watch->self, blob->growth, blob->bytes);
}

void growing_blob_unwatch(struct growing_blob *blob, struct growing_watch *watch)
{
    autolock pthread_mutex_t *held = lock_take(&blob->lock);
    LIST_REMOVE(watch, link);
}

void growing_blob_report_in(struct growing_blob *blob)
{
    autolock pthread_mutex_t *held = lock_take(&blob->lock);
    blob->senders++;
}

void growing_blob_report_out(struct growing_blob *blob)
{
    autolock pthread_mutex_t *held = lock_take(&blob->lock);
    if (--blob->senders == 0)
        pthread_cond_broadcast(&blob->handed);
}

static void on_cancel(void *self)
{
    struct growing_blob *blob = self;
    autolock pthread_mutex_t *held = lock_take(&blob->lock);
    pthread_cond_broadcast(&blob->handed);
}

void growing_blob_await(struct growing_blob *blob, struct cancel *cancel)
{
    struct cancel_watch watch = {.call = on_cancel, .self = blob};
    cancel_watch(cancel, &watch);
    pthread_mutex_lock(&blob->lock);
    while (blob->senders > 0 && !cancel_requested(cancel))
        pthread_cond_wait(&blob->handed, &blob->lock);
    pthread_mutex_unlock(&blob->lock);
    cancel_unwatch(cancel, &watch);
}
