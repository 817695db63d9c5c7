/* Layers into a store: what is known again and what only begins like it, limits, which form is
 * preferred, and images from what is held. */
#include "tests/unit/store/store_test.h"

#include "gateway/ingest/config_image.h"
#include "gateway/ingest/layer_intake.h"
#include "gateway/ingest/unpacked.h"
#include "image/encoder.h"
#include "image/manifest.h"

#define LAYER_BYTES (3 * CODEC_BLOCK_BYTES)

struct test {
    struct store *store;
    struct pool *codecs;
    struct cancel cancel;
    uint64_t limit_bytes; /* of what a config has unpacked */
};

static struct test open_test(void **state)
{
    struct error err = ERROR_INIT;
    struct test test = {.limit_bytes = UINT64_MAX};
    struct store_options options = {.map_size_bytes = (uint64_t)8 << 20, .leave_volatile = true};
    assert_ok(store_open_local(*state, &options, &test.store, &err), &err);
    assert_ok(pool_new(2, &test.codecs, &err), &err);
    cancel_init(&test.cancel);
    return test;
}

static void close_test(struct test *test)
{
    cancel_deinit(&test->cancel);
    pool_free(test->codecs);
    store_close(test->store);
}

/* One file; `seed` changes what comes after the first block of the layer. */
static uint8_t *make_layer(size_t size, uint8_t seed)
{
    uint8_t *data = xcalloc(1, size);
    memcpy(data, "file", 4);
    snprintf((char *)data + 124, 12, "%011zo", size - 3 * 512);
    data[156] = '0';
    for (size_t i = 512; i < size - 1024; i++)
        data[i] = i > CODEC_BLOCK_BYTES ? (uint8_t)(i / 4096 + seed) : 'a';
    memset(data + 148, ' ', 8);
    unsigned sum = 0;
    for (size_t i = 0; i < 512; i++)
        sum += data[i];
    snprintf((char *)data + 148, 8, "%06o", sum);
    return data;
}

struct bytes {
    const uint8_t *data;
    size_t size;
};

static enum errc pull_bytes(void *self, const uint8_t **data, size_t *size, struct error *err)
{
    (void)err;
    struct bytes *bytes = self;
    *size = bytes->size < 100000 ? bytes->size : 100000;
    *data = bytes->data;
    bytes->data += *size;
    bytes->size -= *size;
    return ERR_OK;
}

static struct layer_order order_for(const struct test *test, uint64_t size)
{
    return (struct layer_order){.files = {.store = test->store,
                                          .codecs = test->codecs,
                                          .codec = CODEC_GZIP,
                                          .effort = EFFORT_FAST},
                                .limit_bytes = UINT64_MAX,
                                .size = size};
}

static enum errc take(struct test *test, const struct layer_order *order, const uint8_t *data,
                      size_t size, struct stored_layer *out, struct error *err)
{
    struct bytes bytes = {data, size};
    error_clear(err);
    struct batch *batch = batch_begin(test->store, BATCH_VOLATILE);
    enum errc rc = layer_take(order, (struct source){.pull = pull_bytes, .self = &bytes},
                              &test->cancel, batch, out, err);
    if (rc != ERR_OK) {
        batch_abort(batch);
        return rc;
    }
    return batch_commit(batch, err);
}

static void assert_holds(struct test *test, const struct stored_layer *layer, const uint8_t *data,
                         size_t size)
{
    struct error err = ERROR_INIT;
    struct digest diff_id = digest_of(DIGEST_SHA256, data, size);
    struct layer_form form;
    bool found = false;
    assert_true(digest_equal(&layer->diff_id, &diff_id));
    assert_int_equal(layer->form.raw_size, size);
    assert_ok(layer_find(test->store, &diff_id, layer->form.codec, layer->form.effort, &found,
                         &form, &err),
              &err);
    assert_true(found);
    assert_true(digest_equal(&form.digest, &layer->form.digest));
    autofree char *stored = NULL;
    size_t stored_size = 0;
    assert_ok(blob_read_all(test->store, &form.digest, 2 * LAYER_BYTES, "layer", &stored,
                            &stored_size, &err),
              &err);
    assert_int_equal(stored_size, form.size);
    struct digest digest = digest_of(DIGEST_SHA256, stored, stored_size);
    assert_true(digest_equal(&digest, &form.digest));
}

/* By its start; a layer that only begins so is compressed after all, and as if it had been alone.
 */
