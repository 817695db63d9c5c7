#include "tests/unit/store/repositories_test.h"

#include "store/local/batch_local.h"
#include "store/local/blob_files.h"

static struct blob_record record_of(struct store *store, const struct digest *digest)
{
    struct error err = ERROR_INIT;
    struct blob_record record;
    bool found = false;
    assert_ok(blob_find(store, digest, &found, &record, &err), &err);
    assert_true(found);
    return record;
}

static bool is_good(struct store *store, const struct digest *digest)
{
    return blob_file_is_there(store->blobs_fd, digest, record_of(store, digest).size);
}

static struct digest put(struct store *store, enum durability durability, const char *content)
{
    struct batch *batch = begin(store, durability);
    struct digest digest = bring(batch, content);
    commit(batch);
    return digest;
}

static bool survives_a_crash(struct store **store, const char *folder, const struct digest *digest)
{
    struct error err = ERROR_INIT;
    struct blob_record record;
    bool found = false;
    store_close(*store);
    *store = open_boot(folder, "boot 2");
    assert_ok(blob_find(*store, digest, &found, &record, &err), &err);
    return found && is_good(*store, digest);
}

static const enum durability kinds[] = {BATCH_VOLATILE, BATCH_DURABLE};

/* Both orders of commit: what one batch made durable the other does not take away. */
static void of_two_batches_with_a_blob_the_durable_one_counts(void **state)
{
    for (size_t i = 0; i < 2; i++) {
        char content[16];
        struct store *store = open_boot(*state, "boot 1");
        struct batch *first = begin(store, kinds[i]);
        struct batch *second = begin(store, kinds[!i]);
        snprintf(content, sizeof content, "content %zu", i);
        struct digest digest = bring(first, content);
        bring(second, content);
        commit(first);
        assert_int_equal(record_of(store, &digest).state, i ? BLOB_DURABLE : BLOB_VOLATILE);
        commit(second);
        assert_int_equal(record_of(store, &digest).state, BLOB_DURABLE);
        assert_true(survives_a_crash(&store, *state, &digest));
        store_close(store);
    }
}

/* One after the other: the second finds it there. */
static void what_is_there_is_kept_and_becomes_no_less(void **state)
{
    for (size_t i = 0; i < 4; i++) {
        char content[16];
        struct store *store = open_boot(*state, "boot 1");
        bool durable = i > 0;
        snprintf(content, sizeof content, "content %zu", i);
        struct digest digest = put(store, kinds[i / 2], content);
        uint64_t created_s = record_of(store, &digest).created_s;
        put(store, kinds[i % 2], content);
        assert_int_equal(record_of(store, &digest).state, durable ? BLOB_DURABLE : BLOB_VOLATILE);
        assert_int_equal(record_of(store, &digest).created_s, created_s);
        assert_int_equal(survives_a_crash(&store, *state, &digest), durable);
        store_close(store);
    }
}

static void spoil(struct store *store, const struct digest *digest, bool remove)
{
    char path[BLOB_PATH_MAX];
    blob_path(digest, path);
    if (remove) {
        assert_int_equal(unlinkat(store->blobs_fd, path, 0), 0);
    } else {
        autofd int fd = openat(store->blobs_fd, path, O_WRONLY | O_TRUNC | O_CLOEXEC);
        assert_true(fd >= 0);
    }
    assert_false(is_good(store, digest));
}

/* What was durable is so again, also by a batch that promises nothing: others need it. */
static void a_blob_whose_file_is_not_good_is_repaired(void **state)
{
    for (size_t i = 0; i < 8; i++) {
        char content[16];
        struct store *store = open_boot(*state, "boot 1");
        bool durable = i / 2 % 4 > 0;
        snprintf(content, sizeof content, "content %zu", i);
        struct digest digest = put(store, kinds[i / 4], content);
        spoil(store, &digest, i % 2);
        put(store, kinds[i / 2 % 2], content);
        assert_true(is_good(store, &digest));
        assert_int_equal(record_of(store, &digest).state, durable ? BLOB_DURABLE : BLOB_VOLATILE);
        assert_int_equal(survives_a_crash(&store, *state, &digest), durable);
        store_close(store);
    }
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
    assert_ok(batch_take_file(batch, store->root_fd, "second", 7, &digest, &err), &err);
    assert_int_equal(batch->blob_count, 1);
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

static void a_full_batch_takes_no_file(void **state)
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(of_two_batches_with_a_blob_the_durable_one_counts),
        folder_test(what_is_there_is_kept_and_becomes_no_less),
        folder_test(a_blob_whose_file_is_not_good_is_repaired),
        folder_test(a_file_is_taken_into_the_batch),
        folder_test(a_full_batch_takes_no_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
