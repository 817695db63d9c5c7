#include "store_test.h"

#include "store/blob_upload.h"
#include "store/internal.h"
#include "store/repositories.h"
#include "store/upload_table.h"

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/resource.h>
#include <utime.h>

#define HOUR 3600

static struct store *open_store(const char *folder)
{
    struct error err = ERROR_INIT;
    struct store *store = NULL;
    struct store_options options = {
        .path = folder, .map_size_bytes = (uint64_t)16 << 20, .leave_volatile = true};
    assert_ok(store_open(&options, &store, &err), &err);
    return store;
}

struct session {
    char id[BLOB_UPLOAD_ID_SIZE + 1];
};

static struct session begin(struct store *store)
{
    struct error err = ERROR_INIT;
    struct session session;
    assert_ok(blob_upload_begin(store, "app", session.id, &err), &err);
    assert_int_equal(strspn(session.id, "0123456789abcdef"), BLOB_UPLOAD_ID_SIZE);
    assert_int_equal(strlen(session.id), BLOB_UPLOAD_ID_SIZE);
    return session;
}

static struct blob_upload *open_upload(struct store *store, const struct session *session)
{
    struct error err = ERROR_INIT;
    struct blob_upload *upload = NULL;
    assert_ok(blob_upload_open(store, "app", session->id, NULL, &upload, &err), &err);
    return upload;
}

static void write_text(struct store *store, const struct session *session, const char *text)
{
    struct error err = ERROR_INIT;
    struct blob_upload *upload = open_upload(store, session);
    uint64_t before = blob_upload_size(upload);
    assert_ok(blob_upload_write(upload, text, strlen(text), &err), &err);
    assert_true(blob_upload_size(upload) == before + strlen(text));
    blob_upload_close(upload);
}

static uint64_t offset(struct store *store, const struct session *session)
{
    struct error err = ERROR_INIT;
    uint64_t at = UINT64_MAX;
    assert_ok(blob_upload_offset(store, "app", session->id, &at, &err), &err);
    return at;
}

static void assert_over(struct store *store, const struct session *session)
{
    struct error err = ERROR_INIT;
    uint64_t at = 0;
    struct blob_upload *upload = NULL;
    char name[64];
    assert_code(blob_upload_offset(store, "app", session->id, &at, &err), ERR_NO_UPLOAD, &err);
    assert_code(blob_upload_open(store, "app", session->id, NULL, &upload, &err), ERR_NO_UPLOAD,
                &err);
    assert_code(blob_upload_cancel(store, "app", session->id, &err), ERR_NO_UPLOAD, &err);
    snprintf(name, sizeof name, "uploads/%s", session->id);
    assert_false(path_exists(store->path, name));
}

static size_t count_records(struct store *store)
{
    struct error err = ERROR_INIT;
    struct kv_slice key;
    struct kv_slice value;
    size_t count = 0;
    autotxn struct kv_txn txn = KV_TXN_INIT;
    autocursor struct kv_cursor cursor = KV_CURSOR_INIT;
    assert_ok(kv_begin_read(store->kv, &txn, &err), &err);
    assert_ok(kv_cursor_open(&txn, KV_SESSIONS, (struct kv_slice){NULL, 0}, &cursor, &err), &err);
    for (bool more = true; more; count += more)
        assert_ok(kv_cursor_next(&cursor, &key, &value, &more, &err), &err);
    return count;
}

static size_t expire(struct store *store, uint64_t idle_s)
{
    struct error err = ERROR_INIT;
    size_t count = 99;
    assert_ok(blob_uploads_expire(store, idle_s, &count, &err), &err);
    return count;
}

