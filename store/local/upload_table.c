#include "store/local/upload_table.h"

#include "base/clock.h"
#include "base/lock.h"
#include "base/mem.h"
#include "store/local/upload_entries.h"

#include <assert.h>

struct upload_table *upload_table_new(const struct upload_limits *limits)
{
    struct upload_table *table = xcalloc(1, sizeof *table);
    table->limits = *limits;
    TAILQ_INIT(&table->sessions);
    pthread_mutex_init(&table->lock, NULL);
    clock_cond_init(&table->changed);
    return table;
}

void upload_table_free(struct upload_table *table)
{
    if (table == NULL)
        return;
    for (struct upload_entry *entry; (entry = TAILQ_FIRST(&table->sessions)) != NULL;) {
        assert(!entry->held && entry->waiting == NULL);
        upload_entry_end(table, entry);
        upload_entry_free(entry);
    }
    pthread_cond_destroy(&table->changed);
    pthread_mutex_destroy(&table->lock);
    free(table);
}

/* ---- holders ---- */

static void hold(struct upload_table *table, struct upload_entry *entry,
                 const struct upload_request *request)
{
    table->digests -= entry->remembered;
    entry->remembered = false;
    entry->held = true;
    entry->holder = *request;
    entry->holder.younger = NULL;
}

/* Nobody needs the entry: keep its digest, or not; itself as long as the session is not over. */
static void settle(struct upload_table *table, struct upload_entry *entry)
{
    if (entry->held || entry->waiting != NULL || entry->remembered)
        return;
    if (entry->over) {
        upload_entry_unlink(table, entry);
        return;
    }
    entry->remembered = entry->slot.digester != NULL && table->digests < UPLOAD_DIGESTS_MAX;
    if (entry->remembered)
        table->digests++;
    else
        upload_slot_reset(&entry->slot);
}

static bool is_unasked(const struct upload_request *request)
{
    return !request->asked && request->overtaken.call != NULL;
}

static struct upload_request *find_unasked(struct upload_entry *entry,
                                           const struct upload_request *self)
{
    if (entry->held && is_unasked(&entry->holder))
        return &entry->holder;
    for (struct upload_request *older = entry->waiting; older != self; older = older->younger)
        if (is_unasked(older))
            return older;
    return NULL;
}

/* Unlocks for the calls. Who is being called stays where it is until the call has ended. */
static void ask_older(struct upload_table *table, struct upload_entry *entry,
                      const struct upload_request *self)
{
    for (struct upload_request *older; (older = find_unasked(entry, self)) != NULL;) {
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

static bool is_next(const struct upload_entry *entry, const struct upload_request *self)
{
    const struct upload_request *first = entry->waiting;
    while (first->gives_way)
        first = first->younger;
    return !entry->held && first == self;
}

/* True when the caller is to be the holder. Who is being asked waits for the end of that. */
static bool wait_turn(struct upload_table *table, const struct upload_entry *entry,
                      const struct upload_request *self, int64_t wait_ms)
{
    struct timespec deadline = clock_deadline(wait_ms);
    int rc = 0;
    while (self->calling || (!self->gives_way && !entry->over && !is_next(entry, self) && rc == 0))
        rc = self->calling ? pthread_cond_wait(&table->changed, &table->lock)
                           : pthread_cond_timedwait(&table->changed, &table->lock, &deadline);
    return !self->gives_way && is_next(entry, self);
}

static void line_up(struct upload_entry *entry, struct upload_request *self)
{
    struct upload_request **at = &entry->waiting;
    while (*at != NULL)
        at = &(*at)->younger;
    *at = self;
}

static void leave_line(struct upload_table *table, struct upload_entry *entry,
                       const struct upload_request *self)
{
    struct upload_request **at = &entry->waiting;
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
static enum errc wait_in_line(struct upload_table *table, struct upload_entry *entry,
                              struct upload_request *self, int64_t wait_ms)
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
    struct upload_request self = {.younger = NULL};
    enum errc rc = ERR_NO_UPLOAD;
    if (overtaken != NULL)
        self.overtaken = *overtaken;
    pthread_mutex_lock(&table->lock);
    struct upload_entry *entry = upload_entry_find_in(table, repository, id);
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
static const struct upload_request nobody = {.younger = NULL};

struct upload_slot *upload_table_take_idle(struct upload_table *table, int64_t since_ms)
{
    struct upload_entry *entry;
    pthread_mutex_lock(&table->lock);
    TAILQ_FOREACH(entry, &table->sessions, link)
    {
        if (entry->used_ms > since_ms || upload_entry_is_free(entry))
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
    struct upload_entry *entry = (struct upload_entry *)slot;
    autolock pthread_mutex_t *held = lock_take(&table->lock);
    while (entry->holder.calling)
        pthread_cond_wait(&table->changed, &table->lock);
    entry->held = false;
    if (over)
        upload_entry_end(table, entry);
    else
        upload_entry_use(table, entry);
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

enum errc upload_table_add(struct upload_table *table, const char *id, const char *repository,
                           const char *client, struct upload_slot **out,
                           struct upload_slot **yields, struct error *err)
{
    struct upload_entry *older = NULL;
    autolock pthread_mutex_t *held = lock_take(&table->lock);
    enum errc rc = upload_table_make_room(table, repository, client, &older, err);
    if (rc == ERR_OK) {
        struct upload_entry *entry = upload_entry_add(table, id, repository, client);
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
    upload_entry_add(table, id, repository, "");
}

bool upload_table_has(struct upload_table *table, const char *id)
{
    autolock pthread_mutex_t *held = lock_take(&table->lock);
    return upload_entry_find(table, id) != NULL;
}

bool upload_table_touch(struct upload_table *table, const char *repository, const char *id)
{
    pthread_mutex_lock(&table->lock);
    struct upload_entry *entry = upload_entry_find_in(table, repository, id);
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
