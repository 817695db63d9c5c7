#include "base/mem.h"
#include "store/local/blob_files.h"
#include "store/local/collect_internal.h"
#include "store/local/leases.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Marks take room in metadata that may have little left, so they are not made of all blobs before
 * the first is swept. */
#define MARKED_MOST ((size_t)1024)

/* A blob as it was looked at. */
struct candidate {
    struct digest digest;
    struct blob_record record;
};

struct step {
    struct collection *collection;
    struct candidate items[COLLECT_STEP];
    size_t count;
    size_t marked;        /* and not swept */
    struct change change; /* that the step makes */
};

static void count(struct collect_count *total, const struct blob_record *record)
{
    total->blobs++;
    total->bytes += record->size;
}

/* Nothing that is known by now needs it. */
static bool is_over(const struct collection *collection, const struct digest *digest,
                    const struct blob_record *record)
{
    return !live_set_has(&collection->live, digest) &&
           !collect_is_leased(collection, record->last_use_s) &&
           !leases_has(collection->store->leases, NULL, digest);
}

/* ---- the sweep ---- */

static void tell_blob(struct collection *collection, const struct candidate *item)
{
    struct collect_item *told = collect_tell(collection, COLLECT_BLOB, true, &item->digest);
    told->bytes = item->record.size;
    snprintf(told->why, sizeof told->why, "nothing needs it; last used at %llu",
             (unsigned long long)item->record.last_use_s);
    count(&collection->report->gone, &item->record);
}

static enum errc look_at_tomb(void *self, const struct kv_txn *txn, struct kv_slice key,
                              struct kv_slice value, struct error *err)
{
    struct step *step = self;
    struct candidate *item = &step->items[step->count];
    struct kv_slice blob;
    uint64_t marked_s = 0;
    bool found = false;
    if (blob_key_decode(key, &item->digest, err) != ERR_OK ||
        tomb_decode(value, &marked_s, err) != ERR_OK ||
        kv_get(txn, KV_BLOBS, key, &blob, &found, err) != ERR_OK ||
        (found && blob_decode(blob, &item->record, err) != ERR_OK))
        return err->code;
    if (found && is_over(step->collection, &item->digest, &item->record))
        step->count++;
    else /* an earlier collection has marked it, and it was needed since */
        change_delete_same(&step->change, KV_TOMBS, key, value);
    return ERR_OK;
}

struct holders {
    const struct digest *digest;
    struct change *change;
};

static enum errc delete_holder(void *self, struct kv_slice key, struct kv_slice value, bool *enough,
                               struct error *err)
{
    (void)value;
    const struct holders *holders = self;
    char name[REPOSITORY_NAME_MAX + 1];
    *enough = false;
    if (holder_name_decode(key, name, err) != ERR_OK)
        return err->code;
    struct record_key member = repository_digest_key(name, holders->digest);
    change_delete(holders->change, KV_HOLDERS, key);
    change_delete(holders->change, KV_MEMBERS, record_key_slice(&member));
    return ERR_OK;
}

/* What deletes the blob, if it is still marked and as it was. */
static enum errc prepare(struct collection *collection, const struct candidate *item,
                         struct change *change, struct error *err)
{
    struct record_key key = blob_key(&item->digest);
    struct record_value value = blob_value(&item->record);
    const struct kv_slice expected = record_value_slice(&value);
    struct record_value tomb = tomb_value(0);
    struct kv_slice marked = record_value_slice(&tomb);
    struct holders holders = {.digest = &item->digest, .change = change};
    bool found = false;
    autotxn struct kv_txn txn = KV_TXN_INIT;
    if (kv_begin_read(collection->store->kv, &txn, err) != ERR_OK ||
        kv_get(&txn, KV_TOMBS, record_key_slice(&key), &marked, &found, err) != ERR_OK)
        return err->code;
    change_expect(change, KV_BLOBS, record_key_slice(&key), &expected);
    change_expect(change, KV_TOMBS, record_key_slice(&key), &marked);
    change_delete(change, KV_BLOBS, record_key_slice(&key));
    change_delete(change, KV_TOMBS, record_key_slice(&key));
    return kv_each(&txn, KV_HOLDERS, record_key_slice(&key), delete_holder, &holders, err);
}