/* Finish with the digest of `content` and commit into the repository "app". */
static void finish(struct store *store, const struct session *session, const char *content,
                   enum digest_algorithm algorithm)
{
    struct error err = ERROR_INIT;
    struct digest digest = digest_of(algorithm, content, strlen(content));
    struct batch *batch = NULL;
    assert_ok(batch_begin(store, BATCH_DURABLE, &batch, &err), &err);
    assert_ok(blob_upload_finish(open_upload(store, session), batch, &digest, &err), &err);
    batch_put_member(batch, "app", &digest);
    assert_ok(batch_commit(batch, &err), &err);
    autofree char *data = NULL;
    size_t size = 0;
    assert_ok(blob_read_all(store, &digest, 1 << 20, "blob", &data, &size, &err), &err);
    assert_string_equal(data, content);
    bool held = false;
    assert_ok(repository_has_blob(store, "app", &digest, &held, &err), &err);
    assert_true(held);
    assert_over(store, session);
    assert_int_equal(count_records(store), 0);
}

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

static void a_session_goes_on_in_another_process(void **state)
{
    struct store *store = open_store(*state);
    struct session session = begin(store);
    write_text(store, &session, "one ");
    store_close(store);
    store = open_store(*state);
    assert_int_equal(expire(store, HOUR), 0);
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
    struct batch *batch = NULL;
    assert_ok(batch_begin(store, BATCH_DURABLE, &batch, &err), &err);
    assert_code(blob_upload_finish(open_upload(store, &session), batch, &wrong, &err),
                ERR_DIGEST_INVALID, &err);
    assert_non_null(strstr(err.text, digest_text(&wrong, text)));
    assert_non_null(strstr(err.text, digest_text(&right, text)));
    batch_abort(batch);
    assert_over(store, &session);
    assert_int_equal(count_records(store), 0);
    store_close(store);
}

static void an_aborted_batch_takes_the_bytes_along(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct session session = begin(store);
    write_text(store, &session, "one");
    struct digest digest = digest_of_text("one");
    struct batch *batch = NULL;
    assert_ok(batch_begin(store, BATCH_DURABLE, &batch, &err), &err);
    assert_ok(blob_upload_finish(open_upload(store, &session), batch, &digest, &err), &err);
    batch_abort(batch);
    bool held = true;
    assert_ok(repositories_have_blob(store, &digest, &held, &err), &err);
    assert_false(held);
    assert_int_equal(expire(store, HOUR), 1);
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
            assert_code(blob_upload_begin(store, name, id, &err), ERR_NAME_INVALID, &err);
            continue;
        }
        assert_ok(blob_upload_begin(store, name, id, &err), &err);
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
    assert_int_equal(expire(store, 0), 0);
    store_close(store);
}

/* As if its last request had been this long ago. */
static void age(struct store *store, const struct session *session, int64_t seconds)
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
    struct session used = begin(store);
    struct session young = begin(store);
    struct session future = begin(store);
    write_text(store, &old, "old");
    write_text(store, &used, "used");
    write_text(store, &young, "young");
    struct blob_upload *open = open_upload(store, &used);
    age(store, &old, HOUR);
    age(store, &used, 2 * HOUR);
    age(store, &young, HOUR - 60);
    age(store, &future, -HOUR);
    assert_int_equal(expire(store, HOUR), 1);
    assert_over(store, &old);
    assert_true(offset(store, &young) == 5);
    assert_true(offset(store, &used) == 4);
    assert_true(offset(store, &future) == 0);
    /* A request that ends begins the time anew, also one that brought nothing. */
    blob_upload_close(open);
    assert_int_equal(expire(store, HOUR), 0);
    assert_int_equal(count_records(store), 3);
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
    assert_int_equal(expire(store, HOUR), 1);
    assert_int_equal(access(path, F_OK), -1);
    assert_true(offset(store, &session) == 0);
    store_close(store);
}

static void a_session_without_its_file_is_removed(void **state)
{
    char path[512];
    struct store *store = open_store(*state);
    struct session session = begin(store);
    snprintf(path, sizeof path, "%s/uploads/%s", (char *)*state, session.id);
    assert_int_equal(unlink(path), 0);
    struct session another = begin(store);
    assert_int_equal(expire(store, HOUR), 1);
    assert_int_equal(expire(store, HOUR), 0);
    assert_int_equal(count_records(store), 1);
    assert_over(store, &session);
    assert_true(offset(store, &another) == 0);
    store_close(store);
}

