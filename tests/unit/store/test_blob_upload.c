#include "tests/unit/store/blob_upload_test.h"

#include "base/clock.h"
#include "store/local/blob_files.h"
#include "store/local/records_repositories.h"

#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <time.h>
#include <utime.h>

static void pieces_become_a_blob(void **state)
{
    struct store *store = open_store(*state);
    struct session session = begin(store);
    assert_true(offset(store, &session) == 0);
    write_text(store, &session, "one ");
    assert_true(offset(store, &session) == 4);
    write_text(store, &session, "");
    write_text(store, &session, "two");
    assert_true(offset(store, &session) == 7);
    finish(store, &session, "one two", DIGEST_SHA256);
    store_close(store);
}

static void nothing_is_a_blob_too(void **state)
{
    struct store *store = open_store(*state);
    struct session session = begin(store);
    finish(store, &session, "", DIGEST_SHA256);
    session = begin(store);
    finish(store, &session, "", DIGEST_SHA512);
    store_close(store);
}

static void another_algorithm_reads_the_bytes_again(void **state)
{
    struct store *store = open_store(*state);
    struct session session = begin(store);
    write_text(store, &session, "one ");
    write_text(store, &session, "two");
    finish(store, &session, "one two", DIGEST_SHA512);
    store_close(store);
}

/* What the client said in the beginning is how the bytes are hashed as they come, no more. */
static void the_algorithm_said_before_need_not_be_that_of_the_digest(void **state)
{
    static const enum digest_algorithm all[] = {DIGEST_NONE, DIGEST_SHA256, DIGEST_SHA512};
    struct store *store = open_store(*state);
    for (size_t said = 0; said < 3; said++) {
        for (size_t is = 1; is < 3; is++) {
            struct error err = ERROR_INIT;
            struct session session;
            assert_ok(blob_upload_begin(store, "app", "", all[said], session.id, &err), &err);
            write_text(store, &session, "one ");
            write_text(store, &session, "two");
            finish(store, &session, "one two", all[is]);
        }
    }
    store_close(store);
}

static void a_session_goes_on_in_another_process(void **state)
{
    struct store *store = open_store(*state);
    struct session session = begin(store);
    write_text(store, &session, "one ");
    store_close(store);
    store = open_store(*state);
    assert_int_equal(expire(store, LONG_AGO), 0);
    assert_true(offset(store, &session) == 4);
    write_text(store, &session, "two ");
    store_close(store);
    store = open_store(*state);
    write_text(store, &session, "three");
    finish(store, &session, "one two three", DIGEST_SHA256);
    store_close(store);
}