/* A file that stays is one without a record, and nobody sees it; it keeps no other from going. */
static enum errc remove_files(struct collection *collection, const struct candidate *items,
                              size_t some, struct error *err)
{
    for (size_t i = 0; i < some; i++) {
        char path[BLOB_PATH_MAX];
        collect_point(collection, "before an unlink");
        if (unlinkat(collection->store->blobs_fd, blob_path(&items[i].digest, path), 0) == 0 ||
            errno == ENOENT)
            tell_blob(collection, &items[i]);
        else
            fail(err, ERR_IO, errno, "remove blob %s, which has no record any more", path);
    }
    return err->code;
}

/* These are condemned. Records first, on the disk, and then the bytes. */
static enum errc delete_some(struct collection *collection, const struct candidate *items,
                             size_t some, struct error *err)
{
    autochange struct change change;
    change_init(&change);
    change.durable = true;
    change.essential = true;
    for (size_t i = 0; i < some; i++)
        if (prepare(collection, &items[i], &change, err) != ERR_OK)
            return err->code;
    collect_point(collection, "before a deletion");
    if (some == 0 || writer_submit(collection->store->writer, &change, err) != ERR_OK ||
        change.superseded)
        return err->code;
    return remove_files(collection, items, some, err);
}

static enum errc sweep_some(struct collection *collection, struct candidate *items, size_t some,
                            struct error *err)
{
    struct leases *leases = collection->store->leases;
    struct digest digests[CONDEMNED_MAX];
    bool condemned[CONDEMNED_MAX];
    size_t left = 0;
    for (size_t i = 0; i < some; i++)
        digests[i] = items[i].digest;
    collect_point(collection, "before condemning");
    leases_condemn(leases, NULL, digests, some, condemned);
    for (size_t i = 0; i < some; i++)
        if (condemned[i])
            items[left++] = items[i];
    delete_some(collection, items, left, err);
    leases_pardon(leases);
    return err->code;
}

static enum errc sweep(void *self, struct error *err)
{
    struct step *step = self;
    struct collection *collection = step->collection;
    for (size_t i = 0; i < step->count; i += CONDEMNED_MAX) {
        size_t some = step->count - i < CONDEMNED_MAX ? step->count - i : CONDEMNED_MAX;
        if (cancel_check(collection->options->cancel, err) != ERR_OK ||
            sweep_some(collection, &step->items[i], some, err) != ERR_OK)
            return err->code;
    }
    step->count = 0;
    if (step->change.first != NULL)
        writer_submit(collection->store->writer, &step->change, err);
    change_deinit(&step->change);
    change_init(&step->change);
    step->change.essential = true;
    return err->code;
}

static enum errc sweep_marked(struct step *step, struct error *err)
{
    const struct collect_scan tombs = {
        .table = KV_TOMBS, .look = look_at_tomb, .act = sweep, .self = step};
    step->marked = 0;
    return step->collection->options->dry_run ? ERR_OK
                                              : collect_each(step->collection, &tombs, err);
}

/* ---- marking ---- */

static enum errc look_at_blob(void *self, const struct kv_txn *txn, struct kv_slice key,
                              struct kv_slice value, struct error *err)
{
    (void)txn;
    struct step *step = self;
    const struct collection *collection = step->collection;
    struct collect_report *report = collection->report;
    struct candidate *item = &step->items[step->count];
    if (blob_key_decode(key, &item->digest, err) != ERR_OK ||
        blob_decode(value, &item->record, err) != ERR_OK)
        return err->code;
    count(&report->held, &item->record);
    if (is_over(collection, &item->digest, &item->record))
        step->count++;
    else if (live_set_has(&collection->live, &item->digest))
        count(&report->needed, &item->record);
    else
        count(&report->leased, &item->record);
    return ERR_OK;
}

