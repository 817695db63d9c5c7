#include "tests/unit/store/repositories_test.h"

#include "store/local/blob_files.h"
#include "store/local/records_pushes.h"
#include "store/local/records_repositories.h"
#include "store/references.h"
#include "tests/support/recorded_pushes.h"

#define DIGEST_A "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static bool holds(struct store *store, const struct digest *digest)
{
    struct error err = ERROR_INIT;
    struct blob_record record;
    bool found = false;
    assert_ok(blob_find(store, digest, &found, &record, &err), &err);
    assert_int_equal(found, blob_file_is_there(store->blobs_fd, digest, record.size));
    return found;
}

static struct digest bring_alone(struct store *store, enum durability durability,
                                 const char *content)
{
    struct batch *batch = begin(store, durability);
    struct digest digest = bring(batch, content);
    commit(batch);
    return digest;
}

static struct reference tagged(const char *tag)
{
    struct reference ref = {.host = "r.example.com", .path = "app"};
    snprintf(ref.tag, sizeof ref.tag, "%s", tag);
    return ref;
}

static void name(struct batch *batch, const char *tag, const struct digest *manifest)
{
    struct reference ref = tagged(tag);
    batch_put_reference(batch, &ref, manifest, MEDIA_OCI_MANIFEST);
}

static bool has_reference(struct store *store, const struct reference *ref)
{
    struct error err = ERROR_INIT;
    struct named_manifest named;
    bool found = false;
    assert_ok(references_get(store, ref, &found, &named, &err), &err);
    return found;
}

static bool has_name(struct store *store, const char *tag)
{
    struct reference ref = tagged(tag);
    return has_reference(store, &ref);
}

/* A descriptor's JSON; `digest` may be of what the store never had. */
static void describe(char *out, size_t room, const char *media_type, const char *digest)
{
    snprintf(out, room, "{\"mediaType\":\"%s\",\"digest\":\"%s\",\"size\":7}", media_type, digest);
}

/* The bytes of an image's manifest, to be freed. */
static char *image_of(const char *config, const char *layer)
{
    char first[300];
    char second[300];
    describe(first, sizeof first, MEDIA_OCI_CONFIG, config);
    describe(second, sizeof second, MEDIA_OCI_LAYER_GZIP, layer);
    return xasprintf("{\"schemaVersion\":2,\"config\":%s,\"layers\":[%s]}", first, second);
}

static char *index_of(const char *child, const char *other)
{
    char first[300];
    char second[300];
    describe(first, sizeof first, MEDIA_OCI_MANIFEST, child);
    describe(second, sizeof second, MEDIA_OCI_MANIFEST, other);
    return xasprintf("{\"schemaVersion\":2,\"manifests\":[%s,%s]}", first, second);
}

/* A durable batch brings the manifest and nothing that it needs; it is named by its tag. */
static struct digest promise(struct store *store, const char *tag, char *manifest)
{
    struct batch *batch = begin(store, BATCH_DURABLE);
    struct digest digest = bring(batch, manifest);
    name(batch, tag, &digest);
    commit(batch);
    free(manifest);
    return digest;
}

static struct store *crash(struct store *store, const char *folder, const char *boot)
{
    store_close(store);
    return open_boot(folder, boot);
}

static void a_name_goes_with_any_part_of_its_image(void **state)
{
    char lost[DIGEST_TEXT_MAX];
    char kept[DIGEST_TEXT_MAX];
    char inner[DIGEST_TEXT_MAX];
    struct store *store = open_boot(*state, "boot 1");
    struct digest held = bring_alone(store, BATCH_DURABLE, "durable");
    struct digest gone = bring_alone(store, BATCH_VOLATILE, "volatile");
    digest_text(&held, kept);
    digest_text(&gone, lost);
    promise(store, "whole", image_of(kept, kept));
    promise(store, "foreign", image_of(kept, DIGEST_A));
    promise(store, "no-manifest", xstrdup("no manifest at all"));
    struct digest manifests[] = {
        promise(store, "config", image_of(lost, kept)),
        promise(store, "layer", image_of(kept, lost)),
    };
    /* Neither the child nor the index within the index has a name of its own. */
    autofree char *image = image_of(lost, kept);
    struct digest child = bring_alone(store, BATCH_DURABLE, image);
    autofree char *nested = index_of(DIGEST_A, digest_text(&child, inner));
    struct digest within = bring_alone(store, BATCH_DURABLE, nested);
    promise(store, "index", index_of(kept, digest_text(&child, inner)));
    promise(store, "nested", index_of(kept, digest_text(&within, inner)));
    promise(store, "platforms", index_of(kept, DIGEST_A));

    store = crash(store, *state, "boot 2");
    static const char *const there[] = {"whole", "foreign", "no-manifest", "platforms"};
    static const char *const not_there[] = {"config", "layer", "index", "nested"};
    for (size_t i = 0; i < 4; i++) {
        assert_true(has_name(store, there[i]));
        assert_false(has_name(store, not_there[i]));
    }
    assert_true(holds(store, &held));
    assert_false(holds(store, &gone));
    assert_false(holds(store, &manifests[0]));
    assert_false(holds(store, &manifests[1]));
    assert_false(holds(store, &child));
    assert_false(holds(store, &within));
    store_close(store);
}

