/*
 * Batches: what is in the store before their commit, after it, and instead of it, also where
 * several of them bring the same blob.
 */
#include "tests/unit/store/repositories_test.h"

#include "store/batch.h"
#include "store/local/blob_files.h"
#include "store/references.h"
#include "tests/support/batch_bench.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>

static enum blob_state state_of(struct store *store, const char *content)
{
    struct error err = ERROR_INIT;
    struct digest digest = digest_of_text(content);
    struct blob_record record = {.size = 0};
    bool found = false;
    assert_ok(blob_find(store, &digest, &found, &record, &err), &err);
    assert_true(found);
    return record.state;
}

static void blob_file_path(const char *folder, const char *content, char path[512])
{
    struct digest digest = digest_of_text(content);
    char inner[BLOB_PATH_MAX];
    snprintf(path, 512, "%s/blobs/%s", folder, blob_path(&digest, inner));
}

static void what_is_committed_is_visible_and_not_before(void **state)
{
    static const enum durability both[] = {BATCH_VOLATILE, BATCH_DURABLE};
    struct store *store = open_store(*state);
    for (size_t i = 0; i < 2; i++) {
        const char *content = i == 0 ? "first" : "second";
        struct batch *batch = begin(store, both[i]);
        bring(batch, content);
        batch_bench_expect_none(store, content);
        commit(batch);
        batch_bench_expect(store, content);
        assert_int_equal(state_of(store, content), i == 0 ? BLOB_VOLATILE : BLOB_DURABLE);
        assert_int_equal(batch_bench_files(*state, "staging"), 0);
    }
    store_close(store);
    store = open_store(*state);
    batch_bench_expect(store, "first");
    batch_bench_expect(store, "second");
    store_close(store);
}

