#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/local/collect_internal.h"
#include "store/local/leases.h"
#include "store/local/meta.h"

#include <assert.h>
#include <string.h>

#define LEASES_AT_ONCE 256
/* A lease that is renewed at the same moment by a batch may get the time at which that began. */
#define LEASE_SLACK_S 1

/* ---- steps ---- */

static enum errc look_at_some(struct collection *collection, const struct collect_scan *scan,
                              struct record_key *from, bool *more, struct error *err)
{
    struct kv_slice key;
    struct kv_slice value;
    autotxn struct kv_txn txn = KV_TXN_INIT;
    autocursor struct kv_cursor cursor = KV_CURSOR_INIT;
    if (kv_begin_read(collection->store->kv, &txn, err) != ERR_OK ||
        kv_cursor_open(&txn, scan->table, scan->prefix, &cursor, err) != ERR_OK)
        return err->code;
    if (from->size > 0)
        kv_cursor_seek(&cursor, record_key_slice(from));
    for (size_t i = 0; i < COLLECT_STEP; i++) {
        if (kv_cursor_next(&cursor, &key, &value, more, err) != ERR_OK)
            return err->code;
        if (!*more)
            return ERR_OK;
        if (scan->look(scan->self, &txn, key, value, err) != ERR_OK)
            return err->code;
    }
    assert(key.size < sizeof from->bytes);
    memcpy(from->bytes, key.data, key.size);
    from->bytes[key.size] = 0;
    from->size = key.size + 1;
    return ERR_OK;
}

enum errc collect_each(struct collection *collection, const struct collect_scan *scan,
                       struct error *err)
{
    struct record_key from = {.size = 0};
    for (bool more = true; more;)
        if (cancel_check(collection->options->cancel, err) != ERR_OK ||
            look_at_some(collection, scan, &from, &more, err) != ERR_OK ||
            scan->act(scan->self, err) != ERR_OK)
            return err->code;
    return ERR_OK;
}

static bool is_in_grace(const struct collection *collection, uint64_t used_s)
{
    return used_s + (uint64_t)collection->options->grace_s + LEASE_SLACK_S >= collection->now_s;
}

bool collect_is_leased(const struct collection *collection, uint64_t used_s)
{
    return is_in_grace(collection, used_s) || is_in_grace(collection, collection->all_s);
}

void collect_point(const struct collection *collection, const char *point)
{
    if (collection->store->collect_hook)
        collection->store->collect_hook(collection->store->collect_hook_self, point);
}

enum errc collect_submit(struct collection *collection, struct change *change,
                         const char *repository, const struct digest *digest, bool *done,
                         struct error *err)
{
    struct leases *leases = collection->store->leases;
    if (collection->options->dry_run) {
        *done = !leases_has(leases, repository, digest);
        return ERR_OK;
    }
    change->essential = true;
    collect_point(collection, "before condemning");
    leases_condemn(leases, repository, digest, 1, done);
    enum errc rc = *done ? writer_submit(collection->store->writer, change, err) : ERR_OK;
    *done = *done && rc == ERR_OK && !change->superseded;
    leases_pardon(leases);
    return rc;
}

/* ---- leases ---- */

static enum errc find_member(struct store *store, const struct lease *lease, bool *found,
                             struct record_value *out, struct error *err)
{
    struct record_key key = repository_digest_key(lease->repository, &lease->digest);
    struct kv_slice value;
    autotxn struct kv_txn txn = KV_TXN_INIT;
    if (kv_begin_read(store->kv, &txn, err) != ERR_OK ||
        kv_get(&txn, KV_MEMBERS, record_key_slice(&key), &value, found, err) != ERR_OK)
        return err->code;
    if (*found && value.size <= sizeof out->bytes) {
        memcpy(out->bytes, value.data, value.size);
        out->size = value.size;
    }
    return ERR_OK;
}

static enum errc renew_member(struct store *store, const struct lease *lease, struct change *change,
                              struct error *err)
{
    struct record_value before;
    bool found = false;
    if (lease->repository[0] == '\0')
        return ERR_OK;
    if (find_member(store, lease, &found, &before, err) != ERR_OK || !found)
        return err->code;
    struct record_key key = repository_digest_key(lease->repository, &lease->digest);
    struct record_value after = member_value(lease->at_s);
    change_swap(change, KV_MEMBERS, record_key_slice(&key), record_value_slice(&before),
                record_value_slice(&after));
    return ERR_OK;
}

static enum errc renew(struct store *store, const struct lease *lease, struct change *change,
                       struct error *err)
{
    struct blob_record record;
    bool found = false;
    if (blob_find(store, &lease->digest, &found, &record, err) != ERR_OK || !found)
        return err->code;
    struct record_key key = blob_key(&lease->digest);
    struct record_value before = blob_value(&record);
    if (record.last_use_s < lease->at_s)
        record.last_use_s = lease->at_s;
    struct record_value after = blob_value(&record);
    change_swap(change, KV_BLOBS, record_key_slice(&key), record_value_slice(&before),
                record_value_slice(&after));
    change_delete(change, KV_TOMBS, record_key_slice(&key));
    return renew_member(store, lease, change, err);
}

static enum errc write_some(struct store *store, struct lease *some, size_t count,
                            struct error *err)
{
    autochange struct change change;
    change_init(&change);
    change.essential = true;
    for (size_t i = 0; i < count; i++)
        if (renew(store, &some[i], &change, err) != ERR_OK)
            return err->code;
    if (change.first != NULL && writer_submit(store->writer, &change, err) != ERR_OK)
        return err->code;
    leases_written(store->leases, some, count);
    return ERR_OK;
}

