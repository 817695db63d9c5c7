#include "tests/unit/store/repositories_test.h"

#include "store/blob_proof.h"
#include "store/local/blob_files.h"

#define CONTENT "the bytes of a blob"

static void path_of(const char *folder, const struct digest *digest, char path[512])
{
    char inner[BLOB_PATH_MAX];
    snprintf(path, 512, "%s/blobs/%s", folder, blob_path(digest, inner));
}

/* What is on the disk becomes this, in the same file. */
static void spoil(const char *folder, const struct digest *digest, const char *content)
{
    char path[512];
    struct error err = ERROR_INIT;
    path_of(folder, digest, path);
    autofd int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_ok(file_write_all(fd, content, strlen(content), &err), &err);
}

static struct digest put(struct store *store, enum durability durability, const char *content)
{
    struct batch *batch = begin(store, durability);
    struct digest digest = bring(batch, content);
    commit(batch);
    return digest;
}

static bool is_right(struct store *store, const struct digest *digest, const char *content)
{
    struct error err = ERROR_INIT;
    autofree char *data = NULL;
    size_t size = 0;
    return blob_read_all(store, digest, 1000, "blob", &data, &size, &err) == ERR_OK &&
           size == strlen(content) && memcmp(data, content, size) == 0;
}

static void assert_dropped(struct store *store, const char *folder, const struct digest *digest)
{
    char path[512];
    struct stat st;
    struct error err = ERROR_INIT;
    uint64_t size = 0;
    path_of(folder, digest, path);
    assert_code(blob_stat(store, digest, &size, &err), ERR_BLOB_UNKNOWN, &err);
    assert_code(blob_prove(store, digest, 0, NULL, &err), ERR_BLOB_CORRUPT, &err);
    assert_int_not_equal(stat(path, &st), 0);
}

static void one_with_other_bytes_is_dropped_and_mended(void **state)
{
    static const char *const spoiled[] = {"the bytes of A blob", "fewer",
                                          "many more bytes than it"};
    struct error err = ERROR_INIT;
    for (int durability = BATCH_VOLATILE; durability <= BATCH_DURABLE; durability++) {
        struct store *store = open_store(*state);
        for (size_t i = 0; i < sizeof spoiled / sizeof spoiled[0]; i++) {
            struct digest digest = put(store, (enum durability)durability, CONTENT);
            assert_ok(blob_prove(store, &digest, 0, NULL, &err), &err);
            spoil(*state, &digest, spoiled[i]);
            assert_code(blob_prove(store, &digest, 0, NULL, &err), ERR_BLOB_CORRUPT, &err);
            uint64_t size = 0;
            assert_code(blob_stat(store, &digest, &size, &err), ERR_BLOB_UNKNOWN, &err);
            put(store, (enum durability)durability, CONTENT);
            assert_ok(blob_prove(store, &digest, 0, NULL, &err), &err);
            assert_true(is_right(store, &digest, CONTENT));
        }
        store_close(store);
    }
}

static void one_whose_file_is_gone_is_dropped(void **state)
{
    char path[512];
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct digest digest = put(store, BATCH_DURABLE, CONTENT);
    path_of(*state, &digest, path);
    assert_int_equal(unlink(path), 0);
    assert_code(blob_prove(store, &digest, 0, NULL, &err), ERR_BLOB_CORRUPT, &err);
    assert_dropped(store, *state, &digest);
    store_close(store);
}

static void what_is_read_whole_is_hashed(void **state)
{
    struct error err = ERROR_INIT;
    autofree char *data = NULL;
    size_t size = 0;
    struct store *store = open_store(*state);
    struct digest digest = put(store, BATCH_DURABLE, CONTENT);
    spoil(*state, &digest, "the bytes of A blob");
    assert_code(blob_read_all(store, &digest, 1000, "manifest", &data, &size, &err),
                ERR_BLOB_CORRUPT, &err);
    assert_null(data);
    assert_dropped(store, *state, &digest);
    store_close(store);
}

/* Within a day what came in through this process, and what was proved, is believed. */
static void a_proof_holds_for_its_time(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct digest digest = put(store, BATCH_VOLATILE, CONTENT);
    spoil(*state, &digest, "the bytes of A blob");
    assert_ok(blob_prove(store, &digest, BLOB_PROOF_DAY_MS, NULL, &err), &err);
    store_close(store);

    store = open_store(*state);
    assert_code(blob_prove(store, &digest, BLOB_PROOF_DAY_MS, NULL, &err), ERR_BLOB_CORRUPT, &err);
    put(store, BATCH_VOLATILE, CONTENT);
    store_close(store);

    store = open_store(*state);
    assert_ok(blob_prove(store, &digest, BLOB_PROOF_DAY_MS, NULL, &err), &err);
    spoil(*state, &digest, "the bytes of A blob");
    assert_ok(blob_prove(store, &digest, BLOB_PROOF_DAY_MS, NULL, &err), &err);
    assert_code(blob_prove(store, &digest, 0, NULL, &err), ERR_BLOB_CORRUPT, &err);
    store_close(store);
}

/* Another one brought the right bytes while the wrong ones were read. */
static void a_file_that_is_another_by_now_stays(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct digest digest = put(store, BATCH_DURABLE, CONTENT);
    spoil(*state, &digest, "the bytes of A blob");
    autoblob struct blob wrong = BLOB_INIT;
    assert_ok(blob_open(store, &digest, &wrong, &err), &err);
    assert_code(blob_refute(store, &digest, &wrong, &err), ERR_BLOB_CORRUPT, &err);
    put(store, BATCH_DURABLE, CONTENT);
    assert_code(blob_refute(store, &digest, &wrong, &err), ERR_BLOB_CORRUPT, &err);
    assert_true(is_right(store, &digest, CONTENT));
    store_close(store);
}

static void one_that_is_cancelled_is_not_judged(void **state)
{
    struct error err = ERROR_INIT;
    struct cancel cancel;
    struct store *store = open_store(*state);
    struct digest digest = put(store, BATCH_DURABLE, CONTENT);
    cancel_init(&cancel);
    cancel_request(&cancel);
    assert_code(blob_prove(store, &digest, 0, &cancel, &err), ERR_CANCELLED, &err);
    assert_ok(blob_prove(store, &digest, 0, NULL, &err), &err);
    cancel_deinit(&cancel);
    store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(one_with_other_bytes_is_dropped_and_mended),
        folder_test(one_whose_file_is_gone_is_dropped),
        folder_test(what_is_read_whole_is_hashed),
        folder_test(a_proof_holds_for_its_time),
        folder_test(a_file_that_is_another_by_now_stays),
        folder_test(one_that_is_cancelled_is_not_judged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
