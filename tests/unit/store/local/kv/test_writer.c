#include "tests/unit/store/store_test.h"

#include "base/clock.h"
#include "store/local/kv/writer.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#define MAP ((uint64_t)1 << 20)

struct fixture {
    struct kv *kv;
    struct writer *writer;
    struct fault *fault;
};

static struct fixture start(const char *folder)
{
    struct error err = ERROR_INIT;
    struct fixture fixture = {NULL, NULL, xcalloc(1, sizeof(struct fault))};
    fault_init(fixture.fault);
    assert_ok(kv_open(folder, MAP, &fixture.kv, &err), &err);
    assert_ok(writer_start(fixture.kv, fixture.fault, &fixture.writer, &err), &err);
    return fixture;
}

static void stop(struct fixture *fixture)
{
    writer_stop(fixture->writer);
    kv_close(fixture->kv);
    fault_deinit(fixture->fault);
    free(fixture->fault);
}

static struct kv_slice text(const char *s)
{
    return (struct kv_slice){.data = s, .size = strlen(s)};
}

static bool has(struct kv *kv, const char *key, const char *value)
{
    struct error err = ERROR_INIT;
    struct kv_slice got = {NULL, 0};
    bool found = false;
    autotxn struct kv_txn txn = KV_TXN_INIT;
    assert_ok(kv_begin_read(kv, &txn, &err), &err);
    assert_ok(kv_get(&txn, KV_META, text(key), &got, &found, &err), &err);
    if (value == NULL)
        return !found;
    return found && got.size == strlen(value) && memcmp(got.data, value, got.size) == 0;
}

/* One submitting thread. */
struct submitter {
    struct writer *writer;
    pthread_t thread;
    char key[16];
    size_t values; /* of 60,000 bytes each */
    bool durable;
    bool saves_work;
    atomic_size_t *refused;
    enum errc result;
};

static void *submit(void *arg)
{
    struct submitter *self = arg;
    static const char large[60000];
    struct error err = ERROR_INIT;
    autochange struct change change;
    change_init(&change);
    change.durable = self->durable;
    change.saves_work = self->saves_work;
    change_put(&change, KV_META, text(self->key), text("1"));
    for (size_t i = 0; i < self->values; i++) {
        char key[40];
        snprintf(key, sizeof key, "%s.%zu", self->key, i);
        change_put(&change, KV_META, text(key), (struct kv_slice){large, sizeof large});
    }
    self->result = writer_submit(self->writer, &change, &err);
    if (self->result == ERR_BUSY && self->refused != NULL)
        atomic_fetch_add(self->refused, 1);
    return NULL;
}

static void start_submitters(struct submitter *all, size_t count, struct writer *writer)
{
    for (size_t i = 0; i < count; i++) {
        all[i].writer = writer;
        snprintf(all[i].key, sizeof all[i].key, "key%zu", i);
        assert_int_equal(pthread_create(&all[i].thread, NULL, submit, &all[i]), 0);
    }
}

static void join_submitters(struct submitter *all, size_t count)
{
    for (size_t i = 0; i < count; i++)
        pthread_join(all[i].thread, NULL);
}

static void await_accepted(struct writer *writer, size_t count)
{
    while (writer_counts(writer).accepted < count)
        sched_yield();
}

static void the_operations_do_what_they_say(void **state)
{
    struct error err = ERROR_INIT;
    struct fixture fixture = start(*state);
    autochange struct change first;
    change_init(&first);
    change_put(&first, KV_META, text("put"), text("1"));
    change_put(&first, KV_META, text("put"), text("2"));
    change_put_new(&first, KV_META, text("new"), text("1"));
    change_put_new(&first, KV_META, text("new"), text("2"));
    change_swap(&first, KV_META, text("put"), text("1"), text("3"));
    change_swap(&first, KV_META, text("new"), text("1"), text("4"));
    change_swap(&first, KV_META, text("absent"), text("1"), text("5"));
    change_put(&first, KV_META, text("deleted"), text("1"));
    change_delete(&first, KV_META, text("deleted"));
    change_delete(&first, KV_META, text("absent"));
    change_put(&first, KV_META, text("same"), text("1"));
    change_delete_same(&first, KV_META, text("same"), text("1"));
    change_delete_same(&first, KV_META, text("put"), text("1"));
    change_delete_same(&first, KV_META, text("absent"), text("1"));
    assert_ok(writer_submit(fixture.writer, &first, &err), &err);
    assert_true(has(fixture.kv, "same", NULL));
    assert_true(has(fixture.kv, "put", "2"));
    assert_true(has(fixture.kv, "new", "4"));
    assert_true(has(fixture.kv, "absent", NULL));
    assert_true(has(fixture.kv, "deleted", NULL));
    stop(&fixture);
}