static void known_by_its_start(void **state)
{
    struct test test = open_test(state);
    struct error err = ERROR_INIT;
    autofree uint8_t *first = make_layer(LAYER_BYTES, 1);
    autofree uint8_t *second = make_layer(LAYER_BYTES, 2);
    struct layer_order order = order_for(&test, LAYER_BYTES);
    struct layer_order blind = order_for(&test, FILE_SIZE_UNKNOWN);
    struct stored_layer one, again, other, alone;
    assert_ok(take(&test, &blind, first, LAYER_BYTES, &one, &err), &err);
    assert_holds(&test, &one, first, LAYER_BYTES);
    assert_ok(take(&test, &order, first, LAYER_BYTES, &again, &err), &err);
    assert_true(digest_equal(&again.form.digest, &one.form.digest));
    assert_ok(take(&test, &order, second, LAYER_BYTES, &other, &err), &err);
    assert_holds(&test, &other, second, LAYER_BYTES);
    assert_ok(take(&test, &blind, second, LAYER_BYTES, &alone, &err), &err);
    assert_true(digest_equal(&alone.form.digest, &other.form.digest));
    /* Cut off behind what is known of it. */
    assert_code(take(&test, &order, first, LAYER_BYTES - 2048, &again, &err), ERR_ARCHIVE_TRUNCATED,
                &err);
    close_test(&test);
}

/* All of it is its start: that says what it is, and a change anywhere that it is not. */
static void a_small_one_known_by_its_start(void **state)
{
    enum { SIZE = 100 * 512 };
    struct test test = open_test(state);
    struct error err = ERROR_INIT;
    autofree uint8_t *first = make_layer(SIZE, 0);
    autofree uint8_t *second = make_layer(SIZE, 0);
    struct layer_order order = order_for(&test, SIZE);
    struct stored_layer one, again;
    assert_ok(take(&test, &order, first, SIZE, &one, &err), &err);
    assert_holds(&test, &one, first, SIZE);
    assert_ok(take(&test, &order, first, SIZE, &again, &err), &err);
    assert_holds(&test, &again, first, SIZE);
    assert_true(digest_equal(&again.form.digest, &one.form.digest));
    static const size_t places[] = {512, SIZE / 2, SIZE - 1025};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        second[places[i]] ^= 1;
        assert_ok(take(&test, &order, second, SIZE, &again, &err), &err);
        assert_holds(&test, &again, second, SIZE);
        second[places[i]] ^= 1;
    }
    assert_code(take(&test, &order, first, SIZE - 2048, &again, &err), ERR_ARCHIVE_TRUNCATED, &err);
    close_test(&test);
}

static void known_by_its_diff_id(void **state)
{
    struct test test = open_test(state);
    struct error err = ERROR_INIT;
    autofree uint8_t *first = make_layer(LAYER_BYTES, 1);
    autofree uint8_t *second = make_layer(LAYER_BYTES, 2);
    struct layer_order order = order_for(&test, FILE_SIZE_UNKNOWN);
    struct stored_layer one, again;
    order.diff_id = digest_of(DIGEST_SHA256, first, LAYER_BYTES);
    assert_code(take(&test, &order, second, LAYER_BYTES, &one, &err), ERR_DIFFID_MISMATCH, &err);
    assert_ok(take(&test, &order, first, LAYER_BYTES, &one, &err), &err);
    assert_ok(take(&test, &order, first, LAYER_BYTES, &again, &err), &err);
    assert_true(digest_equal(&again.form.digest, &one.form.digest));
    assert_code(take(&test, &order, second, LAYER_BYTES, &again, &err), ERR_DIFFID_MISMATCH, &err);
    order.files.codec = CODEC_NONE;
    for (int i = 0; i < 2; i++) { /* stored, then known */
        assert_ok(take(&test, &order, first, LAYER_BYTES, &again, &err), &err);
        assert_true(digest_equal(&again.form.digest, &order.diff_id));
        assert_int_equal(again.form.effort, EFFORT_AS_CAME);
        assert_holds(&test, &again, first, LAYER_BYTES);
    }
    close_test(&test);
}

