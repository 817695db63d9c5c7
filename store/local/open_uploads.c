#include "store/open_uploads.h"

#include "base/mem.h"
#include "store/local/internal.h"
#include "store/local/records_open_uploads.h"

#include <string.h>

void open_upload_deinit(struct open_upload *upload)
{
    free(upload->endpoint);
    free(upload->location);
    upload->endpoint = upload->location = NULL;
}

void open_upload_copy(const struct open_upload *from, struct open_upload *to)
{
    *to = *from;
    to->endpoint = from->endpoint ? xstrdup(from->endpoint) : NULL;
    to->location = from->location ? xstrdup(from->location) : NULL;
}

bool open_upload_same(const struct open_upload *a, const struct open_upload *b)
{
    return digest_equal(&a->digest, &b->digest) && strcmp(a->source, b->source) == 0 &&
           strcmp(a->hmac, b->hmac) == 0;
}

static void change_add(struct change *change, const struct open_upload *upload)
{
    struct record_key key = open_upload_key(upload);
    if (upload->location == NULL) {
        change_delete(change, KV_OPEN_UPLOADS, record_key_slice(&key));
        return;
    }
    autofree uint8_t *value = NULL;
    size_t size = open_upload_value(upload, &value);
    change_put(change, KV_OPEN_UPLOADS, record_key_slice(&key), (struct kv_slice){value, size});
}

enum errc open_uploads_write(struct store *store, const struct open_upload *uploads, size_t count,
                             struct error *err)
{
    autochange struct change change;
    change_init(&change);
    change.saves_work = true;
    for (size_t i = 0; i < count; i++)
        change_add(&change, &uploads[i]);
    return writer_submit(store->writer, &change, err);
}

enum errc open_uploads_get(struct store *store, struct open_upload *upload, bool *found,
                           struct error *err)
{
    struct record_key key = open_upload_key(upload);
    struct kv_slice value;
    bool known = false;
    autotxn struct kv_txn txn = KV_TXN_INIT;
    if (kv_begin_read(store->kv, &txn, err) != ERR_OK ||
        kv_get(&txn, KV_OPEN_UPLOADS, record_key_slice(&key), &value, &known, err) != ERR_OK)
        return err->code;
    if (known && open_upload_decode(value, upload, err) != ERR_OK)
        return err->code;
    *found = known;
    return ERR_OK;
}

struct older {
    uint64_t before_s;
    struct open_upload *out;
    size_t most;
    size_t count;
};

static enum errc visit(void *self, struct kv_slice key, struct kv_slice value, bool *enough,
                       struct error *err)
{
    struct older *older = self;
    struct open_upload upload = {.at_s = 0};
    struct error unread = ERROR_INIT;
    (void)err;
    if (open_upload_key_decode(key, &upload, &unread) != ERR_OK ||
        open_upload_decode(value, &upload, &unread) != ERR_OK)
        return ERR_OK;
    if (upload.at_s < older->before_s)
        older->out[older->count++] = upload;
    else
        open_upload_deinit(&upload);
    *enough = older->count == older->most;
    return ERR_OK;
}

enum errc open_uploads_older(struct store *store, uint64_t before_s, struct open_upload *out,
                             size_t most, size_t *count, struct error *err)
{
    struct older older = {.before_s = before_s, .out = out, .most = most};
    autotxn struct kv_txn txn = KV_TXN_INIT;
    *count = 0;
    if (most == 0)
        return ERR_OK;
    if (kv_begin_read(store->kv, &txn, err) != ERR_OK)
        return err->code;
    kv_each(&txn, KV_OPEN_UPLOADS, (struct kv_slice){NULL, 0}, visit, &older, err);
    *count = older.count;
    return err->code;
}
