#include "base/mem.h"
#include "store/local/collect_repository.h"

#include <stdio.h>
#include <string.h>

enum errc collect_repository_scan(struct collect_repository *repository, enum kv_table table,
                                  collect_look *look, collect_act *act, struct error *err)
{
    const struct collect_scan scan_is = {.table = table,
                                         .prefix = record_key_slice(&repository->prefix),
                                         .look = look,
                                         .act = act,
                                         .self = repository};
    return collect_each(repository->collection, &scan_is, err);
}

enum errc collect_nothing(void *self, struct error *err)
{
    (void)self;
    (void)err;
    return ERR_OK;
}

/* ---- members, and lists of referrers ---- */

static enum errc find_member(void *self, const struct kv_txn *txn, struct kv_slice key,
                             struct kv_slice value, struct error *err)
{
    (void)txn;
    struct collect_repository *repository = self;
    char name[REPOSITORY_NAME_MAX + 1];
    struct digest *digest = &repository->members[repository->count];
    uint64_t *used_s = &repository->members_used_s[repository->count];
    if (repository_digest_decode(key, name, digest, err) != ERR_OK ||
        member_decode(value, used_s, err) != ERR_OK)
        return err->code;
    repository->count += !live_set_has(&repository->live, digest) &&
                         !collect_is_leased(repository->collection, *used_s);
    return ERR_OK;
}

/* Of the first version, too: so the record is read again. */
static enum errc prepare_member(const struct collect_repository *repository,
                                const struct digest *digest, struct change *change, bool *found,
                                struct error *err)
{
    struct record_key key = repository_digest_key(repository->name, digest);
    struct record_key holder = holder_key(digest, repository->name);
    struct kv_slice value;
    uint64_t used_s = 0;
    autotxn struct kv_txn txn = KV_TXN_INIT;
    if (kv_begin_read(repository->collection->store->kv, &txn, err) != ERR_OK ||
        kv_get(&txn, KV_MEMBERS, record_key_slice(&key), &value, found, err) != ERR_OK ||
        (*found && member_decode(value, &used_s, err) != ERR_OK))
        return err->code;
    *found = *found && !collect_is_leased(repository->collection, used_s);
    if (!*found)
        return ERR_OK;
    change_expect(change, KV_MEMBERS, record_key_slice(&key), &value);
    change_delete(change, KV_MEMBERS, record_key_slice(&key));
    change_delete(change, KV_HOLDERS, record_key_slice(&holder));
    return ERR_OK;
}

static enum errc drop_members(void *self, struct error *err)
{
    struct collect_repository *repository = self;
    for (size_t i = 0; i < repository->count; i++) {
        const struct digest *digest = &repository->members[i];
        bool found = false;
        bool done = false;
        autochange struct change change;
        change_init(&change);
        if (prepare_member(repository, digest, &change, &found, err) != ERR_OK ||
            (found && collect_submit(repository->collection, &change, repository->name, digest,
                                     &done, err) != ERR_OK))
            return err->code;
        repository->collection->report->members += done;
    }
    repository->count = 0;
    return ERR_OK;
}

/* Neither the manifest that refers nor the one that it refers to is in the repository. */
static enum errc find_past_referrer(void *self, const struct kv_txn *txn, struct kv_slice key,
                                    struct kv_slice value, struct error *err)
{
    struct collect_repository *repository = self;
    struct manifest_record manifest;
    struct digest subject;
    struct digest referrer;
    char name[REPOSITORY_NAME_MAX + 1];
    bool has_subject = false;
    bool has_referrer = false;
    if (referrer_subject_decode(key, &subject, err) != ERR_OK ||
        referrer_key_decode(key, name, &referrer, err) != ERR_OK ||
        collect_manifest_get(repository, txn, &subject, &has_subject, &manifest, err) != ERR_OK ||
        collect_manifest_get(repository, txn, &referrer, &has_referrer, &manifest, err) != ERR_OK)
        return err->code;
    if (has_subject || has_referrer)
        return ERR_OK;
    struct record_key other = repository_digest_key(repository->name, &referrer);
    change_expect(&repository->change, KV_MANIFESTS, record_key_slice(&other), NULL);
    change_delete_same(&repository->change, KV_REFERRERS, key, value);
    repository->count++;
    return ERR_OK;
}

static enum errc drop_past_referrers(void *self, struct error *err)
{
    struct collect_repository *repository = self;
    struct collection *collection = repository->collection;
    repository->change.essential = true;
    if (repository->count > 0 && !collection->options->dry_run)
        writer_submit(collection->store->writer, &repository->change, err);
    collection->report->records += repository->count;
    repository->count = 0;
    change_deinit(&repository->change);
    change_init(&repository->change);
    return err->code;
}

