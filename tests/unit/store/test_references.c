#include "tests/unit/store/store_test.h"

#include "store/batch.h"
#include "store/references.h"

static struct digest put_blob(struct store *store, const char *content)
{
    struct error err = ERROR_INIT;
    struct digest digest;
    struct batch *batch = batch_begin(store, BATCH_VOLATILE);
    assert_ok(batch_put_blob(batch, content, strlen(content), &digest, &err), &err);
    assert_ok(batch_commit(batch, &err), &err);
    return digest;
}

static struct reference parse(const char *text)
{
    struct error err = ERROR_INIT;
    struct reference ref;
    assert_ok(reference_parse(text, &ref, &err), &err);
    return ref;
}

static void put(struct store *store, const char *text, const struct digest *manifest,
                const char *media_type)
{
    struct error err = ERROR_INIT;
    struct reference ref = parse(text);
    assert_ok(references_put(store, &ref, manifest, media_type, &err), &err);
}

static bool get(struct store *store, const char *text, struct named_manifest *out)
{
    struct error err = ERROR_INIT;
    struct reference ref = parse(text);
    bool found = false;
    assert_ok(references_get(store, &ref, &found, out, &err), &err);
    return found;
}

static void what_is_put_is_got_and_replaced(void **state)
{
    struct store *store = open_store(*state);
    struct digest first = put_blob(store, "first");
    struct digest second = put_blob(store, "second");
    struct named_manifest named;
    assert_false(get(store, "r.example.com/app:1", &named));
    put(store, "r.example.com/app:1", &first, MEDIA_OCI_MANIFEST);
    assert_true(get(store, "r.example.com/app:1", &named));
    assert_true(digest_equal(&named.manifest, &first));
    assert_string_equal(named.media_type, MEDIA_OCI_MANIFEST);
    assert_string_equal(named.reference.host, "r.example.com");
    assert_string_equal(named.reference.path, "app");
    assert_string_equal(named.reference.tag, "1");
    assert_false(get(store, "r.example.com/app:2", &named));
    assert_false(get(store, "r.example.com/other:1", &named));
    put(store, "r.example.com/app:1", &second, MEDIA_OCI_INDEX);
    assert_true(get(store, "r.example.com/app:1", &named));
    assert_true(digest_equal(&named.manifest, &second));
    assert_string_equal(named.media_type, MEDIA_OCI_INDEX);
    store_close(store);
}

static void the_digest_goes_before_the_tag(void **state)
{
    struct store *store = open_store(*state);
    struct digest digest = put_blob(store, "content");
    struct named_manifest named;
    char hex[DIGEST_TEXT_MAX];
    char both[300];
    char only[300];
    snprintf(both, sizeof both, "h.io/app:tag@%s", digest_text(&digest, hex));
    snprintf(only, sizeof only, "h.io/app@%s", hex);
    put(store, both, &digest, MEDIA_OCI_MANIFEST);
    assert_true(get(store, only, &named));
    assert_true(get(store, both, &named));
    assert_false(get(store, "h.io/app:tag", &named));
    store_close(store);
}

static void a_bare_name_is_refused(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct digest digest = put_blob(store, "content");
    struct reference ref = parse("h.io/app");
    struct named_manifest named;
    bool found = false;
    assert_code(references_put(store, &ref, &digest, MEDIA_OCI_MANIFEST, &err), ERR_NO_TAG, &err);
    error_clear(&err);
    assert_code(references_get(store, &ref, &found, &named, &err), ERR_NO_TAG, &err);
    store_close(store);
}

static void a_manifest_that_is_not_held_is_refused(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct digest digest = digest_of_text("not held");
    struct reference ref = parse("h.io/app:1");
    struct named_manifest named;
    assert_code(references_put(store, &ref, &digest, MEDIA_OCI_MANIFEST, &err), ERR_BLOB_UNKNOWN,
                &err);
    assert_false(get(store, "h.io/app:1", &named));
    store_close(store);
}