static void blobs_lie_where_the_header_says(void **state)
{
    char path[512];
    struct store *store = open_store(*state);
    struct batch *batch = begin(store, BATCH_DURABLE);
    bring(batch, "");
    commit(batch);
    snprintf(path, sizeof path, "%s/blobs/sha256/e3/%s", (const char *)*state,
             "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_int_equal(access(path, F_OK), 0);
    store_close(store);
}

static void a_sha512_blob_is_held_too(void **state)
{
    struct error err = ERROR_INIT;
    struct digest digest = digest_of(DIGEST_SHA512, "large digest", 12);
    struct store *store = open_store(*state);
    struct batch *batch = begin(store, BATCH_DURABLE);
    struct blob_writer *writer = NULL;
    assert_ok(blob_writer_open(batch, &writer, &err), &err);
    assert_ok(blob_writer_write(writer, "large digest", 12, &err), &err);
    assert_ok(blob_writer_commit(writer, &digest, &err), &err);
    commit(batch);
    autoblob struct blob blob = BLOB_INIT;
    assert_ok(blob_open(store, &digest, &blob, &err), &err);
    assert_int_equal(blob.size, 12);
    store_close(store);
}

static void an_aborted_batch_leaves_nothing(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct batch *batch = begin(store, BATCH_VOLATILE);
    struct reference ref = {.host = "h", .path = "p", .tag = "t"};
    struct digest digest = bring(batch, batch_bench_large('a'));
    batch_put_reference(batch, &ref, &digest, MEDIA_OCI_MANIFEST);
    assert_int_equal(batch_bench_files(*state, "staging"), 1);
    batch_abort(batch);
    batch_abort(NULL);
    assert_int_equal(batch_bench_files(*state, "staging"), 0);
    batch_bench_expect_none(store, batch_bench_large('a'));
    struct named_manifest named;
    bool found = true;
    assert_ok(references_get(store, &ref, &found, &named, &err), &err);
    assert_false(found);
    store_close(store);
}

static void a_batch_reads_its_own_blobs_first(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct batch *batch = begin(store, BATCH_VOLATILE);
    bring(batch, "stored");
    commit(batch);
    batch = begin(store, BATCH_VOLATILE);
    struct digest own = bring(batch, "own");
    struct digest stored = digest_of_text("stored");
    struct digest unknown = digest_of_text("unknown");
    autofree char *data = NULL;
    autofree char *other = NULL;
    size_t size = 0;
    assert_ok(batch_read_all(batch, &own, 3, "own", &data, &size, &err), &err);
    assert_string_equal(data, "own");
    assert_ok(batch_read_all(batch, &stored, 100, "stored", &other, &size, &err), &err);
    assert_string_equal(other, "stored");
    autoblob struct blob blob = BLOB_INIT;
    assert_code(batch_open_blob(batch, &unknown, &blob, &err), ERR_BLOB_UNKNOWN, &err);
    batch_abort(batch);
    store_close(store);
}

static void a_blob_that_is_brought_ahead_is_there_before_the_commit(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct batch *batch = begin(store, BATCH_DURABLE);
    struct digest ahead = bring(batch, "ahead");
    struct digest unknown = digest_of_text("unknown");
    bring(batch, "later");
    assert_ok(batch_bring_ahead(batch, &ahead, &err), &err);
    assert_ok(batch_bring_ahead(batch, &ahead, &err), &err);
    assert_ok(batch_bring_ahead(batch, &unknown, &err), &err);
    batch_bench_expect(store, "ahead");
    batch_bench_expect_none(store, "later");
    assert_int_equal(state_of(store, "ahead"), BLOB_VOLATILE);
    assert_int_equal(batch_bench_files(*state, "staging"), 1);
    commit(batch);
    assert_int_equal(state_of(store, "ahead"), BLOB_DURABLE);
    batch_bench_expect(store, "later");
    store_close(store);
}

static void it_stays_when_its_batch_is_aborted(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct batch *batch = begin(store, BATCH_VOLATILE);
    struct digest ahead = bring(batch, "ahead");
    assert_ok(batch_bring_ahead(batch, &ahead, &err), &err);
    batch_abort(batch);
    assert_int_equal(batch_bench_files(*state, "staging"), 0);
    batch_bench_expect(store, "ahead");
    store_close(store);
}

static void a_dropped_blob_is_not_committed(void **state)
{
    struct digest none = digest_of_text("none");
    struct store *store = open_store(*state);
    struct batch *batch = begin(store, BATCH_VOLATILE);
    struct digest dropped = bring(batch, "dropped");
    bring(batch, "kept");
    batch_drop_blob(batch, &none);
    batch_drop_blob(batch, &dropped);
    batch_drop_blob(batch, &dropped);
    commit(batch);
    batch_bench_expect_none(store, "dropped");
    batch_bench_expect(store, "kept");
    store_close(store);
}

static void a_blob_over_the_limit_is_not_read(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct batch *batch = begin(store, BATCH_VOLATILE);
    struct digest digest = bring(batch, "12345");
    commit(batch);
    char *data = NULL;
    size_t size = 0;
    assert_code(blob_read_all(store, &digest, 4, "five", &data, &size, &err), ERR_JSON_TOO_LARGE,
                &err);
    assert_null(data);
    error_clear(&err);
    assert_ok(blob_read_all(store, &digest, 5, "five", &data, &size, &err), &err);
    free(data);
    assert_ok(blob_read_all(store, &digest, 6, "five", &data, &size, &err), &err);
    free(data);
    store_close(store);
}

static void two_batches_with_the_same_blob_both_succeed(void **state)
{
    static const enum durability both[] = {BATCH_VOLATILE, BATCH_DURABLE};
    struct store *store = open_store(*state);
    for (size_t first = 0; first < 2; first++)
        for (size_t second = 0; second < 2; second++) {
            char content[16];
            snprintf(content, sizeof content, "blob %zu %zu", first, second);
            struct batch *a = begin(store, both[first]);
            struct batch *b = begin(store, both[second]);
            bring(a, content);
            bring(b, content);
            commit(a);
            commit(b);
            batch_bench_expect(store, content);
            assert_int_equal(state_of(store, content),
                             first + second > 0 ? BLOB_DURABLE : BLOB_VOLATILE);
        }
    store_close(store);
}

struct racer {
    struct store *store;
    pthread_t thread;
    enum durability durability;
    bool ok;
};

static void *race(void *arg)
{
    struct racer *self = arg;
    self->ok = true;
    for (int i = 0; i < 20; i++) {
        struct error err = ERROR_INIT;
        autobatch struct batch *batch = batch_begin(self->store, self->durability);
        struct digest digest;
        char content[16];
        snprintf(content, sizeof content, "race %d", i);
        self->ok = self->ok &&
                   batch_put_blob(batch, content, strlen(content), &digest, &err) == ERR_OK &&
                   batch_commit(mem_take(&batch), &err) == ERR_OK;
        autoblob struct blob blob = BLOB_INIT;
        self->ok = self->ok && blob_open(self->store, &digest, &blob, &err) == ERR_OK;
    }
    return NULL;
}

static void racing_batches_end_durable_when_one_of_them_is(void **state)
{
    enum { COUNT = 8 };
    struct store *store = open_store(*state);
    struct racer all[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        all[i] =
            (struct racer){.store = store, .durability = i == 3 ? BATCH_DURABLE : BATCH_VOLATILE};
        assert_int_equal(pthread_create(&all[i].thread, NULL, race, &all[i]), 0);
    }
    for (size_t i = 0; i < COUNT; i++) {
        pthread_join(all[i].thread, NULL);
        assert_true(all[i].ok);
    }
    for (int i = 0; i < 20; i++) {
        char content[16];
        snprintf(content, sizeof content, "race %d", i);
        batch_bench_expect(store, content);
        assert_int_equal(state_of(store, content), BLOB_DURABLE);
    }
    assert_int_equal(batch_bench_files(*state, "staging"), 0);
    store_close(store);
}

static void await_accepted(struct store *store, uint64_t count)
{
    while (writer_counts(store->writer).accepted < count)
        sched_yield();
}

static void *commit_one(void *arg)
{
    struct racer *self = arg;
    struct error err = ERROR_INIT;
    struct batch *batch = batch_begin(self->store, self->durability);
    struct digest digest;
    self->ok = batch_put_blob(batch, "raced", 5, &digest, &err) == ERR_OK &&
               batch_commit(batch, &err) == ERR_OK;
    return NULL;
}

/* Both have moved their files before either has its record: the test has LMDB's write lock. */
static void a_volatile_batch_takes_nothing_from_a_durable_one(void **state)
{
    struct error err = ERROR_INIT;
    char path[512];
    struct stat before;
    struct stat after;
    struct store *store = open_store(*state);
    struct racer durable = {.store = store, .durability = BATCH_DURABLE};
    struct racer hasty = {.store = store, .durability = BATCH_VOLATILE};
    uint64_t accepted = writer_counts(store->writer).accepted;
    struct kv_txn held = KV_TXN_INIT;
    assert_ok(kv_begin_write(store->kv, &held, &err), &err);
    assert_int_equal(pthread_create(&durable.thread, NULL, commit_one, &durable), 0);
    await_accepted(store, accepted + 1);
    blob_file_path(*state, "raced", path);
    assert_int_equal(stat(path, &before), 0);
    assert_int_equal(pthread_create(&hasty.thread, NULL, commit_one, &hasty), 0);
    await_accepted(store, accepted + 2);
    kv_end(&held);
    pthread_join(durable.thread, NULL);
    pthread_join(hasty.thread, NULL);
    assert_true(durable.ok && hasty.ok);
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    assert_int_equal(state_of(store, "raced"), BLOB_DURABLE);
    store_close(store);
}

static void a_blob_whose_file_is_broken_is_repaired(void **state)
{
    char path[512];
    struct store *store = open_store(*state);
    struct batch *batch = begin(store, BATCH_DURABLE);
    bring(batch, "removed");
    commit(batch);
    batch = begin(store, BATCH_VOLATILE);
    bring(batch, "broken");
    commit(batch);
    blob_file_path(*state, "broken", path);
    assert_int_equal(truncate(path, 3), 0);
    struct error err = ERROR_INIT;
    struct digest digest = digest_of_text("broken");
    autoblob struct blob blob = BLOB_INIT;
    assert_code(blob_open(store, &digest, &blob, &err), ERR_BLOB_CORRUPT, &err);
    uint64_t size = 1;
    assert_code(blob_stat(store, &digest, &size, &err), ERR_BLOB_CORRUPT, &err);
    assert_int_equal(size, 1);
    batch = begin(store, BATCH_VOLATILE);
    bring(batch, "broken");
    commit(batch);
    batch_bench_expect(store, "broken");
    blob_file_path(*state, "removed", path);
    assert_int_equal(unlink(path), 0);
    error_clear(&err);
    digest = digest_of_text("removed");
    assert_code(blob_open(store, &digest, &blob, &err), ERR_BLOB_CORRUPT, &err);
    assert_code(blob_stat(store, &digest, &size, &err), ERR_BLOB_CORRUPT, &err);
    batch = begin(store, BATCH_VOLATILE);
    bring(batch, "removed");
    commit(batch);
    batch_bench_expect(store, "removed");
    assert_int_equal(state_of(store, "removed"), BLOB_DURABLE);
    store_close(store);
}

static void a_held_blob_becomes_durable_with_the_batch(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct batch *batch = begin(store, BATCH_VOLATILE);
    struct digest digest = bring(batch, "held");
    struct digest unknown = digest_of_text("unknown");
    commit(batch);
    batch = begin(store, BATCH_VOLATILE);
    assert_ok(batch_hold_blob(batch, &digest, &err), &err);
    commit(batch);
    assert_int_equal(state_of(store, "held"), BLOB_VOLATILE);
    batch = begin(store, BATCH_DURABLE);
    assert_ok(batch_hold_blob(batch, &digest, &err), &err);
    assert_code(batch_hold_blob(batch, &unknown, &err), ERR_BLOB_UNKNOWN, &err);
    commit(batch);
    assert_int_equal(state_of(store, "held"), BLOB_DURABLE);
    batch = begin(store, BATCH_VOLATILE);
    error_clear(&err);
    assert_ok(batch_hold_blob(batch, &digest, &err), &err);
    commit(batch);
    assert_int_equal(state_of(store, "held"), BLOB_DURABLE);
    store_close(store);
}

static void a_killed_process_leaves_nothing_of_its_batch(void **state)
{
    int status = run_again("half", *state);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    assert_int_equal(batch_bench_files(*state, "staging"), 1);
    struct store *store = open_store(*state);
    assert_int_equal(batch_bench_files(*state, "staging"), 0);
    batch_bench_expect_none(store, batch_bench_large('h'));
    batch_bench_expect(store, "volatile before");
    batch_bench_expect(store, "durable before");
    store_close(store);
}

static int child(const char *folder)
{
    struct store *store = open_store(folder);
    struct batch *batch = begin(store, BATCH_VOLATILE);
    bring(batch, "volatile before");
    commit(batch);
    batch = begin(store, BATCH_DURABLE);
    bring(batch, "durable before");
    commit(batch);
    batch = begin(store, BATCH_DURABLE);
    bring(batch, batch_bench_large('h'));
    raise(SIGKILL);
    return 1;
}

int main(int argc, char **argv)
{
    if (argc == 3)
        return child(argv[2]);
    const struct CMUnitTest tests[] = {
        folder_test(what_is_committed_is_visible_and_not_before),
        folder_test(blobs_lie_where_the_header_says),
        folder_test(a_sha512_blob_is_held_too),
        folder_test(an_aborted_batch_leaves_nothing),
        folder_test(a_batch_reads_its_own_blobs_first),
        folder_test(a_blob_that_is_brought_ahead_is_there_before_the_commit),
        folder_test(it_stays_when_its_batch_is_aborted),
        folder_test(a_blob_over_the_limit_is_not_read),
        folder_test(a_dropped_blob_is_not_committed),
        folder_test(two_batches_with_the_same_blob_both_succeed),
        folder_test(racing_batches_end_durable_when_one_of_them_is),
        folder_test(a_volatile_batch_takes_nothing_from_a_durable_one),
        folder_test(a_blob_whose_file_is_broken_is_repaired),
        folder_test(a_held_blob_becomes_durable_with_the_batch),
        folder_test(a_killed_process_leaves_nothing_of_its_batch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
