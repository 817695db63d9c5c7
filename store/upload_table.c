#include "store/upload_table.h"

#include "base/clock.h"
#include "base/mem.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>

#define BUCKETS 256

struct entry {
    struct upload_slot slot;
    struct entry *next;
    char id[BLOB_UPLOAD_ID_SIZE + 1];
    bool held;
    bool told;    /* the holder knows that it is overtaken */
    bool calling; /* and is being told */
    struct overtaken overtaken;
    uint64_t youngest; /* number of the last who wanted it */
    size_t waiting;
    bool remembered; /* counted among the table's digests */
};

struct upload_table {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct entry *buckets[BUCKETS];
    size_t digests; /* of slots that nobody holds */
};

struct upload_table *upload_table_new(void)
{
    struct upload_table *table = xcalloc(1, sizeof *table);
    pthread_mutex_init(&table->lock, NULL);
    clock_cond_init(&table->changed);
    return table;
}

static void entry_free(struct entry *entry)
{
    digester_free(entry->slot.sha256);
    free(entry);
}

void upload_table_free(struct upload_table *table)
{
    if (table == NULL)
        return;
    for (size_t i = 0; i < BUCKETS; i++)
        while (table->buckets[i] != NULL) {
            struct entry *entry = table->buckets[i];
            assert(!entry->held && entry->waiting == 0);
            table->buckets[i] = entry->next;
            entry_free(entry);
        }
    pthread_cond_destroy(&table->changed);
    pthread_mutex_destroy(&table->lock);
    free(table);
}

static struct entry **bucket_of(struct upload_table *table, const char *id)
{
    /* Ids are random, so any two of their characters spread them. */
    return &table->buckets[((unsigned)id[0] * 37u + (unsigned)id[1]) % BUCKETS];
}

static struct entry *find(struct upload_table *table, const char *id)
{
    struct entry *entry = *bucket_of(table, id);
    while (entry != NULL && strcmp(entry->id, id) != 0)
        entry = entry->next;
    return entry;
}

static struct entry *find_or_add(struct upload_table *table, const char *id)
{
    struct entry *entry = find(table, id);
    if (entry != NULL)
        return entry;
    assert(strlen(id) == BLOB_UPLOAD_ID_SIZE);
    struct entry **bucket = bucket_of(table, id);
    entry = xcalloc(1, sizeof *entry);
    memcpy(entry->id, id, BLOB_UPLOAD_ID_SIZE);
    entry->next = *bucket;
    *bucket = entry;
    return entry;
}

static void hold(struct upload_table *table, struct entry *entry, const struct overtaken *overtaken)
{
    table->digests -= entry->remembered;
    entry->remembered = false;
    entry->held = true;
    entry->told = false;
    entry->overtaken = overtaken != NULL ? *overtaken : (struct overtaken){NULL, NULL};
}

/* Nobody needs the entry: keep it for its digest, or not at all. */
static void settle(struct upload_table *table, struct entry *entry)
{
    if (entry->held || entry->waiting > 0 || entry->remembered)
        return;
    if (entry->slot.sha256 != NULL && table->digests < UPLOAD_DIGESTS_MAX) {
        entry->remembered = true;
        table->digests++;
        return;
    }
    struct entry **at = bucket_of(table, entry->id);
    while (*at != entry)
        at = &(*at)->next;
    *at = entry->next;
    entry_free(entry);
}

/* Unlocks for the call. The caller is counted as waiting, so the entry stays; the holder stays too,
 * because it waits for the call's end. */
static void tell_holder(struct upload_table *table, struct entry *entry)
{
    if (!entry->held || entry->told || entry->overtaken.call == NULL)
        return;
    struct overtaken holder = entry->overtaken;
    entry->told = true;
    entry->calling = true;
    pthread_mutex_unlock(&table->lock);
    holder.call(holder.self);
    pthread_mutex_lock(&table->lock);
    entry->calling = false;
    pthread_cond_broadcast(&table->changed);
}

/* True when the caller is to be the holder. */
static bool wait_for(struct upload_table *table, struct entry *entry, int64_t wait_ms)
{
    uint64_t number = ++entry->youngest;
    struct timespec deadline = clock_deadline(wait_ms);
    entry->waiting++;
    pthread_cond_broadcast(&table->changed);
    tell_holder(table, entry);
    int rc = 0;
    while (entry->held && entry->youngest == number && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&table->changed, &table->lock, &deadline);
    entry->waiting--;
    return !entry->held && entry->youngest == number;
}

enum errc upload_table_take(struct upload_table *table, const char *id,
                            const struct overtaken *overtaken, int64_t wait_ms,
                            struct upload_slot **out, struct error *err)
{
    pthread_mutex_lock(&table->lock);
    struct entry *entry = find_or_add(table, id);
    bool got = wait_for(table, entry, wait_ms);
    if (got)
        hold(table, entry, overtaken);
    else
        settle(table, entry);
    pthread_mutex_unlock(&table->lock);
    if (!got)
        return fail(err, ERR_UPLOAD_BUSY, 0, "another request writes to this upload");
    *out = &entry->slot;
    return ERR_OK;
}

struct upload_slot *upload_table_try(struct upload_table *table, const char *id)
{
    pthread_mutex_lock(&table->lock);
    struct entry *entry = find_or_add(table, id);
    bool got = !entry->held && entry->waiting == 0;
    if (got)
        hold(table, entry, NULL);
    pthread_mutex_unlock(&table->lock);
    return got ? &entry->slot : NULL;
}

void upload_table_release(struct upload_table *table, struct upload_slot *slot)
{
    struct entry *entry = (struct entry *)slot;
    pthread_mutex_lock(&table->lock);
    while (entry->calling)
        pthread_cond_wait(&table->changed, &table->lock);
    entry->held = false;
    pthread_cond_broadcast(&table->changed);
    settle(table, entry);
    pthread_mutex_unlock(&table->lock);
}

void upload_slot_reset(struct upload_slot *slot)
{
    digester_free(slot->sha256);
    slot->sha256 = NULL;
    slot->hashed = 0;
}
