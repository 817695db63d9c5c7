#include "tests/unit/store/store_test.h"

#include "store/batch.h"
#include "store/local/blob_files.h"
#include "store/local/internal.h"

#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>

static struct batch *begin(struct store *store, enum durability durability)
{
    struct batch *batch = batch_begin(store, durability);
    return batch;
}

static struct digest put(struct batch *batch, const char *content)
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

static void expect_blob(struct store *store, const char *content)
{
    struct error err = ERROR_INIT;
    struct digest digest = digest_of_text(content);
    autofree char *data = NULL;
    size_t size = 0;
    assert_ok(blob_read_all(store, &digest, 100000, "a blob", &data, &size, &err), &err);
    assert_int_equal(size, strlen(content));
    assert_string_equal(data, content);
    uint64_t told = 0;
    assert_ok(blob_stat(store, &digest, &told, &err), &err);
    assert_int_equal(told, size);
}

static void expect_no_blob(struct store *store, const char *content)
{
    struct error err = ERROR_INIT;
    struct digest digest = digest_of_text(content);
    autoblob struct blob blob = BLOB_INIT;
    uint64_t size = 0;
    assert_code(blob_open(store, &digest, &blob, &err), ERR_BLOB_UNKNOWN, &err);
    error_clear(&err);
    assert_code(blob_stat(store, &digest, &size, &err), ERR_BLOB_UNKNOWN, &err);
}

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

static size_t count_files(const char *folder, const char *name)
{
    char path[512];
    size_t count = 0;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;)
        count += entry->d_name[0] != '.';
    closedir(dir);
    return count;
}

/* More than stays in memory until the commit; borrowed until the next one. */
#define LARGE_BYTES 20000
static const char *large(char letter)
{
    static char text[LARGE_BYTES + 1];
    memset(text, letter, LARGE_BYTES);
    return text;
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
        put(batch, content);
        expect_no_blob(store, content);
        commit(batch);
        expect_blob(store, content);
        assert_int_equal(state_of(store, content), i == 0 ? BLOB_VOLATILE : BLOB_DURABLE);
        assert_int_equal(count_files(*state, "staging"), 0);
    }
    store_close(store);
    store = open_store(*state);
    expect_blob(store, "first");
    expect_blob(store, "second");
    store_close(store);
}

static void blobs_lie_where_the_header_says(void **state)
{
    char path[512];
    struct store *store = open_store(*state);
    struct batch *batch = begin(store, BATCH_DURABLE);
    put(batch, "");
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
    struct digest digest = put(batch, large('a'));
    batch_put_reference(batch, &ref, &digest, MEDIA_OCI_MANIFEST);
    assert_int_equal(count_files(*state, "staging"), 1);
    batch_abort(batch);
    batch_abort(NULL);
    assert_int_equal(count_files(*state, "staging"), 0);
    expect_no_blob(store, large('a'));
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
    put(batch, "stored");
    commit(batch);
    batch = begin(store, BATCH_VOLATILE);
    struct digest own = put(batch, "own");
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
    struct digest ahead = put(batch, "ahead");
    struct digest unknown = digest_of_text("unknown");
    put(batch, "later");
    assert_ok(batch_bring_ahead(batch, &ahead, &err), &err);
    assert_ok(batch_bring_ahead(batch, &ahead, &err), &err);
    assert_ok(batch_bring_ahead(batch, &unknown, &err), &err);
    expect_blob(store, "ahead");
    expect_no_blob(store, "later");
    assert_int_equal(state_of(store, "ahead"), BLOB_VOLATILE);
    assert_int_equal(count_files(*state, "staging"), 1);
    commit(batch);
    assert_int_equal(state_of(store, "ahead"), BLOB_DURABLE);
    expect_blob(store, "later");
    store_close(store);
}

static void it_stays_when_its_batch_is_aborted(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct batch *batch = begin(store, BATCH_VOLATILE);
    struct digest ahead = put(batch, "ahead");
    assert_ok(batch_bring_ahead(batch, &ahead, &err), &err);
    batch_abort(batch);
    assert_int_equal(count_files(*state, "staging"), 0);
    expect_blob(store, "ahead");
    store_close(store);
}

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

