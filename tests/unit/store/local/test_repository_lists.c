#include "tests/unit/store/repositories_test.h"

static void tags_are_listed_in_byte_order(void **state)
{
    struct store *store = open_store(*state);
    static const char *const tags[] = {"b", "a", "a-1", "a.1", "B", "aa", "10", "9"};
    for (size_t i = 0; i < sizeof tags / sizeof tags[0]; i++)
        put_manifest(store, "app", tags[i], "manifest");
    put_manifest(store, "app/x", "zz", "manifest");
    put_manifest(store, "ap", "yy", "manifest");
    assert_string_equal(tags_of(store, "app", NULL, 100), "10 9 B a a-1 a.1 aa b ");
    assert_string_equal(tags_of(store, "app", NULL, 7), "10 9 B a a-1 a.1 aa ...");
    assert_string_equal(tags_of(store, "app", NULL, 8), "10 9 B a a-1 a.1 aa b ");
    assert_string_equal(tags_of(store, "app", NULL, 9), "10 9 B a a-1 a.1 aa b ");
    assert_string_equal(tags_of(store, "app", NULL, 0), "...");
    assert_string_equal(tags_of(store, "app", "a", 2), "a-1 a.1 ...");
    assert_string_equal(tags_of(store, "app", "a!", 2), "a-1 a.1 ...");
    assert_string_equal(tags_of(store, "app", "b", 2), "");
    assert_string_equal(tags_of(store, "app", "", 1), "10 ...");
    assert_string_equal(tags_of(store, "nothing", NULL, 10), "");
    store_close(store);
}

static void repositories_are_listed_by_name(void **state)
{
    struct store *store = open_store(*state);
    static const char *const names[] = {"a", "a-b", "a/b", "aa", "b", "a.b"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        put_manifest(store, names[i], "1", "first");
        put_manifest(store, names[i], "2", "second");
        put_manifest(store, names[i], "3", "third");
    }
    put_blob(store, "only/blobs", "blob");
    assert_string_equal(catalog(store, NULL, 100), "a a-b a.b a/b aa b ");
    assert_string_equal(catalog(store, NULL, 2), "a a-b ...");
    assert_string_equal(catalog(store, "a-b", 2), "a.b a/b ...");
    assert_string_equal(catalog(store, "a0", 2), "aa b ");
    assert_string_equal(catalog(store, "aa", 1), "b ");
    assert_string_equal(catalog(store, "b", 1), "");
    assert_string_equal(catalog(store, NULL, 0), "...");
    store_close(store);
}

static void names_and_tags_have_their_limits(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct digest some = put_manifest(store, "some", "tag", "manifest");
    struct digest longest_digest = digest_of(DIGEST_SHA512, "x", 1);
    for (size_t size = REPOSITORY_NAME_MAX - 1; size <= REPOSITORY_NAME_MAX + 1; size++) {
        autofree char *name = letters(size);
        bool fits = size <= REPOSITORY_NAME_MAX;
        struct batch *batch = begin(store, BATCH_VOLATILE);
        struct manifest_entry entry = entry_of(name, "tag", &some);
        entry.subject = &longest_digest;
        entry.descriptor = "{}";
        batch_put_manifest(batch, &entry);
        batch_put_member(batch, name, &some);
        if (fits)
            commit(batch);
        else
            assert_code(batch_commit(batch, &err), ERR_NAME_INVALID, &err);
        assert_int_equal(is_held(store, name), fits);
        assert_int_equal(has_blob(store, name, &some), fits);
        assert_true(tag_is(store, name, "tag", fits ? &some : NULL));
        assert_string_equal(referrers(store, name, &longest_digest), fits ? "{} " : "");
        assert_string_equal(tags_of(store, name, NULL, 10), fits ? "tag " : "");
        assert_string_equal(catalog(store, name, 1), "");
        bool found = true;
        if (!fits) {
            assert_ok(repository_remove_tag(store, name, "tag", &found, &err), &err);
            assert_false(found);
            assert_ok(repository_remove_blob(store, name, &some, &found, &err), &err);
            assert_false(found);
            assert_ok(repository_remove_manifest(store, name, &some, &found, &err), &err);
            assert_false(found);
        }
    }
    for (size_t size = REFERENCE_TAG_MAX - 1; size <= REFERENCE_TAG_MAX + 1; size++) {
        autofree char *tag = letters(size);
        bool fits = size <= REFERENCE_TAG_MAX;
        struct batch *batch = begin(store, BATCH_VOLATILE);
        struct manifest_entry entry = entry_of("app", tag, &some);
        batch_put_manifest(batch, &entry);
        if (fits)
            commit(batch);
        else
            assert_code(batch_commit(batch, &err), ERR_TAG_INVALID, &err);
        assert_true(tag_is(store, "app", tag, fits ? &some : NULL));
    }
    /* Beyond what a name can be, a place to go on from is still one. */
    autofree char *far = letters(5000);
    assert_string_equal(tags_of(store, "app", far, 10), "");
    assert_string_equal(catalog(store, far, 10), "");
    store_close(store);
}

