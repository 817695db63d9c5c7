#include "store/local/kv/change.h"

#include "base/clock.h"
#include "base/mem.h"

#include <assert.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum kind { PUT, PUT_NEW, PUT_NUMBERED, SWAP, DELETE, DELETE_SAME, EXPECT_VALUE, EXPECT_NONE };

struct operation {
    struct operation *next;
    enum kind kind;
    enum kv_table table;
    struct kv_slice key; /* the slices point into `bytes` */
    struct kv_slice expected;
    struct kv_slice value;
    _Atomic uint64_t *last; /* of PUT_NUMBERED */
    uint8_t bytes[];
};

void change_init(struct change *change)
{
    memset(change, 0, sizeof *change);
}

void change_deinit(struct change *change)
{
    while (change->first != NULL) {
        struct operation *operation = change->first;
        change->first = operation->next;
        if (change->secret)
            explicit_bzero(operation->bytes, operation->key.size + operation->value.size);
        free(operation);
    }
    change->last = NULL;
}

static struct kv_slice copy_in(uint8_t **at, struct kv_slice slice)
{
    struct kv_slice copy = {.data = *at, .size = slice.size};
    if (slice.size > 0)
        memcpy(*at, slice.data, slice.size);
    *at += slice.size;
    return copy;
}

static void add(struct change *change, enum kind kind, enum kv_table table, struct kv_slice key,
                struct kv_slice expected, struct kv_slice value)
{
    assert(table < KV_TABLE_COUNT && key.size > 0 && key.size <= KV_KEY_MAX);
    assert(expected.size <= CHANGE_VALUE_MAX && value.size <= CHANGE_VALUE_MAX);
    struct operation *operation =
        xmalloc(sizeof *operation + key.size + expected.size + value.size);
    uint8_t *at = operation->bytes;
    operation->next = NULL;
    operation->kind = kind;
    operation->table = table;
    operation->key = copy_in(&at, key);
    operation->expected = copy_in(&at, expected);
    operation->value = copy_in(&at, value);
    if (change->last != NULL)
        change->last->next = operation;
    else
        change->first = operation;
    change->last = operation;
    change->grows |= kind == PUT || kind == PUT_NEW || kind == PUT_NUMBERED || kind == SWAP;
}

static const struct kv_slice nothing;

void change_put(struct change *change, enum kv_table table, struct kv_slice key,
                struct kv_slice value)
{
    add(change, PUT, table, key, nothing, value);
}

void change_put_new(struct change *change, enum kv_table table, struct kv_slice key,
                    struct kv_slice value)
{
    add(change, PUT_NEW, table, key, nothing, value);
}

/* The digits are filled in when the change is applied. */
void change_put_numbered(struct change *change, enum kv_table table, _Atomic uint64_t *last,
                         struct kv_slice suffix, struct kv_slice value)
{
    uint8_t key[KV_KEY_MAX] = {0};
    assert(CHANGE_NUMBER_HEX + suffix.size <= sizeof key);
    memcpy(key + CHANGE_NUMBER_HEX, suffix.data, suffix.size);
    add(change, PUT_NUMBERED, table, (struct kv_slice){key, CHANGE_NUMBER_HEX + suffix.size},
        nothing, value);
    change->last->last = last;
}

uint64_t change_next_number(_Atomic uint64_t *last)
{
    uint64_t now_ms = (uint64_t)clock_wall_ms();
    uint64_t before = atomic_load(last);
    uint64_t number;
    do
        number = now_ms > before ? now_ms : before + 1;
    while (!atomic_compare_exchange_weak(last, &before, number));
    return number;
}

void change_swap(struct change *change, enum kv_table table, struct kv_slice key,
                 struct kv_slice expected, struct kv_slice value)
{
    add(change, SWAP, table, key, expected, value);
}

void change_delete(struct change *change, enum kv_table table, struct kv_slice key)
{
    add(change, DELETE, table, key, nothing, nothing);
}

void change_delete_same(struct change *change, enum kv_table table, struct kv_slice key,
                        struct kv_slice expected)
{
    add(change, DELETE_SAME, table, key, expected, nothing);
}

void change_expect(struct change *change, enum kv_table table, struct kv_slice key,
                   const struct kv_slice *expected)
{
    if (expected != NULL)
        add(change, EXPECT_VALUE, table, key, *expected, nothing);
    else
        add(change, EXPECT_NONE, table, key, nothing, nothing);
}

static bool same(struct kv_slice a, struct kv_slice b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static bool is_expectation(const struct operation *operation)
{
    return operation->kind == EXPECT_VALUE || operation->kind == EXPECT_NONE;
}

/* Does the table stand as the operation wants it? */
static enum errc applies(const struct operation *operation, const struct kv_txn *txn, bool *out,
                         struct error *err)
{
    *out = true;
    if (operation->kind == PUT || operation->kind == PUT_NUMBERED || operation->kind == DELETE)
        return ERR_OK;
    bool found = false;
    struct kv_slice now = nothing;
    if (kv_get(txn, operation->table, operation->key, &now, &found, err) != ERR_OK)
        return err->code;
    bool wants_none = operation->kind == PUT_NEW || operation->kind == EXPECT_NONE;
    *out = wants_none ? !found : found && same(now, operation->expected);
    return ERR_OK;
}

static enum errc apply(const struct operation *operation, struct kv_txn *txn, struct error *err)
{
    bool wanted = false;
    if (applies(operation, txn, &wanted, err) != ERR_OK)
        return err->code;
    if (!wanted)
        return ERR_OK;
    if (operation->kind == DELETE || operation->kind == DELETE_SAME)
        return kv_delete(txn, operation->table, operation->key, err);
    return kv_put(txn, operation->table, operation->key, operation->value, err);
}

static void number(struct change *change, struct operation *operation)
{
    char hex[CHANGE_NUMBER_HEX + 1];
    if (change->number == 0)
        change->number = change_next_number(operation->last);
    snprintf(hex, sizeof hex, "%0*" PRIx64, CHANGE_NUMBER_HEX, change->number);
    memcpy(operation->bytes, hex, CHANGE_NUMBER_HEX);
}

enum errc change_apply(struct change *change, struct kv_txn *txn, struct error *err)
{
    struct operation *operation;
    bool holds = true;
    change->number = 0;
    for (operation = change->first; operation != NULL && holds; operation = operation->next)
        if (is_expectation(operation) && applies(operation, txn, &holds, err) != ERR_OK)
            return err->code;
    change->superseded = !holds;
    for (operation = change->first; operation != NULL && holds; operation = operation->next)
        if (operation->kind == PUT_NUMBERED)
            number(change, operation);
    for (operation = change->first; operation != NULL && holds; operation = operation->next)
        if (!is_expectation(operation) && apply(operation, txn, err) != ERR_OK)
            return err->code;
    return ERR_OK;
}