/* One change with an expectation between two puts. */
static bool done_if(struct fixture *fixture, const char *key, const char *expected)
{
    struct error err = ERROR_INIT;
    autochange struct change change;
    struct kv_slice value = text(expected ? expected : "");
    change_init(&change);
    change_put(&change, KV_META, text("before"), text("1"));
    change_expect(&change, KV_META, text(key), expected ? &value : NULL);
    change_put(&change, KV_META, text("after"), text("1"));
    assert_ok(writer_submit(fixture->writer, &change, &err), &err);
    return !change.superseded;
}

static void a_change_is_done_only_if_all_it_expects_is_so(void **state)
{
    struct error err = ERROR_INIT;
    struct fixture fixture = start(*state);
    autochange struct change first;
    change_init(&first);
    change_put(&first, KV_META, text("key"), text("value"));
    assert_ok(writer_submit(fixture.writer, &first, &err), &err);
    assert_false(done_if(&fixture, "key", "valu"));
    assert_false(done_if(&fixture, "key", "values"));
    assert_false(done_if(&fixture, "key", NULL));
    assert_false(done_if(&fixture, "absent", "value"));
    assert_false(done_if(&fixture, "absent", ""));
    assert_true(has(fixture.kv, "before", NULL));
    assert_true(has(fixture.kv, "after", NULL));
    assert_true(done_if(&fixture, "absent", NULL));
    assert_true(done_if(&fixture, "key", "value"));
    assert_true(has(fixture.kv, "before", "1"));
    assert_true(has(fixture.kv, "after", "1"));
    assert_true(has(fixture.kv, "key", "value"));
    /* What is expected is what was there before the change. */
    assert_false(done_if(&fixture, "before", NULL));
    stop(&fixture);
}

/* --- numbers --- */

/* The key of a numbered put. */
static const char *numbered(uint64_t number, const char *suffix, char key[64])
{
    snprintf(key, 64, "%0*llx%s", CHANGE_NUMBER_HEX, (unsigned long long)number, suffix);
    return key;
}

static uint64_t put_numbered(struct fixture *fixture, _Atomic uint64_t *last, const char *suffix)
{
    struct error err = ERROR_INIT;
    char key[64];
    autochange struct change change;
    change_init(&change);
    change_put_numbered(&change, KV_META, last, text(suffix), text(suffix));
    assert_true(change.grows);
    assert_ok(writer_submit(fixture->writer, &change, &err), &err);
    assert_true(has(fixture->kv, numbered(change.number, suffix, key), suffix));
    return change.number;
}

static void numbers_are_about_the_time_and_ascend(void **state)
{
    struct fixture fixture = start(*state);
    _Atomic uint64_t last = 0;
    uint64_t before_ms = (uint64_t)clock_wall_ms();
    uint64_t number = put_numbered(&fixture, &last, "-first");
    assert_in_range(number, before_ms, (uint64_t)clock_wall_ms());
    assert_true(atomic_load(&last) == number);
    for (int i = 0; i < 50; i++) {
        uint64_t next = i % 2 ? change_next_number(&last) : put_numbered(&fixture, &last, "-next");
        assert_true(next > number);
        number = next;
    }
    assert_true(atomic_load(&last) == number);

    /* The clock was set back: one more than the last. */
    uint64_t ahead = number + 3600000;
    atomic_store(&last, ahead);
    assert_true(put_numbered(&fixture, &last, "-ahead") == ahead + 1);
    assert_true(change_next_number(&last) == ahead + 2);
    stop(&fixture);
}

static void what_is_superseded_has_no_number(void **state)
{
    struct error err = ERROR_INIT;
    struct fixture fixture = start(*state);
    _Atomic uint64_t last = 7;
    const struct kv_slice expected = text("value");
    char key[64];
    autochange struct change change;
    change_init(&change);
    change_put_numbered(&change, KV_META, &last, text("-x"), text("1"));
    change_expect(&change, KV_META, text("absent"), &expected);
    assert_ok(writer_submit(fixture.writer, &change, &err), &err);
    assert_true(change.superseded);
    assert_true(atomic_load(&last) == 7);
    assert_true(has(fixture.kv, numbered(8, "-x", key), NULL));
    stop(&fixture);
}

struct numberer {
    struct fixture *fixture;
    _Atomic uint64_t *last;
    pthread_t thread;
    uint64_t numbers[20];
    enum errc last_code;
};