/* The file has what the last process had written when it was killed, whatever was hashed of it. */
static void the_file_tells_how_far_it_is(void **state)
{
    char path[512];
    struct store *store = open_store(*state);
    struct session session = begin(store);
    write_text(store, &session, "one ");
    snprintf(path, sizeof path, "%s/uploads/%s", (char *)*state, session.id);
    FILE *file = fopen(path, "a");
    assert_non_null(file);
    assert_true(fputs("two ", file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_true(offset(store, &session) == 8);
    write_text(store, &session, "three");
    finish(store, &session, "one two three", DIGEST_SHA256);
    store_close(store);
}

static void a_wrong_digest_ends_the_session(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct session session = begin(store);
    write_text(store, &session, "one");
    struct digest wrong = digest_of_text("two");
    struct digest right = digest_of_text("one");
    char text[DIGEST_TEXT_MAX];
    struct batch *batch = batch_begin(store, BATCH_DURABLE);
    assert_code(blob_upload_finish(open_upload(store, &session), batch, &wrong, &err),
                ERR_DIGEST_INVALID, &err);
    assert_non_null(strstr(err.text, digest_text(&wrong, text)));
    assert_non_null(strstr(err.text, digest_text(&right, text)));
    batch_abort(batch);
    assert_over(store, &session);
    assert_int_equal(count_records(store), 0);
    store_close(store);
}

/* In a process that is killed before the batch is in. */
static int child(const char *folder)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(folder);
    struct session session = begin(store);
    struct digest digest = digest_of_text("one two");
    struct batch *batch = batch_begin(store, BATCH_DURABLE);
    char path[600];
    write_text(store, &session, "one ");
    write_text(store, &session, "two");
    assert_ok(blob_upload_finish(open_upload(store, &session), batch, &digest, &err), &err);
    snprintf(path, sizeof path, "%s/id", folder);
    autofd int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_ok(file_write_all(fd, session.id, sizeof session.id, &err), &err);
    raise(SIGKILL);
    return 1;
}

static struct session killed(const char *folder)
{
    struct error err = ERROR_INIT;
    struct session session;
    char path[600];
    size_t got = 0;
    int status = run_again("die", folder);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    snprintf(path, sizeof path, "%s/id", folder);
    autofd int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_ok(file_read_at(fd, session.id, sizeof session.id, 0, &got, &err), &err);
    assert_int_equal(got, sizeof session.id);
    return session;
}

static void link_into_blobs(struct store *store, const struct session *session, const char *content)
{
    struct digest digest = digest_of_text(content);
    char path[BLOB_PATH_MAX];
    char folder[BLOB_PATH_MAX];
    snprintf(folder, sizeof folder, "sha256/%02x", digest.bytes[0]);
    blob_path(&digest, path);
    mkdirat(store->blobs_fd, folder, 0700);
    unlinkat(store->blobs_fd, path, 0);
    assert_int_equal(linkat(store->uploads_fd, session->id, store->blobs_fd, path, 0), 0);
}

/* Before or after the move to the blobs. */
static void no_byte_is_lost_when_it_is_killed_before_the_commit(void **state)
{
    for (int moved = 1; moved >= 0; moved--) {
        struct session session = killed(*state);
        struct store *store = open_store(*state);
        if (moved)
            link_into_blobs(store, &session, "one two");
        assert_int_equal(expire(store, LONG_AGO), 0);
        assert_true(offset(store, &session) == 7);
        finish(store, &session, "one two", DIGEST_SHA256);
        assert_int_equal(expire(store, LONG_AGO), 0);
        store_close(store);
    }
}

/* The kill was after the move, and another batch has recorded the same blob. */
static void a_blob_does_not_change_with_its_session(void **state)
{
    struct error err = ERROR_INIT;
    struct session session = killed(*state);
    struct store *store = open_store(*state);
    struct batch *batch = batch_begin(store, BATCH_DURABLE);
    autofree char *data = NULL;
    size_t size = 0;
    struct digest digest;
    assert_ok(batch_put_blob(batch, "one two", 7, &digest, &err), &err);
    assert_ok(batch_commit(batch, &err), &err);
    link_into_blobs(store, &session, "one two");
    write_text(store, &session, " three");
    assert_ok(blob_read_all(store, &digest, 100, "blob", &data, &size, &err), &err);
    assert_string_equal(data, "one two");
    finish(store, &session, "one two three", DIGEST_SHA256);
    store_close(store);
}

static void an_aborted_batch_takes_the_bytes_along(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct session session = begin(store);
    write_text(store, &session, "one");
    struct digest digest = digest_of_text("one");
    struct batch *batch = batch_begin(store, BATCH_DURABLE);
    assert_ok(blob_upload_finish(open_upload(store, &session), batch, &digest, &err), &err);
    batch_abort(batch);
    bool held = true;
    assert_ok(repositories_have_blob(store, &digest, NULL, NULL, &held, &err), &err);
    assert_false(held);
    assert_int_equal(expire(store, LONG_AGO), 1);
    assert_int_equal(count_records(store), 0);
    assert_over(store, &session);
    store_close(store);
}

static void a_session_is_of_one_repository(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct session session = begin(store);
    uint64_t at = 0;
    struct blob_upload *upload = NULL;
    assert_code(blob_upload_offset(store, "other", session.id, &at, &err), ERR_NO_UPLOAD, &err);
    assert_code(blob_upload_open(store, "ap", session.id, NULL, &upload, &err), ERR_NO_UPLOAD,
                &err);
    assert_code(blob_upload_cancel(store, "app/", session.id, &err), ERR_NO_UPLOAD, &err);
    assert_true(offset(store, &session) == 0);
    store_close(store);
}

static void any_text_may_be_asked_for(void **state)
{
    struct store *store = open_store(*state);
    struct session session = begin(store);
    autofree char *far = xmalloc(100001);
    memset(far, 'a', 100000);
    far[100000] = '\0';
    char shorter[BLOB_UPLOAD_ID_SIZE];
    snprintf(shorter, sizeof shorter, "%.31s", session.id);
    char longer[BLOB_UPLOAD_ID_SIZE + 2];
    snprintf(longer, sizeof longer, "%sa", session.id);
    const char *texts[] = {"",        ".",    "..",
                           "../lock", far,    "00000000000000000000000000000000",
                           shorter,   longer, "0000000000000000000000000000000/",
                           "\x01\xff"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct error err = ERROR_INIT;
        uint64_t at = 0;
        struct blob_upload *upload = NULL;
        assert_code(blob_upload_offset(store, "app", texts[i], &at, &err), ERR_NO_UPLOAD, &err);
        assert_code(blob_upload_open(store, "app", texts[i], NULL, &upload, &err), ERR_NO_UPLOAD,
                    &err);
        assert_code(blob_upload_cancel(store, "app", texts[i], &err), ERR_NO_UPLOAD, &err);
    }
    assert_true(offset(store, &session) == 0);
    store_close(store);
}

static void a_name_that_is_too_long_has_no_session(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    char name[REPOSITORY_NAME_MAX + 2];
    char id[BLOB_UPLOAD_ID_SIZE + 1];
    uint64_t at = 0;
    for (size_t size = REPOSITORY_NAME_MAX - 1; size <= REPOSITORY_NAME_MAX + 1; size++) {
        memset(name, 'a', size);
        name[size] = '\0';
        if (size > REPOSITORY_NAME_MAX) {
            assert_code(blob_upload_begin(store, name, "", DIGEST_NONE, id, &err), ERR_NAME_INVALID,
                        &err);
            continue;
        }
        assert_ok(blob_upload_begin(store, name, "", DIGEST_NONE, id, &err), &err);
        assert_ok(blob_upload_offset(store, name, id, &at, &err), &err);
    }
    store_close(store);
}

static void a_cancelled_session_leaves_nothing(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct session session = begin(store);
    write_text(store, &session, "one");
    assert_ok(blob_upload_cancel(store, "app", session.id, &err), &err);
    assert_over(store, &session);
    assert_int_equal(count_records(store), 0);
    assert_int_equal(expire(store, INT64_MAX), 0);
    store_close(store);
}

/* Until the clock that counts has gone on. */
static int64_t next_moment(void)
{
    int64_t now_ms = clock_ms();
    while (clock_ms() == now_ms)
        sched_yield();
    return now_ms;
}

/* What the files' times and the wall clock say is of no matter. */
static void age_file(struct store *store, const struct session *session, int64_t seconds)
{
    char path[512];
    struct utimbuf times = {.modtime = time(NULL) - seconds, .actime = time(NULL) - seconds};
    snprintf(path, sizeof path, "%s/uploads/%s", store->path, session->id);
    assert_int_equal(utime(path, &times), 0);
}

static void idle_sessions_expire(void **state)
{
    struct store *store = open_store(*state);
    struct session old = begin(store);
    struct session empty = begin(store);
    struct session used = begin(store);
    write_text(store, &old, "old");
    write_text(store, &used, "used");
    struct blob_upload *open = open_upload(store, &used);
    int64_t since_ms = next_moment();
    struct session young = begin(store);
    write_text(store, &young, "young");
    age_file(store, &old, -3600);
    age_file(store, &young, 1000000);
    assert_int_equal(expire(store, since_ms), 2);
    assert_over(store, &old);
    assert_over(store, &empty);
    assert_true(offset(store, &young) == 5);
    /* A request that ends begins the time anew, also one that brought nothing. */
    blob_upload_close(open);
    assert_int_equal(expire(store, since_ms), 0);
    assert_int_equal(count_records(store), 2);
    /* So does a new start. */
    since_ms = next_moment();
    store_close(store);
    store = open_store(*state);
    assert_int_equal(expire(store, since_ms), 0);
    assert_int_equal(expire(store, INT64_MAX), 2);
    assert_int_equal(count_records(store), 0);
    store_close(store);
}

/* More than one change takes, and than the table keeps digests of. */
static void many_sessions_expire(void **state)
{
    enum { MANY = 2500 };
    struct store *store = open_store(*state);
    autochange struct change change;
    change_init(&change);
    struct session_record record = {.created_s = 1, .repository = "app"};
    struct record_value value = session_value(&record);
    for (unsigned i = 0; i < MANY; i++) {
        char id[BLOB_UPLOAD_ID_SIZE + 1];
        snprintf(id, sizeof id, "%032x", i);
        struct record_key key = session_key(id);
        change_put(&change, KV_SESSIONS, record_key_slice(&key), record_value_slice(&value));
    }
    struct error err = ERROR_INIT;
    assert_ok(writer_submit(store->writer, &change, &err), &err);
    uint64_t before = writer_counts(store->writer).changes;
    /* Not known to the table: what a crash leaves. */
    assert_int_equal(expire(store, LONG_AGO), MANY);
    assert_int_equal(writer_counts(store->writer).changes - before, 3);
    assert_int_equal(count_records(store), 0);
    assert_ok(writer_submit(store->writer, &change, &err), &err);
    store_close(store);
    store = open_store(*state);
    before = writer_counts(store->writer).changes;
    assert_int_equal(expire(store, LONG_AGO), 0);
    assert_int_equal(expire(store, INT64_MAX), MANY);
    assert_int_equal(writer_counts(store->writer).changes - before, 3);
    assert_int_equal(count_records(store), 0);
    store_close(store);
}

static void a_session_gives_way_to_another(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = NULL;
    char id[BLOB_UPLOAD_ID_SIZE + 1];
    const struct store_options options = {
        .map_size_bytes = (uint64_t)16 << 20, .uploads = {.per_client = 2}, .leave_volatile = true};
    assert_ok(store_open_local(*state, &options, &store, &err), &err);
    struct session first, second, third;
    assert_ok(blob_upload_begin(store, "app", "x", DIGEST_NONE, first.id, &err), &err);
    assert_ok(blob_upload_begin(store, "app", "x", DIGEST_NONE, second.id, &err), &err);
    assert_ok(blob_upload_begin(store, "app", "x", DIGEST_NONE, third.id, &err), &err);
    assert_over(store, &first);
    assert_int_equal(count_records(store), 2);
    write_text(store, &second, "2");
    write_text(store, &third, "3");
    assert_code(blob_upload_begin(store, "app", "x", DIGEST_NONE, id, &err), ERR_TOO_MANY, &err);
    error_clear(&err);
    assert_int_equal(count_records(store), 2);
    assert_ok(blob_upload_cancel(store, "app", second.id, &err), &err);
    assert_ok(blob_upload_begin(store, "app", "x", DIGEST_NONE, id, &err), &err);
    store_close(store);
}

static void a_file_without_a_session_is_removed(void **state)
{
    char path[512];
    struct store *store = open_store(*state);
    struct session session = begin(store);
    snprintf(path, sizeof path, "%s/uploads/%032x", (char *)*state, 5u);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(expire(store, LONG_AGO), 1);
    assert_int_equal(access(path, F_OK), -1);
    assert_true(offset(store, &session) == 0);
    store_close(store);
}

/* A session that has no byte has no file, and one whose file is gone has no byte. */
static void a_file_comes_with_the_first_byte(void **state)
{
    char name[64];
    struct store *store = open_store(*state);
    struct session session = begin(store);
    snprintf(name, sizeof name, "uploads/%s", session.id);
    assert_true(offset(store, &session) == 0);
    write_text(store, &session, "");
    assert_false(path_exists(*state, name));
    store_close(store);
    store = open_store(*state);
    assert_int_equal(expire(store, LONG_AGO), 0);
    assert_true(offset(store, &session) == 0);
    write_text(store, &session, "lost");
    assert_true(path_exists(*state, name));
    assert_int_equal(unlinkat(store->uploads_fd, session.id, 0), 0);
    assert_true(offset(store, &session) == 0);
    write_text(store, &session, "one");
    finish(store, &session, "one", DIGEST_SHA256);
    store_close(store);
}

static void the_folder_is_its_owners_alone(void **state)
{
    char path[512];
    struct stat st;
    struct store *store = open_store(*state);
    struct session session = begin(store);
    write_text(store, &session, "one");
    snprintf(path, sizeof path, "%s/uploads", (char *)*state);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    snprintf(path, sizeof path, "%s/uploads/%s", (char *)*state, session.id);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    store_close(store);
}

static void a_failed_write_leaves_what_was_before(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct session session = begin(store);
    write_text(store, &session, "one ");
    struct blob_upload *upload = open_upload(store, &session);
    assert_ok(blob_upload_write(upload, "two ", 4, &err), &err);
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    struct rlimit small = {.rlim_cur = 10, .rlim_max = before.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    enum errc rc = blob_upload_write(upload, "three", 5, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_code(rc, ERR_NO_SPACE, &err);
    /* It fails again, and cannot be completed by this request; another one goes on. */
    assert_code(blob_upload_write(upload, "three", 5, &err), ERR_NO_SPACE, &err);
    assert_true(blob_upload_size(upload) == 8);
    struct digest digest = digest_of_text("one two ");
    struct batch *batch = batch_begin(store, BATCH_VOLATILE);
    assert_code(blob_upload_finish(upload, batch, &digest, &err), ERR_NO_SPACE, &err);
    batch_abort(batch);
    assert_true(offset(store, &session) == 8);
    write_text(store, &session, "three");
    finish(store, &session, "one two three", DIGEST_SHA256);
    store_close(store);
}

static void much_goes_through(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct session session = begin(store);
    size_t piece = (size_t)3 << 20;
    autofree uint8_t *data = xmalloc(piece);
    struct digester *digester = digester_new(DIGEST_SHA256);
    for (unsigned round = 0; round < 8; round++) {
        memset(data, (int)round, piece);
        digester_update(digester, data, piece);
        struct blob_upload *upload = open_upload(store, &session);
        assert_ok(blob_upload_write(upload, data, piece, &err), &err);
        blob_upload_close(upload);
        if (round != 3)
            continue;
        store_close(store);
        store = open_store(*state);
    }
    struct digest digest = digester_finish(digester);
    digester_free(digester);
    struct batch *batch = batch_begin(store, BATCH_DURABLE);
    assert_ok(blob_upload_finish(open_upload(store, &session), batch, &digest, &err), &err);
    assert_ok(batch_commit(batch, &err), &err);
    autoblob struct blob blob = BLOB_INIT;
    assert_ok(blob_open(store, &digest, &blob, &err), &err);
    assert_true(blob.size == 8 * piece);
    store_close(store);
}

int main(int argc, char **argv)
{
    if (argc == 3)
        return child(argv[2]);
    const struct CMUnitTest tests[] = {
        folder_test(pieces_become_a_blob),
        folder_test(nothing_is_a_blob_too),
        folder_test(another_algorithm_reads_the_bytes_again),
        folder_test(the_algorithm_said_before_need_not_be_that_of_the_digest),
        folder_test(a_session_goes_on_in_another_process),
        folder_test(the_file_tells_how_far_it_is),
        folder_test(a_wrong_digest_ends_the_session),
        folder_test(no_byte_is_lost_when_it_is_killed_before_the_commit),
        folder_test(a_blob_does_not_change_with_its_session),
        folder_test(an_aborted_batch_takes_the_bytes_along),
        folder_test(a_session_is_of_one_repository),
        folder_test(any_text_may_be_asked_for),
        folder_test(a_name_that_is_too_long_has_no_session),
        folder_test(a_cancelled_session_leaves_nothing),
        folder_test(idle_sessions_expire),
        folder_test(many_sessions_expire),
        folder_test(a_session_gives_way_to_another),
        folder_test(a_file_without_a_session_is_removed),
        folder_test(a_file_comes_with_the_first_byte),
        folder_test(the_folder_is_its_owners_alone),
        folder_test(a_failed_write_leaves_what_was_before),
        folder_test(much_goes_through),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
