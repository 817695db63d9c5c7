/* Blobs that are stored in another form than they came in, and how often. */
#include "tests/unit/store/store_test.h"

#include "gateway/ingest/assemble.h"
#include "gateway/ingest/recompress.h"
#include "image/manifest.h"

#define FILE_BYTES (3 * CODEC_BLOCK_BYTES + 17)

struct test {
    struct store *store;
    struct batch *batch;
    struct pool *codecs;
    struct cancel cancel;
};

static struct test open_test(void **state)
{
    struct error err = ERROR_INIT;
    struct test test = {.store = NULL};
    struct store_options options = {.map_size_bytes = (uint64_t)8 << 20, .leave_volatile = true};
    assert_ok(store_open_local(*state, &options, &test.store, &err), &err);
    test.batch = batch_begin(test.store, BATCH_VOLATILE);
    assert_ok(pool_new(2, &test.codecs, &err), &err);
    cancel_init(&test.cancel);
    return test;
}

static void close_test(struct test *test)
{
    cancel_deinit(&test->cancel);
    pool_free(test->codecs);
    batch_abort(test->batch);
    store_close(test->store);
}

static struct recompress_options options_of(struct test *test, enum codec codec)
{
    return (struct recompress_options){.batch = test->batch,
                                       .codecs = test->codecs,
                                       .cancel = &test->cancel,
                                       .codec = codec,
                                       .effort = EFFORT_FAST};
}

/* A blob of the batch that is no tar, as it would come from a file. */
static struct layer_result put(struct test *test, const char *text, size_t size,
                               enum digest_algorithm algorithm)
{
    struct error err = ERROR_INIT;
    struct layer_result content = {.content = CONTENT_OTHER, .raw_size = size, .size = size};
    assert_ok(batch_put_blob(test->batch, text, size, &content.digest, &err), &err);
    content.diff_id = content.digest;
    content.raw = digest_of(algorithm, text, size);
    return content;
}

static void there_and_back(void **state)
{
    struct test test = open_test(state);
    struct error err = ERROR_INIT;
    autofree char *text = xcalloc(1, FILE_BYTES);
    memset(text, 'a', FILE_BYTES);
    for (int round = 0; round < 4; round++) {
        enum codec codec = round % 2 ? CODEC_ZSTD : CODEC_GZIP;
        enum digest_algorithm algorithm = round < 2 ? DIGEST_SHA256 : DIGEST_SHA512;
        const struct recompress_options options = options_of(&test, codec);
        struct layer_result content = put(&test, text, FILE_BYTES, algorithm);
        assert_ok(recompress(&options, &content, &err), &err);
        assert_int_equal(content.codec, codec);
        assert_true(content.size < FILE_BYTES / 10);
        assert_ok(recompress_restore(&options, &content, &err), &err);
        assert_int_equal(content.codec, CODEC_NONE);
        assert_int_equal(content.size, FILE_BYTES);
        assert_true(digest_equal(&content.digest, &content.raw));
    }
    close_test(&test);
}

static void what_is_cancelled_ends(void **state)
{
    struct test test = open_test(state);
    struct error err = ERROR_INIT;
    const struct recompress_options options = options_of(&test, CODEC_GZIP);
    struct layer_result content = put(&test, "text", 4, DIGEST_SHA256);
    const struct digest before = content.digest;
    cancel_request(&test.cancel);
    assert_code(recompress(&options, &content, &err), ERR_CANCELLED, &err);
    assert_true(digest_equal(&content.digest, &before));
    close_test(&test);
}

static void add_file(struct catalog *catalog, const struct layer_result *content)
{
    struct error err = ERROR_INIT;
    char hex[DIGEST_TEXT_MAX];
    autofree char *name = xasprintf("blobs/sha256/%s", digest_hex(&content->raw, hex));
    assert_ok(catalog_add_file(catalog, name, content, &err), &err);
}

static char *entry(const char *media_type, const struct layer_result *content)
{
    char text[DIGEST_TEXT_MAX];
    return xasprintf("{\"mediaType\":\"%s\",\"digest\":\"%s\",\"size\":%llu}", media_type,
                     digest_text(&content->raw, text), (unsigned long long)content->raw_size);
}

/* A blob that was taken for a layer and is none, three times in an artifact. */
static void what_is_named_often_is_recoded_once(void **state)
{
    struct test test = open_test(state);
    struct error err = ERROR_INIT;
    struct catalog *catalog = catalog_new();
    struct inspector inspector = {.catalog = catalog, .batch = test.batch};
    struct assembly assembly = {.catalog = catalog,
                                .inspector = &inspector,
                                .batch = test.batch,
                                .codecs = test.codecs,
                                .cancel = &test.cancel,
                                .codec = CODEC_GZIP};
    const struct recompress_options options = options_of(&test, CODEC_GZIP);
    struct layer_result blob = put(&test, "a tar, say", 10, DIGEST_SHA256);
    struct layer_result config = put(&test, "{}", 2, DIGEST_SHA256);
    assert_ok(recompress(&options, &blob, &err), &err);
    autofree char *one = entry(MEDIA_OCI_EMPTY, &config);
    autofree char *other = entry("application/x-tar", &blob);
    autofree char *text = xasprintf("{\"schemaVersion\":2,\"config\":%s,\"layers\":[%s,%s,%s]}",
                                    one, other, other, other);
    struct layer_result manifest = put(&test, text, strlen(text), DIGEST_SHA256);
    struct descriptor root = {.digest = manifest.digest, .size = manifest.size};
    struct descriptor out;
    struct digest ignored;
    snprintf(root.media_type, sizeof root.media_type, "%s", MEDIA_OCI_MANIFEST);
    add_file(catalog, &blob);
    add_file(catalog, &config);
    add_file(catalog, &manifest);
    assert_ok(assemble_oci_image(&assembly, &root, &out, &ignored, &err), &err);
    assert_int_equal(assembly.result_count, 1);
    assert_true(digest_equal(&assembly.results[0].digest, &blob.raw));
    assert_non_null(digest_map_find(&assembly.used, &blob.raw));
    assembly_deinit(&assembly);
    inspector_deinit(&inspector);
    catalog_free(catalog);
    close_test(&test);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(there_and_back),
        folder_test(what_is_cancelled_ends),
        folder_test(what_is_named_often_is_recoded_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
