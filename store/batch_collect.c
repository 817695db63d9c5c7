#include "store/batch.h"

#include "base/mem.h"
#include "store/backend.h"

#include <assert.h>
#include <string.h>

struct batch *batch_begin(struct store *store, enum durability durability)
{
    struct batch *batch = xcalloc(1, sizeof *batch);
    batch->store = store;
    batch->durability = durability;
    stage_begin(batch);
    return batch;
}

void batch_abort_at(struct batch **batch)
{
    batch_abort(*batch);
}

void batch_abort(struct batch *batch)
{
    if (batch == NULL)
        return;
    assert(batch->open_writers == 0);
    stage_end(batch);
    for (size_t i = 0; i < batch->reference_count; i++)
        free(batch->references[i].media_type);
    batch_free_repositories(batch);
    free(batch->references);
    free(batch->layers);
    free(batch->starts);
    free(batch->held);
    free(batch->blobs);
    digest_map_deinit(&batch->places);
    free(batch);
}

void *batch_grow(void *items, size_t count, size_t *capacity, size_t item_size, struct error *err)
{
    if (count == BATCH_ITEMS_MAX) {
        fail(err, ERR_ARCHIVE_TOO_LARGE, 0, "more than %d blobs or records in one image",
             BATCH_ITEMS_MAX);
        return NULL;
    }
    return mem_grow(items, count, capacity, item_size);
}

void batch_make_durable(struct batch *batch)
{
    batch->durability = BATCH_DURABLE;
}

void batch_limit_expansion(struct batch *batch, const struct expansion *expansion)
{
    batch->expansion = *expansion;
}

enum errc batch_count_write(struct batch *batch, size_t size, struct error *err)
{
    const struct expansion *expansion = &batch->expansion;
    uint64_t most = UINT64_MAX;
    if (expansion->received_bytes != NULL) {
        uint64_t received = *expansion->received_bytes;
        if (__builtin_mul_overflow(received, expansion->times, &most) ||
            __builtin_add_overflow(most, expansion->free_bytes, &most))
            most = UINT64_MAX;
        if (batch->written_bytes > most || size > most - batch->written_bytes)
            return fail(err, ERR_ARCHIVE_TOO_LARGE, 0,
                        "the archive expands too much: its %llu bytes so far may become %llu "
                        "stored ones, %llu and %llu times what was received",
                        (unsigned long long)received, (unsigned long long)most,
                        (unsigned long long)expansion->free_bytes,
                        (unsigned long long)expansion->times);
    }
    batch->written_bytes += size;
    return ERR_OK;
}

struct batch_blob *batch_find(struct batch *batch, const struct digest *digest)
{
    const struct digest_item *place = digest_map_find(&batch->places, digest);
    return place && place->number > 0 ? &batch->blobs[place->number - 1] : NULL;
}

enum errc batch_make_room(struct batch *batch, struct error *err)
{
    void *grown = batch_grow(batch->blobs, batch->blob_count, &batch->blob_capacity,
                             sizeof *batch->blobs, err);
    if (grown == NULL)
        return err->code;
    batch->blobs = grown;
    return ERR_OK;
}

enum errc batch_add_blob(struct batch *batch, const struct digest *digest, uint64_t size,
                         uint32_t number, struct error *err)
{
    if (batch_find(batch, digest) != NULL) {
        stage_drop(batch, number);
        return ERR_OK;
    }
    if (batch_make_room(batch, err) != ERR_OK) {
        stage_drop(batch, number);
        return err->code;
    }
    batch->blobs[batch->blob_count++] =
        (struct batch_blob){.digest = *digest, .size = size, .number = number};
    digest_map_add(&batch->places, digest)->number = batch->blob_count;
    return ERR_OK;
}

enum errc batch_put_blob(struct batch *batch, const void *data, size_t size, struct digest *digest,
                         struct error *err)
{
    struct digest sha256 = digest_of(DIGEST_SHA256, data, size);
    struct blob_writer *writer = NULL;
    if (blob_writer_open(batch, &writer, err) != ERR_OK)
        return err->code;
    if (blob_writer_write(writer, data, size, err) != ERR_OK) {
        blob_writer_abort(writer);
        return err->code;
    }
    if (blob_writer_commit(writer, &sha256, err) != ERR_OK)
        return err->code;
    *digest = sha256;
    return ERR_OK;
}

enum errc batch_bring_ahead(struct batch *batch, const struct digest *digest, struct error *err)
{
    const struct batch_blob *blob = batch_find(batch, digest);
    if (blob == NULL)
        return ERR_OK;
    autobatch struct batch *ahead = batch_begin(batch->store, BATCH_VOLATILE);
    if (stage_share_blob(batch, blob, ahead, err) != ERR_OK)
        return err->code;
    return batch_commit(mem_take(&ahead), err);
}

