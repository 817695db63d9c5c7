#include "store/local/upload_entries.h"

#include "base/clock.h"

static bool is_met(unsigned limit, size_t count)
{
    return limit > 0 && count >= limit;
}

/* What a new session would be too many for. */
struct met {
    const struct upload_owner *client; /* NULL: not for its client */
    const struct upload_owner *repository;
    bool all;
};

static bool counts_for(const struct upload_entry *entry, const struct met *met)
{
    return (met->client == NULL || entry->client == met->client) &&
           (met->repository == NULL || entry->repository == met->repository);
}

/* The oldest session whose end makes room. */
static struct upload_entry *find_yielding(const struct upload_table *table, const struct met *met)
{
    int64_t since_ms = clock_ms() - table->limits.yield_ms;
    struct upload_entry *entry;
    TAILQ_FOREACH(entry, &table->sessions, link)
    {
        if (entry->used_ms > since_ms)
            return NULL;
        if (entry->untouched && upload_entry_is_free(entry) && counts_for(entry, met))
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
        return fail(err, ERR_TOO_MANY, 0,
                    "the client %s has %zu unfinished uploads, "
                    "limits.upload_sessions_per_client is %u: %s",
                    met->client->name, met->client->count, limits->per_client, advice);
    if (met->repository)
        return fail(err, ERR_TOO_MANY, 0,
                    "the repository %s has %zu unfinished uploads, "
                    "limits.upload_sessions_per_repository is %u: %s",
                    met->repository->name, met->repository->count, limits->per_repository, advice);
    return fail(err, ERR_TOO_MANY, 0,
                "the gateway has %zu unfinished uploads, limits.upload_sessions is %u: %s",
                table->count, limits->all, advice);
}

static const struct upload_owner *met_owner(const struct upload_owners *owners, const char *name,
                                            unsigned limit)
{
    const struct upload_owner *owner = upload_owner_find(owners, name);
    return owner && is_met(limit, owner->count) ? owner : NULL;
}

enum errc upload_table_make_room(const struct upload_table *table, const char *repository,
                                 const char *client, struct upload_entry **yields,
                                 struct error *err)
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
