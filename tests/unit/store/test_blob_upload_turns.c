#include "tests/unit/store/blob_upload_test.h"

#include "store/local/upload_table.h"

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>

/* A request that has the session and lets go of it when it is overtaken. */
struct holder {
    struct store *store;
    const struct session *session;
    sem_t has_it;
    sem_t told;
    enum errc rc;
    const char *text;
};

static bool tell(void *self)
{
    struct holder *holder = self;
    sem_post(&holder->told);
    return true;
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

/* A request with all its bytes: it says so whenever it is asked, at most once. */
struct complete {
    struct store *store;
    const struct session *session;
    sem_t asked;
    sem_t go_on;
    char byte;
    enum errc rc;
};

static bool stay(void *self)
{
    struct complete *complete = self;
    sem_post(&complete->asked);
    return false;
}

static void complete_init(struct complete *complete, struct store *store,
                          const struct session *session, char byte)
{
    *complete = (struct complete){.store = store, .session = session, .byte = byte};
    sem_init(&complete->asked, 0, 0);
    sem_init(&complete->go_on, 0, 0);
}

static void *write_in_turn(void *arg)
{
    struct complete *self = arg;
    struct error err = ERROR_INIT;
    struct blob_upload *upload = NULL;
    const struct overtaken overtaken = {.call = stay, .self = self};
    self->rc = blob_upload_open(self->store, "app", self->session->id, &overtaken, &upload, &err);
    if (self->rc != ERR_OK)
        return NULL;
    sem_wait(&self->go_on);
    self->rc = blob_upload_write(upload, &self->byte, 1, &err);
    blob_upload_close(upload);
    return NULL;
}

/* Without asking the holder for it. The session is the only one. */
static void wait_until_held(struct store *store)
{
    struct upload_slot *slot;
    while ((slot = upload_table_take_idle(store->uploads, INT64_MAX))) {
        upload_table_release(store->uploads, slot);
        sched_yield();
    }
}

/* The holder and those who wait: each is asked once, when the next has lined up behind it. */
static void who_has_all_bytes_is_not_overtaken(void **state)
{
    enum { COUNT = 4 };
    struct store *store = open_store(*state);
    struct session session = begin(store);
    struct complete requests[COUNT];
    pthread_t threads[COUNT];
    for (int i = 0; i < COUNT; i++) {
        complete_init(&requests[i], store, &session, (char)('a' + i));
        assert_int_equal(pthread_create(&threads[i], NULL, write_in_turn, &requests[i]), 0);
        if (i > 0)
            sem_wait(&requests[i - 1].asked);
        else
            wait_until_held(store);
    }
    for (int i = 0; i < COUNT; i++)
        sem_post(&requests[i].go_on);
    for (int i = 0; i < COUNT; i++) {
        int asked = 0;
        pthread_join(threads[i], NULL);
        assert_int_equal(requests[i].rc, ERR_OK);
        assert_int_equal(sem_getvalue(&requests[i].asked, &asked), 0);
        assert_int_equal(asked, 0);
    }
    finish(store, &session, "abcd", DIGEST_SHA256);
    store_close(store);
}

/* One waits for its bytes behind a holder that has its own: a younger one goes before it. */
static void who_waits_for_bytes_gives_way(void **state)
{
    struct store *store = open_store(*state);
    struct session session = begin(store);
    struct complete first;
    struct complete last;
    struct holder between;
    pthread_t threads[3];
    complete_init(&first, store, &session, '1');
    complete_init(&last, store, &session, '3');
    holder_init(&between, store, &session, "2");
    assert_int_equal(pthread_create(&threads[0], NULL, write_in_turn, &first), 0);
    sem_post(&last.go_on);
    wait_until_held(store);
    assert_int_equal(pthread_create(&threads[1], NULL, hold_until_told, &between), 0);
    sem_wait(&first.asked);
    assert_int_equal(pthread_create(&threads[2], NULL, write_in_turn, &last), 0);
    sem_wait(&between.has_it);
    pthread_join(threads[1], NULL);
    assert_int_equal(between.rc, ERR_UPLOAD_BUSY);
    sem_post(&first.go_on);
    pthread_join(threads[0], NULL);
    pthread_join(threads[2], NULL);
    assert_int_equal(first.rc, ERR_OK);
    assert_int_equal(last.rc, ERR_OK);
    finish(store, &session, "13", DIGEST_SHA256);
    store_close(store);
}

static const struct upload_limits no_limits;

static void who_does_not_wait_long_is_refused_at_once(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct upload_table *table = upload_table_new(&no_limits);
    const char *id = "0123456789abcdef0123456789abcdef";
    struct upload_slot *held = NULL;
    struct upload_slot *other = NULL;
    assert_code(upload_table_take(table, "app", id, NULL, 0, &held, &err), ERR_NO_UPLOAD, &err);
    upload_table_load(table, id, "app");
    assert_ok(upload_table_take(table, "app", id, NULL, 0, &held, &err), &err);
    assert_null(upload_table_take_idle(table, INT64_MAX));
    assert_code(upload_table_take(table, "app", id, NULL, 10, &other, &err), ERR_UPLOAD_BUSY, &err);
    upload_table_release(table, held);
    /* What it tried has left nothing behind. */
    assert_ok(upload_table_take(table, "app", id, NULL, 0, &held, &err), &err);
    upload_table_end(table, held);
    assert_false(upload_table_has(table, id));
    upload_table_free(table);
}

/* Digests are kept for so many sessions and no more; the others' slots are fresh again. */
static void digests_are_remembered_up_to_the_limit(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct upload_table *table = upload_table_new(&no_limits);
    char id[BLOB_UPLOAD_ID_SIZE + 1];
    for (unsigned i = 0; i < UPLOAD_DIGESTS_MAX + 2; i++) {
        struct upload_slot *slot = NULL;
        struct upload_slot *yields = NULL;
        snprintf(id, sizeof id, "%032x", i * 0x1010101u);
        assert_ok(upload_table_add(table, id, "app", "", &slot, &yields, &err), &err);
        slot->digester = digester_new(DIGEST_SHA256);
        slot->hashed = i;
        upload_table_release(table, slot);
    }
    size_t kept = 0;
    for (unsigned i = 0; i < UPLOAD_DIGESTS_MAX + 2; i++) {
        struct upload_slot *slot = NULL;
        snprintf(id, sizeof id, "%032x", i * 0x1010101u);
        assert_ok(upload_table_take(table, "app", id, NULL, 0, &slot, &err), &err);
        kept += slot->digester != NULL;
        assert_true(slot->hashed == (slot->digester ? i : 0));
        upload_slot_reset(slot);
        upload_table_release(table, slot);
    }
    assert_int_equal(kept, UPLOAD_DIGESTS_MAX);
    upload_table_free(table);
}

/* ---- how many there are ---- */

/* The number of the session that gave way, 0: none; -1: refused, and the text says why. */
static int try_begin(struct upload_table *table, unsigned number, const char *repository,
                     const char *client, const char *why)
{
    struct error err = ERROR_INIT;
    struct upload_slot *slot = NULL;
    struct upload_slot *yields = NULL;
    char id[BLOB_UPLOAD_ID_SIZE + 1];
    snprintf(id, sizeof id, "%032x", number);
    if (upload_table_add(table, id, repository, client, &slot, &yields, &err) != ERR_OK) {
        assert_code(err.code, ERR_TOO_MANY, &err);
        assert_non_null(strstr(err.text, why));
        assert_false(upload_table_has(table, id));
        return -1;
    }
    upload_table_release(table, slot);
    int yielded = yields ? (int)strtol(yields->id, NULL, 16) : 0;
    if (yields)
        upload_table_end(table, yields);
    return yielded;
}

static void touch(struct upload_table *table, unsigned number, const char *repository)
{
    char id[BLOB_UPLOAD_ID_SIZE + 1];
    snprintf(id, sizeof id, "%032x", number);
    assert_true(upload_table_touch(table, repository, id));
}

#define CLIENT_IS "limits.upload_sessions_per_client is 2"
#define REPOSITORY_IS "limits.upload_sessions_per_repository is 3"
#define ALL_IS "limits.upload_sessions is 4"

static void sessions_are_bounded(void **state)
{
    (void)state;
    const struct upload_limits limits = {
        .all = 4, .per_repository = 3, .per_client = 2, .yield_ms = 3600000};
    struct upload_table *table = upload_table_new(&limits);
    assert_int_equal(try_begin(table, 1, "a", "x", ""), 0);
    assert_int_equal(try_begin(table, 2, "b", "x", ""), 0);
    assert_int_equal(try_begin(table, 3, "c", "x", CLIENT_IS), -1);
    assert_int_equal(try_begin(table, 3, "a", "y", ""), 0);
    assert_int_equal(try_begin(table, 4, "a", "", ""), 0); /* not known: bounded by the others */
    assert_int_equal(try_begin(table, 5, "a", "y", REPOSITORY_IS), -1);
    assert_int_equal(try_begin(table, 5, "b", "y", ALL_IS), -1);
    struct upload_slot *slot = upload_table_take_idle(table, INT64_MAX);
    assert_non_null(slot);
    upload_table_end(table, slot); /* the oldest, of "a" and "x" */
    assert_int_equal(try_begin(table, 5, "a", "x", ""), 0);
    upload_table_free(table);
}

/* Who was begun and never asked for gives way, the oldest first; who was asked for does not, and
 * one that counts for somebody else is of no help. */
static void what_nobody_asked_for_gives_way(void **state)
{
    (void)state;
    const struct upload_limits limits = {
        .all = 4, .per_repository = 3, .per_client = 2, .yield_ms = 0};
    struct upload_table *table = upload_table_new(&limits);
    assert_int_equal(try_begin(table, 1, "a", "y", ""), 0);
    assert_int_equal(try_begin(table, 2, "a", "x", ""), 0);
    assert_int_equal(try_begin(table, 3, "b", "x", ""), 0);
    assert_int_equal(try_begin(table, 4, "a", "x", ""), 2);
    assert_int_equal(try_begin(table, 5, "a", "z", ""), 0);
    /* "a" is full, and so is "x": only its own session there counts for both. */
    assert_int_equal(try_begin(table, 6, "a", "x", ""), 4);
    touch(table, 6, "a");
    assert_int_equal(try_begin(table, 7, "a", "x", CLIENT_IS), -1);
    assert_int_equal(try_begin(table, 7, "b", "x", ""), 3);
    assert_int_equal(try_begin(table, 8, "a", "w", ""), 1);
    assert_int_equal(try_begin(table, 9, "b", "w", ""), 5);
    touch(table, 7, "b");
    touch(table, 8, "a");
    touch(table, 9, "b");
    assert_int_equal(try_begin(table, 10, "c", "v", ALL_IS), -1);
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
        assert_ok(blob_uploads_expire(store, LONG_AGO, &expired, &err), &err);
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
        member->failed =
            blob_upload_begin(member->store, "app", "", DIGEST_NONE, id, &err) != ERR_OK ||
            blob_upload_offset(member->store, "app", id, &at, &err) != ERR_OK || at != 0 ||
            blob_upload_cancel(member->store, "app", id, &err) != ERR_OK;
    }
    return NULL;
}

/* Looking for files without a session never takes one that is being begun: its members would see
 * that. One whose end is under way may be counted. */
static void what_begins_does_not_expire(void **state)
{
    struct store *store = open_store(*state);
    struct member members[2] = {{.store = store}, {.store = store}};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, begin_and_cancel, &members[i]), 0);
    for (int i = 0; i < 100; i++)
        expire(store, LONG_AGO);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < 2; i++)
        assert_false(members[i].failed);
    assert_int_equal(count_records(store), 0);
    store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(a_younger_request_gets_the_session),
        folder_test(cancelling_overtakes),
        folder_test(who_does_not_let_go_keeps_the_session),
        folder_test(who_has_all_bytes_is_not_overtaken),
        folder_test(who_waits_for_bytes_gives_way),
        cmocka_unit_test(who_does_not_wait_long_is_refused_at_once),
        cmocka_unit_test(digests_are_remembered_up_to_the_limit),
        cmocka_unit_test(sessions_are_bounded),
        cmocka_unit_test(what_nobody_asked_for_gives_way),
        folder_test(one_at_a_time_writes),
        folder_test(what_begins_does_not_expire),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
