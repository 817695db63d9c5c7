#include "tests/unit/store/store_test.h"

#include "store/local/blob_files.h"
#include "store/local/internal.h"
#include "store/pushes.h"
#include "store/repositories.h"

/* `size` bytes, all `letter`, last used at `used_s`; in a repository when that is not NULL. */
static struct digest put(struct store *store, char letter, size_t size, uint64_t used_s,
                         const char *repository)
{
    char text[64];
    struct error err = ERROR_INIT;
    struct digest digest;
    memset(text, letter, size);
    struct batch *batch = batch_begin(store, BATCH_DURABLE);
    assert_ok(batch_put_blob(batch, text, size, &digest, &err), &err);
    if (repository)
        batch_put_member(batch, repository, &digest);
    assert_ok(batch_commit(batch, &err), &err);
    const struct blob_record record = {
        .state = BLOB_DURABLE, .size = size, .created_s = 1, .last_use_s = used_s};
    struct record_key key = blob_key(&digest);
    struct record_value value = blob_value(&record);
    autochange struct change change;
    change_init(&change);
    change_put(&change, KV_BLOBS, record_key_slice(&key), record_value_slice(&value));
    assert_ok(writer_submit(store->writer, &change, &err), &err);
    return digest;
}

static void trim(struct store *store, uint64_t keep_bytes)
{
    struct error err = ERROR_INIT;
    assert_ok(store_trim(store, keep_bytes, &err), &err);
}

/* Neither a record without its file nor a file without its record. */
static bool held(struct store *store, const struct digest *digest, size_t size)
{
    struct error err = ERROR_INIT;
    uint64_t is = 0;
    enum errc rc = blob_stat(store, digest, &is, &err);
    assert_true(rc == ERR_BLOB_UNKNOWN || (rc == ERR_OK && is == size));
    assert_int_equal(blob_file_is_there(store->blobs_fd, digest, size), rc == ERR_OK);
    return rc == ERR_OK;
}

static void what_is_oldest_goes_first(void **state)
{
    struct store *store = open_store(*state);
    struct digest old = put(store, 'a', 10, 100, NULL);
    struct digest large = put(store, 'b', 30, 200, NULL);
    struct digest small = put(store, 'c', 20, 200, NULL);
    trim(store, 60);
    assert_true(held(store, &old, 10));
    trim(store, 59);
    assert_false(held(store, &old, 10));
    assert_true(held(store, &large, 30) && held(store, &small, 20));
    trim(store, 49);
    assert_false(held(store, &large, 30));
    assert_true(held(store, &small, 20));
    trim(store, 0);
    assert_false(held(store, &small, 20));
    trim(store, 0);
    store_close(store);
}

static void what_clients_put_stays(void **state)
{
    struct store *store = open_store(*state);
    struct digest theirs = put(store, 'a', 10, 100, "team/app");
    struct digest copy = put(store, 'b', 10, 200, NULL);
    trim(store, 10);
    assert_true(held(store, &theirs, 10));
    assert_false(held(store, &copy, 10));
    trim(store, 0);
    assert_true(held(store, &theirs, 10));
    store_close(store);
}

static void all_stays_while_a_push_is_promised(void **state)
{
    struct store *store = open_store(*state);
    struct error err = ERROR_INIT;
    struct reference target = {.host = "r.example.com", .path = "app", .tag = "1"};
    struct push push = {.manifest = {.size = 2, .media_type = MEDIA_OCI_MANIFEST}};
    struct digest other = put(store, 'a', 10, 100, NULL);
    struct batch *batch = batch_begin(store, BATCH_DURABLE);
    assert_ok(batch_put_blob(batch, "{}", 2, &push.manifest.digest, &err), &err);
    assert_ok(push_add_target(&push, &target, false, true, &err), &err);
    batch_put_push(batch, &push);
    assert_ok(batch_commit(batch, &err), &err);
    trim(store, 0);
    assert_true(held(store, &other, 10));
    assert_ok(pushes_remove(store, push.id, &err), &err);
    trim(store, 0);
    assert_false(held(store, &other, 10));
    push_deinit(&push);
    store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(what_is_oldest_goes_first),
        folder_test(what_clients_put_stays),
        folder_test(all_stays_while_a_push_is_promised),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
