#include "tests/unit/store/store_test.h"

#include "store/batch.h"

static void put_form(struct store *store, const struct digest *diff_id, enum codec codec,
                     enum effort effort, const char *content, uint64_t raw_size)
{
    struct error err = ERROR_INIT;
    struct layer_form form = {
        .codec = codec, .effort = effort, .size = strlen(content), .raw_size = raw_size};
    struct batch *batch = batch_begin(store, BATCH_VOLATILE);
    assert_ok(batch_put_blob(batch, content, strlen(content), &form.digest, &err), &err);
    batch_put_layer(batch, diff_id, &form);
    assert_ok(batch_commit(batch, &err), &err);
}

/* Store a layer whose blob has this content, in this form. */
static void put(struct store *store, const struct digest *diff_id, enum codec codec,
                enum effort effort, const char *content)
{
    put_form(store, diff_id, codec, effort, content, 1000);
}

static bool find(struct store *store, const struct digest *diff_id, enum codec codec,
                 enum effort effort, struct layer_form *out)
{
    struct error err = ERROR_INIT;
    bool found = false;
    assert_ok(layer_find(store, diff_id, codec, effort, &found, out, &err), &err);
    return found;
}

static void a_form_is_found_by_layer_codec_and_effort(void **state)
{
    struct store *store = open_store(*state);
    struct digest diff_id = digest_of_text("layer");
    struct digest other = digest_of_text("other layer");
    struct digest blob = digest_of_text("gzip fast");
    struct layer_form form;
    put(store, &diff_id, CODEC_GZIP, EFFORT_FAST, "gzip fast");
    assert_true(find(store, &diff_id, CODEC_GZIP, EFFORT_FAST, &form));
    assert_int_equal(form.codec, CODEC_GZIP);
    assert_int_equal(form.effort, EFFORT_FAST);
    assert_int_equal(form.size, strlen("gzip fast"));
    assert_int_equal(form.raw_size, 1000);
    assert_true(digest_equal(&form.digest, &blob));
    assert_false(find(store, &diff_id, CODEC_GZIP, EFFORT_BEST, &form));
    assert_false(find(store, &diff_id, CODEC_ZSTD, EFFORT_FAST, &form));
    assert_false(find(store, &diff_id, CODEC_GZIP, EFFORT_AS_CAME, &form));
    assert_false(find(store, &other, CODEC_GZIP, EFFORT_FAST, &form));
    store_close(store);
}

static void a_layer_has_many_forms(void **state)
{
    struct store *store = open_store(*state);
    struct digest diff_id = digest_of_text("layer");
    struct digest gzip = digest_of_text("gzip");
    struct digest zstd = digest_of_text("zstd");
    struct layer_form form;
    put(store, &diff_id, CODEC_GZIP, EFFORT_FAST, "gzip");
    put(store, &diff_id, CODEC_ZSTD, EFFORT_AS_CAME, "zstd");
    assert_true(find(store, &diff_id, CODEC_GZIP, EFFORT_FAST, &form));
    assert_true(digest_equal(&form.digest, &gzip));
    assert_true(find(store, &diff_id, CODEC_ZSTD, EFFORT_AS_CAME, &form));
    assert_true(digest_equal(&form.digest, &zstd));
    store_close(store);
}

static void what_is_believed_does_not_replace_what_was_seen(void **state)
{
    struct store *store = open_store(*state);
    struct digest diff_id = digest_of_text("layer");
    struct digest seen = digest_of_text("seen");
    struct digest first = digest_of_text("believed first");
    struct layer_form form;
    put_form(store, &diff_id, CODEC_GZIP, EFFORT_AS_CAME, "believed first", 0);
    assert_true(find(store, &diff_id, CODEC_GZIP, EFFORT_AS_CAME, &form));
    assert_true(digest_equal(&form.digest, &first));
    put_form(store, &diff_id, CODEC_GZIP, EFFORT_AS_CAME, "seen", 1000);
    put_form(store, &diff_id, CODEC_GZIP, EFFORT_AS_CAME, "believed later", 0);
    assert_true(find(store, &diff_id, CODEC_GZIP, EFFORT_AS_CAME, &form));
    assert_true(digest_equal(&form.digest, &seen));
    assert_int_equal(form.raw_size, 1000);
    store_close(store);
}

static void all_held_forms_are_listed(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct digest diff_id = digest_of_text("layer");
    struct digest other = digest_of_text("other layer");
    struct layer_form forms[LAYER_FORMS_MAX];
    size_t count = 99;
    assert_ok(layer_forms(store, &diff_id, forms, &count, &err), &err);
    assert_int_equal(count, 0);
    put(store, &other, CODEC_ZSTD, EFFORT_FAST, "of the other");
    put(store, &diff_id, CODEC_ZSTD, EFFORT_AS_CAME, "zstd");
    put(store, &diff_id, CODEC_NONE, EFFORT_AS_CAME, "tar");
    put(store, &diff_id, CODEC_GZIP, EFFORT_BEST, "gzip best");
    put(store, &diff_id, CODEC_GZIP, EFFORT_FAST, "gzip fast");
    assert_ok(layer_forms(store, &diff_id, forms, &count, &err), &err);
    static const char *const expected[] = {"tar", "gzip fast", "gzip best", "zstd"};
    assert_int_equal(count, 4);
    for (size_t i = 0; i < count; i++) {
        struct digest blob = digest_of_text(expected[i]);
        assert_true(digest_equal(&forms[i].digest, &blob));
    }
    /* as many as there can be */
    static const enum effort efforts[] = {EFFORT_FAST, EFFORT_BEST, EFFORT_AS_CAME};
    for (enum codec codec = CODEC_NONE; codec <= CODEC_ZSTD; codec++)
        for (size_t i = 0; i < 3; i++)
            put(store, &diff_id, codec, efforts[i], "any");
    assert_ok(layer_forms(store, &diff_id, forms, &count, &err), &err);
    assert_int_equal(count, LAYER_FORMS_MAX);
    store_close(store);
}