/* Each last one fails, and those that were to be committed with it are applied again. */
static void *take_numbers(void *arg)
{
    struct numberer *self = arg;
    static const char large[60000];
    struct error err = ERROR_INIT;
    for (size_t i = 0; i < 20; i++)
        self->numbers[i] = put_numbered(self->fixture, self->last, "-n");
    autochange struct change change;
    change_init(&change);
    change_put_numbered(&change, KV_META, self->last, text("-n"), text("1"));
    for (size_t i = 0; i < 40; i++) {
        char key[40];
        snprintf(key, sizeof key, "large.%zu", i);
        change_put(&change, KV_META, text(key), (struct kv_slice){large, sizeof large});
    }
    self->last_code = writer_submit(self->fixture->writer, &change, &err);
    return NULL;
}

static void numbers_are_given_once(void **state)
{
    enum { THREADS = 4 };
    struct fixture fixture = start(*state);
    struct numberer all[THREADS];
    _Atomic uint64_t last = 0;
    for (size_t i = 0; i < THREADS; i++) {
        all[i] = (struct numberer){.fixture = &fixture, .last = &last};
        pthread_create(&all[i].thread, NULL, take_numbers, &all[i]);
    }
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(all[i].thread, NULL);
        assert_int_equal(all[i].last_code, ERR_STORE_FULL);
    }
    for (size_t i = 0; i < 20 * THREADS; i++) {
        const uint64_t *numbers = all[i / 20].numbers;
        assert_true(i % 20 == 0 || numbers[i % 20 - 1] < numbers[i % 20]);
        for (size_t j = 0; j < i; j++)
            assert_true(numbers[i % 20] != all[j / 20].numbers[j % 20]);
    }
    stop(&fixture);
}

/* --- commits --- */

static void only_durable_changes_wait_for_the_disk(void **state)
{
    struct error err = ERROR_INIT;
    struct fixture fixture = start(*state);
    for (int durable = 0; durable < 2; durable++) {
        autochange struct change change;
        change_init(&change);
        change.durable = durable == 1;
        change_put(&change, KV_META, text("a"), text("1"));
        assert_ok(writer_submit(fixture.writer, &change, &err), &err);
        assert_int_equal(writer_counts(fixture.writer).syncs, durable);
    }
    stop(&fixture);
}

/* While the test has LMDB's write lock the writer cannot commit, so everything queues. */
static void changes_that_wait_share_a_commit(void **state)
{
    enum { COUNT = 64 };
    struct error err = ERROR_INIT;
    struct fixture fixture = start(*state);
    struct submitter all[COUNT] = {{.durable = true}};
    struct kv_txn held = KV_TXN_INIT;
    assert_ok(kv_begin_write(fixture.kv, &held, &err), &err);
    start_submitters(all, COUNT, fixture.writer);
    await_accepted(fixture.writer, COUNT);
    kv_end(&held);
    join_submitters(all, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(all[i].result, ERR_OK);
        assert_true(has(fixture.kv, all[i].key, "1"));
    }
    struct writer_counts counts = writer_counts(fixture.writer);
    assert_int_equal(counts.changes, COUNT);
    assert_in_range(counts.commits, 1, 2);
    assert_int_equal(counts.syncs, 1);
    stop(&fixture);
}

static void a_failing_change_fails_alone(void **state)
{
    enum { COUNT = 16, BAD = 5 };
    struct error err = ERROR_INIT;
    struct fixture fixture = start(*state);
    struct submitter all[COUNT] = {{0}};
    all[BAD].values = 40;
    struct kv_txn held = KV_TXN_INIT;
    assert_ok(kv_begin_write(fixture.kv, &held, &err), &err);
    start_submitters(all, COUNT, fixture.writer);
    await_accepted(fixture.writer, COUNT);
    kv_end(&held);
    join_submitters(all, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(all[i].result, i == BAD ? ERR_STORE_FULL : ERR_OK);
        assert_true(has(fixture.kv, all[i].key, i == BAD ? NULL : "1"));
    }
    assert_true(has(fixture.kv, "key5.0", NULL));
    assert_int_equal(writer_counts(fixture.writer).changes, COUNT - 1);
    stop(&fixture);
}

static enum errc put_large(struct fixture *fixture, unsigned number, bool essential)
{
    static const char large[16000];
    struct error err = ERROR_INIT;
    char key[16];
    snprintf(key, sizeof key, "%u", number);
    autochange struct change change;
    change_init(&change);
    change.essential = essential;
    change_put(&change, KV_META, text(key), (struct kv_slice){large, sizeof large});
    return writer_submit(fixture->writer, &change, &err);
}

