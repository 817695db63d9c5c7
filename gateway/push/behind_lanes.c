#include "gateway/push/behind_lanes.h"

#include "base/mem.h"

#include <assert.h>
#include <string.h>

/* The errands to one repository: one at a time, oldest first. It is there as long as it has any. */
struct lane {
    struct lane *next;
    struct lane *next_ready;
    struct lane_host *host;
    struct reference repository;
    struct errand *waiting; /* by id */
    struct errand *parked;
    bool busy; /* one of its errands is taken, or it is in the queue of its host */
};

static void free_errands(struct errand *errand)
{
    while (errand) {
        struct errand *next = errand->next;
        free(errand);
        errand = next;
    }
}

void lanes_deinit(struct lanes *lanes)
{
    while (lanes->all) {
        struct lane *lane = lanes->all;
        lanes->all = lane->next;
        free_errands(lane->waiting);
        free_errands(lane->parked);
        free(lane);
    }
    while (lanes->hosts) {
        struct lane_host *host = lanes->hosts;
        lanes->hosts = host->next;
        free(host);
    }
    while (lanes->promises) {
        struct promise *promise = lanes->promises;
        lanes->promises = promise->next;
        push_record_deinit(&promise->record);
        free(promise);
    }
}

void push_record_copy(const struct push_record *from, struct push_record *to)
{
    *to = *from;
    to->targets = xcalloc(from->target_count, sizeof *to->targets);
    to->referrers = xcalloc(from->referrer_count, sizeof *to->referrers);
    for (size_t i = 0; i < from->target_count; i++)
        to->targets[i] = from->targets[i];
    for (size_t i = 0; i < from->referrer_count; i++)
        to->referrers[i] = from->referrers[i];
}

const struct push_record_target *errand_target(const struct errand *errand)
{
    return &errand->promise->record.targets[errand->target];
}

/* ---- lanes ---- */

static struct lane_host *host_of(struct lanes *lanes, const char *name)
{
    for (struct lane_host *host = lanes->hosts; host; host = host->next)
        if (strcmp(host->name, name) == 0)
            return host;
    struct lane_host *host = xcalloc(1, sizeof *host);
    snprintf(host->name, sizeof host->name, "%s", name);
    host->lanes = lanes;
    host->ready_end = &host->ready;
    host->next = lanes->hosts;
    lanes->hosts = host;
    return host;
}

static struct lane *find_lane(const struct lanes *lanes, const struct reference *target)
{
    struct lane *lane = lanes->all;
    while (lane && !reference_same_name(&lane->repository, target))
        lane = lane->next;
    return lane;
}

static struct lane *lane_of(struct lanes *lanes, const struct reference *target)
{
    struct lane *lane = find_lane(lanes, target);
    if (lane)
        return lane;
    lane = xcalloc(1, sizeof *lane);
    lane->repository = *target;
    lane->host = host_of(lanes, target->host);
    lane->next = lanes->all;
    lanes->all = lane;
    return lane;
}

/* Something changed: the lane gets into the queue of its host, or goes when it has no errands. */
static void update(struct lane *lane)
{
    struct lanes *lanes = lane->host->lanes;
    struct lane **at = &lanes->all;
    if (lane->busy || (lane->waiting == NULL && lane->parked))
        return;
    if (lane->waiting) {
        lane->busy = true;
        lane->next_ready = NULL;
        *lane->host->ready_end = lane;
        lane->host->ready_end = &lane->next_ready;
        lane->host->ready_count++;
        return;
    }
    while (*at != lane)
        at = &(*at)->next;
    *at = lane->next;
    free(lane);
}

static void insert(struct lane *lane, struct errand *errand)
{
    struct errand **at = &lane->waiting;
    while (*at && strcmp((*at)->promise->record.id, errand->promise->record.id) < 0)
        at = &(*at)->next;
    errand->next = *at;
    *at = errand;
}

static bool same_tag(const struct errand *errand, const struct reference *target)
{
    const char *tag = errand_target(errand)->target.tag;
    return tag[0] && strcmp(tag, target->tag) == 0;
}

static bool older(const struct errand *errand, const char *id)
{
    return id == NULL || strcmp(errand->promise->record.id, id) < 0;
}

static void leave_out(struct lane *lane, const struct reference *target, const char *id)
{
    for (struct errand *at = lane->waiting; at; at = at->next)
        if (same_tag(at, target) && older(at, id))
            at->left_out = true;
    for (struct errand **at = &lane->parked; *at;) {
        struct errand *errand = *at;
        if (!same_tag(errand, target) || !older(errand, id)) {
            at = &errand->next;
            continue;
        }
        *at = errand->next;
        errand->left_out = true;
        insert(lane, errand);
    }
}

void lanes_overtake(struct lanes *lanes, const struct reference *target, const char *id)
{
    struct lane *lane = find_lane(lanes, target);
    if (lane == NULL)
        return;
    leave_out(lane, target, id);
    update(lane);
}

/* ---- promises ---- */

struct promise *lanes_add(struct lanes *lanes, const struct push_record *record)
{
    struct promise *promise = xcalloc(1, sizeof *promise);
    push_record_copy(record, &promise->record);
    promise->next = lanes->promises;
    lanes->promises = promise;
    for (size_t i = 0; i < record->target_count; i++) {
        const struct push_record_target *target = &record->targets[i];
        if (target->state != PUSH_RECORD_WAITING)
            continue;
        struct lane *lane = lane_of(lanes, &target->target);
        struct errand *errand = xcalloc(1, sizeof *errand);
        *errand = (struct errand){.lane = lane, .promise = promise, .target = i};
        leave_out(lane, &target->target, record->id);
        insert(lane, errand);
        promise->open++;
        update(lane);
    }
    return promise;
}

void lanes_drop(struct lanes *lanes, struct promise *promise)
{
    assert(promise->open == 0);
    struct promise **at = &lanes->promises;
    while (*at != promise)
        at = &(*at)->next;
    *at = promise->next;
    push_record_deinit(&promise->record);
    free(promise);
}

/* ---- errands ---- */

struct lane_host *lanes_short_of_threads(struct lanes *lanes, unsigned most)
{
    for (struct lane_host *host = lanes->hosts; host; host = host->next)
        if (host->threads < most && host->threads < host->taken + host->ready_count)
            return host;
    return NULL;
}

struct errand *lanes_take(struct lane_host *host)
{
    struct lane *lane = host->ready;
    if (lane == NULL)
        return NULL;
    host->ready = lane->next_ready;
    host->ready_count--;
    host->taken++;
    if (host->ready == NULL)
        host->ready_end = &host->ready;
    struct errand *errand = lane->waiting;
    lane->waiting = errand->next;
    return errand;
}

static void give_back(struct lane *lane)
{
    lane->host->taken--;
    lane->busy = false;
    update(lane);
}

void lanes_end(struct errand *errand, enum push_record_state state)
{
    struct lane *lane = errand->lane;
    struct promise *promise = errand->promise;
    promise->record.targets[errand->target].state = state;
    promise->open--;
    free(errand);
    give_back(lane);
}

bool lanes_park(struct errand *errand)
{
    struct lane *lane = errand->lane;
    for (const struct errand *at = lane->waiting; at; at = at->next)
        if (same_tag(at, &errand_target(errand)->target)) {
            lanes_end(errand, PUSH_RECORD_FAILED);
            return false;
        }
    errand->next = lane->parked;
    lane->parked = errand;
    give_back(lane);
    return true;
}
