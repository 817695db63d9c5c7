#include "store/pushes.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/local/push_mend.h"
#include "store/local/quarantine_local.h"
#include "store/local/records_pushes.h"
#include "store/local/records_repositories.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

/* Targets in one change of pushes_change(). */
#define CHANGES_AT_ONCE 256

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

static uint64_t number_of(const char *id, size_t size)
{
    char hex[CHANGE_NUMBER_HEX + 1] = "";
    memcpy(hex, id, size < CHANGE_NUMBER_HEX ? size : CHANGE_NUMBER_HEX);
    return strtoull(hex, NULL, 16);
}

uint64_t push_id_number(const char *id)
{
    return number_of(id, strlen(id));
}

uint64_t push_id_time_s(const char *id)
{
    return push_id_number(id) / 1000;
}

/* Those that are accepted from now on sort behind it. */
static void meet(struct store *store, struct kv_slice id)
{
    uint64_t number = number_of(id.data, id.size);
    uint64_t last = atomic_load(&store->last_push);
    while (number > last && !atomic_compare_exchange_weak(&store->last_push, &last, number))
        ;
}

enum errc store_meet_pushes(struct store *store, struct error *err)
{
    struct kv_slice key;
    struct kv_slice value;
    bool any = false;
    autotxn struct kv_txn txn = KV_TXN_INIT;
    autocursor struct kv_cursor cursor = KV_CURSOR_INIT;
    if (kv_begin_read(store->kv, &txn, err) != ERR_OK ||
        kv_cursor_open(&txn, KV_PUSHES, (struct kv_slice){NULL, 0}, &cursor, err) != ERR_OK ||
        kv_cursor_back(&cursor, &key, &value, &any, err) != ERR_OK)
        return err->code;
    if (any)
        meet(store, key);
    return ERR_OK;
}

enum errc pushes_put(struct store *store, const struct push *push, bool durable, struct error *err)
{
    autochange struct change change;
    change_init(&change);
    change.durable = durable;
    change.saves_work = !durable;
    push_put(&change, push);
    return writer_submit(store->writer, &change, err);
}

/* The tag and the record change together, so whoever moves the tag is accepted before it or after
 * it, and never in between. */
enum errc pushes_put_held(struct store *store, struct push *push, const char *repository,
                          const char *tag, bool *current, struct error *err)
{
    char suffix[PUSH_SUFFIX_SIZE + 1];
    struct record_key key = tag_key(repository, tag);
    struct record_value value = tag_value(&push->manifest.digest);
    const struct kv_slice expected = record_value_slice(&value);
    autochange struct change change;
    push_suffix_make(suffix);
    push->created_s = (uint64_t)clock_wall_s();
    change_init(&change);
    change.durable = true;
    change_expect(&change, KV_TAGS, record_key_slice(&key), &expected);
    push_put_numbered(&change, push, suffix, &store->last_push);
    if (writer_submit(store->writer, &change, err) != ERR_OK)
        return err->code;
    *current = !change.superseded;
    if (*current)
        push_id_make(change.number, suffix, push->id);
    return ERR_OK;
}

/* A target that is pushed after the answer has a life of its own by now. */
static void record_over(struct change *change, const struct push *push)
{
    if (push_stored_targets(push) == 0) {
        push_put(change, push);
        return;
    }
    for (size_t i = 0; i < push->target_count; i++)
        if (!push->targets[i].stored)
            push_target_put(change, push->id, i, &push->targets[i]);
}

enum errc pushes_record(struct store *store, const struct push *const *pushes, size_t count,
                        struct error *err)
{
    autochange struct change change;
    change_init(&change);
    for (size_t i = 0; i < count; i++)
        record_over(&change, pushes[i]);
    return writer_submit(store->writer, &change, err);
}