/* A blob that is used while this is prepared is not marked: its record is another one then, and it
 * is looked at by the next collection. */
static enum errc mark(void *self, struct error *err)
{
    struct step *step = self;
    struct collection *collection = step->collection;
    autochange struct change change;
    change_init(&change);
    change.essential = true;
    for (size_t i = 0; i < step->count; i++) {
        struct record_key key = blob_key(&step->items[i].digest);
        struct record_value as_it_was = blob_value(&step->items[i].record);
        const struct kv_slice expected = record_value_slice(&as_it_was);
        struct record_value tomb = tomb_value(collection->now_s);
        change_expect(&change, KV_BLOBS, record_key_slice(&key), &expected);
        change_put(&change, KV_TOMBS, record_key_slice(&key), record_value_slice(&tomb));
        if (collection->options->dry_run)
            tell_blob(collection, &step->items[i]);
    }
    bool any = step->count > 0 && !collection->options->dry_run;
    step->marked += step->count;
    step->count = 0;
    collect_point(collection, "before a mark");
    if (any && writer_submit(collection->store->writer, &change, err) != ERR_OK)
        return err->code;
    return step->marked >= MARKED_MOST ? sweep_marked(step, err) : ERR_OK;
}

/* ---- records that lead nowhere ---- */

static enum errc is_held(const struct kv_txn *txn, const struct digest *digest, bool *held,
                         struct error *err)
{
    struct record_key key = blob_key(digest);
    struct kv_slice value;
    return kv_get(txn, KV_BLOBS, record_key_slice(&key), &value, held, err);
}

static void drop_record(struct step *step, enum kv_table table, struct kv_slice key,
                        struct kv_slice value)
{
    step->collection->report->records++;
    if (!step->collection->options->dry_run)
        change_delete_same(&step->change, table, key, value);
}

/* One that comes back meanwhile may cost a layer one more compression, not more. */
static enum errc look_at_layer(void *self, const struct kv_txn *txn, struct kv_slice key,
                               struct kv_slice value, struct error *err)
{
    struct layer_form form;
    bool held = false;
    if (layer_decode(key, value, &form, err) != ERR_OK ||
        is_held(txn, &form.digest, &held, err) != ERR_OK)
        return err->code;
    if (!held)
        drop_record(self, KV_LAYERS, key, value);
    return ERR_OK;
}

static enum errc look_at_start(void *self, const struct kv_txn *txn, struct kv_slice key,
                               struct kv_slice value, struct error *err)
{
    struct digest layer;
    bool any = false;
    if (start_decode(value, &layer, err) != ERR_OK)
        return err->code;
    struct record_key prefix = layer_prefix(&layer);
    if (kv_any(txn, KV_LAYERS, record_key_slice(&prefix), &any, err) != ERR_OK)
        return err->code;
    if (!any)
        drop_record(self, KV_STARTS, key, value);
    return ERR_OK;
}

enum errc collect_sweep(struct collection *collection, struct error *err)
{
    struct step *step = xcalloc(1, sizeof *step);
    const struct collect_scan blobs = {
        .table = KV_BLOBS, .look = look_at_blob, .act = mark, .self = step};
    const struct collect_scan scans[] = {
        {.table = KV_LAYERS, .look = look_at_layer, .act = sweep, .self = step},
        {.table = KV_STARTS, .look = look_at_start, .act = sweep, .self = step}};
    step->collection = collection;
    change_init(&step->change);
    step->change.essential = true;
    if (collect_each(collection, &blobs, err) == ERR_OK)
        sweep_marked(step, err);
    for (size_t i = 0; i < sizeof scans / sizeof scans[0] && err->code == ERR_OK; i++)
        collect_each(collection, &scans[i], err);
    change_deinit(&step->change);
    free(step);
    return err->code;
}
