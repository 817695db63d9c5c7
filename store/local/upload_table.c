#include "store/local/upload_table.h"

#include "base/clock.h"
#include "base/mem.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>

#define BUCKETS 256

/* Who wants a slot, on the stack of its thread, or has it. */
struct request {
    struct request *younger;
    struct overtaken overtaken;
    bool asked;     /* whether it gives way */
    bool calling;   /* the question is under way */
    bool gives_way; /* it said so */
};

struct entry {
    struct upload_slot slot;
    struct entry *next;
    char id[BLOB_UPLOAD_ID_SIZE + 1];
    bool held;
    struct request holder;
    struct request *waiting; /* oldest first */
    bool remembered;         /* counted among the table's digests */
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
            assert(!entry->held && entry->waiting == NULL);
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

static void hold(struct upload_table *table, struct entry *entry, const struct request *request)
{
    table->digests -= entry->remembered;
    entry->remembered = false;
    entry->held = true;
    entry->holder = *request;
    entry->holder.younger = NULL;
}

/* Nobody needs the entry: keep it for its digest, or not at all. */
static void settle(struct upload_table *table, struct entry *entry)
{
    if (entry->held || entry->waiting != NULL || entry->remembered)
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

static bool is_unasked(const struct request *request)
{
    return !request->asked && request->overtaken.call != NULL;
}

static struct request *find_unasked(struct entry *entry, const struct request *self)
{
    if (entry->held && is_unasked(&entry->holder))
        return &entry->holder;
    for (struct request *older = entry->waiting; older != self; older = older->younger)
        if (is_unasked(older))
            return older;
    return NULL;
}

/* Unlocks for the calls. Who is being called stays where it is until the call has ended. */
static void ask_older(struct upload_table *table, struct entry *entry, const struct request *self)
{
    for (struct request *older; (older = find_unasked(entry, self)) != NULL;) {
        const struct overtaken overtaken = older->overtaken;
        older->asked = older->calling = true;
        pthread_mutex_unlock(&table->lock);
        bool gives_way = overtaken.call(overtaken.self);
        pthread_mutex_lock(&table->lock);
        older->calling = false;
        older->gives_way = gives_way;
        pthread_cond_broadcast(&table->changed);
    }
}

static bool is_next(const struct entry *entry, const struct request *self)
{
    const struct request *first = entry->waiting;
    while (first->gives_way)
        first = first->younger;
    return !entry->held && first == self;
}

/* True when the caller is to be the holder. Who is being asked waits for the end of that. */
static bool wait_turn(struct upload_table *table, const struct entry *entry,
                      const struct request *self, int64_t wait_ms)
{
    struct timespec deadline = clock_deadline(wait_ms);
    int rc = 0;
    while (self->calling || (!self->gives_way && !is_next(entry, self) && rc == 0))
        rc = self->calling ? pthread_cond_wait(&table->changed, &table->lock)
                           : pthread_cond_timedwait(&table->changed, &table->lock, &deadline);
    return !self->gives_way && is_next(entry, self);
}

static void line_up(struct entry *entry, struct request *self)
{
    struct request **at = &entry->waiting;
    while (*at != NULL)
        at = &(*at)->younger;
    *at = self;
}

static void leave_line(struct upload_table *table, struct entry *entry, const struct request *self)
{
    struct request **at = &entry->waiting;
    while (*at != self)
        at = &(*at)->younger;
    *at = self->younger;
    pthread_cond_broadcast(&table->changed);
}

enum errc upload_table_take(struct upload_table *table, const char *id,
                            const struct overtaken *overtaken, int64_t wait_ms,
                            struct upload_slot **out, struct error *err)
{
    struct request self = {.younger = NULL};
    if (overtaken != NULL)
        self.overtaken = *overtaken;
    pthread_mutex_lock(&table->lock);
    struct entry *entry = find_or_add(table, id);
    line_up(entry, &self);
    ask_older(table, entry, &self);
    bool got = wait_turn(table, entry, &self, wait_ms);
    leave_line(table, entry, &self);
    if (got)
        hold(table, entry, &self);
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
    const struct request nobody = {.younger = NULL};
    bool got = !entry->held && entry->waiting == NULL;
    if (got)
        hold(table, entry, &nobody);
    pthread_mutex_unlock(&table->lock);
    return got ? &entry->slot : NULL;
}

void upload_table_release(struct upload_table *table, struct upload_slot *slot)
{
    struct entry *entry = (struct entry *)slot;
    pthread_mutex_lock(&table->lock);
    while (entry->holder.calling)
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
