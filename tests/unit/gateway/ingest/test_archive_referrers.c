/* What belongs to an image of a layout, and how much of it goes with it. */
#include "tests/unit/store/store_test.h"

#include "gateway/ingest/archive_referrers.h"
#include "image/manifest.h"

/* A layout of manifests without layers that share one config. */
struct layout {
    struct store *store;
    struct batch *batch;
    struct catalog *catalog;
    struct descriptor config;
    struct oci_layout index;
};

static struct descriptor put(struct layout *layout, const char *media_type, const char *text)
{
    struct error err = ERROR_INIT;
    struct descriptor blob = {.size = strlen(text)};
    struct layer_result content = {.content = CONTENT_OTHER, .raw_size = blob.size};
    char hex[DIGEST_TEXT_MAX];
    snprintf(blob.media_type, sizeof blob.media_type, "%s", media_type);
    assert_ok(batch_put_blob(layout->batch, text, blob.size, &blob.digest, &err), &err);
    content.raw = content.digest = content.diff_id = blob.digest;
    autofree char *name = xasprintf("blobs/sha256/%s", digest_hex(&blob.digest, hex));
    assert_ok(catalog_add_file(layout->catalog, name, &content, &err), &err);
    return blob;
}

static struct layout *layout_new(const char *folder, size_t entries)
{
    struct error err = ERROR_INIT;
    struct layout *layout = xcalloc(1, sizeof *layout);
    struct store_options options = {.map_size_bytes = (uint64_t)8 << 20, .leave_volatile = true};
    assert_ok(store_open_local(folder, &options, &layout->store, &err), &err);
    layout->batch = batch_begin(layout->store, BATCH_VOLATILE);
    layout->catalog = catalog_new();
    layout->config = put(layout, MEDIA_OCI_EMPTY, "{}");
    layout->index.entries = xcalloc(entries, sizeof *layout->index.entries);
    return layout;
}

static void layout_free(struct layout *layout)
{
    catalog_free(layout->catalog);
    batch_abort(layout->batch);
    store_close(layout->store);
    oci_layout_deinit(&layout->index);
    free(layout);
}

/* A manifest of its own by `number`; with a subject or without. */
static struct descriptor add(struct layout *layout, size_t number, const struct digest *subject)
{
    char config[DIGEST_TEXT_MAX];
    char text[DIGEST_TEXT_MAX];
    autofree char *more = subject ? xasprintf(",\"subject\":{\"mediaType\":\"" MEDIA_OCI_MANIFEST
                                              "\",\"digest\":\"%s\",\"size\":1}",
                                              digest_text(subject, text))
                                  : xstrdup("");
    autofree char *bytes = xasprintf(
        "{\"schemaVersion\":2,\"config\":{\"mediaType\":\"" MEDIA_OCI_EMPTY
        "\",\"digest\":\"%s\",\"size\":2},\"layers\":[],\"annotations\":{\"n\":\"%zu\"}%s}",
        digest_text(&layout->config.digest, config), number, more);
    const struct descriptor manifest = put(layout, MEDIA_OCI_MANIFEST, bytes);
    layout->index.entries[layout->index.count++].descriptor = manifest;
    return manifest;
}

/* Assemble the first entry and what belongs to it. */
static enum errc take(struct layout *layout, struct push_referrer **out, size_t *count,
                      struct error *err)
{
    struct archive_referrers attachments;
    struct inspector inspector = {.catalog = layout->catalog, .batch = layout->batch};
    struct assembly assembly = {
        .catalog = layout->catalog, .inspector = &inspector, .batch = layout->batch};
    struct descriptor manifest;
    struct digest config;
    const struct descriptor *root = &layout->index.entries[0].descriptor;
    archive_referrers_find(&inspector, &layout->index, &attachments);
    assert_ok(assemble_oci_image(&assembly, root, &manifest, &config, err), err);
    enum errc rc = archive_referrers_assemble(&attachments, &assembly, out, count, err);
    archive_referrers_deinit(&attachments);
    assembly_deinit(&assembly);
    inspector_deinit(&inspector);
    return rc;
}

/* A chain, each of which refers to the next one in the layout. */
static void subjects_come_first(void **state)
{
    enum { LENGTH = 40 };
    struct error err = ERROR_INIT;
    struct layout *layout = layout_new(*state, LENGTH + 1);
    struct descriptor chain[LENGTH + 1];
    autofree struct push_referrer *referrers = NULL;
    size_t count = 0;
    chain[0] = add(layout, 0, NULL);
    for (size_t i = 1; i <= LENGTH; i++)
        chain[i] = add(layout, i, &chain[i - 1].digest);
    for (size_t i = 1; i <= LENGTH; i++)
        layout->index.entries[i].descriptor = chain[LENGTH + 1 - i];
    assert_ok(take(layout, &referrers, &count, &err), &err);
    assert_int_equal(count, LENGTH);
    for (size_t i = 0; i < count; i++)
        assert_true(digest_equal(&referrers[i].manifest.digest, &chain[i + 1].digest));
    layout_free(layout);
}

static void of_one_subject_in_the_order_of_the_layout(void **state)
{
    struct error err = ERROR_INIT;
    struct layout *layout = layout_new(*state, 4);
    autofree struct push_referrer *referrers = NULL;
    size_t count = 0;
    struct digest other = digest_of_text("of another image");
    const struct descriptor image = add(layout, 0, NULL);
    const struct descriptor first = add(layout, 1, &image.digest);
    add(layout, 2, &other);
    const struct descriptor second = add(layout, 3, &image.digest);
    assert_ok(take(layout, &referrers, &count, &err), &err);
    assert_int_equal(count, 2);
    assert_true(digest_equal(&referrers[0].manifest.digest, &first.digest));
    assert_true(digest_equal(&referrers[1].manifest.digest, &second.digest));
    layout_free(layout);
}

static void referrers_are_limited(void **state)
{
    struct error err = ERROR_INIT;
    struct layout *layout = layout_new(*state, REFERRERS_MAX + 2);
    const struct descriptor image = add(layout, 0, NULL);
    for (size_t i = 1; i <= REFERRERS_MAX + 1; i++) {
        struct push_referrer *referrers = NULL;
        size_t count = 0;
        add(layout, i, &image.digest);
        if (i < REFERRERS_MAX - 1)
            continue;
        if (i > REFERRERS_MAX) {
            assert_code(take(layout, &referrers, &count, &err), ERR_UNSUPPORTED, &err);
            continue;
        }
        assert_ok(take(layout, &referrers, &count, &err), &err);
        assert_int_equal(count, i);
        free(referrers);
    }
    layout_free(layout);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(subjects_come_first),
        folder_test(of_one_subject_in_the_order_of_the_layout),
        folder_test(referrers_are_limited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
