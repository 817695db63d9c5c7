#include "tests/unit/store/store_test.h"

#include "store/local/internal.h"
#include "store/local/records_pushes.h"

static struct store *open_boot(const char *folder, const char *boot)
{
    struct error err = ERROR_INIT;
    struct store *store = NULL;
    struct store_options options = {.map_size_bytes = (uint64_t)16 << 20, .leave_volatile = true};
    assert_ok(store_open_in_boot(folder, &options, boot, &store, &err), &err);
    return store;
}

static struct batch *begin(struct store *store, enum durability durability)
{
    struct error err = ERROR_INIT;
    struct batch *batch = NULL;
    assert_ok(batch_begin(store, durability, &batch, &err), &err);
    return batch;
}

/* A text of this size that ends with the number, so that no two are the same. */
static void fill(char *text, size_t size, size_t number)
{
    memset(text, 'x', size);
    snprintf(text + size - 4, 5, "%04zu", number);
}

static struct digest bring(struct batch *batch, const char *content)
{
    struct error err = ERROR_INIT;
    struct digest digest;
    assert_ok(batch_put_blob(batch, content, strlen(content), &digest, &err), &err);
    return digest;
}

static struct descriptor manifest_of(const struct digest *digest)
{
    struct descriptor manifest = {.digest = *digest, .size = 123};
    strcpy(manifest.media_type, MEDIA_OCI_MANIFEST);
    return manifest;
}

static struct reference parse(const char *text)
{
    struct error err = ERROR_INIT;
    struct reference ref;
    assert_ok(reference_parse(text, &ref, &err), &err);
    return ref;
}

static struct push_record record_of(const char *id, const struct digest *manifest)
{
    struct push_record record = {.created_s = 1700000000, .manifest = manifest_of(manifest)};
    strcpy(record.id, id);
    record.targets = xcalloc(2, sizeof *record.targets);
    record.target_count = 2;
    record.targets[0] = (struct push_record_target){.target = parse("r.example.com/team/app:1.0"),
                                                    .state = PUSH_RECORD_WAITING};
    record.targets[1] = (struct push_record_target){
        .target = parse("[::1]:5000/app"), .optional = true, .state = PUSH_RECORD_FAILED};
    record.targets[1].target.digest = *manifest;
    return record;
}

static void expect_same_manifest(const struct descriptor *a, const struct descriptor *b)
{
    assert_true(digest_equal(&a->digest, &b->digest));
    assert_true(a->size == b->size);
    assert_string_equal(a->media_type, b->media_type);
}

static void expect_same(const struct push_record *a, const struct push_record *b)
{
    assert_string_equal(a->id, b->id);
    assert_true(a->created_s == b->created_s);
    expect_same_manifest(&a->manifest, &b->manifest);
    assert_int_equal(a->target_count, b->target_count);
    for (size_t i = 0; i < a->target_count; i++) {
        assert_string_equal(a->targets[i].target.host, b->targets[i].target.host);
        assert_string_equal(a->targets[i].target.path, b->targets[i].target.path);
        assert_string_equal(a->targets[i].target.tag, b->targets[i].target.tag);
        assert_true(digest_equal(&a->targets[i].target.digest, &b->targets[i].target.digest));
        assert_int_equal(a->targets[i].optional, b->targets[i].optional);
        assert_int_equal(a->targets[i].state, b->targets[i].state);
    }
    assert_int_equal(a->referrer_count, b->referrer_count);
    for (size_t i = 0; i < a->referrer_count; i++) {
        expect_same_manifest(&a->referrers[i].manifest, &b->referrers[i].manifest);
        assert_string_equal(a->referrers[i].tag, b->referrers[i].tag);
    }
}

static struct push_record *list(struct store *store, size_t expected)
{
    struct error err = ERROR_INIT;
    struct push_record *records = NULL;
    size_t count = 99;
    assert_ok(pushes_list(store, &records, &count, &err), &err);
    assert_int_equal(count, expected);
    return records;
}

static void free_list(struct push_record *records, size_t count)
{
    for (size_t i = 0; i < count; i++)
        push_record_deinit(&records[i]);
    free(records);
}

