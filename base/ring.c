#include "base/ring.h"

#include "base/clock.h"
#include "base/lock.h"
#include "base/mem.h"

#include <assert.h>
#include <string.h>

struct ring {
    pthread_mutex_t lock;
    pthread_cond_t filled;
    uint8_t *memory;
    size_t capacity;
    uint64_t put;   /* bytes the producer has put; position = put % capacity */
    uint64_t taken; /* bytes the consumer has given back */
    uint64_t dropped;
    size_t lent; /* bytes of the span the consumer holds */
    bool parked;
    bool ended;
    bool discarding;
    struct error failure;
    void (*on_space)(void *arg);
    void *arg;
};

struct ring *ring_new(size_t capacity, void (*on_space)(void *arg), void *arg)
{
    assert(capacity > 0);
    struct ring *ring = xcalloc(1, sizeof *ring);
    pthread_mutex_init(&ring->lock, NULL);
    clock_cond_init(&ring->filled);
    ring->memory = xmalloc(capacity);
    ring->capacity = capacity;
    ring->on_space = on_space;
    ring->arg = arg;
    return ring;
}

void ring_free(struct ring *ring)
{
    if (ring == NULL)
        return;
    pthread_cond_destroy(&ring->filled);
    pthread_mutex_destroy(&ring->lock);
    free(ring->memory);
    free(ring);
}

size_t ring_put(struct ring *ring, const void *data, size_t size)
{
    pthread_mutex_lock(&ring->lock);
    if (ring->discarding) {
        ring->dropped += size;
        pthread_mutex_unlock(&ring->lock);
        return size;
    }
    size_t space = ring->capacity - (size_t)(ring->put - ring->taken);
    size_t at = (size_t)(ring->put % ring->capacity);
    pthread_mutex_unlock(&ring->lock);

    /* Only the consumer changes `taken`, and only upwards: this space stays ours. */
    size_t n = size < space ? size : space;
    size_t first = n < ring->capacity - at ? n : ring->capacity - at;
    memcpy(ring->memory + at, data, first);
    memcpy(ring->memory, (const uint8_t *)data + first, n - first);

    pthread_mutex_lock(&ring->lock);
    ring->put += n;
    pthread_cond_signal(&ring->filled);
    pthread_mutex_unlock(&ring->lock);
    return n;
}

bool ring_park(struct ring *ring)
{
    autolock pthread_mutex_t *held = lock_take(&ring->lock);
    bool full = !ring->discarding && ring->put - ring->taken == ring->capacity;
    ring->parked = full;
    return full;
}

/* True when it has ended because of a failure, this one or one before. */
static bool finish(struct ring *ring, const struct error *why)
{
    autolock pthread_mutex_t *held = lock_take(&ring->lock);
    if (!ring->ended) {
        ring->ended = true;
        if (why)
            ring->failure = *why;
        pthread_cond_signal(&ring->filled);
    }
    return ring->failure.code != ERR_OK;
}

void ring_end(struct ring *ring)
{
    finish(ring, NULL);
}

bool ring_fail(struct ring *ring, const struct error *why)
{
    return finish(ring, why);
}

/* Give the last span back. A parked producer is woken only when a quarter is free, so that it does
 * not resume for every few bytes. */
static bool give_back(struct ring *ring)
{
    ring->taken += ring->lent;
    ring->lent = 0;
    size_t space = ring->capacity - (size_t)(ring->put - ring->taken);
    bool wake = ring->parked && space >= (ring->capacity + 3) / 4;
    if (wake)
        ring->parked = false;
    return wake;
}

void ring_gather(struct ring *ring, int64_t timeout_ms)
{
    struct timespec until = clock_deadline(timeout_ms);
    int rc = 0;
    autolock pthread_mutex_t *held = lock_take(&ring->lock);
    while (!ring->ended && ring->put - ring->taken < ring->capacity && rc == 0)
        rc = pthread_cond_timedwait(&ring->filled, &ring->lock, &until);
}

enum errc ring_pull(struct ring *ring, const uint8_t **data, size_t *size, int64_t timeout_ms,
                    struct error *err)
{
    struct timespec until = clock_deadline(timeout_ms);
    pthread_mutex_lock(&ring->lock);
    if (give_back(ring)) {
        pthread_mutex_unlock(&ring->lock);
        ring->on_space(ring->arg);
        pthread_mutex_lock(&ring->lock);
    }
    int rc = 0;
    while (ring->put == ring->taken && !ring->ended && rc == 0)
        rc = pthread_cond_timedwait(&ring->filled, &ring->lock, &until);
    size_t held = (size_t)(ring->put - ring->taken);
    size_t at = (size_t)(ring->taken % ring->capacity);
    bool ended = ring->ended;
    struct error failure = ring->failure;
    if (held > 0) {
        size_t span = held < ring->capacity - at ? held : ring->capacity - at;
        /* Half of the ring at most: the producer fills one half while the other is worked on. */
        size_t half = (ring->capacity + 1) / 2;
        ring->lent = span < half ? span : half;
    }
    size_t lent = ring->lent;
    pthread_mutex_unlock(&ring->lock);

    if (held == 0 && !ended)
        return fail(err, ERR_CLIENT_STALLED, 0, "no byte came from the client for %lld seconds",
                    (long long)(timeout_ms / 1000));
    if (held == 0 && failure.code != ERR_OK) {
        *err = failure;
        return err->code;
    }
    *data = ring->memory + at;
    *size = lent;
    return ERR_OK;
}

void ring_discard(struct ring *ring)
{
    pthread_mutex_lock(&ring->lock);
    ring->discarding = true;
    bool wake = ring->parked;
    ring->parked = false;
    pthread_mutex_unlock(&ring->lock);
    if (wake)
        ring->on_space(ring->arg);
}

uint64_t ring_total(struct ring *ring)
{
    autolock pthread_mutex_t *held = lock_take(&ring->lock);
    return ring->put + ring->dropped;
}