static void the_folder_is_its_owners_alone(void **state)
{
    char path[512];
    struct stat st;
    struct store *store = open_store(*state);
    struct session session = begin(store);
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
    assert_code(rc, ERR_IO, &err);
    /* It fails again, and cannot be completed by this request; another one goes on. */
    assert_code(blob_upload_write(upload, "three", 5, &err), ERR_IO, &err);
    assert_true(blob_upload_size(upload) == 8);
    struct batch *batch = NULL;
    struct digest digest = digest_of_text("one two ");
    assert_ok(batch_begin(store, BATCH_VOLATILE, &batch, &err), &err);
    assert_code(blob_upload_finish(upload, batch, &digest, &err), ERR_IO, &err);
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
    struct batch *batch = NULL;
    assert_ok(batch_begin(store, BATCH_DURABLE, &batch, &err), &err);
    assert_ok(blob_upload_finish(open_upload(store, &session), batch, &digest, &err), &err);
    assert_ok(batch_commit(batch, &err), &err);
    autoblob struct blob blob = BLOB_INIT;
    assert_ok(blob_open(store, &digest, &blob, &err), &err);
    assert_true(blob.size == 8 * piece);
    store_close(store);
}

/* A request that has the session and lets go of it when it is overtaken. */
struct holder {
    struct store *store;
    const struct session *session;
    sem_t has_it;
    sem_t told;
    enum errc rc;
    const char *text;
};

static void tell(void *self)
{
    struct holder *holder = self;
    sem_post(&holder->told);
}

static void holder_init(struct holder *holder, struct store *store, const struct session *session,
                        const char *text)
{
    *holder = (struct holder){.store = store, .session = session, .text = text};
    sem_init(&holder->has_it, 0, 0);
    sem_init(&holder->told, 0, 0);
}

static void *hold_until_told(void *arg)
{
    struct holder *holder = arg;
    struct error err = ERROR_INIT;
    struct blob_upload *upload = NULL;
    struct overtaken overtaken = {.call = tell, .self = holder};
    holder->rc =
        blob_upload_open(holder->store, "app", holder->session->id, &overtaken, &upload, &err);
    sem_post(&holder->has_it);
    if (holder->rc != ERR_OK)
        return NULL;
    sem_wait(&holder->told);
    holder->rc = blob_upload_write(upload, holder->text, strlen(holder->text), &err);
    blob_upload_close(upload);
    return NULL;
}

static void a_younger_request_gets_the_session(void **state)
{
    struct store *store = open_store(*state);
    struct session session = begin(store);
    struct holder older;
    pthread_t thread;
    holder_init(&older, store, &session, "last words ");
    assert_int_equal(pthread_create(&thread, NULL, hold_until_told, &older), 0);
    sem_wait(&older.has_it);
    struct blob_upload *upload = open_upload(store, &session);
    assert_true(blob_upload_size(upload) == strlen("last words "));
    blob_upload_close(upload);
    pthread_join(thread, NULL);
    assert_int_equal(older.rc, ERR_OK);
    write_text(store, &session, "and on");
    finish(store, &session, "last words and on", DIGEST_SHA256);
    store_close(store);
}

static void cancelling_overtakes(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct session session = begin(store);
    struct holder older;
    pthread_t thread;
    holder_init(&older, store, &session, "last words");
    assert_int_equal(pthread_create(&thread, NULL, hold_until_told, &older), 0);
    sem_wait(&older.has_it);
    assert_ok(blob_upload_cancel(store, "app", session.id, &err), &err);
    pthread_join(thread, NULL);
    assert_int_equal(older.rc, ERR_OK);
    assert_over(store, &session);
    store_close(store);
}

struct waiter {
    struct store *store;
    const struct session *session;
    enum errc rc;
};