static void a_media_type_has_a_limit(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct digest digest = put_blob(store, "content");
    struct reference ref = parse("h.io/app:1");
    struct named_manifest named;
    char type[MEDIA_TYPE_MAX + 1];
    for (size_t length = MEDIA_TYPE_MAX - 2; length < MEDIA_TYPE_MAX; length++) {
        memset(type, 'm', length);
        type[length] = '\0';
        assert_ok(references_put(store, &ref, &digest, type, &err), &err);
        assert_true(get(store, "h.io/app:1", &named));
        assert_string_equal(named.media_type, type);
    }
    memset(type, 'm', MEDIA_TYPE_MAX);
    type[MEDIA_TYPE_MAX] = '\0';
    assert_code(references_put(store, &ref, &digest, type, &err), ERR_MANIFEST_INVALID, &err);
    store_close(store);
}

static struct reference nth_digest(const char *name, size_t i)
{
    struct reference ref = parse(name);
    ref.digest = digest_of(DIGEST_SHA256, &i, sizeof i);
    return ref;
}

static void put_nth(struct store *store, const char *name, size_t i, const struct digest *manifest)
{
    struct error err = ERROR_INIT;
    struct reference ref = nth_digest(name, i);
    assert_ok(references_put(store, &ref, manifest, MEDIA_OCI_MANIFEST, &err), &err);
}

static bool has_nth(struct store *store, const char *name, size_t i)
{
    struct error err = ERROR_INIT;
    struct reference ref = nth_digest(name, i);
    struct named_manifest named;
    bool found = false;
    assert_ok(references_get(store, &ref, &found, &named, &err), &err);
    return found;
}

/* How many of the digests that the test puts. */
static size_t count_of(struct store *store, const char *name)
{
    size_t count = 0;
    for (size_t i = 0; i < REFERENCE_DIGESTS_MAX + 2; i++)
        count += has_nth(store, name, i);
    return count;
}

/* All within the same second, mostly; tags and other names do not count. */
static void the_digest_recorded_longest_ago_makes_room(void **state)
{
    const size_t most = REFERENCE_DIGESTS_MAX;
    struct store *store = open_store(*state);
    struct digest digest = put_blob(store, "content");
    put(store, "h.io/app:1", &digest, MEDIA_OCI_MANIFEST);
    put_nth(store, "h.io/app2", 0, &digest);
    put_nth(store, "h.io/app/sub", 0, &digest);
    for (size_t i = 0; i < most; i++) {
        put_nth(store, "h.io/app", i, &digest);
        assert_int_equal(count_of(store, "h.io/app"), i + 1);
    }
    /* The first one becomes the youngest, and nothing has to go for it. */
    put_nth(store, "h.io/app", 0, &digest);
    assert_int_equal(count_of(store, "h.io/app"), most);
    put_nth(store, "h.io/app", most, &digest);
    assert_int_equal(count_of(store, "h.io/app"), most);
    assert_false(has_nth(store, "h.io/app", 1));
    for (size_t i = 0; i <= most; i++)
        assert_int_equal(has_nth(store, "h.io/app", i), i != 1);
    put_nth(store, "h.io/app", most + 1, &digest);
    assert_false(has_nth(store, "h.io/app", 2));
    assert_true(has_nth(store, "h.io/app", 0));
    assert_true(has_nth(store, "h.io/app2", 0));
    assert_true(has_nth(store, "h.io/app/sub", 0));
    assert_int_equal(count_of(store, "h.io/app"), most);
    store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(what_is_put_is_got_and_replaced),
        folder_test(the_digest_goes_before_the_tag),
        folder_test(a_bare_name_is_refused),
        folder_test(a_manifest_that_is_not_held_is_refused),
        folder_test(a_media_type_has_a_limit),
        folder_test(the_digest_recorded_longest_ago_makes_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
