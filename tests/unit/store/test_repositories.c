#include "store_test.h"

#include "store/internal.h"
#include "store/repositories.h"

#include <pthread.h>

static struct store *open_boot(const char *folder, const char *boot)
{
    struct error err = ERROR_INIT;
    struct store *store = NULL;
    struct store_options options = {
        .path = folder, .map_size_bytes = (uint64_t)16 << 20, .leave_volatile = true};
    assert_ok(store_open_in_boot(&options, boot, &store, &err), &err);
    return store;
}

static struct store *open_store(const char *folder)
{
    return open_boot(folder, "boot");
}

static struct batch *begin(struct store *store, enum durability durability)
{
    struct error err = ERROR_INIT;
    struct batch *batch = NULL;
    assert_ok(batch_begin(store, durability, &batch, &err), &err);
    return batch;
}

static struct digest bring(struct batch *batch, const char *content)
{
    struct error err = ERROR_INIT;
    struct digest digest;
    assert_ok(batch_put_blob(batch, content, strlen(content), &digest, &err), &err);
    return digest;
}

static void commit(struct batch *batch)
{
    struct error err = ERROR_INIT;
    assert_ok(batch_commit(batch, &err), &err);
}

static struct digest put_blob(struct store *store, const char *repository, const char *content)
{
    struct batch *batch = begin(store, BATCH_VOLATILE);
    struct digest digest = bring(batch, content);
    batch_put_member(batch, repository, &digest);
    commit(batch);
    return digest;
}

static struct manifest_entry entry_of(const char *repository, const char *tag,
                                      const struct digest *digest)
{
    struct manifest_entry entry = {
        .repository = repository, .tag = tag, .manifest = {.digest = *digest, .size = 7}};
    strcpy(entry.manifest.media_type, MEDIA_OCI_MANIFEST);
    return entry;
}

static struct digest put_manifest(struct store *store, const char *repository, const char *tag,
                                  const char *content)
{
    struct batch *batch = begin(store, BATCH_DURABLE);
    struct digest digest = bring(batch, content);
    struct manifest_entry entry = entry_of(repository, tag, &digest);
    batch_put_manifest(batch, &entry);
    commit(batch);
    return digest;
}

static struct digest put_referrer(struct store *store, const char *repository, const char *content,
                                  const struct digest *subject, const char *descriptor)
{
    struct batch *batch = begin(store, BATCH_DURABLE);
    struct digest digest = bring(batch, content);
    struct manifest_entry entry = entry_of(repository, NULL, &digest);
    entry.subject = subject;
    entry.descriptor = descriptor;
    batch_put_manifest(batch, &entry);
    commit(batch);
    return digest;
}

static bool has_blob(struct store *store, const char *repository, const struct digest *digest)
{
    struct error err = ERROR_INIT;
    bool held = false;
    assert_ok(repository_has_blob(store, repository, digest, &held, &err), &err);
    return held;
}

static bool any_has_blob(struct store *store, const struct digest *digest)
{
    struct error err = ERROR_INIT;
    bool held = false;
    assert_ok(repositories_have_blob(store, digest, &held, &err), &err);
    return held;
}

static bool is_held(struct store *store, const char *repository)
{
    struct error err = ERROR_INIT;
    bool held = false;
    assert_ok(repository_held(store, repository, &held, &err), &err);
    return held;
}

static bool has_manifest(struct store *store, const char *repository, const struct digest *digest)
{
    struct error err = ERROR_INIT;
    struct repository_manifest manifest;
    bool found = false;
    assert_ok(repository_manifest(store, repository, digest, &found, &manifest, &err), &err);
    if (found)
        assert_true(digest_equal(&manifest.digest, digest));
    return found;
}

static bool tag_is(struct store *store, const char *repository, const char *tag,
                   const struct digest *digest)
{
    struct error err = ERROR_INIT;
    struct repository_manifest manifest;
    bool found = false;
    assert_ok(repository_tag(store, repository, tag, &found, &manifest, &err), &err);
    if (digest == NULL)
        return !found;
    return found && digest_equal(&manifest.digest, digest);
}