void batch_drop_blob(struct batch *batch, const struct digest *digest)
{
    struct batch_blob *blob = batch_find(batch, digest);
    if (blob == NULL)
        return;
    stage_drop(batch, blob->number);
    const struct batch_blob *last = &batch->blobs[--batch->blob_count];
    digest_map_find(&batch->places, &last->digest)->number = (size_t)(blob - batch->blobs) + 1;
    digest_map_find(&batch->places, digest)->number = 0;
    *blob = *last;
}

enum errc batch_hold_blob(struct batch *batch, const struct digest *digest, struct error *err)
{
    char text[DIGEST_TEXT_MAX];
    bool held = false;
    if (backend_hold_blob(batch, digest, &held, err) != ERR_OK)
        return err->code;
    if (!held)
        return fail(err, ERR_BLOB_UNKNOWN, 0, "blob %s is not held", digest_text(digest, text));
    void *grown =
        batch_grow(batch->held, batch->held_count, &batch->held_capacity, sizeof *batch->held, err);
    if (grown == NULL)
        return err->code;
    batch->held = grown;
    batch->held[batch->held_count++] = *digest;
    return ERR_OK;
}

enum errc batch_open_blob(struct batch *batch, const struct digest *digest, struct blob *out,
                          struct error *err)
{
    const struct batch_blob *blob = batch_find(batch, digest);
    if (blob == NULL)
        return blob_open(batch->store, digest, out, err);
    return stage_open_blob(batch, blob, out, err);
}

enum errc batch_read_all(struct batch *batch, const struct digest *digest, size_t limit_bytes,
                         const char *what, char **data, size_t *size, struct error *err)
{
    autoblob struct blob blob = BLOB_INIT;
    const struct batch_blob *own = batch_find(batch, digest);
    if (own == NULL)
        return blob_read_all(batch->store, digest, limit_bytes, what, data, size, err);
    const void *peeked = own->size <= limit_bytes ? stage_peek(batch, own) : NULL;
    if (peeked) {
        *data = xmalloc((size_t)own->size + 1);
        memcpy(*data, peeked, (size_t)own->size);
        (*data)[own->size] = '\0';
        *size = (size_t)own->size;
        return ERR_OK;
    }
    if (batch_open_blob(batch, digest, &blob, err) != ERR_OK)
        return error_wrap(err, "%s", what);
    return blob_slurp(&blob, limit_bytes, what, data, size, err);
}

void batch_put_layer(struct batch *batch, const struct digest *diff_id,
                     const struct layer_form *form)
{
    void *grown = batch_grow(batch->layers, batch->layer_count, &batch->layer_capacity,
                             sizeof *batch->layers, &batch->error);
    if (grown == NULL)
        return;
    batch->layers = grown;
    batch->layers[batch->layer_count++] = (struct batch_layer){.diff_id = *diff_id, .form = *form};
}

void batch_put_start(struct batch *batch, const struct digest *start, const struct digest *diff_id)
{
    void *grown = batch_grow(batch->starts, batch->start_count, &batch->start_capacity,
                             sizeof *batch->starts, &batch->error);
    if (grown == NULL)
        return;
    batch->starts = grown;
    batch->starts[batch->start_count++] =
        (struct batch_start){.start = *start, .diff_id = *diff_id};
}

void batch_put_reference(struct batch *batch, const struct reference *ref,
                         const struct digest *manifest, const char *media_type)
{
    if (ref->tag[0] == '\0' && ref->digest.algorithm == DIGEST_NONE) {
        fail(&batch->error, ERR_NO_TAG, 0, "%s/%s has neither tag nor digest", ref->host,
             ref->path);
        return;
    }
    if (strlen(media_type) >= MEDIA_TYPE_MAX) {
        fail(&batch->error, ERR_MANIFEST_INVALID, 0, "a media type of more than %d characters",
             MEDIA_TYPE_MAX - 1);
        return;
    }
    void *grown = batch_grow(batch->references, batch->reference_count, &batch->reference_capacity,
                             sizeof *batch->references, &batch->error);
    if (grown == NULL)
        return;
    batch->references = grown;
    batch->references[batch->reference_count++] = (struct batch_reference){
        .reference = *ref, .manifest = *manifest, .media_type = xstrdup(media_type)};
}

enum errc batch_commit(struct batch *batch, struct error *err)
{
    enum errc rc = batch->error.code;
    if (rc != ERR_OK)
        *err = batch->error;
    else
        rc = backend_commit(batch, err);
    batch_abort(batch);
    return rc == ERR_OK ? ERR_OK : error_wrap(err, "commit to the store");
}
