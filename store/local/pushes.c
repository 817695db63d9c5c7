#include "store/pushes.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/local/internal.h"
#include "store/local/records_pushes.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

/* Records in one change of pushes_update(). */
#define UPDATE_BATCH 256

_Static_assert(PUSH_VALUE_MAX <= CHANGE_VALUE_MAX, "a push fits a change");

/* What follows the number in an id: chance, so that ids cannot be guessed. */
void push_suffix_make(char suffix[PUSH_SUFFIX_SIZE + 1])
{
    uint8_t chance[PUSH_SUFFIX_SIZE / 2] = {0};
    if (getrandom(chance, sizeof chance, 0) != sizeof chance)
        log_warn("no random bytes for a push id");
    for (size_t i = 0; i < sizeof chance; i++)
        snprintf(suffix + 2 * i, 3, "%02x", chance[i]);
}

void push_id_make(uint64_t number, const char *suffix, char id[PUSH_ID_MAX])
{
    snprintf(id, PUSH_ID_MAX, "%0*" PRIx64 "%s", CHANGE_NUMBER_HEX, number, suffix);
}

void pushes_accept(struct store *store, struct push *push)
{
    char suffix[PUSH_SUFFIX_SIZE + 1];
    push_suffix_make(suffix);
    push_id_make(change_next_number(&store->last_push), suffix, push->id);
    push->created_s = (uint64_t)clock_wall_s();
}

/* Those that are accepted from now on sort behind it. */
static void met(struct store *store, const char *id)
{
    char hex[CHANGE_NUMBER_HEX + 1] = "";
    memcpy(hex, id, strnlen(id, CHANGE_NUMBER_HEX));
    uint64_t number = strtoull(hex, NULL, 16);
    uint64_t last = atomic_load(&store->last_push);
    while (number > last && !atomic_compare_exchange_weak(&store->last_push, &last, number))
        ;
}

enum errc pushes_put(struct store *store, const struct push *push, struct error *err)
{
    struct record_key key = push_key(push->id);
    autofree uint8_t *value = NULL;
    size_t size = push_value(push, &value);
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

static void add_record(struct change *change, const struct push *push)
{
    struct record_key key = push_key(push->id);
    autofree uint8_t *value = NULL;
    if (!push_is_waiting(push)) {
        change_delete(change, KV_PUSHES, record_key_slice(&key));
        return;
    }
    size_t size = push_value(push, &value);
    change_put(change, KV_PUSHES, record_key_slice(&key), (struct kv_slice){value, size});
}

enum errc pushes_update(struct store *store, struct push *const *pushes, size_t count,
                        struct error *err)
{
    for (size_t i = 0; i < count;) {
        autochange struct change change;
        change_init(&change);
        change.durable = true;
        for (size_t end = i + UPDATE_BATCH; i < end && i < count; i++)
            add_record(&change, pushes[i]);
        if (writer_submit(store->writer, &change, err) != ERR_OK)
            return err->code;
    }
    return ERR_OK;
}

struct push_list {
    struct push *items;
    size_t count;
    size_t capacity;
};

static void push_list_deinit(struct push_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        push_deinit(&list->items[i]);
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

enum errc pushes_list(struct store *store, struct push **out, size_t *count, struct error *err)
{
    __attribute__((cleanup(push_list_deinit))) struct push_list all = {.items = NULL};
    autotxn struct kv_txn txn = KV_TXN_INIT;
    autocursor struct kv_cursor cursor = KV_CURSOR_INIT;
    if (kv_begin_read(store->kv, &txn, err) != ERR_OK ||
        kv_cursor_open(&txn, KV_PUSHES, (struct kv_slice){NULL, 0}, &cursor, err) != ERR_OK ||
        list(&cursor, &all, err) != ERR_OK)
        return err->code;
    for (size_t i = 0; i < all.count; i++)
        met(store, all.items[i].id);
    *count = all.count;
    all.count = 0;
    *out = mem_take(&all.items);
    return ERR_OK;
}