/* The list's names, each followed by a space, and "..." when there is more. */
static const char *joined(struct name_list *list, char text[4096])
{
    text[0] = '\0';
    for (size_t i = 0; i < list->count; i++) {
        strcat(text, list->names[i]);
        strcat(text, " ");
    }
    if (list->more)
        strcat(text, "...");
    name_list_deinit(list);
    return text;
}

static const char *tags_of(struct store *store, const char *repository, const char *after,
                           size_t limit)
{
    static char text[4096];
    struct error err = ERROR_INIT;
    struct name_list list;
    assert_ok(repository_tags(store, repository, after, limit, &list, &err), &err);
    return joined(&list, text);
}

static const char *catalog(struct store *store, const char *after, size_t limit)
{
    static char text[4096];
    struct error err = ERROR_INIT;
    struct name_list list;
    assert_ok(repositories_list(store, after, limit, &list, &err), &err);
    return joined(&list, text);
}

static const char *referrers(struct store *store, const char *repository,
                             const struct digest *subject)
{
    static char text[4096];
    struct error err = ERROR_INIT;
    struct name_list list;
    assert_ok(repository_referrers(store, repository, subject, NULL, &list, &err), &err);
    return joined(&list, text);
}

static void a_blob_is_in_the_repository_it_was_put_into(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    assert_false(is_held(store, "team/app"));
    struct digest blob = put_blob(store, "team/app", "blob");
    assert_true(is_held(store, "team/app"));
    assert_false(is_held(store, "team"));
    assert_false(is_held(store, "team/ap"));
    assert_false(is_held(store, "team/app2"));
    assert_true(has_blob(store, "team/app", &blob));
    assert_false(has_blob(store, "team/app2", &blob));
    assert_true(any_has_blob(store, &blob));

    /* Mounted: held by the store, put into another repository. */
    struct batch *batch = begin(store, BATCH_DURABLE);
    batch_put_member(batch, "other", &blob);
    commit(batch);
    bool found = false;
    assert_ok(repository_remove_blob(store, "team/app", &blob, &found, &err), &err);
    assert_true(found);
    assert_false(has_blob(store, "team/app", &blob));
    assert_true(has_blob(store, "other", &blob));
    assert_true(any_has_blob(store, &blob));
    assert_ok(repository_remove_blob(store, "team/app", &blob, &found, &err), &err);
    assert_false(found);
    assert_ok(repository_remove_blob(store, "other", &blob, &found, &err), &err);
    assert_true(found);
    assert_false(any_has_blob(store, &blob));
    assert_false(is_held(store, "other"));
    store_close(store);
}

static void what_came_otherwise_is_in_no_repository(void **state)
{
    struct store *store = open_store(*state);
    struct batch *batch = begin(store, BATCH_DURABLE);
    struct digest blob = bring(batch, "blob");
    commit(batch);
    assert_false(any_has_blob(store, &blob));
    assert_false(has_manifest(store, "app", &blob));
    store_close(store);
}

static void a_manifest_is_found_by_tag_and_digest(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct digest first = put_manifest(store, "app", "1", "first");
    struct digest second = put_manifest(store, "app", NULL, "second");
    assert_true(tag_is(store, "app", "1", &first));
    assert_true(tag_is(store, "app", "2", NULL));
    assert_true(tag_is(store, "ap", "1", NULL));
    assert_true(has_manifest(store, "app", &second));
    assert_false(has_manifest(store, "other", &second));

    struct repository_manifest got;
    bool found = false;
    assert_ok(repository_tag(store, "app", "1", &found, &got, &err), &err);
    assert_true(found && got.size == 7);
    assert_string_equal(got.media_type, MEDIA_OCI_MANIFEST);

    /* The tag moves; what it named stays under its digest. */
    struct digest third = put_manifest(store, "app", "1", "third");
    assert_true(tag_is(store, "app", "1", &third));
    assert_true(has_manifest(store, "app", &first));
    store_close(store);
}

