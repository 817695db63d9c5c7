#include "store/local/push_mend.h"

#include "base/mem.h"
#include "store/local/quarantine_local.h"
#include "store/local/records_pushes.h"

#include <stdio.h>
#include <string.h>

/* A record as it lies there. */
struct push_record {
    enum kv_table table;
    struct record_key key;
    uint8_t *value; /* owned */
    size_t size;
    bool bad;
};

static struct kv_slice value_of(const struct push_record *item)
{
    return (struct kv_slice){item->value, item->size};
}

void push_records_deinit(struct push_records *records)
{
    for (size_t i = 0; i < records->item_count; i++)
        free(records->items[i].value);
    free(records->items);
    push_deinit(&records->push);
    *records = (struct push_records){.id = ""};
}

/* ---- reading ---- */

static void take(struct push_records *records, enum kv_table table, struct kv_slice key,
                 struct kv_slice value)
{
    records->items = mem_grow(records->items, records->item_count, &records->item_capacity,
                              sizeof *records->items);
    struct push_record *item = &records->items[records->item_count++];
    *item = (struct push_record){.table = table, .size = value.size};
    item->key.size = key.size;
    memcpy(item->key.bytes, key.data, key.size);
    item->value = xmalloc(value.size + 1);
    memcpy(item->value, value.data, value.size);
}

static enum errc take_target(void *self, struct kv_slice key, struct kv_slice value, bool *enough,
                             struct error *err)
{
    (void)err;
    *enough = false;
    take(self, KV_PUSH_TARGETS, key, value);
    return ERR_OK;
}

static enum errc take_open(void *self, struct kv_slice key, struct kv_slice value, bool *enough,
                           struct error *err)
{
    (void)err;
    *enough = false;
    take(self, KV_OPEN_TARGETS, key, value);
    return ERR_OK;
}

static enum errc take_all(struct store *store, struct push_records *records, struct error *err)
{
    struct record_key key = push_key(records->id);
    struct record_key prefix = push_targets_prefix(records->id);
    struct kv_slice value;
    bool found = false;
    autotxn struct kv_txn txn = KV_TXN_INIT;
    if (kv_begin_read(store->kv, &txn, err) != ERR_OK ||
        kv_get(&txn, KV_PUSHES, record_key_slice(&key), &value, &found, err) != ERR_OK)
        return err->code;
    if (found)
        take(records, KV_PUSHES, record_key_slice(&key), value);
    if (kv_each(&txn, KV_PUSH_TARGETS, record_key_slice(&prefix), take_target, records, err) ==
        ERR_OK)
        kv_each(&txn, KV_OPEN_TARGETS, record_key_slice(&prefix), take_open, records, err);
    return err->code;
}

/* ---- judging ---- */

static void judge(struct push_records *records, enum push_verdict verdict, const char *reason)
{
    if (records->verdict != PUSH_GOOD && records->verdict != PUSH_INDEX_WRONG)
        return;
    records->verdict = verdict;
    snprintf(records->reason, sizeof records->reason, "%s", reason);
}

static void judge_push(struct push_records *records)
{
    const struct push_record *first = records->items;
    struct error err = ERROR_INIT;
    if (first->table != KV_PUSHES)
        judge(records, PUSH_UNREADABLE, "there are records of its targets, but none of the push");
    else if (push_decode(record_key_slice(&first->key), value_of(first), &records->push, &err) !=
             ERR_OK)
        judge(records, PUSH_UNREADABLE, err.text);
}

static bool is_open(const struct push_target *target)
{
    return target->stored && !push_state_is_final(target->state);
}

/* The number of the target that the record is of; beyond all of them: of none. */
static size_t index_of(const struct push_records *records, const struct push_record *item,
                       struct error *err)
{
    char id[PUSH_ID_MAX];
    size_t index = 0;
    if (push_target_key_decode(record_key_slice(&item->key), id, &index, err) == ERR_OK &&
        index >= records->push.target_count)
        fail(err, ERR_STORE, 0, "it belongs to no target of its push");
    return err->code == ERR_OK ? index : SIZE_MAX;
}

static void judge_target(struct push_records *records, struct push_record *item, bool *readable)
{
    struct error err = ERROR_INIT;
    size_t index = index_of(records, item, &err);
    if (index != SIZE_MAX &&
        push_target_decode(value_of(item), &records->push.targets[index], &err) == ERR_OK) {
        readable[index] = true;
        return;
    }
    item->bad = true;
    judge(records, PUSH_TARGET_UNREADABLE, err.text);
}

static void judge_open(struct push_records *records, struct push_record *item, bool *open)
{
    struct error err = ERROR_INIT;
    size_t index = index_of(records, item, &err);
    records->any_open = true;
    if (index != SIZE_MAX && is_open(&records->push.targets[index])) {
        open[index] = true;
        return;
    }
    item->bad = true;
    judge(records, PUSH_INDEX_WRONG, "a target that is over is recorded as open");
}

/* Only those that can be read are left. */
static void keep_readable(struct push *push, const bool *readable)
{
    size_t kept = 0;
    for (size_t i = 0; i < push->target_count; i++)
        if (readable[i])
            push->targets[kept++] = push->targets[i];
    push->target_count = kept;
}

