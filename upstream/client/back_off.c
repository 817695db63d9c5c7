#include "upstream/client/back_off.h"

#include "base/clock.h"

void back_off_init(struct back_off *back_off, const char *registry, struct work_queue *transfers,
                   struct work_queue *requests, unsigned limit, int64_t base_ms)
{
    *back_off = (struct back_off){.registry = registry,
                                  .transfers = transfers,
                                  .requests = requests,
                                  .limit = limit,
                                  .base_ms = base_ms,
                                  .allowed = limit};
    pthread_mutex_init(&back_off->lock, NULL);
}

void back_off_deinit(struct back_off *back_off)
{
    pthread_mutex_destroy(&back_off->lock);
}

static void apply(const struct back_off *back_off, unsigned allowed, int64_t until_ms)
{
    if (back_off->transfers == NULL)
        return;
    work_queue_set_limit(back_off->transfers, allowed);
    if (until_ms > 0) {
        work_queue_pause(back_off->transfers, until_ms);
        work_queue_pause(back_off->requests, until_ms);
    }
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
        back_off->allowed = back_off->allowed > 1 ? back_off->allowed / 2 : 1;
    }
    int64_t ms = asked_ms;
    if (asked_ms < 0)
        ms = first ? grown_ms(back_off) : 0;
    if (ms > BACK_OFF_ASKED_MAX_MS)
        ms = BACK_OFF_ASKED_MAX_MS;
    int64_t until_ms = clock_ms() + ms;
    if (until_ms > back_off->until_ms)
        back_off->until_ms = until_ms;
    apply(back_off, back_off->allowed, back_off->until_ms);
    pthread_mutex_unlock(&back_off->lock);
}

void back_off_succeeded(struct back_off *back_off)
{
    pthread_mutex_lock(&back_off->lock);
    back_off->refusals = 0;
    back_off->failed = false;
    if (back_off->allowed < back_off->limit)
        apply(back_off, ++back_off->allowed, 0);
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
    pthread_mutex_lock(&back_off->lock);
    unsigned allowed = back_off->allowed;
    pthread_mutex_unlock(&back_off->lock);
    return allowed;
}