static void *wait_for_it(void *arg)
{
    struct waiter *waiter = arg;
    struct error err = ERROR_INIT;
    struct blob_upload *upload = NULL;
    waiter->rc = blob_upload_open(waiter->store, "app", waiter->session->id, NULL, &upload, &err);
    if (waiter->rc == ERR_OK)
        blob_upload_close(upload);
    return NULL;
}

/* The holder hears of it once, does not let go, and of those who wait nobody gets it. */
static void who_does_not_let_go_keeps_the_session(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct session session = begin(store);
    struct holder holder;
    holder_init(&holder, store, &session, "");
    struct overtaken overtaken = {.call = tell, .self = &holder};
    struct blob_upload *upload = NULL;
    assert_ok(blob_upload_open(store, "app", session.id, &overtaken, &upload, &err), &err);
    struct waiter waiters[3];
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) {
        waiters[i] = (struct waiter){.store = store, .session = &session};
        assert_int_equal(pthread_create(&threads[i], NULL, wait_for_it, &waiters[i]), 0);
    }
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(waiters[i].rc, ERR_UPLOAD_BUSY);
    }
    int told = 0;
    assert_int_equal(sem_getvalue(&holder.told, &told), 0);
    assert_int_equal(told, 1);
    assert_ok(blob_upload_write(upload, "mine", 4, &err), &err);
    blob_upload_close(upload);
    finish(store, &session, "mine", DIGEST_SHA256);
    store_close(store);
}

static void who_does_not_wait_long_is_refused_at_once(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct upload_table *table = upload_table_new();
    const char *id = "0123456789abcdef0123456789abcdef";
    struct upload_slot *held = NULL;
    struct upload_slot *other = NULL;
    assert_ok(upload_table_take(table, id, NULL, 0, &held, &err), &err);
    assert_null(upload_table_try(table, id));
    assert_code(upload_table_take(table, id, NULL, 10, &other, &err), ERR_UPLOAD_BUSY, &err);
    upload_table_release(table, held);
    /* What it tried has left nothing behind. */
    assert_ok(upload_table_take(table, id, NULL, 0, &held, &err), &err);
    upload_table_release(table, held);
    upload_table_free(table);
}

/* Digests are kept for so many sessions and no more; the others' slots are fresh again. */
static void digests_are_remembered_up_to_the_limit(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct upload_table *table = upload_table_new();
    char id[BLOB_UPLOAD_ID_SIZE + 1];
    for (unsigned i = 0; i < UPLOAD_DIGESTS_MAX + 2; i++) {
        struct upload_slot *slot = NULL;
        snprintf(id, sizeof id, "%032x", i * 0x1010101u);
        assert_ok(upload_table_take(table, id, NULL, 0, &slot, &err), &err);
        slot->sha256 = digester_new(DIGEST_SHA256);
        slot->hashed = i;
        upload_table_release(table, slot);
    }
    size_t kept = 0;
    for (unsigned i = 0; i < UPLOAD_DIGESTS_MAX + 2; i++) {
        snprintf(id, sizeof id, "%032x", i * 0x1010101u);
        struct upload_slot *slot = upload_table_try(table, id);
        assert_non_null(slot);
        kept += slot->sha256 != NULL;
        assert_true(slot->sha256 == NULL || slot->hashed == i);
        upload_slot_reset(slot);
        upload_table_release(table, slot);
    }
    assert_int_equal(kept, UPLOAD_DIGESTS_MAX);
    upload_table_free(table);
}

#define CROWD 6
#define CROWD_ROUNDS 40

struct member {
    struct store *store;
    const struct session *session;
    size_t wrote;
    size_t refused;
    bool failed;
};

