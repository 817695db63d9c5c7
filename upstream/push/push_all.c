#include "base/lock.h"
#include "base/mem.h"
#include "upstream/push/known_blobs.h"
#include "upstream/push/push.h"
#include "upstream/push/push_run.h"

/* A push to many targets. */
struct fan {
    struct push_options options;
    struct push *push;
    size_t first;
    size_t end;
    atomic_size_t left; /* repositories that have not ended, and the start */
};

/* The targets in one repository, one after another: they need the same blobs and mostly the same
 * manifest. */
struct lane {
    struct fan *fan;
    size_t at;
    struct known_blobs *known;
};

static bool same_repository(const struct fan *fan, size_t a, size_t b)
{
    const struct push_target *targets = fan->push->targets;
    return reference_same_name(&targets[a].reference, &targets[b].reference);
}

/* fan->end when there is none. */
static size_t next_in_repository(const struct fan *fan, size_t at)
{
    size_t next = at + 1;
    while (next < fan->end && !same_repository(fan, at, next))
        next++;
    return next;
}

static bool repository_seen_before(const struct fan *fan, size_t index)
{
    for (size_t i = fan->first; i < index; i++)
        if (same_repository(fan, i, index))
            return true;
    return false;
}

static void leave(struct fan *fan)
{
    if (atomic_fetch_sub(&fan->left, 1) > 1)
        return;
    const struct push_options options = fan->options;
    free(fan);
    options.ended(options.self);
}

static void start_at(struct lane *lane);

static void on_ended(void *self)
{
    struct lane *lane = self;
    struct fan *fan = lane->fan;
    lane->at = next_in_repository(fan, lane->at);
    if (lane->at < fan->end) {
        start_at(lane);
        return;
    }
    known_blobs_free(lane->known);
    free(lane);
    leave(fan);
}

static void start_at(struct lane *lane)
{
    const struct fan *fan = lane->fan;
    struct push_options options = fan->options;
    options.ended = on_ended;
    options.self = lane;
    options.known = lane->known;
    push_start(&options, fan->push, lane->at);
}

void push_all_start(const struct push_options *options, struct push *push, size_t first,
                    size_t count)
{
    struct fan *fan = xcalloc(1, sizeof *fan);
    *fan = (struct fan){.options = *options, .push = push, .first = first, .end = first + count};
    atomic_init(&fan->left, 1);
    for (size_t i = first; i < fan->end; i++) {
        if (repository_seen_before(fan, i))
            continue;
        struct lane *lane = xcalloc(1, sizeof *lane);
        *lane = (struct lane){.fan = fan, .at = i, .known = known_blobs_new()};
        atomic_fetch_add(&fan->left, 1);
        start_at(lane);
    }
    leave(fan);
}

void push_start(const struct push_options *options, struct push *push, size_t index)
{
    const struct push_job job = {.options = options, .push = push, .target = &push->targets[index]};
    push_run_start(&job);
}

struct end_wait {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool ended;
};

static void note_end(void *self)
{
    struct end_wait *wait = self;
    autolock pthread_mutex_t *held = lock_take(&wait->lock);
    wait->ended = true;
    pthread_cond_signal(&wait->changed);
}

void push_all(const struct push_options *options, struct push *push)
{
    struct end_wait wait = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    struct push_options own = *options;
    own.ended = note_end;
    own.self = &wait;
    push_all_start(&own, push, 0, push->target_count);
    autolock pthread_mutex_t *held = lock_take(&wait.lock);
    while (!wait.ended)
        pthread_cond_wait(&wait.changed, &wait.lock);
}
