/* An archive that is a file gives the image that it gives as a stream, and the same errors; but
 * what the store has of it is not read. */
#include "tests/unit/store/store_test.h"

#include "gateway/ingest/image_choice.h"
#include "gateway/ingest/ingest.h"
#include "tests/support/pieces.h"
#include "tests/support/tar_blocks.h"

#define LAYER_BYTES ((size_t)300 << 10)
#define LAYERS 3
#define PIECE ((size_t)4 << 10)
#define TAR_MAX ((size_t)8 << 20)
#define IN_LAYER ((size_t)200 << 10) /* of its bytes, somewhere */

struct test {
    struct store *store;
    struct pool *codecs;
    struct cancel cancel;
    uint64_t limit_bytes;
    enum codec codec;
};

static struct test open_test(void **state)
{
    struct error err = ERROR_INIT;
    struct test test = {.limit_bytes = UINT64_MAX, .codec = CODEC_GZIP};
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

/* ---- archives ---- */

static void add_header(struct buf *tar, const char *name, char type, size_t size)
{
    uint8_t block[512] = {0};
    memcpy(block, name, strnlen(name, 100));
    snprintf((char *)block + 124, 12, "%011zo", size);
    block[156] = (uint8_t)type;
    memcpy(block + 257, "ustar\00000", 8);
    tar_seal(block);
    buf_append(tar, block, sizeof block);
}

static void add_file(struct buf *tar, const char *name, const void *data, size_t size)
{
    add_header(tar, name, '0', size);
    tar_add_content(tar, data, size);
}

static void add_text(struct buf *tar, const char *name, const struct buf *text)
{
    add_file(tar, name, text->data, text->size);
}

static void add_end(struct buf *tar)
{
    static const uint8_t zeros[2 * 512];
    buf_append(tar, zeros, sizeof zeros);
}

/* A tar of one file, or, without `tar`, bytes of no kind. */
static struct buf make_layer(unsigned seed, bool tar)
{
    struct buf layer = BUF_INIT(TAR_MAX);
    autofree uint8_t *data = xmalloc(LAYER_BYTES);
    for (size_t i = 0; i < LAYER_BYTES; i++)
        data[i] = (uint8_t)((i * 31 >> 7) + seed);
    if (tar) {
        add_file(&layer, "file", data, LAYER_BYTES);
        add_end(&layer);
    } else {
        buf_append(&layer, data, LAYER_BYTES);
    }
    return layer;
}

static const char *text_of(const struct buf *data, char text[DIGEST_TEXT_MAX])
{
    const struct digest digest = digest_of(DIGEST_SHA256, data->data, data->size);
    return digest_text(&digest, text);
}

struct image {
    struct buf layers[LAYERS];
    struct buf config;
};

static struct image make_image(bool tars)
{
    struct image image = {.config = BUF_INIT(TAR_MAX)};
    char text[DIGEST_TEXT_MAX];
    buf_text(&image.config, "{\"architecture\":\"amd64\",\"os\":\"linux\",\"rootfs\":"
                            "{\"type\":\"layers\",\"diff_ids\":[");
    for (unsigned i = 0; i < LAYERS; i++) {
        image.layers[i] = make_layer(i, tars);
        buf_format(&image.config, "%s\"%s\"", i ? "," : "", text_of(&image.layers[i], text));
    }
    buf_text(&image.config, "]}}");
    return image;
}

static void free_image(struct image *image)
{
    for (unsigned i = 0; i < LAYERS; i++)
        buf_deinit(&image->layers[i]);
    buf_deinit(&image->config);
}

/* As docker save made them: names that say nothing, the table last. */
static struct buf docker_tar(const struct image *image, const char *more_images)
{
    struct buf tar = BUF_INIT(TAR_MAX);
    autobuf struct buf table = BUF_INIT(TAR_MAX);
    buf_text(&table, "[{\"Config\":\"c.json\",\"RepoTags\":[\"a.x/b:1\"],\"Layers\":[");
    add_text(&tar, "c.json", &image->config);
    for (unsigned i = 0; i < LAYERS; i++) {
        autofree char *name = xasprintf("l%u/layer.tar", i);
        add_text(&tar, name, &image->layers[i]);
        buf_format(&table, "%s\"%s\"", i ? "," : "", name);
    }
    buf_format(&table, "]}%s]", more_images);
    add_text(&tar, "manifest.json", &table);
    add_end(&tar);
    return tar;
}

static void add_blob(struct buf *tar, const struct buf *data)
{
    char text[DIGEST_TEXT_MAX];
    autofree char *name = xasprintf("blobs/sha256/%s", text_of(data, text) + strlen("sha256:"));
    add_text(tar, name, data);
}

/* An OCI layout of blobs as they are, the tables last. */
static struct buf oci_tar(const struct image *image)
{
    struct buf tar = BUF_INIT(TAR_MAX);
    autobuf struct buf manifest = BUF_INIT(TAR_MAX);
    autobuf struct buf index = BUF_INIT(TAR_MAX);
    char text[DIGEST_TEXT_MAX];
    buf_format(&manifest,
               "{\"schemaVersion\":2,\"mediaType\":\"%s\",\"config\":{\"mediaType\":\"%s\","
               "\"digest\":\"%s\",\"size\":%zu},\"layers\":[",
               MEDIA_OCI_MANIFEST, MEDIA_OCI_CONFIG, text_of(&image->config, text),
               image->config.size);
    for (unsigned i = 0; i < LAYERS; i++) {
        const struct buf *layer = &image->layers[i];
        buf_format(&manifest, "%s{\"mediaType\":\"%s\",\"digest\":\"%s\",\"size\":%zu}",
                   i ? "," : "", media_type_of_layer(CODEC_GZIP, false), text_of(layer, text),
                   layer->size);
        add_blob(&tar, layer);
    }
    buf_text(&manifest, "]}");
    add_blob(&tar, &image->config);
    add_blob(&tar, &manifest);
    buf_format(&index,
               "{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"%s\",\"digest\":\"%s\","
               "\"size\":%zu}]}",
               MEDIA_OCI_MANIFEST, text_of(&manifest, text), manifest.size);
    add_text(&tar, "index.json", &index);
    add_end(&tar);
    return tar;
}

/* ---- reading them ---- */

/* What came of it, and how much was read for that. */
struct outcome {
    struct error err;
    struct digest manifest;
    size_t pulled;
};

static enum errc choose(struct test *test, const struct ingest_options *options,
                        struct source source, struct batch *batch, struct outcome *out)
{
    struct image_selector selector = {.codec = test->codec,
                                      .effort = options->files.effort,
                                      .codecs = test->codecs,
                                      .cancel = &test->cancel};
    struct chosen_images chosen = {0};
    struct catalog *catalog = NULL;
    if (ingest_archive(options, source, &test->cancel, batch, &catalog, &out->err) != ERR_OK)
        return out->err.code;
    if (image_choose(catalog, batch, &selector, &chosen, &out->err) == ERR_OK)
        out->manifest = chosen.items[0].manifest.digest;
    chosen_images_deinit(&chosen);
    catalog_free(catalog);
    return out->err.code;
}

static struct outcome take(struct test *test, const struct buf *tar, bool file)
{
    struct outcome out = {.err = ERROR_INIT};
    struct pieces pieces = {.data = (const uint8_t *)tar->data, .size = tar->size, .piece = PIECE};
    const struct ingest_options options = {.files = {.store = test->store,
                                                     .codecs = test->codecs,
                                                     .codec = test->codec,
                                                     .effort = EFFORT_FAST},
                                           .limit_bytes = test->limit_bytes};
    struct batch *batch = batch_begin(test->store, BATCH_VOLATILE);
    struct source source = file ? pieces_file(&pieces) : pieces_source(&pieces);
    if (choose(test, &options, source, batch, &out) == ERR_OK)
        assert_ok(batch_commit(batch, &out.err), &out.err);
    else
        batch_abort(batch);
    out.pulled = pieces.pulled;
    return out;
}

/* As a file it is what it is as a stream. */
static enum errc take_both(struct test *test, const struct buf *tar)
{
    const struct outcome stream = take(test, tar, false);
    const struct outcome file = take(test, tar, true);
    assert_int_equal(file.err.code, stream.err.code);
    assert_string_equal(file.err.text, stream.err.text);
    assert_true(digest_equal(&file.manifest, &stream.manifest));
    return file.err.code;
}

/* One byte of the `nth` layer is another one. */
static void poison(struct buf *tar, const struct image *image, unsigned nth, size_t at)
{
    const struct buf *layer = &image->layers[nth];
    uint8_t *found = memmem(tar->data, tar->size, layer->data, layer->size);
    assert_non_null(found);
    found[at] ^= 1;
}

static void held_layers_are_not_read(struct test *test, const struct image *image, struct buf *tar,
                                     enum errc poisoned, enum errc new_beginning)
{
    struct outcome first = take(test, tar, true);
    assert_ok(first.err.code, &first.err);
    assert_true(first.pulled > tar->size);
    struct outcome again = take(test, tar, true);
    assert_ok(again.err.code, &again.err);
    assert_true(digest_equal(&again.manifest, &first.manifest));
    assert_true(again.pulled < (size_t)100 << 10);
    assert_int_equal(take_both(test, tar), ERR_OK);
    /* What is not read is not sent either: the image is the one that is known. */
    poison(tar, image, 1, IN_LAYER);
    again = take(test, tar, true);
    assert_ok(again.err.code, &again.err);
    assert_true(digest_equal(&again.manifest, &first.manifest));
    assert_int_equal(take(test, tar, false).err.code, poisoned);
    poison(tar, image, 0, 100);
    assert_int_equal(take(test, tar, true).err.code, new_beginning);
}

static void layers_by_their_diff_id(void **state)
{
    struct test test = open_test(state);
    struct image image = make_image(true);
    autobuf struct buf tar = docker_tar(&image, "");
    held_layers_are_not_read(&test, &image, &tar, ERR_DIFFID_MISMATCH, ERR_DIFFID_MISMATCH);
    free_image(&image);
    close_test(&test);
}

static void plain_layers(void **state)
{
    struct test test = open_test(state);
    struct image image = make_image(true);
    autobuf struct buf tar = docker_tar(&image, "");
    test.codec = CODEC_NONE;
    held_layers_are_not_read(&test, &image, &tar, ERR_DIFFID_MISMATCH, ERR_DIFFID_MISMATCH);
    free_image(&image);
    close_test(&test);
}

static void blobs_by_their_digest(void **state)
{
    struct test test = open_test(state);
    struct image image = make_image(false);
    autobuf struct buf tar = oci_tar(&image);
    held_layers_are_not_read(&test, &image, &tar, ERR_DIGEST_MISMATCH, ERR_DIGEST_MISMATCH);
    free_image(&image);
    close_test(&test);
}

static void what_is_not_held_is_verified(void **state)
{
    struct test test = open_test(state);
    struct image image = make_image(true);
    struct image blobs = make_image(false);
    autobuf struct buf tar = docker_tar(&image, "");
    autobuf struct buf layout = oci_tar(&blobs);
    poison(&tar, &image, 1, IN_LAYER);
    poison(&layout, &blobs, 1, IN_LAYER);
    assert_int_equal(take_both(&test, &tar), ERR_DIFFID_MISMATCH);
    assert_int_equal(take_both(&test, &layout), ERR_DIGEST_MISMATCH);
    free_image(&image);
    free_image(&blobs);
    close_test(&test);
}

/* ---- archives that are not what they should be ---- */

static void cut_anywhere(void **state)
{
    struct test test = open_test(state);
    struct image image = make_image(true);
    struct image blobs = make_image(false);
    struct buf tars[] = {docker_tar(&image, ""), oci_tar(&blobs)};
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(take_both(&test, &tars[i]), ERR_OK);
        struct buf cut = tars[i];
        for (size_t size = 256; size < tars[i].size - 1024; size += LAYER_BYTES / 3) {
            cut.size = size;
            assert_int_not_equal(take_both(&test, &cut), ERR_OK);
        }
        test.limit_bytes = tars[i].size / 2;
        assert_int_equal(take_both(&test, &tars[i]), ERR_ARCHIVE_TOO_LARGE);
        test.limit_bytes = UINT64_MAX;
        buf_deinit(&tars[i]);
    }
    free_image(&image);
    free_image(&blobs);
    close_test(&test);
}

