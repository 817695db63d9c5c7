#include "store/local/upload_table.h"

#include "base/clock.h"
#include "base/lock.h"
#include "base/mem.h"

#include <assert.h>
#include <string.h>
#include <sys/queue.h>

#define BUCKETS 4096

/* Who wants a slot, on the stack of its thread, or has it. */
struct request {
    struct request *younger;
    struct overtaken overtaken;
    bool asked;     /* whether it gives way */
    bool calling;   /* the question is under way */
    bool gives_way; /* it said so */
};

/* A repository or a client that has sessions. */
struct owner {
    struct owner *next;
    size_t count;
    char name[];
};

struct owners {
    struct owner *buckets[BUCKETS];
};

struct entry {
    struct upload_slot slot;
    struct entry *next;
    TAILQ_ENTRY(entry) link; /* of those that are not over; idle for the longest time first */
    struct owner *repository;
    struct owner *client; /* NULL: not known */
    int64_t used_ms;
    bool untouched; /* nobody has asked for it since it was begun */
    bool over;
    bool held;
    struct request holder;
    struct request *waiting; /* oldest first */
    bool remembered;         /* counted among the table's digests */
};

struct upload_table {
    struct upload_limits limits;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct entry *buckets[BUCKETS];
    TAILQ_HEAD(entry_list, entry) sessions;
    size_t count;
    struct owners repositories;
    struct owners clients;
    size_t digests; /* of slots that nobody holds */
};

struct upload_table *upload_table_new(const struct upload_limits *limits)
{
    struct upload_table *table = xcalloc(1, sizeof *table);
    table->limits = *limits;
    TAILQ_INIT(&table->sessions);
    pthread_mutex_init(&table->lock, NULL);
    clock_cond_init(&table->changed);
    return table;
}

/* ---- owners ---- */

/* FNV-1a */
static size_t bucket_of(const char *text)
{
    uint32_t hash = 2166136261u;
    for (; *text; text++)
        hash = (hash ^ (uint8_t)*text) * 16777619u;
    return hash % BUCKETS;
}

static struct owner *owner_find(const struct owners *owners, const char *name)
{
    struct owner *owner = owners->buckets[bucket_of(name)];
    while (owner != NULL && strcmp(owner->name, name) != 0)
        owner = owner->next;
    return owner;
}

static struct owner *owner_join(struct owners *owners, const char *name)
{
    struct owner *owner = owner_find(owners, name);
    if (owner == NULL) {
        struct owner **bucket = &owners->buckets[bucket_of(name)];
        size_t size = strlen(name) + 1;
        owner = xcalloc(1, sizeof *owner + size);
        memcpy(owner->name, name, size);
        owner->next = *bucket;
        *bucket = owner;
    }
    owner->count++;
    return owner;
}

static void owner_leave(struct owners *owners, struct owner *owner)
{
    if (owner == NULL || --owner->count > 0)
        return;
    struct owner **at = &owners->buckets[bucket_of(owner->name)];
    while (*at != owner)
        at = &(*at)->next;
    *at = owner->next;
    free(owner);
}

/* ---- entries ---- */

static void entry_free(struct entry *entry)
{
    digester_free(entry->slot.digester);
    free(entry);
}

static struct entry *find(const struct upload_table *table, const char *id)
{
    struct entry *entry = table->buckets[bucket_of(id)];
    while (entry != NULL && strcmp(entry->slot.id, id) != 0)
        entry = entry->next;
    return entry != NULL && !entry->over ? entry : NULL;
}

static struct entry *find_in(const struct upload_table *table, const char *repository,
                             const char *id)
{
    struct entry *entry = find(table, id);
    return entry && strcmp(entry->repository->name, repository) == 0 ? entry : NULL;
}

