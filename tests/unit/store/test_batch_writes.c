/*
 * What a batch writes before its commit: in memory and in staging, over what was given up, up to
 * its limits, and to a disk that is full.
 */
#include "tests/unit/store/repositories_test.h"

#include "store/batch.h"
#include "tests/support/batch_bench.h"

static void what_is_being_written_can_be_read(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct batch *batch = begin(store, BATCH_VOLATILE);
    struct digest digest = digest_of_text("begin and end");
    struct blob_writer *writer = NULL;
    char bytes[16] = {0};
    size_t got = 0;
    int fd = -1;
    assert_ok(blob_writer_open(batch, &writer, &err), &err);
    assert_ok(blob_writer_write(writer, "begin", 5, &err), &err);
    assert_ok(blob_writer_reader(writer, &fd, &err), &err);
    assert_ok(file_read_at(fd, bytes, sizeof bytes, 0, &got, &err), &err);
    assert_int_equal(got, 5);
    assert_ok(blob_writer_write(writer, " and end", 8, &err), &err);
    assert_ok(blob_writer_commit(writer, &digest, &err), &err);
    commit(batch);
    assert_ok(file_read_at(fd, bytes, sizeof bytes, 0, &got, &err), &err);
    assert_int_equal(got, 13);
    assert_memory_equal(bytes, "begin and end", 13);
    close(fd);
    store_close(store);
}

static void the_same_blob_twice_in_a_batch_is_one(void **state)
{
    struct store *store = open_store(*state);
    struct batch *batch = begin(store, BATCH_DURABLE);
    bring(batch, batch_bench_large('t'));
    bring(batch, batch_bench_large('t'));
    bring(batch, "twice");
    bring(batch, "twice");
    assert_int_equal(batch_bench_files(*state, "staging/0"), 1);
    commit(batch);
    batch_bench_expect(store, batch_bench_large('t'));
    batch_bench_expect(store, "twice");
    store_close(store);
}

static void an_aborted_writer_leaves_nothing(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct batch *batch = begin(store, BATCH_VOLATILE);
    struct blob_writer *writer = NULL;
    assert_ok(blob_writer_open(batch, &writer, &err), &err);
    struct sink sink = blob_writer_sink(writer);
    assert_ok(sink_write(&sink, batch_bench_large('h'), BATCH_BENCH_LARGE_BYTES, &err), &err);
    assert_int_equal(batch_bench_files(*state, "staging/0"), 1);
    blob_writer_abort(writer);
    blob_writer_abort(NULL);
    assert_int_equal(batch_bench_files(*state, "staging/0"), 0);
    commit(batch);
    store_close(store);
}

/* A shorter blob in the place of a longer one that was given up ends where it ends. */
static void what_is_put_aside_is_written_over(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct batch *batch = begin(store, BATCH_VOLATILE);
    struct blob_writer *writer = NULL;
    for (unsigned i = 0; i < 3; i++) {
        assert_ok(blob_writer_open_aside(batch, &writer, &err), &err);
        assert_ok(blob_writer_write(writer, "given up", 8, &err), &err);
        blob_writer_abort(writer);
        bring(batch, batch_bench_large('b'));
        assert_int_equal(batch_bench_files(*state, "staging/0"), 2);
    }
    struct digest digest = digest_of_text("kept");
    assert_ok(blob_writer_open_aside(batch, &writer, &err), &err);
    assert_ok(blob_writer_write(writer, "kept", 4, &err), &err);
    assert_ok(blob_writer_commit(writer, &digest, &err), &err);
    assert_int_equal(batch_bench_files(*state, "staging/0"), 2);
    commit(batch);
    batch_bench_expect(store, batch_bench_large('b'));
    batch_bench_expect(store, "kept");
    store_close(store);
}

/* A text of its own for each number. */
static const char *nearly_large(int number)
{
    static char text[10001];
    memset(text, '0' + number, 10000);
    return text;
}

/* Most small files of an archive are read and forgotten: no file is made for them, until there are
 * many. */
static void what_is_small_stays_in_memory(void **state)
{
    enum { MANY = 40 }; /* more than a batch keeps */
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct batch *batch = begin(store, BATCH_VOLATILE);
    autoblob struct blob blob = BLOB_INIT;
    char *data = NULL;
    size_t size = 0;
    struct digest read = bring(batch, "read");
    struct digest dropped = bring(batch, "dropped");
    struct digest opened = bring(batch, "opened");
    struct digest empty = bring(batch, "");
    assert_ok(batch_read_all(batch, &read, 4, "a blob", &data, &size, &err), &err);
    assert_string_equal(data, "read");
    free(data);
    assert_ok(batch_read_all(batch, &empty, 4, "a blob", &data, &size, &err), &err);
    assert_int_equal(size, 0);
    free(data);
    assert_int_equal(batch_bench_files(*state, "staging"), 0);
    batch_drop_blob(batch, &dropped);
    assert_ok(batch_open_blob(batch, &opened, &blob, &err), &err);
    assert_int_equal(batch_bench_files(*state, "staging/0"), 1);
    for (int i = 0; i < MANY; i++)
        bring(batch, nearly_large(i));
    size_t files = batch_bench_files(*state, "staging/0");
    assert_true(files > 1 && files < 1 + MANY);
    commit(batch);
    for (int i = 0; i < MANY; i++)
        batch_bench_expect(store, nearly_large(i));
    batch_bench_expect(store, "read");
    batch_bench_expect(store, "opened");
    batch_bench_expect(store, "");
    batch_bench_expect_none(store, "dropped");
    store_close(store);
}