/* A layer that is held, with a size that is not its own. */
static void sizes_that_lie(void **state)
{
    static const size_t sizes[] = {
        0, 512, LAYER_BYTES, LAYER_BYTES + 1024, (size_t)8 << 20, (size_t)1 << 32};
    struct test test = open_test(state);
    struct image image = make_image(true);
    autobuf struct buf tar = docker_tar(&image, "");
    assert_int_equal(take_both(&test, &tar), ERR_OK);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        autobuf struct buf lying = docker_tar(&image, "");
        autobuf struct buf header = BUF_INIT(TAR_MAX);
        add_header(&header, "l1/layer.tar", '0', sizes[i]);
        uint8_t *found = memmem(lying.data, lying.size, "l1/layer.tar", strlen("l1/layer.tar"));
        memcpy(found, header.data, header.size);
        assert_int_not_equal(take_both(&test, &lying), ERR_OK);
    }
    free_image(&image);
    close_test(&test);
}

/* Which of two is meant is not for the table to say. */
static void doubtful_tables(void **state)
{
    struct test test = open_test(state);
    struct image image = make_image(true);
    autobuf struct buf tar = docker_tar(&image, "");
    struct outcome good = take(&test, &tar, true);
    assert_ok(good.err.code, &good.err);
    /* A second file of the name of a layer. */
    autobuf struct buf twice = BUF_INIT(TAR_MAX);
    struct buf other = make_layer(77, true);
    add_text(&twice, "l1/layer.tar", &other);
    buf_append(&twice, tar.data, tar.size);
    assert_int_equal(take_both(&test, &twice), ERR_ENTRY_DUPLICATE);
    /* Two images that have one file as different layers. */
    autobuf struct buf swapped =
        docker_tar(&image, ",{\"Config\":\"c.json\",\"RepoTags\":[\"a.x/c:1\"],\"Layers\":"
                           "[\"l1/layer.tar\",\"l0/layer.tar\",\"l2/layer.tar\"]}");
    assert_int_equal(take_both(&test, &swapped), ERR_AMBIGUOUS_IMAGE);
    assert_true(take(&test, &swapped, true).pulled > 2 * LAYER_BYTES);
    buf_deinit(&other);
    free_image(&image);
    close_test(&test);
}

