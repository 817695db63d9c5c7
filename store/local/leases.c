#include "store/local/leases.h"

#include "base/clock.h"
#include "base/lock.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

#define BUCKETS 4096

/* A note, or the holds of a digest. */
struct entry {
    struct entry *next;
    struct digest digest;
    uint64_t at_s;
    size_t holds; /* 0: a note */
    char repository[];
};

struct leases {
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t pardoned;
    struct entry *buckets[BUCKETS];
    size_t notes;
    uint64_t all_s;
    struct digest condemned[CONDEMNED_MAX];
    size_t condemned_count;
    const char *condemned_in; /* NULL: wherever they are */
    int64_t wall_ahead_s;     /* of the clock that nobody sets */
    bool saw_clocks;
    bool watched;
    bool overflowed; /* while it was */
};

struct leases *leases_new(void)
{
    struct leases *leases = xcalloc(1, sizeof *leases);
    pthread_mutex_init(&leases->lock, NULL);
    pthread_cond_init(&leases->pardoned, NULL);
    return leases;
}

void leases_free(struct leases *leases)
{
    if (leases == NULL)
        return;
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct entry *entry = leases->buckets[i]; entry != NULL;) {
            struct entry *next = entry->next;
            free(entry);
            entry = next;
        }
    pthread_cond_destroy(&leases->pardoned);
    pthread_mutex_destroy(&leases->lock);
    free(leases);
}

static struct entry **bucket_of(struct leases *leases, const struct digest *digest)
{
    return &leases->buckets[(digest->bytes[0] | (unsigned)digest->bytes[1] << 8) % BUCKETS];
}

/* The place of the entry, or where it would be. */
static struct entry **find(struct leases *leases, const struct digest *digest, bool holds,
                           const char *repository)
{
    struct entry **at = bucket_of(leases, digest);
    while (*at != NULL && (((*at)->holds > 0) != holds || !digest_equal(&(*at)->digest, digest) ||
                           strcmp((*at)->repository, repository) != 0))
        at = &(*at)->next;
    return at;
}

static struct entry *add(struct entry **at, const struct digest *digest, const char *repository)
{
    size_t size = strlen(repository) + 1;
    struct entry *entry = xcalloc(1, sizeof *entry + size);
    entry->digest = *digest;
    memcpy(entry->repository, repository, size);
    *at = entry;
    return entry;
}

static void drop(struct entry **at)
{
    struct entry *entry = *at;
    *at = entry->next;
    free(entry);
}

/* `repository` NULL: anywhere. */
static bool is_condemned(const struct leases *leases, const char *repository,
                         const struct digest *digest)
{
    if (repository && leases->condemned_in && strcmp(repository, leases->condemned_in) != 0)
        return false;
    for (size_t i = 0; i < leases->condemned_count; i++)
        if (digest_equal(&leases->condemned[i], digest))
            return true;
    return false;
}

static void note(struct leases *leases, const char *repository, const struct digest *digest,
                 uint64_t now_s)
{
    struct entry **at = find(leases, digest, false, repository);
    if (*at == NULL && leases->notes == LEASES_MAX) {
        leases->all_s = now_s > leases->all_s ? now_s : leases->all_s;
        leases->overflowed = leases->watched;
        return;
    }
    if (*at == NULL) {
        add(at, digest, repository);
        leases->notes++;
    }
    (*at)->at_s = now_s;
}

bool leases_note(struct leases *leases, const char *repository, const struct digest *digest,
                 uint64_t now_s)
{
    autolock pthread_mutex_t *held = lock_take(&leases->lock);
    if (is_condemned(leases, repository, digest))
        return false;
    note(leases, repository, digest, now_s);
    return true;
}

void leases_hold(struct leases *leases, const struct digest *digest)
{
    autolock pthread_mutex_t *held = lock_take(&leases->lock);
    while (is_condemned(leases, NULL, digest))
        pthread_cond_wait(&leases->pardoned, &leases->lock);
    struct entry **at = find(leases, digest, true, "");
    if (*at == NULL)
        add(at, digest, "");
    (*at)->holds++;
}

void leases_let_go(struct leases *leases, const struct digest *digest)
{
    autolock pthread_mutex_t *held = lock_take(&leases->lock);
    struct entry **at = find(leases, digest, true, "");
    if (*at == NULL || --(*at)->holds > 0)
        return;
    drop(at);
    if (leases->watched)
        note(leases, "", digest, (uint64_t)clock_wall_s());
}