/* Each writes one byte whenever it has the session; who is overtaken lets go soon. */
static void *crowd(void *arg)
{
    struct member *member = arg;
    for (int i = 0; i < CROWD_ROUNDS && !member->failed; i++) {
        struct error err = ERROR_INIT;
        struct blob_upload *upload = NULL;
        struct holder self = {.rc = ERR_OK};
        sem_init(&self.told, 0, 0);
        struct overtaken overtaken = {.call = tell, .self = &self};
        enum errc rc =
            blob_upload_open(member->store, "app", member->session->id, &overtaken, &upload, &err);
        if (rc == ERR_OK) {
            member->failed = blob_upload_write(upload, "x", 1, &err) != ERR_OK;
            member->wrote++;
            blob_upload_close(upload);
        } else if (rc == ERR_UPLOAD_BUSY) {
            member->refused++;
        } else {
            member->failed = true;
        }
        sem_destroy(&self.told);
    }
    return NULL;
}

static void one_at_a_time_writes(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct session session = begin(store);
    struct member members[CROWD];
    pthread_t threads[CROWD];
    for (int i = 0; i < CROWD; i++) {
        members[i] = (struct member){.store = store, .session = &session};
        assert_int_equal(pthread_create(&threads[i], NULL, crowd, &members[i]), 0);
    }
    size_t wrote = 0;
    size_t expired = 0;
    for (int i = 0; i < 20; i++)
        assert_ok(blob_uploads_expire(store, HOUR, &expired, &err), &err);
    for (int i = 0; i < CROWD; i++) {
        pthread_join(threads[i], NULL);
        assert_false(members[i].failed);
        assert_int_equal(members[i].wrote + members[i].refused, CROWD_ROUNDS);
        wrote += members[i].wrote;
    }
    assert_true(wrote > 0);
    assert_true(offset(store, &session) == wrote);
    autofree char *all = xmalloc(wrote + 1);
    memset(all, 'x', wrote);
    all[wrote] = '\0';
    finish(store, &session, all, DIGEST_SHA256);
    store_close(store);
}

static void *begin_and_cancel(void *arg)
{
    struct member *member = arg;
    for (int i = 0; i < CROWD_ROUNDS && !member->failed; i++) {
        struct error err = ERROR_INIT;
        char id[BLOB_UPLOAD_ID_SIZE + 1];
        uint64_t at = 99;
        member->failed = blob_upload_begin(member->store, "app", id, &err) != ERR_OK ||
                         blob_upload_offset(member->store, "app", id, &at, &err) != ERR_OK ||
                         at != 0 || blob_upload_cancel(member->store, "app", id, &err) != ERR_OK;
    }
    return NULL;
}

/* Looking for files without a session never takes one that is being begun. */
static void what_begins_does_not_expire(void **state)
{
    struct store *store = open_store(*state);
    struct member members[2] = {{.store = store}, {.store = store}};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, begin_and_cancel, &members[i]), 0);
    for (int i = 0; i < 100; i++)
        assert_int_equal(expire(store, HOUR), 0);
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        assert_false(members[i].failed);
    }
    assert_int_equal(count_records(store), 0);
    store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(pieces_become_a_blob),
        folder_test(nothing_is_a_blob_too),
        folder_test(another_algorithm_reads_the_bytes_again),
        folder_test(a_session_goes_on_in_another_process),
        folder_test(the_file_tells_how_far_it_is),
        folder_test(a_wrong_digest_ends_the_session),
        folder_test(an_aborted_batch_takes_the_bytes_along),
        folder_test(a_session_is_of_one_repository),
        folder_test(any_text_may_be_asked_for),
        folder_test(a_name_that_is_too_long_has_no_session),
        folder_test(a_cancelled_session_leaves_nothing),
        folder_test(idle_sessions_expire),
        folder_test(a_file_without_a_session_is_removed),
        folder_test(a_session_without_its_file_is_removed),
        folder_test(the_folder_is_its_owners_alone),
        folder_test(a_failed_write_leaves_what_was_before),
        folder_test(much_goes_through),
        folder_test(a_younger_request_gets_the_session),
        folder_test(cancelling_overtakes),
        folder_test(who_does_not_let_go_keeps_the_session),
        cmocka_unit_test(who_does_not_wait_long_is_refused_at_once),
        cmocka_unit_test(digests_are_remembered_up_to_the_limit),
        folder_test(one_at_a_time_writes),
        folder_test(what_begins_does_not_expire),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