static void limits(void **state)
{
    struct test test = open_test(state);
    struct error err = ERROR_INIT;
    autofree uint8_t *data = make_layer(10 * 512, 1);
    struct stored_layer layer;
    for (int more = -1; more <= 1; more++) {
        struct layer_order order = order_for(&test, FILE_SIZE_UNKNOWN);
        order.limit_bytes = (uint64_t)(10 * 512 + more);
        enum errc rc = take(&test, &order, data, 10 * 512, &layer, &err);
        assert_int_equal(rc, more < 0 ? ERR_ARCHIVE_TOO_LARGE : ERR_OK);
        autofree char *packed = NULL;
        size_t packed_size = 0;
        if (rc == ERR_OK) { /* what it unpacks to */
            assert_ok(blob_read_all(test.store, &layer.form.digest, LAYER_BYTES, "layer", &packed,
                                    &packed_size, &err),
                      &err);
            assert_ok(take(&test, &order, (uint8_t *)packed, packed_size, &layer, &err), &err);
            order.limit_bytes = 10 * 512 - 1;
            assert_code(take(&test, &order, (uint8_t *)packed, packed_size, &layer, &err),
                        ERR_ARCHIVE_TOO_LARGE, &err);
        }
    }
    cancel_request(&test.cancel);
    struct layer_order order = order_for(&test, FILE_SIZE_UNKNOWN);
    assert_code(take(&test, &order, data, 10 * 512, &layer, &err), ERR_CANCELLED, &err);
    close_test(&test);
}

static void preference(void **state)
{
    (void)state;
    const struct layer_form forms[] = {
        {.codec = CODEC_NONE, .effort = EFFORT_AS_CAME, .raw_size = 1},
        {.codec = CODEC_GZIP, .effort = EFFORT_FAST, .raw_size = 0},
        {.codec = CODEC_GZIP, .effort = EFFORT_AS_CAME, .raw_size = 1},
        {.codec = CODEC_ZSTD, .effort = EFFORT_BEST, .raw_size = 1},
    };
    struct form_preference selector = {.codec = CODEC_GZIP, .effort = EFFORT_FAST};
    assert_ptr_equal(form_choose(&selector, forms, 4), &forms[1]);
    selector.seen = true;
    assert_ptr_equal(form_choose(&selector, forms, 4), &forms[2]);
    selector.codec = CODEC_ZSTD;
    assert_ptr_equal(form_choose(&selector, forms, 4), &forms[3]);
    selector.no_zstd = true;
    assert_ptr_equal(form_choose(&selector, forms, 4), &forms[2]);
    assert_ptr_equal(form_choose(&selector, forms, 1), &forms[0]);
    assert_null(form_choose(&selector, &forms[3], 1));
    assert_null(form_choose(&selector, &forms[1], 1));
    assert_null(form_choose(&selector, forms, 0));
    selector.codec = CODEC_NONE;
    assert_ptr_equal(form_choose(&selector, forms, 4), &forms[0]);
}

/* ---- images ---- */

/* As the registry front records what a client put: nobody has looked at it. */
static void believe(struct test *test, const struct digest *diff_id, const void *data, size_t size)
{
    struct error err = ERROR_INIT;
    struct layer_form form = {.codec = CODEC_GZIP, .effort = EFFORT_AS_CAME, .size = size};
    struct batch *batch = batch_begin(test->store, BATCH_VOLATILE);
    assert_ok(batch_put_blob(batch, data, size, &form.digest, &err), &err);
    batch_put_layer(batch, diff_id, &form);
    assert_ok(batch_commit(batch, &err), &err);
}

static enum errc make_image(struct test *test, const struct digest *diff_id,
                            struct config_image *out, struct error *err)
{
    char text[DIGEST_TEXT_MAX];
    autofree char *config =
        xasprintf("{\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"%s\",\"%s\"]}}",
                  digest_text(diff_id, text), text);
    const struct config_order order = {.store = test->store,
                                       .preference = {.codec = CODEC_GZIP, .effort = EFFORT_FAST},
                                       .limit_bytes = test->limit_bytes,
                                       .data = config,
                                       .size = strlen(config)};
    error_clear(err);
    struct batch *batch = batch_begin(test->store, BATCH_VOLATILE);
    if (config_image_make(&order, &test->cancel, batch, out, err) != ERR_OK) {
        batch_abort(batch);
        return err->code;
    }
    return batch_commit(batch, err);
}

static struct buf packed(const uint8_t *data, size_t size)
{
    struct buf out = BUF_INIT(LAYER_BYTES);
    struct encoder *encoder = encoder_new(CODEC_GZIP, EFFORT_FAST);
    autofree uint8_t *block = xmalloc(encoder_bound(CODEC_GZIP));
    uint8_t frame[ENCODER_FRAME_MAX];
    uint32_t crc = 0;
    buf_append(&out, frame, encoder_head(CODEC_GZIP, frame));
    buf_append(&out, block, encoder_block(encoder, data, size, true, block, &crc));
    buf_append(&out, frame, encoder_tail(CODEC_GZIP, crc, size, frame));
    encoder_free(encoder);
    return out;
}

