#include "store/local/check_internal.h"

#include "base/mem.h"

#include <errno.h>
#include <string.h>

/* ---- what a finding is judged by ---- */

void check_judged_keep(struct judged *judged, enum kv_table table, struct kv_slice key,
                       const struct kv_slice *value)
{
    free(judged->value);
    *judged = (struct judged){.known = true, .table = table, .key = {.size = key.size}};
    memcpy(judged->key.bytes, key.data, key.size);
    if (value == NULL)
        return;
    judged->size = value->size;
    judged->value = xmalloc(value->size + 1);
    memcpy(judged->value, value->data, value->size);
}

void check_judged_forget(struct check *check)
{
    free(check->self.value);
    free(check->other.value);
    check->self = check->other = (struct judged){.known = false};
}

/* ---- one record ---- */

static enum errc look_within(struct check_look *look, struct error *err)
{
    struct finding *finding = look->finding;
    finding->place = CHECK_RECORD;
    finding->kind = CHECK_WELL;
    if (check_look_table(look, err) == ERR_OK || err->code != ERR_STORE)
        return err->code;
    check_finding_fill(finding, CHECK_UNREADABLE, "%s", err->text);
    error_clear(err);
    return ERR_OK;
}

/* When the transaction is over. */
static enum errc look_beyond(const struct check_look *look, struct error *err)
{
    if (look->finding->kind != CHECK_WELL)
        return ERR_OK;
    if (look->push[0] != '\0')
        return check_look_push(look->check, look->push, look->finding, err);
    if (look->image.algorithm != DIGEST_NONE)
        return check_look_image(look->check, &look->image, look->finding, err);
    return ERR_OK;
}

static enum errc look_at_blob(struct check *check, struct finding *finding, struct error *err)
{
    struct digest digest;
    autoblob struct blob blob = BLOB_INIT;
    struct error undecoded = ERROR_INIT;
    if (blob_key_decode(record_key_slice(&finding->key), &digest, &undecoded) != ERR_OK) {
        check_finding_fill(finding, CHECK_UNREADABLE, "%s", undecoded.text);
        return ERR_OK;
    }
    enum errc rc = blob_open(check->store, &digest, &blob, err);
    if (rc == ERR_BLOB_CORRUPT)
        check_finding_fill(finding, err->sys == ENOENT ? CHECK_LOST : CHECK_CORRUPT, "%s",
                           err->text);
    else if (rc == ERR_STORE)
        check_finding_fill(finding, CHECK_UNREADABLE, "%s", err->text);
    else if (rc != ERR_BLOB_UNKNOWN)
        return rc;
    error_clear(err);
    return ERR_OK;
}

enum errc check_look_record(struct check *check, struct finding *finding, struct error *err)
{
    autotxn struct kv_txn txn = KV_TXN_INIT;
    struct check_look look = {.check = check, .txn = &txn, .finding = finding};
    bool found = false;
    look.key = record_key_slice(&finding->key);
    finding->kind = CHECK_WELL;
    check_judged_forget(check);
    if (kv_begin_read(check->store->kv, &txn, err) != ERR_OK ||
        kv_get(&txn, finding->table, look.key, &look.value, &found, err) != ERR_OK || !found)
        return err->code;
    check_judged_keep(&check->self, finding->table, look.key, &look.value);
    if (finding->table == KV_BLOBS) {
        kv_end(&txn);
        return look_at_blob(check, finding, err);
    }
    if (look_within(&look, err) != ERR_OK)
        return err->code;
    kv_end(&txn);
    return look_beyond(&look, err);
}

/* ---- many ---- */

/* What one transaction has left to do. */
struct chunk {
    struct finding findings[CHECK_AT_ONCE];
    struct check_look looks[CHECK_AT_ONCE];
    size_t count;
};

static void take(struct chunk *chunk, const struct check_look *look)
{
    if (look->finding->kind == CHECK_WELL && look->push[0] == '\0' &&
        look->image.algorithm == DIGEST_NONE)
        return;
    chunk->looks[chunk->count++] = *look;
}

/* False: there is nothing behind it. */
static bool go_behind(struct record_key *from, struct kv_slice key)
{
    memcpy(from->bytes, key.data, key.size);
    from->size = key.size;
    if (key.size < sizeof from->bytes) {
        from->bytes[from->size++] = 0;
        return true;
    }
    while (from->size > 0 && from->bytes[from->size - 1] == UINT8_MAX)
        from->size--;
    if (from->size == 0)
        return false;
    from->bytes[from->size - 1]++;
    return true;
}

static enum errc look_at_one(struct check *check, enum kv_table table, const struct kv_txn *txn,
                             struct chunk *chunk, struct kv_slice key, struct kv_slice value,
                             struct error *err)
{
    struct finding *finding = &chunk->findings[chunk->count];
    struct check_look look = {
        .check = check, .txn = txn, .key = key, .value = value, .finding = finding};
    finding->table = table;
    finding->key.size = key.size;
    memcpy(finding->key.bytes, key.data, key.size);
    check->counts.records++;
    if (look_within(&look, err) != ERR_OK)
        return err->code;
    take(chunk, &look);
    return ERR_OK;
}

static enum errc look_at_some(struct check *check, enum kv_table table, struct chunk *chunk,
                              bool *more, struct error *err)
{
    struct kv_slice key;
    struct kv_slice value;
    autotxn struct kv_txn txn = KV_TXN_INIT;
    autocursor struct kv_cursor cursor = KV_CURSOR_INIT;
    if (kv_begin_read(check->store->kv, &txn, err) != ERR_OK ||
        kv_cursor_open(&txn, table, (struct kv_slice){NULL, 0}, &cursor, err) != ERR_OK)
        return err->code;
    if (check->from.size > 0)
        kv_cursor_seek(&cursor, record_key_slice(&check->from));
    for (size_t i = 0; i < CHECK_AT_ONCE; i++) {
        if (kv_cursor_next(&cursor, &key, &value, more, err) != ERR_OK)
            return err->code;
        if (!*more)
            return ERR_OK;
        if (look_at_one(check, table, &txn, chunk, key, value, err) != ERR_OK)
            return err->code;
    }
    *more = go_behind(&check->from, key);
    return ERR_OK;
}

enum errc check_table(struct check *check, enum kv_table table, bool *more, struct error *err)
{
    autofree struct chunk *chunk = xmalloc(sizeof *chunk);
    chunk->count = 0;
    if (look_at_some(check, table, chunk, more, err) != ERR_OK)
        return err->code;
    for (size_t i = 0; i < chunk->count; i++) {
        if (look_beyond(&chunk->looks[i], err) != ERR_OK)
            return err->code;
        if (chunk->looks[i].finding->kind != CHECK_WELL &&
            check_found(check, chunk->looks[i].finding, err) != ERR_OK)
            return err->code;
    }
    return ERR_OK;
}