enum errc pushes_remove(struct store *store, const char *id, struct error *err)
{
    struct push push;
    bool found = false;
    if (pushes_get(store, id, &push, &found, err) != ERR_OK || !found)
        return err->code;
    autochange struct change change;
    change_init(&change);
    change.durable = true;
    change.essential = true;
    push_remove_all(&change, id, push.target_count);
    push_deinit(&push);
    return writer_submit(store->writer, &change, err);
}

enum errc pushes_change(struct store *store, const struct push_change *changes, size_t count,
                        bool durable, struct error *err)
{
    for (size_t i = 0; i < count;) {
        autochange struct change change;
        change_init(&change);
        change.durable = durable;
        change.essential = true;
        for (size_t end = i + CHANGES_AT_ONCE; i < end && i < count; i++)
            push_target_put(&change, changes[i].id, changes[i].index, changes[i].target);
        if (writer_submit(store->writer, &change, err) != ERR_OK)
            return err->code;
    }
    return ERR_OK;
}

/* ---- reading ---- */

struct target_reader {
    struct push *push;
    size_t read;
};

static enum errc read_target(void *self, struct kv_slice key, struct kv_slice value, bool *enough,
                             struct error *err)
{
    struct target_reader *reader = self;
    char id[PUSH_ID_MAX];
    size_t index = 0;
    *enough = false;
    if (push_target_key_decode(key, id, &index, err) != ERR_OK)
        return err->code;
    if (index >= reader->push->target_count)
        return fail(err, ERR_STORE, 0, "a record of the table push_targets belongs to no target");
    reader->read++;
    return push_target_decode(value, &reader->push->targets[index], err);
}

/* ERR_STORE, and noted: one of its records cannot be read. */
static enum errc read_push(struct store *store, const struct kv_txn *txn, struct kv_slice key,
                           struct kv_slice value, struct push *out, struct error *err)
{
    struct push push;
    if (push_decode(key, value, &push, err) != ERR_OK)
        return quarantine_note(store, KV_PUSHES, key, value, err);
    struct record_key prefix = push_targets_prefix(push.id);
    struct target_reader reader = {.push = &push};
    if (kv_each(txn, KV_PUSH_TARGETS, record_key_slice(&prefix), read_target, &reader, err) ==
            ERR_OK &&
        reader.read < push.target_count)
        fail(err, ERR_STORE, 0, "the push %s lacks records of its targets", push.id);
    if (err->code == ERR_OK)
        *out = push;
    else
        push_deinit(&push);
    return err->code == ERR_STORE ? quarantine_note(store, KV_PUSHES, key, value, err) : err->code;
}

enum errc pushes_get(struct store *store, const char *id, struct push *out, bool *found,
                     struct error *err)
{
    struct record_key key = push_key(id);
    struct kv_slice value;
    autotxn struct kv_txn txn = KV_TXN_INIT;
    if (kv_begin_read(store->kv, &txn, err) != ERR_OK ||
        kv_get(&txn, KV_PUSHES, record_key_slice(&key), &value, found, err) != ERR_OK)
        return err->code;
    return *found ? read_push(store, &txn, record_key_slice(&key), value, out, err) : ERR_OK;
}

enum errc pushes_before(struct store *store, const char *before, struct push *out, size_t most,
                        size_t *count, struct error *err)
{
    struct kv_slice key;
    struct kv_slice value;
    bool more = true;
    autotxn struct kv_txn txn = KV_TXN_INIT;
    autocursor struct kv_cursor cursor = KV_CURSOR_INIT;
    *count = 0;
    if (kv_begin_read(store->kv, &txn, err) != ERR_OK ||
        kv_cursor_open(&txn, KV_PUSHES, (struct kv_slice){NULL, 0}, &cursor, err) != ERR_OK)
        return err->code;
    kv_cursor_seek_before(&cursor, (struct kv_slice){before, strlen(before)});
    while (*count < most) {
        if (kv_cursor_back(&cursor, &key, &value, &more, err) != ERR_OK)
            break;
        if (!more)
            return ERR_OK;
        if (read_push(store, &txn, key, value, &out[*count], err) == ERR_OK)
            ++*count;
        else if (err->code == ERR_STORE)
            error_clear(err); /* it is left out */
        else
            break;
    }
    while (err->code != ERR_OK && *count > 0)
        push_deinit(&out[--*count]);
    return err->code;
}