static void a_promise_comes_with_its_image(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    free_list(list(store, 0), 0);
    struct batch *batch = begin(store, BATCH_DURABLE);
    struct digest digest = bring(batch, "manifest");
    struct push_record record = record_of("0001", &digest);
    batch_put_push(batch, &record);
    free_list(list(store, 0), 0);
    assert_ok(batch_commit(batch, &err), &err);
    store_close(store);

    store = open_boot(*state, "another boot");
    struct push_record *records = list(store, 1);
    expect_same(&records[0], &record);
    free_list(records, 1);
    push_record_deinit(&record);
    store_close(store);
}

static void a_promise_of_what_is_not_held_is_refused(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct digest unknown = digest_of_text("unknown");
    struct push_record record = record_of("0001", &unknown);
    struct batch *batch = begin(store, BATCH_DURABLE);
    batch_put_push(batch, &record);
    assert_code(batch_commit(batch, &err), ERR_BLOB_UNKNOWN, &err);
    push_record_deinit(&record);

    batch = begin(store, BATCH_DURABLE);
    struct digest digest = bring(batch, "manifest");
    record = record_of("0002", &digest);
    record.referrers = xcalloc(1, sizeof *record.referrers);
    record.referrer_count = 1;
    record.referrers[0].manifest = manifest_of(&unknown);
    batch_put_push(batch, &record);
    assert_code(batch_commit(batch, &err), ERR_BLOB_UNKNOWN, &err);
    push_record_deinit(&record);

    batch = begin(store, BATCH_DURABLE);
    digest = bring(batch, "manifest");
    record = record_of("0003", &digest);
    batch_put_push(batch, &record);
    batch_abort(batch);
    push_record_deinit(&record);
    free_list(list(store, 0), 0);
    store_close(store);
}

static void records_are_replaced_and_removed(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct digest digest = digest_of_text("manifest");
    struct push_record first = record_of("0001", &digest);
    struct push_record second = record_of("0002", &digest);
    assert_ok(pushes_put(store, &second, &err), &err);
    assert_ok(pushes_put(store, &first, &err), &err);
    first.targets[0].state = PUSH_RECORD_PUSHED;
    assert_ok(pushes_put(store, &first, &err), &err);
    struct push_record *records = list(store, 2);
    expect_same(&records[0], &first);
    expect_same(&records[1], &second);
    free_list(records, 2);
    assert_ok(pushes_remove(store, "0001", &err), &err);
    assert_ok(pushes_remove(store, "0001", &err), &err);
    records = list(store, 1);
    expect_same(&records[0], &second);
    free_list(records, 1);
    push_record_deinit(&first);
    push_record_deinit(&second);
    store_close(store);
}

/* Of so many targets and referrers, each with the longest texts there are. */
static struct push_record longest(size_t targets, size_t referrers, const struct digest *manifest)
{
    struct push_record record = {.created_s = UINT64_MAX, .manifest.digest = *manifest};
    fill(record.id, PUSH_ID_MAX - 1, 1);
    fill(record.manifest.media_type, MEDIA_TYPE_MAX - 1, 1);
    record.manifest.size = UINT64_MAX;
    record.targets = xcalloc(targets, sizeof *record.targets);
    record.target_count = targets;
    for (size_t i = 0; i < targets; i++) {
        record.targets[i].state = PUSH_RECORD_FAILED;
        fill(record.targets[i].target.host, 100, i);
        fill(record.targets[i].target.path, REFERENCE_NAME_MAX - 101, i);
        fill(record.targets[i].target.tag, REFERENCE_TAG_MAX, i);
        record.targets[i].target.digest = digest_of(DIGEST_SHA512, &i, sizeof i);
    }
    record.referrers = xcalloc(referrers, sizeof *record.referrers);
    record.referrer_count = referrers;
    for (size_t i = 0; i < referrers; i++) {
        record.referrers[i].manifest = record.manifest;
        fill(record.referrers[i].tag, REFERENCE_TAG_MAX, i);
    }
    return record;
}

static void targets_and_referrers_have_their_limits(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct digest manifest = digest_of(DIGEST_SHA512, "m", 1);
    for (int more = -1; more <= 1; more++) {
        size_t targets = (size_t)(PUSH_RECORD_TARGETS_MAX + more);
        size_t referrers = (size_t)(PUSH_RECORD_REFERRERS_MAX + more);
        struct push_record records[] = {longest(targets, 0, &manifest),
                                        longest(0, referrers, &manifest),
                                        longest(targets, referrers, &manifest)};
        for (size_t i = 0; i < 3; i++) {
            if (more > 0) {
                assert_code(pushes_put(store, &records[i], &err), ERR_MANIFEST_INVALID, &err);
                struct batch *batch = begin(store, BATCH_DURABLE);
                batch_put_push(batch, &records[i]);
                assert_code(batch_commit(batch, &err), ERR_MANIFEST_INVALID, &err);
            } else {
                assert_ok(pushes_put(store, &records[i], &err), &err);
                struct push_record *got = list(store, 1);
                expect_same(&got[0], &records[i]);
                free_list(got, 1);
            }
            push_record_deinit(&records[i]);
        }
    }
    store_close(store);
}