/* RLIMIT_FSIZE and a full disk look alike to the writer; /dev/full is the simplest disk. */
static void a_failed_write_is_the_commits_failure(void **state)
{
    struct error err = ERROR_INIT;
    struct digest digest = digest_of_text("x");
    struct store *store = open_store(*state);
    struct batch *batch = begin(store, BATCH_VOLATILE);
    struct blob_writer *writer = NULL;
    assert_ok(blob_writer_open(batch, &writer, &err), &err);
    assert_ok(blob_writer_write(writer, batch_bench_large('x'), BATCH_BENCH_LARGE_BYTES, &err),
              &err);
    char path[512];
    snprintf(path, sizeof path, "%s/staging/0/0", (const char *)*state);
    /* The writer's descriptor is the one that has this file open. */
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    for (int fd = 3; fd < 64; fd++) {
        struct stat a;
        struct stat b;
        if (fd != full && fstat(fd, &a) == 0 && stat(path, &b) == 0 && a.st_ino == b.st_ino)
            dup2(full, fd);
    }
    close(full);
    assert_code(blob_writer_write(writer, "x", 1, &err), ERR_NO_SPACE, &err);
    error_clear(&err);
    assert_code(blob_writer_write(writer, "x", 1, &err), ERR_NO_SPACE, &err);
    error_clear(&err);
    assert_code(blob_writer_commit(writer, &digest, &err), ERR_NO_SPACE, &err);
    batch_abort(batch);
    batch_bench_expect_none(store, "x");
    store_close(store);
}

static void a_batch_has_a_limit(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct batch *batch = begin(store, BATCH_VOLATILE);
    struct digest digest = bring(batch, "blob");
    struct layer_form form = {.codec = CODEC_GZIP, .digest = digest, .size = 4};
    for (size_t i = 0; i < BATCH_ITEMS_MAX; i++) {
        struct digest diff_id = digest_of(DIGEST_SHA256, &i, sizeof i);
        batch_put_layer(batch, &diff_id, &form);
    }
    commit(batch);
    batch = begin(store, BATCH_VOLATILE);
    for (size_t i = 0; i <= BATCH_ITEMS_MAX; i++)
        batch_put_layer(batch, &digest, &form);
    assert_code(batch_commit(batch, &err), ERR_ARCHIVE_TOO_LARGE, &err);
    store_close(store);
}

/* What is dropped and what is aborted counts, and what is received later makes room. */
static void a_batch_expands_as_far_as_it_may(void **state)
{
    struct store *store = open_store(*state);
    struct error err = ERROR_INIT;
    uint64_t received = 2;
    const struct expansion expansion = {.free_bytes = 10, .times = 3, .received_bytes = &received};
    struct batch *batch = begin(store, BATCH_VOLATILE);
    struct blob_writer *writer = NULL;
    batch_limit_expansion(batch, &expansion);
    struct digest dropped = bring(batch, "1234");
    batch_drop_blob(batch, &dropped);
    assert_ok(blob_writer_open(batch, &writer, &err), &err);
    assert_ok(blob_writer_write(writer, "12345", 5, &err), &err);
    blob_writer_abort(writer);
    assert_ok(blob_writer_open(batch, &writer, &err), &err);
    assert_ok(blob_writer_write(writer, "1234567", 7, &err), &err); /* 16 of 16 */
    assert_code(blob_writer_write(writer, "8", 1, &err), ERR_ARCHIVE_TOO_LARGE, &err);
    assert_non_null(strstr(err.text, "2 bytes so far may become 16"));
    error_clear(&err);
    received = 3;
    assert_code(blob_writer_write(writer, "8", 1, &err), ERR_ARCHIVE_TOO_LARGE, &err);
    blob_writer_abort(writer); /* a failure stays */
    bring(batch, "123");
    struct digest digest;
    error_clear(&err);
    assert_code(batch_put_blob(batch, "4", 1, &digest, &err), ERR_ARCHIVE_TOO_LARGE, &err);
    received = UINT64_MAX; /* and nothing overflows */
    bring(batch, "1234567890");
    batch_abort(batch);
    store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(what_is_being_written_can_be_read),
        folder_test(the_same_blob_twice_in_a_batch_is_one),
        folder_test(an_aborted_writer_leaves_nothing),
        folder_test(what_is_put_aside_is_written_over),
        folder_test(what_is_small_stays_in_memory),
        folder_test(a_failed_write_is_the_commits_failure),
        folder_test(a_batch_has_a_limit),
        folder_test(a_batch_expands_as_far_as_it_may),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
