/*
 * A layer as a stranger sends it: the first byte says in which pieces it comes, the rest is the
 * layer. What is taken in is a whole tar whose diffID is that of what is stored; whatever it is,
 * whether it is does not depend on the pieces. What is refused leaves nothing behind.
 */
#include "base/json.h"
#include "base/mem.h"
#include "gateway/ingest/layer_intake.h"
#include "image/encoder.h"
#include "image/tar_check.h"
#include "store/store_local.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define LIMIT_BYTES ((uint64_t)4 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct store *store;
static struct pool *codecs;
static char folder[] = "/tmp/slipway-fuzz-XXXXXX";

static void close_all(void)
{
    struct error err = ERROR_INIT;
    store_close(store);
    pool_free(codecs);
    file_remove_tree(AT_FDCWD, folder, &err);
}

static void open_all(void)
{
    struct error err = ERROR_INIT;
    struct store_options options = {.map_size_bytes = (uint64_t)64 << 20, .leave_volatile = true};
    assert(mkdtemp(folder));
    enum errc rc = store_open_local(folder, &options, &store, &err);
    assert(rc == ERR_OK);
    rc = pool_new(1, &codecs, &err);
    assert(rc == ERR_OK);
    atexit(close_all);
}

struct pieces {
    const uint8_t *data;
    size_t size;
    size_t piece;
};

static enum errc pull_piece(void *self, const uint8_t **data, size_t *size, struct error *err)
{
    (void)err;
    struct pieces *pieces = self;
    *data = pieces->data;
    *size = pieces->size < pieces->piece ? pieces->size : pieces->piece;
    pieces->data += *size;
    pieces->size -= *size;
    return ERR_OK;
}

struct raw {
    struct digester *digester;
    struct tar_check tar;
};

static enum errc look_at_raw(void *self, const void *data, size_t size, struct error *err)
{
    struct raw *raw = self;
    digester_update(raw->digester, data, size);
    return tar_check_write(&raw->tar, data, size, err);
}

/* The stored blob is the layer. */
static void check_blob(struct batch *batch, const struct stored_layer *layer)
{
    struct error err = ERROR_INIT;
    autofree char *data = NULL;
    size_t size = 0;
    enum errc rc =
        batch_read_all(batch, &layer->form.digest, 16 * LIMIT_BYTES, "layer", &data, &size, &err);
    assert(rc == ERR_OK && size == layer->form.size);
    struct raw raw = {.digester = digester_new(DIGEST_SHA256)};
    struct pieces pieces = {.data = (const uint8_t *)data, .size = size, .piece = size};
    tar_check_init(&raw.tar);
    if (layer->form.codec == CODEC_NONE)
        rc = look_at_raw(&raw, data, size, &err);
    else
        rc =
            encoder_restore(layer->form.codec, (struct source){.pull = pull_piece, .self = &pieces},
                            (struct sink){.write = look_at_raw, .self = &raw}, &err);
    assert(rc == ERR_OK);
    rc = tar_check_finish(&raw.tar, &err);
    assert(rc == ERR_OK);
    struct digest diff_id = digester_finish(raw.digester);
    assert(digest_equal(&diff_id, &layer->diff_id));
    digester_free(raw.digester);
    tar_check_deinit(&raw.tar);
}

static enum errc take(const uint8_t *data, size_t size, size_t piece, struct stored_layer *out)
{
    struct error err = ERROR_INIT;
    struct cancel cancel;
    struct pieces pieces = {.data = data, .size = size, .piece = piece};
    const struct layer_order order = {
        .files = {.store = store, .codecs = codecs, .codec = CODEC_GZIP, .effort = EFFORT_FAST},
        .limit_bytes = LIMIT_BYTES,
        .size = FILE_SIZE_UNKNOWN};
    struct batch *batch = batch_begin(store, BATCH_VOLATILE);
    cancel_init(&cancel);
    enum errc rc = layer_take(&order, (struct source){.pull = pull_piece, .self = &pieces}, &cancel,
                              batch, out, &err);
    if (rc == ERR_OK)
        check_blob(batch, out);
    else
        assert(error_party(rc) == PARTY_CLIENT);
    batch_abort(batch);
    cancel_deinit(&cancel);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct stored_layer whole;
    struct stored_layer pieces;
    if (size == 0)
        return 0;
    if (store == NULL)
        open_all();
    enum errc rc = take(data + 1, size - 1, SIZE_MAX, &whole);
    enum errc again = take(data + 1, size - 1, (size_t)data[0] + 1, &pieces);
    /* What libzstd has unpacked in front of a damage it gives or not, as the pieces are, so of two
     * things that are wrong either may be told. */
    bool zstd = content_of(data + 1, size - 1) == CONTENT_ZSTD;
    assert(zstd ? (rc == ERR_OK) == (again == ERR_OK) : rc == again);
    if (rc == ERR_OK)
        assert(digest_equal(&whole.diff_id, &pieces.diff_id) &&
               digest_equal(&whole.form.digest, &pieces.form.digest));
    return 0;
}