/* ---- one repository after another ---- */

static enum errc collect_one(struct collect_repository *repository, struct error *err)
{
    if (collect_tags_sort(repository, err) != ERR_OK ||
        collect_manifests_trace(repository, err) != ERR_OK)
        return err->code;
    collect_point(repository->collection, "before names go");
    if (collect_tags_drop(repository, err) != ERR_OK ||
        (repository->again && collect_referrers_trace(repository, err) != ERR_OK) ||
        collect_manifests_drop(repository, err) != ERR_OK)
        return err->code;
    repository->collection->report->unreadable += repository->tracing.unreadable;
    if (!repository->tracing.unreadable &&
        collect_repository_scan(repository, KV_MEMBERS, find_member, drop_members, err) != ERR_OK)
        return err->code;
    return collect_repository_scan(repository, KV_REFERRERS, find_past_referrer,
                                   drop_past_referrers, err);
}

/* What else may be needed by a manifest that cannot be read. */
static enum errc keep_member(void *self, const struct kv_txn *txn, struct kv_slice key,
                             struct kv_slice value, struct error *err)
{
    (void)txn;
    (void)value;
    struct collect_repository *repository = self;
    struct digest digest;
    char name[REPOSITORY_NAME_MAX + 1];
    if (repository_digest_decode(key, name, &digest, err) == ERR_OK)
        live_set_add(&repository->live, &digest);
    return err->code;
}

static enum errc collect_repository(struct collection *collection, const char *name,
                                    struct error *err)
{
    struct collect_repository *repository = xcalloc(1, sizeof *repository);
    repository->collection = collection;
    snprintf(repository->name, sizeof repository->name, "%s", name);
    repository->prefix = repository_prefix(name);
    repository->tracing =
        (struct collect_tracing){.collection = collection, .set = &repository->live};
    change_init(&repository->change);
    keep_ruling_init(&repository->ruling, collection->options, name);
    if (collect_one(repository, err) == ERR_OK && repository->tracing.unreadable)
        collect_repository_scan(repository, KV_MEMBERS, keep_member, collect_nothing, err);
    live_set_merge(&collection->live, &repository->live);
    keep_ruling_deinit(&repository->ruling);
    change_deinit(&repository->change);
    live_set_deinit(&repository->live);
    live_set_deinit(&repository->tagged);
    live_set_deinit(&repository->going);
    free(repository);
    return err->code;
}

/* The first name of the table behind this one; "" when there is none. */
static enum errc next_name(const struct kv_txn *txn, enum kv_table table, const char *after,
                           char name[REPOSITORY_NAME_MAX + 1], struct error *err)
{
    struct record_key from = repository_end(after);
    struct digest digest;
    struct kv_slice key;
    struct kv_slice value;
    bool more = false;
    autocursor struct kv_cursor cursor = KV_CURSOR_INIT;
    if (kv_cursor_open(txn, table, (struct kv_slice){NULL, 0}, &cursor, err) != ERR_OK)
        return err->code;
    if (after[0])
        kv_cursor_seek(&cursor, record_key_slice(&from));
    name[0] = '\0';
    if (kv_cursor_next(&cursor, &key, &value, &more, err) != ERR_OK || !more)
        return err->code;
    return repository_digest_decode(key, name, &digest, err);
}

static enum errc next_repository(struct collection *collection, const char *after,
                                 char name[REPOSITORY_NAME_MAX + 1], struct error *err)
{
    char other[REPOSITORY_NAME_MAX + 1];
    autotxn struct kv_txn txn = KV_TXN_INIT;
    if (kv_begin_read(collection->store->kv, &txn, err) != ERR_OK ||
        next_name(&txn, KV_MANIFESTS, after, name, err) != ERR_OK ||
        next_name(&txn, KV_MEMBERS, after, other, err) != ERR_OK)
        return err->code;
    if (name[0] == '\0' || (other[0] && strcmp(other, name) < 0))
        memcpy(name, other, sizeof other);
    return ERR_OK;
}

enum errc collect_repositories(struct collection *collection, struct error *err)
{
    char name[REPOSITORY_NAME_MAX + 1] = "";
    char next[REPOSITORY_NAME_MAX + 1];
    for (;;) {
        if (next_repository(collection, name, next, err) != ERR_OK)
            return err->code;
        if (next[0] == '\0')
            return ERR_OK;
        memcpy(name, next, sizeof name);
        if (collect_repository(collection, name, err) != ERR_OK)
            return err->code;
    }
}