static void referrers_are_listed_with_their_subject(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct digest subject = digest_of_text("not here yet");
    struct digest one = put_referrer(store, "app", "one", &subject, "{\"one\":1}");
    assert_string_equal(referrers(store, "app", &subject), "{\"one\":1} ");
    assert_string_equal(referrers(store, "other", &subject), "");
    struct digest two = put_referrer(store, "app", "two", &subject, "{\"two\":2}");
    bool one_first = digest_compare(&one, &two) < 0;
    assert_string_equal(referrers(store, "app", &subject),
                        one_first ? "{\"one\":1} {\"two\":2} " : "{\"two\":2} {\"one\":1} ");
    bool found = false;
    assert_ok(repository_remove_manifest(store, "app", &one, &found, &err), &err);
    assert_true(found);
    assert_string_equal(referrers(store, "app", &subject), "{\"two\":2} ");

    /* It is known as one that was there, until it is put again; another repository knows nothing.
     */
    char digest[DIGEST_TEXT_MAX];
    autofree char *past = xasprintf("%s ", digest_text(&one, digest));
    assert_string_equal(past_referrers(store, "app", &subject), past);
    assert_string_equal(past_referrers(store, "other", &subject), "");
    put_manifest(store, "app", "1", "one");
    assert_string_equal(past_referrers(store, "app", &subject), "");
    assert_string_equal(referrers(store, "app", &subject),
                        one_first ? "{\"one\":1} {\"two\":2} " : "{\"two\":2} {\"one\":1} ");
    store_close(store);
}

static void a_list_makes_referrers_of_manifests(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct digest subject = digest_of_text("subject");
    struct digest held = put_manifest(store, "app", NULL, "held");
    struct digest elsewhere = put_manifest(store, "other", NULL, "elsewhere");
    struct batch *batch = begin(store, BATCH_VOLATILE);
    batch_put_referrer(batch, "app", &subject, &held, "{\"held\":1}");
    batch_put_referrer(batch, "app", &subject, &elsewhere, "{\"elsewhere\":1}");
    commit(batch);
    assert_string_equal(referrers(store, "app", &subject), "{\"held\":1} ");
    bool found = false;
    assert_ok(repository_remove_manifest(store, "app", &held, &found, &err), &err);
    assert_string_equal(referrers(store, "app", &subject), "");
    autofree char *large = letters(MANIFEST_DESCRIPTOR_MAX + 1);
    batch = begin(store, BATCH_VOLATILE);
    batch_put_referrer(batch, "app", &subject, &held, large);
    assert_code(batch_commit(batch, &err), ERR_MANIFEST_INVALID, &err);
    store_close(store);
}

static void a_descriptor_has_its_limit(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct digest some = put_manifest(store, "app", "tag", "manifest");
    struct digest subject = digest_of_text("subject");
    for (size_t size = MANIFEST_DESCRIPTOR_MAX - 1; size <= MANIFEST_DESCRIPTOR_MAX + 1; size++) {
        autofree char *text = letters(size);
        struct batch *batch = begin(store, BATCH_VOLATILE);
        struct manifest_entry entry = entry_of("app", NULL, &some);
        entry.subject = &subject;
        entry.descriptor = text;
        batch_put_manifest(batch, &entry);
        if (size > MANIFEST_DESCRIPTOR_MAX) {
            assert_code(batch_commit(batch, &err), ERR_MANIFEST_INVALID, &err);
            continue;
        }
        commit(batch);
        struct name_list list;
        assert_ok(repository_referrers(store, "app", &subject, NULL, &list, &err), &err);
        assert_int_equal(list.count, 1);
        assert_string_equal(list.names[0], text);
        name_list_deinit(&list);
    }
    store_close(store);
}

static void no_more_referrers_than_the_limit_are_listed(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct digest subject = digest_of_text("subject");
    for (int round = 0; round < 3; round++) {
        struct batch *batch = begin(store, BATCH_VOLATILE);
        for (int i = 0; i < (round == 0 ? REFERRERS_MAX - 1 : 1); i++) {
            char content[32];
            snprintf(content, sizeof content, "%d-%d", round, i);
            struct digest digest = bring(batch, content);
            struct manifest_entry entry = entry_of("app", NULL, &digest);
            entry.subject = &subject;
            entry.descriptor = "{}";
            batch_put_manifest(batch, &entry);
        }
        commit(batch);
        struct name_list list;
        assert_ok(repository_referrers(store, "app", &subject, NULL, &list, &err), &err);
        assert_int_equal(list.count, round == 0 ? REFERRERS_MAX - 1 : REFERRERS_MAX);
        assert_int_equal(list.more, round == 2);
        name_list_deinit(&list);
    }
    store_close(store);
}

static void referrers_after_one(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct digest subject = digest_of_text("subject");
    struct digest digests[5];
    struct batch *batch = begin(store, BATCH_VOLATILE);
    for (int i = 0; i < 5; i++) {
        char content[32];
        snprintf(content, sizeof content, "referrer %d", i);
        struct digest digest = bring(batch, content);
        char text[DIGEST_TEXT_MAX];
        struct manifest_entry entry = entry_of("app", NULL, &digest);
        entry.subject = &subject;
        entry.descriptor = digest_text(&digest, text);
        batch_put_manifest(batch, &entry);
        int at = i;
        for (; at > 0 && digest_compare(&digests[at - 1], &digest) > 0; at--)
            digests[at] = digests[at - 1];
        digests[at] = digest;
    }
    commit(batch);
    for (size_t i = 0; i < 5; i++) {
        struct name_list list;
        assert_ok(repository_referrers(store, "app", &subject, &digests[i], &list, &err), &err);
        assert_int_equal(list.count, 4 - i);
        for (size_t k = 0; k < list.count; k++) {
            char text[DIGEST_TEXT_MAX];
            assert_string_equal(list.names[k], digest_text(&digests[i + 1 + k], text));
        }
        name_list_deinit(&list);
    }
    store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(tags_are_listed_in_byte_order),
        folder_test(repositories_are_listed_by_name),
        folder_test(names_and_tags_have_their_limits),
        folder_test(referrers_are_listed_with_their_subject),
        folder_test(a_list_makes_referrers_of_manifests),
        folder_test(a_descriptor_has_its_limit),
        folder_test(no_more_referrers_than_the_limit_are_listed),
        folder_test(referrers_after_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