size_t leases_some(struct leases *leases, struct lease *out, size_t most)
{
    size_t count = 0;
    autolock pthread_mutex_t *held = lock_take(&leases->lock);
    for (size_t i = 0; i < BUCKETS && count < most && leases->notes > 0 && !leases->watched; i++)
        for (const struct entry *entry = leases->buckets[i]; entry != NULL && count < most;
             entry = entry->next) {
            if (entry->holds > 0)
                continue;
            struct lease *lease = &out[count++];
            lease->digest = entry->digest;
            lease->at_s = entry->at_s;
            snprintf(lease->repository, sizeof lease->repository, "%s", entry->repository);
        }
    return count;
}

void leases_written(struct leases *leases, const struct lease *written, size_t count)
{
    autolock pthread_mutex_t *held = lock_take(&leases->lock);
    for (size_t i = 0; i < count && !leases->watched; i++) {
        struct entry **at = find(leases, &written[i].digest, false, written[i].repository);
        if (*at == NULL || (*at)->at_s != written[i].at_s)
            continue;
        drop(at);
        leases->notes--;
    }
}

void leases_pardon(struct leases *leases)
{
    autolock pthread_mutex_t *held = lock_take(&leases->lock);
    leases->condemned_count = 0;
    leases->condemned_in = NULL;
    pthread_cond_broadcast(&leases->pardoned);
}

static void set_watched(struct leases *leases, bool watched)
{
    autolock pthread_mutex_t *held = lock_take(&leases->lock);
    leases->watched = watched;
    leases->overflowed = false;
}

void leases_watch(struct leases *leases)
{
    set_watched(leases, true);
}

void leases_unwatch(struct leases *leases)
{
    set_watched(leases, false);
}

static bool is_used(struct leases *leases, const char *repository, const struct digest *digest)
{
    for (const struct entry *entry = *bucket_of(leases, digest); entry != NULL; entry = entry->next)
        if (digest_equal(&entry->digest, digest) &&
            (repository == NULL || entry->repository[0] == '\0' ||
             strcmp(entry->repository, repository) == 0))
            return true;
    return leases->overflowed;
}

bool leases_has(struct leases *leases, const char *repository, const struct digest *digest)
{
    autolock pthread_mutex_t *held = lock_take(&leases->lock);
    return is_used(leases, repository, digest);
}

void leases_condemn(struct leases *leases, const char *repository, const struct digest *digests,
                    size_t count, bool condemned[])
{
    autolock pthread_mutex_t *held = lock_take(&leases->lock);
    leases->condemned_in = repository;
    for (size_t i = 0; i < count; i++) {
        condemned[i] = !is_used(leases, repository, &digests[i]);
        if (condemned[i])
            leases->condemned[leases->condemned_count++] = digests[i];
    }
}

size_t leases_held(struct leases *leases, struct digest **out)
{
    struct digest *digests = NULL;
    size_t count = 0;
    size_t capacity = 0;
    autolock pthread_mutex_t *held = lock_take(&leases->lock);
    for (size_t i = 0; i < BUCKETS; i++)
        for (const struct entry *entry = leases->buckets[i]; entry != NULL; entry = entry->next)
            if (entry->holds > 0) {
                digests = mem_grow(digests, count, &capacity, sizeof *digests);
                digests[count++] = entry->digest;
            }
    *out = digests;
    return count;
}

uint64_t leases_all_s(struct leases *leases)
{
    autolock pthread_mutex_t *held = lock_take(&leases->lock);
    return leases->all_s;
}

void leases_set_all_s(struct leases *leases, uint64_t all_s)
{
    autolock pthread_mutex_t *held = lock_take(&leases->lock);
    if (all_s > leases->all_s)
        leases->all_s = all_s;
}

void leases_see_clocks(struct leases *leases, uint64_t wall_s, int64_t steady_ms)
{
    int64_t ahead_s = (int64_t)wall_s - steady_ms / 1000;
    autolock pthread_mutex_t *held = lock_take(&leases->lock);
    if (leases->saw_clocks && ahead_s - leases->wall_ahead_s > LEASES_STEP_S &&
        wall_s > leases->all_s)
        leases->all_s = wall_s;
    leases->wall_ahead_s = ahead_s;
    leases->saw_clocks = true;
}