/* GNU's and pax' long names, and links, lead to the same promise. */
static void long_names_and_links(void **state)
{
    struct test test = open_test(state);
    struct image image = make_image(true);
    char name[201];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    autofree char *record = xasprintf("%zu path=%s\n", strlen(name) + 10, name);
    for (unsigned pax = 0; pax < 2; pax++) {
        autobuf struct buf tar = BUF_INIT(TAR_MAX);
        autobuf struct buf table = BUF_INIT(TAR_MAX);
        const char *text = pax ? record : name;
        add_header(&tar, "long", pax ? 'x' : 'L', strlen(text));
        tar_add_content(&tar, text, strlen(text));
        add_text(&tar, "short", &image.layers[0]);
        add_text(&tar, "b", &image.layers[1]);
        add_text(&tar, "c", &image.layers[2]);
        add_text(&tar, "c.json", &image.config);
        add_header(&tar, "link", '2', 0);
        uint8_t *header = (uint8_t *)tar.data + tar.size - 512;
        memcpy(header + 157, "b", 1);
        tar_seal(header);
        buf_format(&table, "[{\"Config\":\"c.json\",\"Layers\":[\"%s\",\"link\",\"c\"]}]", name);
        add_text(&tar, "manifest.json", &table);
        add_end(&tar);
        struct outcome first = take(&test, &tar, pax == 0);
        assert_ok(first.err.code, &first.err);
        struct outcome again = take(&test, &tar, true);
        assert_ok(again.err.code, &again.err);
        assert_true(again.pulled < (size_t)100 << 10);
        assert_true(digest_equal(&again.manifest, &first.manifest));
    }
    free_image(&image);
    close_test(&test);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(layers_by_their_diff_id),
        folder_test(plain_layers),
        folder_test(blobs_by_their_digest),
        folder_test(what_is_not_held_is_verified),
        folder_test(cut_anywhere),
        folder_test(sizes_that_lie),
        folder_test(doubtful_tables),
        folder_test(long_names_and_links),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