static void a_blob_over_the_limit_is_not_read(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct batch *batch = begin(store, BATCH_VOLATILE);
    struct digest digest = put(batch, "12345");
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

static void a_dropped_blob_is_not_committed(void **state)
{
    struct digest none = digest_of_text("none");
    struct store *store = open_store(*state);
    struct batch *batch = begin(store, BATCH_VOLATILE);
    struct digest dropped = put(batch, "dropped");
    put(batch, "kept");
    batch_drop_blob(batch, &none);
    batch_drop_blob(batch, &dropped);
    batch_drop_blob(batch, &dropped);
    commit(batch);
    expect_no_blob(store, "dropped");
    expect_blob(store, "kept");
    store_close(store);
}

static void the_same_blob_twice_in_a_batch_is_one(void **state)
{
    struct store *store = open_store(*state);
    struct batch *batch = begin(store, BATCH_DURABLE);
    put(batch, large('t'));
    put(batch, large('t'));
    put(batch, "twice");
    put(batch, "twice");
    assert_int_equal(count_files(*state, "staging/0"), 1);
    commit(batch);
    expect_blob(store, large('t'));
    expect_blob(store, "twice");
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
    assert_ok(sink_write(&sink, large('h'), LARGE_BYTES, &err), &err);
    assert_int_equal(count_files(*state, "staging/0"), 1);
    blob_writer_abort(writer);
    blob_writer_abort(NULL);
    assert_int_equal(count_files(*state, "staging/0"), 0);
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
        put(batch, large('b'));
        assert_int_equal(count_files(*state, "staging/0"), 2);
    }
    struct digest digest = digest_of_text("kept");
    assert_ok(blob_writer_open_aside(batch, &writer, &err), &err);
    assert_ok(blob_writer_write(writer, "kept", 4, &err), &err);
    assert_ok(blob_writer_commit(writer, &digest, &err), &err);
    assert_int_equal(count_files(*state, "staging/0"), 2);
    commit(batch);
    expect_blob(store, large('b'));
    expect_blob(store, "kept");
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
    struct digest read = put(batch, "read");
    struct digest dropped = put(batch, "dropped");
    struct digest opened = put(batch, "opened");
    struct digest empty = put(batch, "");
    assert_ok(batch_read_all(batch, &read, 4, "a blob", &data, &size, &err), &err);
    assert_string_equal(data, "read");
    free(data);
    assert_ok(batch_read_all(batch, &empty, 4, "a blob", &data, &size, &err), &err);
    assert_int_equal(size, 0);
    free(data);
    assert_int_equal(count_files(*state, "staging"), 0);
    batch_drop_blob(batch, &dropped);
    assert_ok(batch_open_blob(batch, &opened, &blob, &err), &err);
    assert_int_equal(count_files(*state, "staging/0"), 1);
    for (int i = 0; i < MANY; i++)
        put(batch, nearly_large(i));
    size_t files = count_files(*state, "staging/0");
    assert_true(files > 1 && files < 1 + MANY);
    commit(batch);
    for (int i = 0; i < MANY; i++)
        expect_blob(store, nearly_large(i));
    expect_blob(store, "read");
    expect_blob(store, "opened");
    expect_blob(store, "");
    expect_no_blob(store, "dropped");
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
    assert_ok(blob_writer_write(writer, large('x'), LARGE_BYTES, &err), &err);
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
    expect_no_blob(store, "x");
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
            put(a, content);
            put(b, content);
            commit(a);
            commit(b);
            expect_blob(store, content);
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
        expect_blob(store, content);
        assert_int_equal(state_of(store, content), BLOB_DURABLE);
    }
    assert_int_equal(count_files(*state, "staging"), 0);
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
    put(batch, "removed");
    commit(batch);
    batch = begin(store, BATCH_VOLATILE);
    put(batch, "broken");
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
    put(batch, "broken");
    commit(batch);
    expect_blob(store, "broken");
    blob_file_path(*state, "removed", path);
    assert_int_equal(unlink(path), 0);
    error_clear(&err);
    digest = digest_of_text("removed");
    assert_code(blob_open(store, &digest, &blob, &err), ERR_BLOB_CORRUPT, &err);
    assert_code(blob_stat(store, &digest, &size, &err), ERR_BLOB_CORRUPT, &err);
    batch = begin(store, BATCH_VOLATILE);
    put(batch, "removed");
    commit(batch);
    expect_blob(store, "removed");
    assert_int_equal(state_of(store, "removed"), BLOB_DURABLE);
    store_close(store);
}

static void a_held_blob_becomes_durable_with_the_batch(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct batch *batch = begin(store, BATCH_VOLATILE);
    struct digest digest = put(batch, "held");
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

static void a_batch_has_a_limit(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct batch *batch = begin(store, BATCH_VOLATILE);
    struct digest digest = put(batch, "blob");
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

static void a_killed_process_leaves_nothing_of_its_batch(void **state)
{
    int status = run_again("half", *state);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    assert_int_equal(count_files(*state, "staging"), 1);
    struct store *store = open_store(*state);
    assert_int_equal(count_files(*state, "staging"), 0);
    expect_no_blob(store, large('h'));
    expect_blob(store, "volatile before");
    expect_blob(store, "durable before");
    store_close(store);
}

static int child(const char *folder)
{
    struct store *store = open_store(folder);
    struct batch *batch = begin(store, BATCH_VOLATILE);
    put(batch, "volatile before");
    commit(batch);
    batch = begin(store, BATCH_DURABLE);
    put(batch, "durable before");
    commit(batch);
    batch = begin(store, BATCH_DURABLE);
    put(batch, large('h'));
    raise(SIGKILL);
    return 1;
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
    struct digest dropped = put(batch, "1234");
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
    put(batch, "123");
    struct digest digest;
    error_clear(&err);
    assert_code(batch_put_blob(batch, "4", 1, &digest, &err), ERR_ARCHIVE_TOO_LARGE, &err);
    received = UINT64_MAX; /* and nothing overflows */
    put(batch, "1234567890");
    batch_abort(batch);
    store_close(store);
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
        folder_test(what_is_being_written_can_be_read),
        folder_test(a_blob_over_the_limit_is_not_read),
        folder_test(a_dropped_blob_is_not_committed),
        folder_test(the_same_blob_twice_in_a_batch_is_one),
        folder_test(an_aborted_writer_leaves_nothing),
        folder_test(what_is_put_aside_is_written_over),
        folder_test(what_is_small_stays_in_memory),
        folder_test(a_failed_write_is_the_commits_failure),
        folder_test(two_batches_with_the_same_blob_both_succeed),
        folder_test(racing_batches_end_durable_when_one_of_them_is),
        folder_test(a_volatile_batch_takes_nothing_from_a_durable_one),
        folder_test(a_blob_whose_file_is_broken_is_repaired),
        folder_test(a_held_blob_becomes_durable_with_the_batch),
        folder_test(a_batch_has_a_limit),
        folder_test(a_batch_expands_as_far_as_it_may),
        folder_test(a_killed_process_leaves_nothing_of_its_batch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