static enum errc put_record(struct store *store, bool open, struct error *err)
{
    const struct leases_record record = {.open = open, .all_s = leases_all_s(store->leases)};
    struct record_key key = leases_key();
    struct record_value value = leases_value(&record);
    return meta_put(store, &key, &value, err);
}

enum errc store_write_leases(struct store *store, struct error *err)
{
    leases_see_clocks(store->leases, (uint64_t)clock_wall_s(), clock_ms());
    autofree struct lease *some = xcalloc(LEASES_AT_ONCE, sizeof *some);
    /* Those that come meanwhile may wait for the next time. */
    for (size_t left = LEASES_MAX; left > 0;) {
        size_t count = leases_some(store->leases, some, LEASES_AT_ONCE);
        if (write_some(store, some, count, err) != ERR_OK)
            return error_wrap(err, "write leases of blobs");
        if (count < LEASES_AT_ONCE)
            break;
        left -= count;
    }
    return ERR_OK;
}

static enum errc read_record(struct store *store, struct leases_record *out, struct error *err)
{
    struct record_key key = leases_key();
    struct kv_slice value;
    bool found = false;
    autotxn struct kv_txn txn = KV_TXN_INIT;
    if (meta_find(store, &key, &txn, &value, &found, err) != ERR_OK)
        return err->code;
    return found ? leases_decode(value, out, err) : ERR_OK;
}

enum errc leases_open(struct store *store, struct error *err)
{
    struct leases_record record = {.open = false};
    if (read_record(store, &record, err) != ERR_OK)
        return err->code;
    leases_set_all_s(store->leases, record.open ? (uint64_t)clock_wall_s() : record.all_s);
    return record.open || store->has_leases ? put_record(store, store->has_leases, err) : ERR_OK;
}

enum errc leases_close(struct store *store, struct error *err)
{
    if (!store->has_leases)
        return ERR_OK;
    return store_write_leases(store, err) == ERR_OK ? put_record(store, false, err) : err->code;
}

void store_hold(struct store *store, const struct digest *digest)
{
    leases_hold(store->leases, digest);
}

void store_let_go(struct store *store, const struct digest *digest)
{
    leases_let_go(store->leases, digest);
}

/* ---- what is told ---- */

static const char *const events[] = {
    [COLLECT_BLOB] = "blob.collected",
    [COLLECT_MANIFEST] = "manifest.collected",
    [COLLECT_TAG] = "tag.collected",
    [COLLECT_NAME] = "name.collected",
};

/* The last one may be filled in until the next is begun: so that is when it is logged. */
static void log_last(const struct collection *collection)
{
    const struct collect_report *report = collection->report;
    char text[DIGEST_TEXT_MAX];
    if (report->item_count == 0 || collection->options->dry_run)
        return;
    const struct collect_item *item = &report->items[report->item_count - 1];
    if (!item->goes)
        return;
    log_event(LOG_INFO, events[item->kind],
              LOG_FIELDS(log_text("name", item->name), log_text("tag", item->tag),
                         log_text("digest", digest_text(&item->digest, text)),
                         log_number("bytes", item->bytes), log_text("reason", item->why)),
              "collected: %s", item->why);
}

struct collect_item *collect_tell(struct collection *collection, enum collect_kind kind, bool goes,
                                  const struct digest *digest)
{
    struct collect_report *report = collection->report;
    log_last(collection);
    report->more |= report->item_count > COLLECT_ITEMS_MAX;
    if (report->item_count <= COLLECT_ITEMS_MAX) {
        report->items = mem_grow(report->items, report->item_count, &report->item_capacity,
                                 sizeof *report->items);
        report->item_count++;
    }
    struct collect_item *item = &report->items[report->item_count - 1];
    *item = (struct collect_item){.kind = kind, .goes = goes, .digest = *digest};
    return item;
}

/* One more than the limit is only logged. */
static void end_telling(struct collection *collection)
{
    struct collect_report *report = collection->report;
    log_last(collection);
    if (report->item_count <= COLLECT_ITEMS_MAX)
        return;
    report->item_count = COLLECT_ITEMS_MAX;
    report->more = true;
}

void collect_report_deinit(struct collect_report *report)
{
    free(report->items);
    *report = (struct collect_report){.items = NULL};
}

/* ---- the whole ---- */

static enum errc collect(struct collection *collection, struct error *err)
{
    struct collect_report *report = collection->report;
    if (store_write_leases(collection->store, err) != ERR_OK)
        return err->code;
    leases_watch(collection->store->leases);
    collection->now_s = (uint64_t)clock_wall_s();
    leases_see_clocks(collection->store->leases, collection->now_s, clock_ms());
    collection->all_s = leases_all_s(collection->store->leases);
    report->waits = is_in_grace(collection, collection->all_s);
    if (report->waits)
        report->waits_until_s =
            collection->all_s + (uint64_t)collection->options->grace_s + LEASE_SLACK_S + 1;
    collect_point(collection, "begun");
    if (collect_pushes(collection, err) != ERR_OK ||
        collect_repositories(collection, err) != ERR_OK || collect_cache(collection, err) != ERR_OK)
        return err->code;
    collect_point(collection, "traced");
    return collect_sweep(collection, err);
}

enum errc store_collect(struct store *store, const struct collect_options *options,
                        struct collect_report *out, struct error *err)
{
    struct collection collection = {.store = store, .options = options, .report = out};
    *out = (struct collect_report){.items = NULL};
    if (atomic_flag_test_and_set(&store->collecting))
        return fail(err, ERR_COLLECTING, 0, "a collection, or a backup, is running already");
    collect(&collection, err);
    leases_unwatch(store->leases);
    end_telling(&collection);
    live_set_deinit(&collection.live);
    live_set_deinit(&collection.pushed);
    atomic_flag_clear(&store->collecting);
    return err->code == ERR_OK ? ERR_OK : error_wrap(err, "collect what nobody needs");
}
