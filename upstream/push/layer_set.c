#include "upstream/push/layer_set.h"

#include "base/lock.h"
#include "base/mem.h"

#include <assert.h>
#include <stddef.h>

struct layer_item {
    struct layer_set *set;
    struct push_layer layer;
    struct transfer_wait wait;
    bool under_way;
    STAILQ_ENTRY(layer_item) link; /* of those that ended */
};

struct layer_set {
    struct target_push *push;
    struct transfers *transfers;
    transfer_attempt *attempt;
    struct layer_set_waker waker;
    struct layer_item *items;
    size_t count;
    size_t distinct;
    size_t next; /* to begin */
    size_t under_way;
    bool left;
    pthread_mutex_t lock; /* guards what follows */
    STAILQ_HEAD(ended_items, layer_item) ended;
};

struct layer_set *layer_set_new(struct target_push *push, struct transfers *transfers,
                                const struct push_layer *layers, size_t count, size_t distinct,
                                transfer_attempt *attempt, struct layer_set_waker waker)
{
    struct layer_set *set = xcalloc(1, sizeof *set);
    set->push = push;
    set->transfers = transfers;
    set->attempt = attempt;
    set->waker = waker;
    set->items = xcalloc(count, sizeof *set->items);
    set->count = count;
    set->distinct = distinct;
    for (size_t i = 0; i < count; i++) {
        set->items[i].set = set;
        set->items[i].layer = layers[i];
    }
    STAILQ_INIT(&set->ended);
    pthread_mutex_init(&set->lock, NULL);
    return set;
}

void layer_set_free(struct layer_set *set)
{
    if (set == NULL)
        return;
    assert(set->under_way == 0);
    pthread_mutex_destroy(&set->lock);
    free(set->items);
    free(set);
}

/* On a worker, or within transfers_leave(). Once the end was taken the set may be gone, and what is
 * woken with it: it cannot be taken before that is done. */
static void on_ended(struct transfer_wait *wait)
{
    struct layer_item *item =
        (struct layer_item *)((char *)wait - offsetof(struct layer_item, wait));
    struct layer_set *set = item->set;
    autolock pthread_mutex_t *held = lock_take(&set->lock);
    STAILQ_INSERT_TAIL(&set->ended, item, link);
    set->waker.wake(set->waker.self);
}

static void settle(struct layer_set *set, const struct layer_item *item,
                   const struct layer_outcome *outcome)
{
    target_push_count(set->push, outcome);
    if (item->layer.id[0] == '\0')
        return;
    if (outcome->end != LAYER_SKIPPED)
        layer_note(set->push, &item->layer);
    target_push_tell_outcome(set->push, item->layer.id, outcome);
}

static void take_end(struct layer_set *set, struct layer_item *item)
{
    struct transfer_wait *wait = &item->wait;
    item->under_way = false;
    set->under_way--;
    target_push_count_attempts(set->push, wait->attempts);
    if (wait->error.code == ERR_OK) {
        settle(set, item, &wait->outcome);
        return;
    }
    if (wait->error.code != ERR_CANCELLED)
        target_push_tell_layer(set->push, item->layer.id, "Image push failed");
    if (item->layer.id[0] == '\0')
        error_wrap(&wait->error, "config");
    target_push_part_failed(set->push, &wait->error);
}

static struct layer_item *next_ended(struct layer_set *set)
{
    autolock pthread_mutex_t *held = lock_take(&set->lock);
    struct layer_item *item = STAILQ_FIRST(&set->ended);
    if (item)
        STAILQ_REMOVE_HEAD(&set->ended, link);
    return item;
}

static void count_what_came_ahead(struct layer_set *set, const struct layer_item *item,
                                  struct layer_outcome *outcome)
{
    const struct target_push *push = set->push;
    if (outcome->end == LAYER_EXISTED && push->shared)
        known_blobs_claim(push->shared, push->repository->endpoint, &item->layer.blob->digest,
                          outcome);
}

static void begin(struct layer_set *set, struct layer_item *item)
{
    struct layer_outcome outcome;
    if (layer_is_settled(set->push, &item->layer, &outcome)) {
        count_what_came_ahead(set, item, &outcome);
        if (item->layer.id[0] == '\0')
            outcome.end = LAYER_NONE;
        settle(set, item, &outcome);
        return;
    }
    item->layer.send = target_push_distrusts(set->push, &item->layer.blob->digest);
    item->wait =
        (struct transfer_wait){.push = set->push, .layer = &item->layer, .ended = on_ended};
    item->under_way = true;
    set->under_way++;
    transfers_join(set->transfers, &item->wait, set->attempt);
}

/* A repetition finds its blob in the push state, when that has come. */
static bool may_begin(const struct layer_set *set)
{
    size_t window = set->push->repository->endpoint->host->window;
    bool ends = set->left || set->push->failure.code != ERR_OK;
    if (ends || set->next == set->count || set->under_way >= window)
        return false;
    return set->next < set->distinct || set->under_way == 0;
}

static void take_ends(struct layer_set *set)
{
    for (struct layer_item *item; (item = next_ended(set));)
        take_end(set, item);
}

bool layer_set_leave(struct layer_set *set)
{
    set->left = true;
    for (size_t i = 0; i < set->next; i++)
        if (set->items[i].under_way)
            transfers_leave(set->transfers, &set->items[i].wait);
    take_ends(set);
    return set->under_way == 0;
}

enum layer_set_state layer_set_advance(struct layer_set *set)
{
    take_ends(set);
    while (may_begin(set))
        begin(set, &set->items[set->next++]);
    if (set->push->failure.code != ERR_OK)
        return layer_set_leave(set) ? LAYER_SET_FAILED : LAYER_SET_WAITS;
    return set->under_way > 0 || set->next < set->count ? LAYER_SET_WAITS : LAYER_SET_DONE;
}