static void a_layer_is_found_by_its_start(void **state)
{
    struct store *store = open_store(*state);
    struct digest diff_id = digest_of_text("layer");
    struct digest start = digest_of_text("start");
    struct digest other = digest_of_text("other start");
    struct digest gone = digest_of_text("start of a layer that is not held");
    struct error err = ERROR_INIT;
    put(store, &diff_id, CODEC_GZIP, EFFORT_FAST, "gzip fast");
    struct batch *batch = batch_begin(store, BATCH_VOLATILE);
    batch_put_start(batch, &start, &diff_id);
    batch_put_start(batch, &gone, &other);
    assert_ok(batch_commit(batch, &err), &err);

    struct digest found_layer = {0};
    struct layer_form form = {0};
    bool found = false;
    assert_ok(layer_find_by_start(store, &start, CODEC_GZIP, EFFORT_FAST, &found, &found_layer,
                                  &form, &err),
              &err);
    assert_true(found);
    assert_true(digest_equal(&found_layer, &diff_id));
    assert_int_equal(form.size, strlen("gzip fast"));
    const struct {
        const struct digest *start;
        enum effort effort;
    } not_found[] = {{&start, EFFORT_BEST}, {&other, EFFORT_FAST}, {&gone, EFFORT_FAST}};
    for (size_t i = 0; i < sizeof not_found / sizeof not_found[0]; i++) {
        found = true;
        assert_ok(layer_find_by_start(store, not_found[i].start, CODEC_GZIP, not_found[i].effort,
                                      &found, &found_layer, &form, &err),
                  &err);
        assert_false(found);
    }
    store_close(store);
}

static void the_latest_form_wins(void **state)
{
    struct store *store = open_store(*state);
    struct digest diff_id = digest_of_text("layer");
    struct digest second = digest_of_text("second");
    struct layer_form form;
    put(store, &diff_id, CODEC_GZIP, EFFORT_AS_CAME, "first");
    put(store, &diff_id, CODEC_GZIP, EFFORT_AS_CAME, "second");
    assert_true(find(store, &diff_id, CODEC_GZIP, EFFORT_AS_CAME, &form));
    assert_true(digest_equal(&form.digest, &second));
    store_close(store);
}

static uint64_t raw_size(struct store *store, const struct digest *diff_id)
{
    struct error err = ERROR_INIT;
    uint64_t size = 99;
    assert_ok(layer_raw_size(store, diff_id, &size, &err), &err);
    return size;
}

static void any_form_that_knows_tells_the_raw_size(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct digest diff_id = digest_of_text("layer");
    struct layer_form form = {.codec = CODEC_NONE, .digest = digest_of_text("unknown"), .size = 7};
    assert_int_equal(raw_size(store, &diff_id), 0);
    struct batch *batch = batch_begin(store, BATCH_VOLATILE);
    assert_ok(batch_put_blob(batch, "unknown", 7, &form.digest, &err), &err);
    batch_put_layer(batch, &diff_id, &form);
    assert_ok(batch_commit(batch, &err), &err);
    assert_int_equal(raw_size(store, &diff_id), 0);
    put(store, &diff_id, CODEC_ZSTD, EFFORT_FAST, "known");
    assert_int_equal(raw_size(store, &diff_id), 1000);
    store_close(store);
}

static void a_form_whose_blob_is_nowhere_is_left_out(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct digest diff_id = digest_of_text("layer");
    struct layer_form form = {.codec = CODEC_GZIP, .digest = digest_of_text("x"), .size = 1};
    struct batch *batch = batch_begin(store, BATCH_VOLATILE);
    assert_ok(batch_put_blob(batch, "x", 1, &form.digest, &err), &err);
    batch_put_layer(batch, &diff_id, &form);
    batch_drop_blob(batch, &form.digest);
    assert_ok(batch_commit(batch, &err), &err);
    assert_false(find(store, &diff_id, CODEC_GZIP, EFFORT_FAST, &form));
    /* Not even when the blob comes later: its record was never made. */
    batch = batch_begin(store, BATCH_VOLATILE);
    assert_ok(batch_put_blob(batch, "x", 1, &form.digest, &err), &err);
    assert_ok(batch_commit(batch, &err), &err);
    assert_false(find(store, &diff_id, CODEC_GZIP, EFFORT_FAST, &form));
    store_close(store);
}

static void a_form_can_point_to_a_blob_that_is_held(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct digest diff_id = digest_of_text("layer");
    struct digest again = digest_of_text("same layer by another name");
    struct layer_form form;
    struct batch *batch = NULL;
    put(store, &diff_id, CODEC_GZIP, EFFORT_FAST, "gzip");
    assert_true(find(store, &diff_id, CODEC_GZIP, EFFORT_FAST, &form));
    batch = batch_begin(store, BATCH_VOLATILE);
    batch_put_layer(batch, &again, &form);
    assert_ok(batch_commit(batch, &err), &err);
    assert_true(find(store, &again, CODEC_GZIP, EFFORT_FAST, &form));
    store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(a_form_is_found_by_layer_codec_and_effort),
        folder_test(a_layer_has_many_forms),
        folder_test(what_is_believed_does_not_replace_what_was_seen),
        folder_test(all_held_forms_are_listed),
        folder_test(a_layer_is_found_by_its_start),
        folder_test(the_latest_form_wins),
        folder_test(any_form_that_knows_tells_the_raw_size),
        folder_test(a_form_whose_blob_is_nowhere_is_left_out),
        folder_test(a_form_can_point_to_a_blob_that_is_held),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
