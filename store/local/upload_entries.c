#include "store/local/upload_entries.h"

#include "base/clock.h"
#include "base/mem.h"

#include <assert.h>
#include <string.h>

/* ---- owners ---- */

/* FNV-1a */
static size_t bucket_of(const char *text)
{
    uint32_t hash = 2166136261u;
    for (; *text; text++)
        hash = (hash ^ (uint8_t)*text) * 16777619u;
    return hash % UPLOAD_BUCKETS;
}

struct upload_owner *upload_owner_find(const struct upload_owners *owners, const char *name)
{
    struct upload_owner *owner = owners->buckets[bucket_of(name)];
    while (owner != NULL && strcmp(owner->name, name) != 0)
        owner = owner->next;
    return owner;
}

static struct upload_owner *owner_join(struct upload_owners *owners, const char *name)
{
    struct upload_owner *owner = upload_owner_find(owners, name);
    if (owner == NULL) {
        struct upload_owner **bucket = &owners->buckets[bucket_of(name)];
        size_t size = strlen(name) + 1;
        owner = xcalloc(1, sizeof *owner + size);
        memcpy(owner->name, name, size);
        owner->next = *bucket;
        *bucket = owner;
    }
    owner->count++;
    return owner;
}

static void owner_leave(struct upload_owners *owners, struct upload_owner *owner)
{
    if (owner == NULL || --owner->count > 0)
        return;
    struct upload_owner **at = &owners->buckets[bucket_of(owner->name)];
    while (*at != owner)
        at = &(*at)->next;
    *at = owner->next;
    free(owner);
}

/* ---- entries ---- */

void upload_entry_free(struct upload_entry *entry)
{
    digester_free(entry->slot.digester);
    free(entry);
}

struct upload_entry *upload_entry_find(const struct upload_table *table, const char *id)
{
    struct upload_entry *entry = table->buckets[bucket_of(id)];
    while (entry != NULL && strcmp(entry->slot.id, id) != 0)
        entry = entry->next;
    return entry != NULL && !entry->over ? entry : NULL;
}

struct upload_entry *upload_entry_find_in(const struct upload_table *table, const char *repository,
                                          const char *id)
{
    struct upload_entry *entry = upload_entry_find(table, id);
    return entry && strcmp(entry->repository->name, repository) == 0 ? entry : NULL;
}

struct upload_entry *upload_entry_add(struct upload_table *table, const char *id,
                                      const char *repository, const char *client)
{
    struct upload_entry **bucket = &table->buckets[bucket_of(id)];
    struct upload_entry *entry = xcalloc(1, sizeof *entry);
    assert(strlen(id) == BLOB_UPLOAD_ID_SIZE);
    memcpy(entry->slot.id, id, BLOB_UPLOAD_ID_SIZE);
    entry->slot.algorithm = DIGEST_SHA256;
    entry->repository = owner_join(&table->repositories, repository);
    entry->client = *client ? owner_join(&table->clients, client) : NULL;
    entry->used_ms = clock_ms();
    entry->next = *bucket;
    *bucket = entry;
    TAILQ_INSERT_TAIL(&table->sessions, entry, link);
    table->count++;
    return entry;
}

void upload_entry_end(struct upload_table *table, struct upload_entry *entry)
{
    entry->over = true;
    TAILQ_REMOVE(&table->sessions, entry, link);
    table->count--;
    owner_leave(&table->repositories, entry->repository);
    owner_leave(&table->clients, entry->client);
    entry->repository = entry->client = NULL;
}

void upload_entry_use(struct upload_table *table, struct upload_entry *entry)
{
    entry->used_ms = clock_ms();
    TAILQ_REMOVE(&table->sessions, entry, link);
    TAILQ_INSERT_TAIL(&table->sessions, entry, link);
}

void upload_entry_unlink(struct upload_table *table, struct upload_entry *entry)
{
    struct upload_entry **at = &table->buckets[bucket_of(entry->slot.id)];
    while (*at != entry)
        at = &(*at)->next;
    *at = entry->next;
    upload_entry_free(entry);
}

bool upload_entry_is_free(const struct upload_entry *entry)
{
    return !entry->held && entry->waiting == NULL;
}