static void what_is_believed_is_looked_at(void **state)
{
    struct test test = open_test(state);
    struct error err = ERROR_INIT;
    autofree uint8_t *data = make_layer(10 * 512, 1);
    struct digest diff_id = digest_of(DIGEST_SHA256, data, 10 * 512);
    struct digest other = digest_of_text("another layer");
    struct config_image image;
    struct layer_form form;
    bool found = false;
    autobuf struct buf gzip = packed(data, 10 * 512);
    believe(&test, &diff_id, gzip.data, gzip.size);
    believe(&test, &other, gzip.data, gzip.size);

    assert_ok(make_image(&test, &diff_id, &image, &err), &err);
    config_image_deinit(&image);
    assert_ok(layer_find(test.store, &diff_id, CODEC_GZIP, EFFORT_AS_CAME, &found, &form, &err),
              &err);
    assert_true(found);
    assert_int_equal(form.raw_size, 10 * 512); /* not looked at again */

    assert_code(make_image(&test, &other, &image, &err), ERR_LAYER_UNKNOWN, &err);
    assert_int_equal(image.missing_count, 1);
    assert_true(digest_equal(&image.missing[0], &other));
    config_image_deinit(&image);

    struct digest broken = digest_of_text("what is no layer");
    believe(&test, &broken, "no layer", 8);
    assert_code(make_image(&test, &broken, &image, &err), ERR_LAYER_UNKNOWN, &err);
    config_image_deinit(&image);
    close_test(&test);
}

static enum errc make_believed(struct test *test, const struct digest *diff_id, struct error *err)
{
    struct config_image image;
    enum errc rc = make_image(test, diff_id, &image, err);
    config_image_deinit(&image);
    return rc;
}

/* Each blob that is tried is a new one: what was tried is known. */
static void what_is_unpacked_is_limited(void **state)
{
    enum { SIZE = 10 * 512 };
    struct test test = open_test(state);
    struct error err = ERROR_INIT;
    for (int more = -1; more <= 1; more++) {
        autofree uint8_t *data = make_layer(SIZE, (uint8_t)(100 + more));
        memset(data + 1024, 'x' + more, 512);
        struct digest diff_id = digest_of(DIGEST_SHA256, data, SIZE);
        autobuf struct buf gzip = packed(data, SIZE);
        believe(&test, &diff_id, gzip.data, gzip.size);
        test.limit_bytes = (uint64_t)(SIZE + more);
        enum errc rc = make_believed(&test, &diff_id, &err);
        assert_int_equal(rc, more < 0 ? ERR_LAYER_UNKNOWN : ERR_OK);
        test.limit_bytes = SIZE; /* a limit that is larger is tried again */
        assert_ok(make_believed(&test, &diff_id, &err), &err);
    }
    close_test(&test);
}

static void what_was_unpacked_is_known(void **state)
{
    struct test test = open_test(state);
    struct error err = ERROR_INIT;
    static const char no_layer[] = "no layer, and known for it";
    struct digest claim = digest_of_text("what it is not");
    struct digest blob = digest_of_text(no_layer);
    struct unpacked unpacked;
    believe(&test, &claim, no_layer, strlen(no_layer));
    assert_false(unpacked_find(&blob, 1, &unpacked));
    assert_code(make_believed(&test, &claim, &err), ERR_LAYER_UNKNOWN, &err);
    assert_true(unpacked_find(&blob, UINT64_MAX, &unpacked));
    assert_int_equal(unpacked.diff_id.algorithm, DIGEST_NONE);
    cancel_request(&test.cancel); /* nothing is left that could be cancelled */
    assert_code(make_believed(&test, &claim, &err), ERR_LAYER_UNKNOWN, &err);
    close_test(&test);
}

static void content_types(void **state)
{
    (void)state;
    bool docker = false;
    assert_true(config_image_type("application/vnd.docker.container.image.v1+json", &docker));
    assert_true(docker);
    assert_true(config_image_type("Application/vnd.OCI.image.config.v1+json ; a=b", &docker));
    assert_false(docker);
    assert_false(config_image_type("application/vnd.oci.image.config.v1+jsonx", &docker));
    assert_false(config_image_type("application/vnd.oci.image.config.v1", &docker));
    assert_false(config_image_type("", &docker));
    assert_false(config_image_type(NULL, &docker));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(known_by_its_start),
        folder_test(a_small_one_known_by_its_start),
        folder_test(known_by_its_diff_id),
        folder_test(limits),
        cmocka_unit_test(preference),
        folder_test(what_is_believed_is_looked_at),
        folder_test(what_is_unpacked_is_limited),
        folder_test(what_was_unpacked_is_known),
        cmocka_unit_test(content_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