/* What a synchronous push records is no promise, and takes none away. */
static void a_push_that_was_recorded_is_as_durable_as_its_image(void **state)
{
    struct error err = ERROR_INIT;
    char layer[DIGEST_TEXT_MAX];
    struct store *store = open_boot(*state, "boot 1");
    struct digest durable = bring_alone(store, BATCH_DURABLE, "durable");
    autofree char *whole = image_of(digest_text(&durable, layer), layer);
    struct digest kept = bring_alone(store, BATCH_DURABLE, whole);
    struct digest gone = bring_alone(store, BATCH_VOLATILE, "volatile");
    autofree char *partial = image_of(layer, digest_text(&gone, layer));
    struct digest lost = bring_alone(store, BATCH_VOLATILE, partial);
    struct reference of_kept = {.host = "r.example.com", .path = "app", .digest = kept};
    struct reference of_lost = {.host = "r.example.com", .path = "app", .digest = lost};
    struct batch *batch = begin(store, BATCH_DURABLE);
    batch_put_reference(batch, &of_kept, &kept, MEDIA_OCI_MANIFEST);
    commit(batch);
    uint64_t syncs = writer_counts(store->writer).syncs;
    assert_ok(references_put(store, &of_kept, &kept, MEDIA_OCI_MANIFEST, &err), &err);
    assert_ok(references_put(store, &of_lost, &lost, MEDIA_OCI_MANIFEST, &err), &err);
    assert_int_equal(writer_counts(store->writer).syncs, syncs);
    assert_true(has_reference(store, &of_kept));
    assert_true(has_reference(store, &of_lost));
    store = crash(store, *state, "boot 1");
    assert_true(has_reference(store, &of_lost));
    store = crash(store, *state, "boot 2");
    assert_true(has_reference(store, &of_kept));
    assert_false(has_reference(store, &of_lost));
    assert_false(holds(store, &lost));
    store_close(store);
}

static bool has_record(struct store *store, enum kv_table table, struct record_key key)
{
    struct error err = ERROR_INIT;
    struct kv_slice value;
    bool found = false;
    autotxn struct kv_txn txn = KV_TXN_INIT;
    assert_ok(kv_begin_read(store->kv, &txn, &err), &err);
    assert_ok(kv_get(&txn, table, record_key_slice(&key), &value, &found, &err), &err);
    return found;
}

/* In repository "app", tagged as its content, with all other records that can need a blob. */
static struct digest put_in_all_tables(struct store *store, enum durability durability,
                                       const char *content)
{
    struct batch *batch = begin(store, durability);
    struct digest digest = bring(batch, content);
    struct layer_form form = {.codec = CODEC_GZIP, .digest = digest, .size = strlen(content)};
    struct manifest_entry entry = entry_of("app", content, &digest);
    struct push_target target = {
        .reference = tagged(content), .stored = true, .state = PUSH_QUEUED};
    struct push push = {.manifest = {.digest = digest, .size = 7, .media_type = "a/b"},
                        .targets = &target,
                        .target_count = 1};
    entry.subject = &digest;
    entry.descriptor = "{}";
    batch_put_layer(batch, &digest, &form);
    batch_put_member(batch, "app", &digest);
    batch_put_manifest(batch, &entry);
    batch_put_push(batch, &push);
    name(batch, content, &digest);
    commit(batch);
    return digest;
}

static bool has_push(struct store *store, const struct digest *manifest)
{
    struct push *pushes = NULL;
    size_t count = recorded_pushes(store, &pushes);
    bool has = false;
    for (size_t i = 0; i < count; i++)
        has |= digest_equal(&pushes[i].manifest.digest, manifest);
    recorded_pushes_free(pushes, count);
    return has;
}

static int records_of(struct store *store, const char *content)
{
    struct digest digest = digest_of_text(content);
    struct reference ref = tagged(content);
    return has_record(store, KV_BLOBS, blob_key(&digest)) +
           has_record(store, KV_LAYERS, layer_key(&digest, CODEC_GZIP, EFFORT_FAST)) +
           has_record(store, KV_REFERENCES, reference_key(&ref)) +
           has_record(store, KV_MEMBERS, repository_digest_key("app", &digest)) +
           has_record(store, KV_HOLDERS, holder_key(&digest, "app")) +
           has_record(store, KV_MANIFESTS, repository_digest_key("app", &digest)) +
           has_record(store, KV_TAGS, tag_key("app", content)) +
           has_record(store, KV_REFERRERS, referrer_key("app", &digest, &digest)) +
           has_push(store, &digest);
}