static void all_of_it_survives_the_process(void **state)
{
    struct store *store = open_store(*state);
    struct digest manifest = put_manifest(store, "app", "1", "manifest");
    struct digest blob = put_blob(store, "app", "blob");
    put_referrer(store, "app", "referrer", &manifest, "{}");
    store_close(store);
    store = open_store(*state);
    assert_true(tag_is(store, "app", "1", &manifest));
    assert_true(has_blob(store, "app", &blob));
    assert_string_equal(referrers(store, "app", &manifest), "{} ");
    assert_string_equal(catalog(store, NULL, 10), "app ");
    store_close(store);
}

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

/* `size` times the letter, owned. */
static char *letters(size_t size)
{
    char *text = xmalloc(size + 1);
    memset(text, 'x', size);
    text[size] = '\0';
    return text;
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

static void a_tag_is_removed_alone(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct digest manifest = put_manifest(store, "app", "1", "manifest");
    put_manifest(store, "app", "2", "manifest");
    bool found = false;
    assert_ok(repository_remove_tag(store, "app", "1", &found, &err), &err);
    assert_true(found);
    assert_ok(repository_remove_tag(store, "app", "1", &found, &err), &err);
    assert_false(found);
    assert_string_equal(tags_of(store, "app", NULL, 10), "2 ");
    assert_true(has_manifest(store, "app", &manifest));
    store_close(store);
}

static void a_manifest_goes_with_its_tags(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct digest gone = put_manifest(store, "app", "1", "gone");
    put_manifest(store, "app", "2", "gone");
    struct digest stays = put_manifest(store, "app", "3", "stays");
    put_manifest(store, "other", "1", "gone");
    bool found = false;
    assert_ok(repository_remove_manifest(store, "app", &gone, &found, &err), &err);
    assert_true(found);
    assert_false(has_manifest(store, "app", &gone));
    assert_string_equal(tags_of(store, "app", NULL, 10), "3 ");
    assert_true(tag_is(store, "app", "3", &stays));
    assert_true(tag_is(store, "other", "1", &gone));
    assert_ok(repository_remove_manifest(store, "app", &gone, &found, &err), &err);
    assert_false(found);
    /* Put again, it has none of its old tags. */
    put_manifest(store, "app", NULL, "gone");
    assert_string_equal(tags_of(store, "app", NULL, 10), "3 ");
    store_close(store);
}

static void what_is_not_held_cannot_be_put(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct digest unknown = digest_of_text("unknown");
    struct batch *batch = begin(store, BATCH_DURABLE);
    struct digest brought = bring(batch, "brought");
    batch_put_member(batch, "app", &brought);
    batch_put_member(batch, "app", &unknown);
    assert_code(batch_commit(batch, &err), ERR_BLOB_UNKNOWN, &err);
    assert_false(is_held(store, "app"));
    assert_false(any_has_blob(store, &brought));

    batch = begin(store, BATCH_DURABLE);
    brought = bring(batch, "brought");
    batch_put_member(batch, "app", &brought);
    struct manifest_entry entry = entry_of("app", "tag", &unknown);
    batch_put_manifest(batch, &entry);
    assert_code(batch_commit(batch, &err), ERR_BLOB_UNKNOWN, &err);
    assert_false(is_held(store, "app"));
    assert_string_equal(tags_of(store, "app", NULL, 10), "");

    batch = begin(store, BATCH_DURABLE);
    brought = bring(batch, "brought");
    batch_put_member(batch, "app", &brought);
    batch_abort(batch);
    assert_false(is_held(store, "app"));
    store_close(store);
}

static void a_blob_whose_file_is_gone_is_not_held(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct digest blob = put_blob(store, "app", "blob");
    struct digest manifest = put_manifest(store, "app", "1", "manifest");
    char path[512];
    char hex[DIGEST_TEXT_MAX];
    snprintf(path, sizeof path, "%s/blobs/sha256/%02x/%s", (char *)*state, blob.bytes[0],
             digest_hex(&blob, hex));
    assert_int_equal(unlink(path), 0);
    snprintf(path, sizeof path, "%s/blobs/sha256/%02x/%s", (char *)*state, manifest.bytes[0],
             digest_hex(&manifest, hex));
    assert_int_equal(truncate(path, 3), 0);
    assert_false(has_blob(store, "app", &blob));
    assert_false(any_has_blob(store, &blob));
    assert_false(has_manifest(store, "app", &manifest));
    assert_true(tag_is(store, "app", "1", NULL));
    /* Put again, they are. */
    put_blob(store, "app", "blob");
    put_manifest(store, "app", "1", "manifest");
    assert_true(has_blob(store, "app", &blob));
    assert_true(tag_is(store, "app", "1", &manifest));
    bool found = false;
    assert_ok(repository_remove_manifest(store, "app", &manifest, &found, &err), &err);
    assert_true(found);
    store_close(store);
}

static void put_volatile(struct store *store, const char *content, const struct digest *subject)
{
    struct batch *batch = begin(store, BATCH_VOLATILE);
    struct digest digest = bring(batch, content);
    struct manifest_entry entry = entry_of("app", content, &digest);
    entry.subject = subject;
    entry.descriptor = "{}";
    batch_put_manifest(batch, &entry);
    batch_put_member(batch, "app", &digest);
    commit(batch);
}

static void after_a_crash_of_the_machine_the_records_fit_the_blobs(void **state)
{
    struct store *store = open_boot(*state, "boot 1");
    struct digest subject = put_manifest(store, "app", "durable", "durable");
    put_volatile(store, "volatile", &subject);
    struct digest lost = digest_of_text("volatile");
    assert_true(has_manifest(store, "app", &lost));
    store_close(store);

    store = open_boot(*state, "boot 2");
    assert_true(tag_is(store, "app", "durable", &subject));
    assert_string_equal(tags_of(store, "app", NULL, 10), "durable ");
    assert_string_equal(referrers(store, "app", &subject), "");
    assert_false(has_manifest(store, "app", &lost));
    assert_false(has_blob(store, "app", &lost));
    assert_false(any_has_blob(store, &lost));
    store_close(store);
}

static void a_batch_can_become_durable(void **state)
{
    struct store *store = open_boot(*state, "boot 1");
    struct digest depends = put_blob(store, "app", "depends");
    struct batch *batch = begin(store, BATCH_VOLATILE);
    struct digest manifest = bring(batch, "manifest");
    struct manifest_entry entry = entry_of("app", "1", &manifest);
    batch_put_manifest(batch, &entry);
    batch_put_member(batch, "app", &depends);
    batch_make_durable(batch);
    commit(batch);
    store_close(store);
    store = open_boot(*state, "boot 2");
    assert_true(tag_is(store, "app", "1", &manifest));
    assert_true(has_blob(store, "app", &depends));
    store_close(store);
}

static void write_file(const char *folder, const char *name, const char *content)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(content, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void a_file_is_taken_into_the_batch(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct digest digest = digest_of_text("content");
    struct batch *batch = begin(store, BATCH_DURABLE);
    write_file(*state, "first", "content");
    write_file(*state, "second", "content");
    assert_ok(batch_take_file(batch, store->root_fd, "first", 7, &digest, &err), &err);
    assert_false(path_exists(*state, "first"));
    assert_ok(batch_take_file(batch, store->root_fd, "second", 7, &digest, &err), &err);
    assert_false(path_exists(*state, "second"));
    struct digest other = digest_of_text("other");
    assert_code(batch_take_file(batch, store->root_fd, "absent", 5, &other, &err), ERR_IO, &err);
    batch_put_member(batch, "app", &digest);
    commit(batch);
    assert_true(has_blob(store, "app", &digest));
    autofree char *data = NULL;
    size_t size = 0;
    assert_ok(blob_read_all(store, &digest, 100, "blob", &data, &size, &err), &err);
    assert_string_equal(data, "content");
    store_close(store);
}

static void a_file_that_a_full_batch_refuses_stays(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct batch *batch = begin(store, BATCH_VOLATILE);
    for (int i = 0; i < BATCH_ITEMS_MAX; i++) {
        struct digest digest = digest_of(DIGEST_SHA256, &i, sizeof i);
        write_file(*state, "file", "");
        assert_ok(batch_take_file(batch, store->root_fd, "file", 0, &digest, &err), &err);
    }
    write_file(*state, "file", "content");
    struct digest digest = digest_of_text("content");
    assert_code(batch_take_file(batch, store->root_fd, "file", 7, &digest, &err),
                ERR_ARCHIVE_TOO_LARGE, &err);
    assert_true(path_exists(*state, "file"));
    batch_abort(batch);
    store_close(store);
}

struct worker {
    struct store *store;
    int number;
    bool failed;
};

#define WORKERS 4
#define ROUNDS 30

static void *put_and_remove(void *arg)
{
    struct worker *worker = arg;
    for (int i = 0; i < ROUNDS && !worker->failed; i++) {
        struct error err = ERROR_INIT;
        struct batch *batch = NULL;
        struct digest digest;
        char tag[32];
        snprintf(tag, sizeof tag, "w%d-%02d", worker->number, i);
        bool found = false;
        worker->failed = batch_begin(worker->store, BATCH_VOLATILE, &batch, &err) != ERR_OK ||
                         batch_put_blob(batch, "same", 4, &digest, &err) != ERR_OK;
        struct manifest_entry entry = entry_of("app", tag, &digest);
        batch_put_manifest(batch, &entry);
        worker->failed = worker->failed || batch_commit(batch, &err) != ERR_OK;
        if (i % 3 == worker->number % 3)
            worker->failed = worker->failed || repository_remove_manifest(worker->store, "app",
                                                                          &digest, &found, &err);
    }
    return NULL;
}

/* Whenever somebody removes the manifest that all of them put, no tag of it is left; so tags are
 * there only with it. */
static void puts_and_removals_at_once_leave_no_tag_without_its_manifest(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    pthread_t threads[WORKERS];
    struct worker workers[WORKERS];
    for (int i = 0; i < WORKERS; i++) {
        workers[i] = (struct worker){.store = store, .number = i};
        assert_int_equal(pthread_create(&threads[i], NULL, put_and_remove, &workers[i]), 0);
    }
    for (int i = 0; i < WORKERS; i++) {
        pthread_join(threads[i], NULL);
        assert_false(workers[i].failed);
    }
    struct digest same = digest_of_text("same");
    if (!has_manifest(store, "app", &same))
        assert_string_equal(tags_of(store, "app", NULL, 1000), "");
    bool found = false;
    assert_ok(repository_remove_manifest(store, "app", &same, &found, &err), &err);
    assert_string_equal(tags_of(store, "app", NULL, 1000), "");
    store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(a_blob_is_in_the_repository_it_was_put_into),
        folder_test(what_came_otherwise_is_in_no_repository),
        folder_test(a_manifest_is_found_by_tag_and_digest),
        folder_test(all_of_it_survives_the_process),
        folder_test(tags_are_listed_in_byte_order),
        folder_test(repositories_are_listed_by_name),
        folder_test(names_and_tags_have_their_limits),
        folder_test(referrers_are_listed_with_their_subject),
        folder_test(a_descriptor_has_its_limit),
        folder_test(no_more_referrers_than_the_limit_are_listed),
        folder_test(referrers_after_one),
        folder_test(a_tag_is_removed_alone),
        folder_test(a_manifest_goes_with_its_tags),
        folder_test(what_is_not_held_cannot_be_put),
        folder_test(a_blob_whose_file_is_gone_is_not_held),
        folder_test(after_a_crash_of_the_machine_the_records_fit_the_blobs),
        folder_test(a_batch_can_become_durable),
        folder_test(a_file_is_taken_into_the_batch),
        folder_test(a_file_that_a_full_batch_refuses_stays),
        folder_test(puts_and_removals_at_once_leave_no_tag_without_its_manifest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
