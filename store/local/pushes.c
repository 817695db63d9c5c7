#include "store/pushes.h"

#include "base/mem.h"
#include "store/local/internal.h"
#include "store/local/records_pushes.h"

_Static_assert(PUSH_VALUE_MAX <= CHANGE_VALUE_MAX, "a push fits a change");

void push_record_deinit(struct push_record *record)
{
    free(record->targets);
    free(record->referrers);
    record->targets = NULL;
    record->referrers = NULL;
    record->target_count = record->referrer_count = 0;
}

enum errc pushes_put(struct store *store, const struct push_record *record, struct error *err)
{
    struct record_key key = push_key(record->id);
    autofree uint8_t *value = NULL;
    size_t size = 0;
    if (push_value(record, &value, &size, err) != ERR_OK)
        return err->code;
    autochange struct change change;
    change_init(&change);
    change.durable = true;
    change_put(&change, KV_PUSHES, record_key_slice(&key), (struct kv_slice){value, size});
    return writer_submit(store->writer, &change, err);
}

enum errc pushes_remove(struct store *store, const char *id, struct error *err)
{
    struct record_key key = push_key(id);
    autochange struct change change;
    change_init(&change);
    change.durable = true;
    change_delete(&change, KV_PUSHES, record_key_slice(&key));
    return writer_submit(store->writer, &change, err);
}

struct push_list {
    struct push_record *items;
    size_t count;
    size_t capacity;
};

static void push_list_deinit(struct push_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        push_record_deinit(&list->items[i]);
    free(list->items);
}

static enum errc list(struct kv_cursor *cursor, struct push_list *all, struct error *err)
{
    for (;;) {
        struct kv_slice key;
        struct kv_slice value;
        bool more = false;
        if (kv_cursor_next(cursor, &key, &value, &more, err) != ERR_OK)
            return err->code;
        if (!more)
            return ERR_OK;
        if (all->count == all->capacity) {
            all->capacity = all->capacity ? 2 * all->capacity : 8;
            all->items = xrealloc(all->items, all->capacity, sizeof *all->items);
        }
        if (push_decode(key, value, &all->items[all->count], err) != ERR_OK)
            return err->code;
        all->count++;
    }
}

enum errc pushes_list(struct store *store, struct push_record **out, size_t *count,
                      struct error *err)
{
    __attribute__((cleanup(push_list_deinit))) struct push_list all = {.items = NULL};
    autotxn struct kv_txn txn = KV_TXN_INIT;
    autocursor struct kv_cursor cursor = KV_CURSOR_INIT;
    if (kv_begin_read(store->kv, &txn, err) != ERR_OK ||
        kv_cursor_open(&txn, KV_PUSHES, (struct kv_slice){NULL, 0}, &cursor, err) != ERR_OK ||
        list(&cursor, &all, err) != ERR_OK)
        return err->code;
    *count = all.count;
    all.count = 0;
    *out = mem_take(&all.items);
    return ERR_OK;
}