#define TABLES 9

static void a_crash_takes_all_records_of_what_was_volatile_and_no_other(void **state)
{
    struct store *store = open_boot(*state, "boot 1");
    put_in_all_tables(store, BATCH_VOLATILE, "volatile");
    put_in_all_tables(store, BATCH_DURABLE, "durable");
    assert_int_equal(records_of(store, "volatile"), TABLES);
    store = crash(store, *state, "boot 2");
    assert_int_equal(records_of(store, "volatile"), 0);
    assert_int_equal(records_of(store, "durable"), TABLES);
    /* And it was done once and for all. */
    store = crash(store, *state, "boot 2");
    assert_int_equal(records_of(store, "durable"), TABLES);
    store_close(store);
}

/* More than two of recovery's steps in each table, one in a hundred durable. */
#define MANY 2500

static void nth_content(size_t i, char content[16])
{
    snprintf(content, 16, "%04zu", i);
}

static void put_many(struct store *store)
{
    struct batch *batches[] = {begin(store, BATCH_DURABLE), begin(store, BATCH_VOLATILE)};
    for (size_t i = 0; i < MANY; i++) {
        char content[16];
        nth_content(i, content);
        struct digest digest = bring(batches[i % 100 > 0], content);
        name(batches[i % 100 > 0], content, &digest);
    }
    commit(batches[0]);
    commit(batches[1]);
}

static void check_many(struct store *store, bool all)
{
    for (size_t i = 0; i < MANY; i++) {
        char content[16];
        nth_content(i, content);
        struct digest digest = digest_of_text(content);
        assert_int_equal(has_name(store, content), all || i % 100 == 0);
        assert_int_equal(holds(store, &digest), all || i % 100 == 0);
    }
}

static void many_records_are_dropped_in_steps(void **state)
{
    struct store *store = open_boot(*state, "boot 1");
    put_many(store);
    store_close(store);
    store = open_boot(*state, "boot 2");
    check_many(store, false);
    assert_in_range(writer_counts(store->writer).changes, 6, 12);
    store_close(store);
}

static void an_orderly_close_makes_many_durable_in_steps(void **state)
{
    struct error err = ERROR_INIT;
    struct store_options options = {.map_size_bytes = (uint64_t)16 << 20};
    struct store *store = NULL;
    assert_ok(store_open_in_boot(*state, &options, "boot 1", &store, &err), &err);
    put_many(store);
    store = crash(store, *state, "boot 2");
    check_many(store, true);
    store_close(store);
}

/* A folder in the place of a file cannot be removed as one: recovery ends there, when names are
 * dropped and blobs are not. */
static void a_recovery_that_is_cut_off_begins_again(void **state)
{
    struct error err = ERROR_INIT;
    char path[BLOB_PATH_MAX];
    struct store *store = open_boot(*state, "boot 1");
    put_in_all_tables(store, BATCH_VOLATILE, "other");
    struct digest digest = put_in_all_tables(store, BATCH_VOLATILE, "volatile");
    put_in_all_tables(store, BATCH_DURABLE, "durable");
    assert_int_equal(unlinkat(store->blobs_fd, blob_path(&digest, path), 0), 0);
    assert_int_equal(mkdirat(store->blobs_fd, path, 0700), 0);
    int blobs_fd = dup(store->blobs_fd);
    store_close(store);
    for (int i = 0; i < 2; i++) {
        struct store_options options = {.map_size_bytes = (uint64_t)16 << 20};
        assert_code(store_open_in_boot(*state, &options, "boot 2", &store, &err), ERR_IO, &err);
        error_clear(&err);
    }
    assert_int_equal(unlinkat(blobs_fd, path, AT_REMOVEDIR), 0);
    close(blobs_fd);
    store = open_boot(*state, "boot 2");
    assert_int_equal(records_of(store, "volatile"), 0);
    assert_int_equal(records_of(store, "other"), 0);
    assert_int_equal(records_of(store, "durable"), TABLES);
    store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(a_name_goes_with_any_part_of_its_image),
        folder_test(a_push_that_was_recorded_is_as_durable_as_its_image),
        folder_test(a_crash_takes_all_records_of_what_was_volatile_and_no_other),
        folder_test(many_records_are_dropped_in_steps),
        folder_test(an_orderly_close_makes_many_durable_in_steps),
        folder_test(a_recovery_that_is_cut_off_begins_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