/* ---- open targets ---- */

/* Read at once: no transaction lasts while they are visited. */
#define OPEN_AT_ONCE 64

static enum errc read_open(const struct kv_txn *txn, struct kv_slice key, struct open_target *out,
                           struct error *err)
{
    struct kv_slice value;
    bool found = false;
    if (push_target_key_decode(key, out->id, &out->index, err) != ERR_OK ||
        kv_get(txn, KV_PUSH_TARGETS, key, &value, &found, err) != ERR_OK)
        return err->code;
    if (!found)
        return fail(err, ERR_STORE, 0, "a target that is open has no record");
    return push_target_decode(value, &out->target, err);
}

/* Those at `from` and behind it, which is moved behind what was read. */
static enum errc read_some_open(struct store *store, struct record_key *from,
                                struct open_target *items, size_t *count, struct error *err)
{
    struct kv_slice key;
    struct kv_slice value;
    bool more = true;
    autotxn struct kv_txn txn = KV_TXN_INIT;
    autocursor struct kv_cursor cursor = KV_CURSOR_INIT;
    *count = 0;
    if (kv_begin_read(store->kv, &txn, err) != ERR_OK ||
        kv_cursor_open(&txn, KV_OPEN_TARGETS, (struct kv_slice){NULL, 0}, &cursor, err) != ERR_OK)
        return err->code;
    if (from->size > 0)
        kv_cursor_seek(&cursor, record_key_slice(from));
    while (*count < OPEN_AT_ONCE) {
        if (kv_cursor_next(&cursor, &key, &value, &more, err) != ERR_OK)
            return err->code;
        if (!more)
            return ERR_OK;
        if (read_open(&txn, key, &items[*count], err) == ERR_OK)
            ++*count;
        else if (err->code != ERR_STORE || quarantine_skip(store, KV_OPEN_TARGETS, key, value, err))
            return err->code;
    }
    *from = push_target_key(items[*count - 1].id, items[*count - 1].index + 1);
    return ERR_OK;
}

/* Those that were read last, so that a push with many targets is read once. */
struct readable {
    struct store *store;
    const struct kv_txn *txn;
    char id[PUSH_ID_MAX];
    size_t targets;
};

static enum errc read_push_of(struct readable *readable, struct error *err)
{
    struct record_key key = push_key(readable->id);
    struct kv_slice value;
    struct push push;
    bool found = false;
    if (kv_get(readable->txn, KV_PUSHES, record_key_slice(&key), &value, &found, err) != ERR_OK)
        return err->code;
    if (!found)
        return fail(err, ERR_STORE, 0, "a target that is open belongs to no push");
    if (read_push(readable->store, readable->txn, record_key_slice(&key), value, &push, err) !=
        ERR_OK)
        return err->code;
    readable->targets = push.target_count;
    push_deinit(&push);
    return ERR_OK;
}

static enum errc check_open(void *self, struct kv_slice key, struct kv_slice value, bool *enough,
                            struct error *err)
{
    struct readable *readable = self;
    char id[PUSH_ID_MAX];
    size_t index = 0;
    *enough = false;
    if (push_target_key_decode(key, id, &index, err) != ERR_OK)
        return quarantine_skip(readable->store, KV_OPEN_TARGETS, key, value, err);
    if (strcmp(id, readable->id) != 0) {
        memcpy(readable->id, id, sizeof id);
        readable->targets = SIZE_MAX;
        if (read_push_of(readable, err) != ERR_OK)
            return err->code == ERR_STORE
                       ? quarantine_skip(readable->store, KV_OPEN_TARGETS, key, value, err)
                       : err->code;
    }
    if (index < readable->targets)
        return ERR_OK;
    fail(err, ERR_STORE, 0, "a target that is open belongs to no push");
    return quarantine_skip(readable->store, KV_OPEN_TARGETS, key, value, err);
}

