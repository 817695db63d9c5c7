/* What could not be pushed, and that finding out costs no more than what was put. */
#include "tests/unit/store/store_test.h"

#include "base/limits.h"
#include "gateway/registry/pushable.h"
#include "image/image_config.h"
#include "store/batch.h"

/* A blob in the store: what a descriptor of it says. */
static struct descriptor put(struct store *store, const char *media_type, const void *data,
                             size_t size)
{
    struct error err = ERROR_INIT;
    struct descriptor blob = {.size = size};
    snprintf(blob.media_type, sizeof blob.media_type, "%s", media_type);
    struct batch *batch = batch_begin(store, BATCH_VOLATILE);
    assert_ok(batch_put_blob(batch, data, size, &blob.digest, &err), &err);
    assert_ok(batch_commit(batch, &err), &err);
    return blob;
}

static struct descriptor put_text(struct store *store, const char *media_type, const char *text)
{
    return put(store, media_type, text, strlen(text));
}

static char *entry(const struct descriptor *blob, const char *more)
{
    char text[DIGEST_TEXT_MAX];
    return xasprintf("{\"mediaType\":\"%s\",\"digest\":\"%s\",\"size\":%llu%s}", blob->media_type,
                     digest_text(&blob->digest, text), (unsigned long long)blob->size, more);
}

static char *image_text(const struct descriptor *config, const struct descriptor *layer,
                        const char *more)
{
    autofree char *first = entry(config, "");
    autofree char *second = entry(layer, more);
    return xasprintf("{\"schemaVersion\":2,\"config\":%s,\"layers\":[%s]}", first, second);
}

static struct descriptor put_image(struct store *store, const char *name)
{
    const struct descriptor config = put_text(store, MEDIA_OCI_CONFIG, name);
    const struct descriptor layer = put_text(store, MEDIA_OCI_LAYER_GZIP, name);
    autofree char *text = image_text(&config, &layer, "");
    return put_text(store, MEDIA_OCI_MANIFEST, text);
}

/* An index that has each of `members` `times` times. */
static char *index_text(const struct descriptor *members, size_t count, size_t times)
{
    autobuf struct buf text = BUF_INIT(MANIFEST_LIMIT_BYTES);
    buf_text(&text, "{\"schemaVersion\":2,\"manifests\":[");
    for (size_t i = 0; i < count * times; i++) {
        autofree char *one = entry(&members[i % count], "");
        buf_format(&text, "%s%s", i ? "," : "", one);
    }
    buf_text(&text, "]}");
    return xstrdup(buf_cstr(&text));
}

static struct descriptor put_index(struct store *store, const struct descriptor *members,
                                   size_t count, size_t times)
{
    autofree char *text = index_text(members, count, times);
    return put_text(store, MEDIA_OCI_INDEX, text);
}

static enum errc check(struct store *store, const char *text, const char *media_type,
                       struct error *err)
{
    struct manifest manifest;
    struct cancel cancel;
    error_clear(err);
    assert_ok(manifest_parse_any(text, strlen(text), media_type, "it", &manifest, err), err);
    cancel_init(&cancel);
    enum errc rc = pushable_check(store, &cancel, &manifest, err);
    cancel_deinit(&cancel);
    manifest_deinit(&manifest);
    return rc;
}

static void assert_pushable(struct store *store, const char *text, const char *media_type)
{
    struct error err = ERROR_INIT;
    assert_ok(check(store, text, media_type, &err), &err);
}