static struct entry *add(struct upload_table *table, const char *id, const char *repository,
                         const char *client)
{
    struct entry **bucket = &table->buckets[bucket_of(id)];
    struct entry *entry = xcalloc(1, sizeof *entry);
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

static void end(struct upload_table *table, struct entry *entry)
{
    entry->over = true;
    TAILQ_REMOVE(&table->sessions, entry, link);
    table->count--;
    owner_leave(&table->repositories, entry->repository);
    owner_leave(&table->clients, entry->client);
    entry->repository = entry->client = NULL;
}

static void use(struct upload_table *table, struct entry *entry)
{
    entry->used_ms = clock_ms();
    TAILQ_REMOVE(&table->sessions, entry, link);
    TAILQ_INSERT_TAIL(&table->sessions, entry, link);
}

void upload_table_free(struct upload_table *table)
{
    if (table == NULL)
        return;
    for (struct entry *entry; (entry = TAILQ_FIRST(&table->sessions)) != NULL;) {
        assert(!entry->held && entry->waiting == NULL);
        end(table, entry);
        entry_free(entry);
    }
    pthread_cond_destroy(&table->changed);
    pthread_mutex_destroy(&table->lock);
    free(table);
}

/* ---- holders ---- */

static void hold(struct upload_table *table, struct entry *entry, const struct request *request)
{
    table->digests -= entry->remembered;
    entry->remembered = false;
    entry->held = true;
    entry->holder = *request;
    entry->holder.younger = NULL;
}

static void unlink_entry(struct upload_table *table, struct entry *entry)
{
    struct entry **at = &table->buckets[bucket_of(entry->slot.id)];
    while (*at != entry)
        at = &(*at)->next;
    *at = entry->next;
    entry_free(entry);
}

/* Nobody needs the entry: keep its digest, or not; itself as long as the session is not over. */
static void settle(struct upload_table *table, struct entry *entry)
{
    if (entry->held || entry->waiting != NULL || entry->remembered)
        return;
    if (entry->over) {
        unlink_entry(table, entry);
        return;
    }
    entry->remembered = entry->slot.digester != NULL && table->digests < UPLOAD_DIGESTS_MAX;
    if (entry->remembered)
        table->digests++;
    else
        upload_slot_reset(&entry->slot);
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
    while (self->calling || (!self->gives_way && !entry->over && !is_next(entry, self) && rc == 0))
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

enum errc upload_fail_unknown(const char *repository, const char *id, struct error *err)
{
    return fail(err, ERR_NO_UPLOAD, 0, "there is no upload %.64s in the repository %s", id,
                repository);
}

/* With the lock, which is given up meanwhile. ERR_OK: `self` is to be the holder. */
static enum errc wait_in_line(struct upload_table *table, struct entry *entry, struct request *self,
                              int64_t wait_ms)
{
    line_up(entry, self);
    ask_older(table, entry, self);
    bool got = wait_turn(table, entry, self, wait_ms);
    leave_line(table, entry, self);
    if (entry->over)
        return ERR_NO_UPLOAD;
    return got ? ERR_OK : ERR_UPLOAD_BUSY;
}

enum errc upload_table_take(struct upload_table *table, const char *repository, const char *id,
                            const struct overtaken *overtaken, int64_t wait_ms,
                            struct upload_slot **out, struct error *err)
{
    struct request self = {.younger = NULL};
    enum errc rc = ERR_NO_UPLOAD;
    if (overtaken != NULL)
        self.overtaken = *overtaken;
    pthread_mutex_lock(&table->lock);
    struct entry *entry = find_in(table, repository, id);
    if (entry != NULL) {
        rc = wait_in_line(table, entry, &self, wait_ms);
        entry->untouched = false;
        if (rc == ERR_OK)
            hold(table, entry, &self);
        else
            settle(table, entry);
    }
    pthread_mutex_unlock(&table->lock);
    if (rc == ERR_NO_UPLOAD)
        return upload_fail_unknown(repository, id, err);
    if (rc != ERR_OK)
        return fail(err, rc, 0, "another request writes to this upload");
    *out = &entry->slot;
    return ERR_OK;
}

/* Let nobody wait for what is held by who does not disturb. */
static const struct request nobody = {.younger = NULL};

static bool is_free(const struct entry *entry)
{
    return !entry->held && entry->waiting == NULL;
}

struct upload_slot *upload_table_take_idle(struct upload_table *table, int64_t since_ms)
{
    struct entry *entry;
    pthread_mutex_lock(&table->lock);
    TAILQ_FOREACH(entry, &table->sessions, link)
    {
        if (entry->used_ms > since_ms || is_free(entry))
            break;
    }
    if (entry != NULL && entry->used_ms > since_ms)
        entry = NULL;
    if (entry != NULL)
        hold(table, entry, &nobody);
    pthread_mutex_unlock(&table->lock);
    return entry ? &entry->slot : NULL;
}

static void let_go(struct upload_table *table, struct upload_slot *slot, bool over)
{
    struct entry *entry = (struct entry *)slot;
    autolock pthread_mutex_t *held = lock_take(&table->lock);
    while (entry->holder.calling)
        pthread_cond_wait(&table->changed, &table->lock);
    entry->held = false;
    if (over)
        end(table, entry);
    else
        use(table, entry);
    pthread_cond_broadcast(&table->changed);
    settle(table, entry);
}

void upload_table_release(struct upload_table *table, struct upload_slot *slot)
{
    let_go(table, slot, false);
}

void upload_table_end(struct upload_table *table, struct upload_slot *slot)
{
    let_go(table, slot, true);
}

/* ---- sessions ---- */

static bool is_met(unsigned limit, size_t count)
{
    return limit > 0 && count >= limit;
}

/* What a new session would be too many for. */
struct met {
    const struct owner *client; /* NULL: not for its client */
    const struct owner *repository;
    bool all;
};

static bool counts_for(const struct entry *entry, const struct met *met)
{
    return (met->client == NULL || entry->client == met->client) &&
           (met->repository == NULL || entry->repository == met->repository);
}

/* The oldest session whose end makes room. */
static struct entry *find_yielding(const struct upload_table *table, const struct met *met)
{
    int64_t since_ms = clock_ms() - table->limits.yield_ms;
    struct entry *entry;
    TAILQ_FOREACH(entry, &table->sessions, link)
    {
        if (entry->used_ms > since_ms)
            return NULL;
        if (entry->untouched && is_free(entry) && counts_for(entry, met))
            return entry;
    }
    return NULL;
}

static enum errc fail_met(const struct upload_table *table, const struct met *met,
                          struct error *err)
{
    const char *advice = "finish or cancel some of them, or wait until they expire "
                         "(limits.upload_session)";
    const struct upload_limits *limits = &table->limits;
    if (met->client)
        return fail(err, ERR_TOO_MANY_SESSIONS, 0,
                    "the client %s has %zu unfinished uploads, "
                    "limits.upload_sessions_per_client is %u: %s",
                    met->client->name, met->client->count, limits->per_client, advice);
    if (met->repository)
        return fail(err, ERR_TOO_MANY_SESSIONS, 0,
                    "the repository %s has %zu unfinished uploads, "
                    "limits.upload_sessions_per_repository is %u: %s",
                    met->repository->name, met->repository->count, limits->per_repository, advice);
    return fail(err, ERR_TOO_MANY_SESSIONS, 0,
                "the gateway has %zu unfinished uploads, limits.upload_sessions is %u: %s",
                table->count, limits->all, advice);
}

static const struct owner *met_owner(const struct owners *owners, const char *name, unsigned limit)
{
    const struct owner *owner = owner_find(owners, name);
    return owner && is_met(limit, owner->count) ? owner : NULL;
}

/* *yields: who has to end for a new session, NULL: nobody. */
static enum errc make_room(const struct upload_table *table, const char *repository,
                           const char *client, struct entry **yields, struct error *err)
{
    const struct upload_limits *limits = &table->limits;
    const struct met met = {.client = met_owner(&table->clients, client, limits->per_client),
                            .repository =
                                met_owner(&table->repositories, repository, limits->per_repository),
                            .all = is_met(limits->all, table->count)};
    *yields = NULL;
    if (!met.client && !met.repository && !met.all)
        return ERR_OK;
    *yields = find_yielding(table, &met);
    return *yields ? ERR_OK : fail_met(table, &met, err);
}

enum errc upload_table_add(struct upload_table *table, const char *id, const char *repository,
                           const char *client, struct upload_slot **out,
                           struct upload_slot **yields, struct error *err)
{
    struct entry *older = NULL;
    autolock pthread_mutex_t *held = lock_take(&table->lock);
    enum errc rc = make_room(table, repository, client, &older, err);
    if (rc == ERR_OK) {
        struct entry *entry = add(table, id, repository, client);
        entry->untouched = true;
        hold(table, entry, &nobody);
        if (older)
            hold(table, older, &nobody);
        *out = &entry->slot;
        *yields = older ? &older->slot : NULL;
    }
    return rc;
}

void upload_table_load(struct upload_table *table, const char *id, const char *repository)
{
    autolock pthread_mutex_t *held = lock_take(&table->lock);
    add(table, id, repository, "");
}

bool upload_table_has(struct upload_table *table, const char *id)
{
    autolock pthread_mutex_t *held = lock_take(&table->lock);
    return find(table, id) != NULL;
}

bool upload_table_touch(struct upload_table *table, const char *repository, const char *id)
{
    pthread_mutex_lock(&table->lock);
    struct entry *entry = find_in(table, repository, id);
    if (entry)
        entry->untouched = false;
    pthread_mutex_unlock(&table->lock);
    return entry != NULL;
}

void upload_slot_reset(struct upload_slot *slot)
{
    digester_free(slot->digester);
    slot->digester = NULL;
    slot->hashed = 0;
}