static void the_longest_value_is_what_is_said(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct digest manifest = digest_of(DIGEST_SHA512, "m", 1);
    struct push_record record =
        longest(PUSH_RECORD_TARGETS_MAX, PUSH_RECORD_REFERRERS_MAX, &manifest);
    autofree uint8_t *value = NULL;
    size_t size = 0;
    assert_ok(push_value(&record, &value, &size, &err), &err);
    assert_int_equal(size, PUSH_VALUE_MAX);
    push_record_deinit(&record);
}

/* Whatever byte is missing or wrong, nothing is read beyond, leaked or guessed. */
static void damaged_records_are_refused(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct digest manifest = digest_of_text("manifest");
    struct push_record record = record_of("0001", &manifest);
    record.referrers = xcalloc(1, sizeof *record.referrers);
    record.referrer_count = 1;
    record.referrers[0].manifest = record.manifest;
    strcpy(record.referrers[0].tag, "tag");
    struct record_key key = push_key(record.id);
    autofree uint8_t *value = NULL;
    size_t size = 0;
    assert_ok(push_value(&record, &value, &size, &err), &err);
    struct push_record got;
    for (size_t cut = 0; cut < size; cut++) {
        autofree uint8_t *copy = xmalloc(cut + 1);
        memcpy(copy, value, cut);
        struct kv_slice slice = {copy, cut};
        assert_code(push_decode(record_key_slice(&key), slice, &got, &err), ERR_STORE, &err);
    }
    for (size_t at = 0; at < size; at++)
        for (unsigned bit = 0; bit < 8; bit++) {
            value[at] ^= (uint8_t)(1u << bit);
            if (push_decode(record_key_slice(&key), (struct kv_slice){value, size}, &got, &err) ==
                ERR_OK)
                push_record_deinit(&got);
            value[at] ^= (uint8_t)(1u << bit);
        }
    struct kv_slice whole = {value, size};
    uint8_t *longer = xmalloc(size + 1);
    memcpy(longer, value, size);
    longer[size] = 0;
    assert_code(
        push_decode(record_key_slice(&key), (struct kv_slice){longer, size + 1}, &got, &err),
        ERR_STORE, &err);
    free(longer);
    value[0] = 2;
    assert_code(push_decode(record_key_slice(&key), whole, &got, &err), ERR_STORE, &err);
    push_record_deinit(&record);
}

static void what_was_not_promised_goes_with_its_image(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_boot(*state, "boot 1");
    struct batch *batch = begin(store, BATCH_VOLATILE);
    struct digest lost = bring(batch, "lost");
    struct push_record record = record_of("0001", &lost);
    batch_put_push(batch, &record);
    assert_ok(batch_commit(batch, &err), &err);
    push_record_deinit(&record);

    /* A durable promise makes durable what it is of, whoever brought that. */
    batch = begin(store, BATCH_VOLATILE);
    struct digest kept = bring(batch, "kept");
    assert_ok(batch_commit(batch, &err), &err);
    batch = begin(store, BATCH_DURABLE);
    record = record_of("0002", &kept);
    batch_put_push(batch, &record);
    assert_ok(batch_commit(batch, &err), &err);
    store_close(store);

    store = open_boot(*state, "boot 2");
    struct push_record *records = list(store, 1);
    expect_same(&records[0], &record);
    free_list(records, 1);
    autoblob struct blob blob = BLOB_INIT;
    assert_ok(blob_open(store, &kept, &blob, &err), &err);
    push_record_deinit(&record);
    store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(a_promise_comes_with_its_image),
        folder_test(a_promise_of_what_is_not_held_is_refused),
        folder_test(records_are_replaced_and_removed),
        folder_test(targets_and_referrers_have_their_limits),
        cmocka_unit_test(the_longest_value_is_what_is_said),
        cmocka_unit_test(damaged_records_are_refused),
        folder_test(what_was_not_promised_goes_with_its_image),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