static void assert_refused(struct store *store, const char *text, const char *media_type,
                           const char *part)
{
    struct error err = ERROR_INIT;
    assert_code(check(store, text, media_type, &err), ERR_MANIFEST_INVALID, &err);
    if (strstr(err.text, part) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", err.text, part);
}

static void assert_index_refused(struct store *store, const struct descriptor *member,
                                 const char *part)
{
    autofree char *text = index_text(member, 1, 1);
    assert_refused(store, text, MEDIA_OCI_INDEX, part);
}

static void depth(void **state)
{
    struct store *store = open_store(*state);
    struct descriptor inner = put_image(store, "deep");
    for (int at = 1; at <= INDEX_DEPTH_MAX; at++) {
        autofree char *text = index_text(&inner, 1, 1);
        assert_pushable(store, text, MEDIA_OCI_INDEX);
        inner = put_text(store, MEDIA_OCI_INDEX, text);
    }
    assert_index_refused(store, &inner, "nested more than 8 deep");
    store_close(store);
}

/* What was looked at near the top is deeper elsewhere. */
static void depth_of_what_is_known(void **state)
{
    struct store *store = open_store(*state);
    struct descriptor image = put_image(store, "known");
    struct descriptor low = image;
    for (int i = 0; i < 4; i++)
        low = put_index(store, &low, 1, 1);
    for (int more = 3; more <= 4; more++) {
        struct descriptor members[] = {low, low};
        for (int i = 0; i < more; i++)
            members[1] = put_index(store, &members[1], 1, 1);
        autofree char *text = index_text(members, 2, 1);
        if (more == 3)
            assert_pushable(store, text, MEDIA_OCI_INDEX);
        else
            assert_refused(store, text, MEDIA_OCI_INDEX, "nested more than 8 deep");
    }
    store_close(store);
}

static void what_is_no_manifest(void **state)
{
    struct store *store = open_store(*state);
    autofree char *large = xcalloc(1, MANIFEST_LIMIT_BYTES + 1);
    struct descriptor missing = {.digest = digest_of_text("nowhere"), .size = 7};
    struct descriptor blob = put_text(store, MEDIA_OCI_LAYER_GZIP, "a layer of a cache");
    struct descriptor opaque = put_text(store, "application/vnd.example+json", "{\"a\":1}");
    memset(large, ' ', MANIFEST_LIMIT_BYTES + 1);
    struct descriptor too_large = put(store, MEDIA_OCI_MANIFEST, large, MANIFEST_LIMIT_BYTES + 1);
    snprintf(missing.media_type, sizeof missing.media_type, "%s", MEDIA_OCI_MANIFEST);
    assert_index_refused(store, &missing, "not");
    assert_index_refused(store, &too_large, "over the limit");
    autofree char *cache = index_text(&blob, 1, 1);
    assert_pushable(store, cache, MEDIA_OCI_INDEX);
    blob.size++;
    assert_index_refused(store, &blob, "has 18 bytes, not 19");
    autofree char *text = index_text(&opaque, 1, 1);
    assert_pushable(store, text, MEDIA_OCI_INDEX);
    assert_pushable(store, "{\"a\":1}", "application/vnd.example+json");
    struct descriptor other_type = put_image(store, "docker");
    snprintf(other_type.media_type, sizeof other_type.media_type, "%s", MEDIA_OCI_INDEX);
    assert_index_refused(store, &other_type, "manifests");
    store_close(store);
}

static void parts_of_images(void **state)
{
    struct store *store = open_store(*state);
    struct descriptor config = put_text(store, MEDIA_OCI_CONFIG, "{}");
    struct descriptor layer = put_text(store, MEDIA_OCI_LAYER_GZIP, "layer");
    struct descriptor missing = layer;
    missing.digest = digest_of_text("nowhere");
    autofree char *whole = image_text(&config, &layer, "");
    autofree char *lacks = image_text(&config, &missing, "");
    autofree char *foreign =
        image_text(&config, &missing, ",\"urls\":[\"https://r.example.com/\"]");
    assert_pushable(store, whole, MEDIA_OCI_MANIFEST);
    assert_refused(store, lacks, MEDIA_OCI_MANIFEST, "could not be pushed");
    assert_pushable(store, foreign, MEDIA_OCI_MANIFEST);
    struct descriptor below = put_text(store, MEDIA_OCI_MANIFEST, lacks);
    assert_index_refused(store, &below, "member");
    layer.size++;
    autofree char *longer = image_text(&config, &layer, "");
    assert_refused(store, longer, MEDIA_OCI_MANIFEST, "has 5 bytes, not 6");
    store_close(store);
}

static void size_of_a_config(void **state)
{
    struct store *store = open_store(*state);
    struct descriptor layer = put_text(store, MEDIA_OCI_LAYER_GZIP, "layer");
    for (size_t more = 0; more <= 1; more++) {
        size_t size = IMAGE_CONFIG_LIMIT_BYTES + more;
        autofree char *bytes = xcalloc(1, size);
        struct descriptor config = put(store, MEDIA_OCI_CONFIG, bytes, size);
        autofree char *text = image_text(&config, &layer, "");
        if (more == 0)
            assert_pushable(store, text, MEDIA_OCI_MANIFEST);
        else
            assert_refused(store, text, MEDIA_OCI_MANIFEST, "the config has more than");
    }
    store_close(store);
}

/* A thousand times a thousand to the eighth, looked at once each. */
static void repetitions_cost_nothing(void **state)
{
    struct store *store = open_store(*state);
    struct descriptor inner = put_image(store, "often");
    for (int at = 1; at < INDEX_DEPTH_MAX; at++)
        inner = put_index(store, &inner, 1, 1000);
    autofree char *text = index_text(&inner, 1, 1000);
    assert_pushable(store, text, MEDIA_OCI_INDEX);
    store_close(store);
}

static void the_whole_is_bounded(void **state)
{
    struct store *store = open_store(*state);
    struct descriptor members[18];
    size_t room = MANIFEST_LIMIT_BYTES - 1024;
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        autofree char *text = xmalloc(room + 1);
        memset(text, ' ', room);
        text[room] = '\0';
        int n = snprintf(text, room, "{\"schemaVersion\":2,\"n\":%zu}", i);
        text[n] = ' ';
        members[i] = put(store, "application/vnd.example+json", text, room);
    }
    autofree char *fits = index_text(members, 16, 1);
    autofree char *over = index_text(members, 17, 1);
    assert_pushable(store, fits, MEDIA_OCI_INDEX);
    assert_refused(store, over, MEDIA_OCI_INDEX, "too much below");
    store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(depth),
        folder_test(depth_of_what_is_known),
        folder_test(what_is_no_manifest),
        folder_test(parts_of_images),
        folder_test(size_of_a_config),
        folder_test(repetitions_cost_nothing),
        folder_test(the_whole_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