/* Before the queue knows the targets by their numbers, so that those that can be read go on. So
 * many rounds, as each notes a bounded number of records. */
#define MEND_ROUNDS 1000

static enum errc mend_open(struct store *store, struct error *err)
{
    size_t moved = 1;
    for (unsigned i = 0; i < MEND_ROUNDS && moved > 0; i++) {
        autotxn struct kv_txn txn = KV_TXN_INIT;
        struct readable readable = {.store = store, .txn = &txn};
        if (kv_begin_read(store->kv, &txn, err) != ERR_OK ||
            kv_each(&txn, KV_OPEN_TARGETS, (struct kv_slice){NULL, 0}, check_open, &readable,
                    err) != ERR_OK)
            return err->code;
        kv_end(&txn);
        if (quarantine_unreadable(store, &moved, err) != ERR_OK)
            return err->code;
    }
    return ERR_OK;
}

enum errc pushes_each_open(struct store *store, pushes_visit *visit, void *self, struct error *err)
{
    autofree struct open_target *items = xcalloc(OPEN_AT_ONCE, sizeof *items);
    struct record_key from = {.size = 0};
    size_t count = OPEN_AT_ONCE;
    if (!atomic_load(&store->pushes_taken) && mend_open(store, err) != ERR_OK)
        return err->code;
    atomic_store(&store->pushes_taken, true);
    while (count == OPEN_AT_ONCE) {
        if (read_some_open(store, &from, items, &count, err) != ERR_OK)
            return err->code;
        for (size_t i = 0; i < count; i++)
            visit(self, &items[i]);
    }
    return ERR_OK;
}

/* ---- history ---- */

#define FORGET_AT_ONCE 256

/* One walk from the oldest push on. */
struct forgetting {
    struct store *store;
    const struct pushes_history *history;
    const struct kv_txn *txn;
    struct change *change;
    size_t left; /* pushes */
    size_t forgotten;
};

/* *enough: neither this push nor a younger one is too much. */
static enum errc forget_one(void *self, struct kv_slice key, struct kv_slice value, bool *enough,
                            struct error *err)
{
    struct forgetting *forgetting = self;
    const struct pushes_history *history = forgetting->history;
    struct push push;
    bool open = false;
    if (push_decode(key, value, &push, err) != ERR_OK)
        return quarantine_skip(forgetting->store, KV_PUSHES, key, value, err);
    struct record_key prefix = push_targets_prefix(push.id);
    *enough = forgetting->left <= history->count && push.created_s >= history->from_s;
    if (!*enough &&
        kv_any(forgetting->txn, KV_OPEN_TARGETS, record_key_slice(&prefix), &open, err) == ERR_OK &&
        !open) {
        push_remove_all(forgetting->change, push.id, push.target_count);
        forgetting->left--;
        forgetting->forgotten++;
    }
    push_deinit(&push);
    *enough = *enough || forgetting->forgotten == FORGET_AT_ONCE;
    return err->code;
}

enum errc pushes_forget(struct store *store, const struct pushes_history *history,
                        size_t *forgotten, bool *more, struct error *err)
{
    autotxn struct kv_txn txn = KV_TXN_INIT;
    autochange struct change change;
    struct forgetting forgetting = {
        .store = store, .history = history, .txn = &txn, .change = &change};
    change_init(&change);
    change.essential = true;
    if (kv_begin_read(store->kv, &txn, err) != ERR_OK ||
        kv_count(&txn, KV_PUSHES, &forgetting.left, err) != ERR_OK ||
        kv_each(&txn, KV_PUSHES, (struct kv_slice){NULL, 0}, forget_one, &forgetting, err) !=
            ERR_OK)
        return err->code;
    kv_end(&txn);
    *forgotten = forgetting.forgotten;
    *more = forgetting.forgotten == FORGET_AT_ONCE;
    return *forgotten > 0 ? writer_submit(store->writer, &change, err) : ERR_OK;
}
