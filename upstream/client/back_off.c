#include "upstream/client/back_off.h"

#include "base/clock.h"
#include "base/lock.h"

void back_off_init(struct back_off *back_off, const char *registry, struct bounded_queue transfers,
                   struct bounded_queue small, struct work_queue *requests, int64_t base_ms)
{
    *back_off = (struct back_off){.registry = registry,
                                  .transfers = transfers,
                                  .small = small,
                                  .requests = requests,
                                  .base_ms = base_ms};
    back_off->transfers.allowed = transfers.limit;
    back_off->small.allowed = small.limit;
    pthread_mutex_init(&back_off->lock, NULL);
}

void back_off_deinit(struct back_off *back_off)
{
    pthread_mutex_destroy(&back_off->lock);
}

static void allow(struct bounded_queue *bounded, unsigned allowed)
{
    bounded->allowed = allowed;
    if (bounded->queue)
        work_queue_set_limit(bounded->queue, allowed);
}

static void halve(struct bounded_queue *bounded)
{
    allow(bounded, bounded->allowed > 1 ? bounded->allowed / 2 : 1);
}

static void grow(struct bounded_queue *bounded)
{
    if (bounded->allowed < bounded->limit)
        allow(bounded, bounded->allowed + 1);
}

static void pause_all(const struct back_off *back_off)
{
    if (back_off->requests == NULL)
        return;
    work_queue_pause(back_off->transfers.queue, back_off->until_ms);
    work_queue_pause(back_off->small.queue, back_off->until_ms);
    work_queue_pause(back_off->requests, back_off->until_ms);
}

static int64_t grown_ms(const struct back_off *back_off)
{
    int64_t grown = back_off->base_ms * back_off->refusals;
    return grown < BACK_OFF_GROWN_MAX_MS ? grown : BACK_OFF_GROWN_MAX_MS;
}

void back_off_refused(struct back_off *back_off, int64_t asked_ms)
{
    pthread_mutex_lock(&back_off->lock);
    bool first = back_off->until_ms <= clock_ms();
    if (first) {
        back_off->refusals++;
        halve(&back_off->transfers);
        halve(&back_off->small);
    }
    int64_t ms = asked_ms;
    if (asked_ms < 0)
        ms = first ? grown_ms(back_off) : 0;
    if (ms > BACK_OFF_ASKED_MAX_MS)
        ms = BACK_OFF_ASKED_MAX_MS;
    int64_t until_ms = clock_ms() + ms;
    if (until_ms > back_off->until_ms)
        back_off->until_ms = until_ms;
    pause_all(back_off);
    pthread_mutex_unlock(&back_off->lock);
}

void back_off_succeeded(struct back_off *back_off)
{
    pthread_mutex_lock(&back_off->lock);
    back_off->refusals = 0;
    back_off->failed = false;
    grow(&back_off->transfers);
    grow(&back_off->small);
    pthread_mutex_unlock(&back_off->lock);
}

bool back_off_first_failure(struct back_off *back_off)
{
    pthread_mutex_lock(&back_off->lock);
    bool first = !back_off->failed;
    back_off->failed = true;
    pthread_mutex_unlock(&back_off->lock);
    return first;
}

int64_t back_off_left_ms(struct back_off *back_off)
{
    pthread_mutex_lock(&back_off->lock);
    int64_t left = back_off->until_ms - clock_ms();
    pthread_mutex_unlock(&back_off->lock);
    return left > 0 ? left : 0;
}

unsigned back_off_allowed(struct back_off *back_off)
{
    autolock pthread_mutex_t *held = lock_take(&back_off->lock);
    return back_off->transfers.allowed;
}

unsigned back_off_allowed_small(struct back_off *back_off)
{
    autolock pthread_mutex_t *held = lock_take(&back_off->lock);
    return back_off->small.allowed;
}