static void judge_all(struct push_records *records)
{
    struct push *push = &records->push;
    judge_push(records);
    if (records->verdict == PUSH_UNREADABLE) {
        for (size_t i = 0; i < records->item_count; i++)
            records->any_open |= records->items[i].table == KV_OPEN_TARGETS;
        return;
    }
    autofree bool *readable = xcalloc(push->target_count + 1, sizeof *readable);
    autofree bool *open = xcalloc(push->target_count + 1, sizeof *open);
    for (size_t i = 0; i < records->item_count; i++)
        if (records->items[i].table == KV_PUSH_TARGETS)
            judge_target(records, &records->items[i], readable);
        else if (records->items[i].table == KV_OPEN_TARGETS)
            judge_open(records, &records->items[i], open);
    for (size_t i = 0; i < push->target_count; i++)
        if (!readable[i])
            judge(records, PUSH_TARGET_UNREADABLE, "the record of a target is missing");
        else if (is_open(&push->targets[i]) && !open[i])
            judge(records, PUSH_INDEX_WRONG, "a target that is open is not recorded as such");
    size_t before = push->target_count;
    keep_readable(push, readable);
    if (before > 0 && push->target_count == 0)
        records->verdict = PUSH_UNREADABLE;
}

enum errc push_records_read(struct store *store, const char *id, struct push_records *out,
                            struct error *err)
{
    struct push_records records = {.verdict = PUSH_GOOD};
    snprintf(records.id, sizeof records.id, "%s", id);
    if (take_all(store, &records, err) != ERR_OK) {
        push_records_deinit(&records);
        return err->code;
    }
    if (records.item_count == 0)
        records.verdict = PUSH_GONE;
    else
        judge_all(&records);
    *out = records;
    return ERR_OK;
}

/* ---- mending ---- */

static enum errc keep_bytes(struct quarantined *moved, const struct push_records *records,
                            struct error *err)
{
    for (size_t i = 0; i < records->item_count; i++) {
        const struct push_record *item = &records->items[i];
        bool goes = item->bad || records->verdict == PUSH_UNREADABLE;
        if (item->table != KV_OPEN_TARGETS && goes &&
            quarantine_record(moved, item->table, record_key_slice(&item->key), value_of(item),
                              records->reason, err) != ERR_OK)
            return err->code;
    }
    return ERR_OK;
}

static void expect_all(const struct push_records *records, struct change *change)
{
    for (size_t i = 0; i < records->item_count; i++) {
        const struct push_record *item = &records->items[i];
        const struct kv_slice value = value_of(item);
        change_expect(change, item->table, record_key_slice(&item->key), &value);
    }
}

static void delete_all(const struct push_records *records, struct change *change)
{
    for (size_t i = 0; i < records->item_count; i++) {
        const struct push_record *item = &records->items[i];
        if (records->verdict != PUSH_INDEX_WRONG || item->bad)
            change_delete(change, item->table, record_key_slice(&item->key));
    }
}

enum errc push_records_mend(struct store *store, const struct push_records *records, bool *mended,
                            struct error *err)
{
    bool index_only = records->verdict == PUSH_INDEX_WRONG;
    *mended = false;
    if (records->verdict == PUSH_GOOD || records->verdict == PUSH_GONE ||
        (records->any_open && !index_only && atomic_load(&store->pushes_taken)))
        return ERR_OK;
    autochange struct change change;
    change_init(&change);
    change.durable = true;
    change.essential = true;
    expect_all(records, &change);
    delete_all(records, &change);
    if (records->verdict != PUSH_UNREADABLE)
        push_put(&change, &records->push);
    autoquarantined struct quarantined moved = {.store = store, .change = &change};
    if (keep_bytes(&moved, records, err) != ERR_OK || quarantined_submit(&moved, err) != ERR_OK)
        return err->code;
    *mended = !change.superseded;
    return ERR_OK;
}

/* ---- by a record ---- */

bool push_mend_is_for(enum kv_table table)
{
    return table == KV_PUSHES || table == KV_PUSH_TARGETS || table == KV_OPEN_TARGETS;
}

bool push_mend_id(enum kv_table table, struct kv_slice key, char id[PUSH_ID_MAX])
{
    struct error err = ERROR_INIT;
    size_t index = 0;
    if (table != KV_PUSHES)
        return push_target_key_decode(key, id, &index, &err) == ERR_OK && id[0] != '\0';
    if (key.size == 0 || key.size >= PUSH_ID_MAX || memchr(key.data, 0, key.size) != NULL)
        return false;
    memcpy(id, key.data, key.size);
    id[key.size] = '\0';
    return true;
}

static enum errc move_alone(struct store *store, enum kv_table table, struct kv_slice key,
                            struct error *err)
{
    struct kv_slice value;
    bool found = false;
    autofree uint8_t *copy = NULL;
    autotxn struct kv_txn txn = KV_TXN_INIT;
    autochange struct change change;
    change_init(&change);
    change.durable = true;
    change.essential = true;
    if (kv_begin_read(store->kv, &txn, err) != ERR_OK ||
        kv_get(&txn, table, key, &value, &found, err) != ERR_OK || !found)
        return err->code;
    copy = xmalloc(value.size + 1);
    memcpy(copy, value.data, value.size);
    value.data = copy;
    kv_end(&txn);
    change_delete_same(&change, table, key, value);
    autoquarantined struct quarantined moved = {.store = store, .change = &change};
    if (quarantine_record(&moved, table, key, value, "its key is not that of a push", err) !=
        ERR_OK)
        return err->code;
    return quarantined_submit(&moved, err);
}

enum errc push_mend_record(struct store *store, enum kv_table table, struct kv_slice key,
                           struct error *err)
{
    char id[PUSH_ID_MAX];
    bool mended = false;
    autopush_records struct push_records records = {.id = ""};
    if (!push_mend_id(table, key, id))
        return move_alone(store, table, key, err);
    if (push_records_read(store, id, &records, err) != ERR_OK)
        return err->code;
    return push_records_mend(store, &records, &mended, err);
}