static void the_last_tenth_is_for_what_is_essential(void **state)
{
    struct error err = ERROR_INIT;
    struct fixture fixture = start(*state);
    unsigned puts = 0;
    enum errc rc;
    while ((rc = put_large(&fixture, puts, false)) == ERR_OK)
        puts++;
    assert_int_equal(rc, ERR_STORE_FULL);
    /* 256 pages, of which 230 may be used, at 4 pages a value and a few for the tables */
    assert_in_range(puts, 45, 58);
    assert_int_equal(put_large(&fixture, puts, false), ERR_STORE_FULL);
    assert_int_equal(put_large(&fixture, puts, true), ERR_OK);
    for (unsigned i = 0; i < 20; i++) {
        char key[16];
        snprintf(key, sizeof key, "%u", i);
        autochange struct change change;
        change_init(&change);
        change_delete(&change, KV_META, text(key));
        assert_ok(writer_submit(fixture.writer, &change, &err), &err);
    }
    assert_int_equal(put_large(&fixture, puts, false), ERR_OK);
    stop(&fixture);
}

static void too_many_waiting_changes_are_refused(void **state)
{
    enum { COUNT = 2 * WRITER_QUEUE_MAX + 8 };
    struct error err = ERROR_INIT;
    struct fixture fixture = start(*state);
    struct submitter *all = xcalloc(COUNT, sizeof *all);
    atomic_size_t refused = 0;
    struct kv_txn held = KV_TXN_INIT;
    for (size_t i = 0; i < COUNT; i++)
        all[i].refused = &refused;
    assert_ok(kv_begin_write(fixture.kv, &held, &err), &err);
    start_submitters(all, COUNT, fixture.writer);
    while (writer_counts(fixture.writer).accepted + atomic_load(&refused) < COUNT)
        sched_yield();
    /* One group is in the writer's hands, one is waiting. */
    assert_in_range(refused, COUNT - 2 * WRITER_QUEUE_MAX, COUNT - WRITER_QUEUE_MAX - 1);
    kv_end(&held);
    join_submitters(all, COUNT);
    size_t done = 0;
    for (size_t i = 0; i < COUNT; i++) {
        assert_true(all[i].result == ERR_OK || all[i].result == ERR_BUSY);
        assert_true(has(fixture.kv, all[i].key, all[i].result == ERR_OK ? "1" : NULL));
        done += all[i].result == ERR_OK;
    }
    assert_int_equal(done + atomic_load(&refused), COUNT);
    assert_int_equal(writer_counts(fixture.writer).changes, done);
    free(all);
    stop(&fixture);
}

static uint64_t answered(struct fixture *fixture, atomic_size_t *refused)
{
    return writer_counts(fixture->writer).accepted + atomic_load(refused);
}

/* As many as may be of those that only save work are there first, and one more is refused; all the
 * others that may wait are taken nevertheless. */
static void what_only_saves_work_takes_no_place_of_another(void **state)
{
    enum { SAVING = WRITER_QUEUE_SAVING_MAX + 1, COUNT = 1 + SAVING + WRITER_QUEUE_MAX + 2 };
    struct error err = ERROR_INIT;
    struct fixture fixture = start(*state);
    struct submitter *all = xcalloc(COUNT, sizeof *all);
    atomic_size_t refused = 0;
    struct kv_txn held = KV_TXN_INIT;
    for (size_t i = 0; i < COUNT; i++) {
        all[i].refused = &refused;
        all[i].saves_work = (i > 0 && i <= SAVING) || i == COUNT - 1;
        all[i].durable = !all[i].saves_work;
    }
    /* The first one is in the writer's hands before the others come. */
    assert_ok(kv_begin_write(fixture.kv, &held, &err), &err);
    start_submitters(all, 1, fixture.writer);
    while (answered(&fixture, &refused) < 1 || writer_counts(fixture.writer).waiting > 0)
        sched_yield();
    start_submitters(all + 1, SAVING, fixture.writer);
    while (answered(&fixture, &refused) < 1 + SAVING)
        sched_yield();
    assert_int_equal(refused, 1);
    start_submitters(all + 1 + SAVING, WRITER_QUEUE_MAX, fixture.writer);
    while (answered(&fixture, &refused) < 1 + SAVING + WRITER_QUEUE_MAX)
        sched_yield();
    assert_int_equal(refused, 1);
    start_submitters(all + COUNT - 2, 2, fixture.writer);
    while (answered(&fixture, &refused) < COUNT)
        sched_yield();
    assert_int_equal(refused, 3);
    kv_end(&held);
    join_submitters(all, COUNT);
    free(all);
    stop(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(the_operations_do_what_they_say),
        folder_test(a_change_is_done_only_if_all_it_expects_is_so),
        folder_test(numbers_are_about_the_time_and_ascend),
        folder_test(what_is_superseded_has_no_number),
        folder_test(numbers_are_given_once),
        folder_test(only_durable_changes_wait_for_the_disk),
        folder_test(changes_that_wait_share_a_commit),
        folder_test(a_failing_change_fails_alone),
        folder_test(the_last_tenth_is_for_what_is_essential),
        folder_test(too_many_waiting_changes_are_refused),
        folder_test(what_only_saves_work_takes_no_place_of_another),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
