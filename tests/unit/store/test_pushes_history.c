/*
 * What a store remembers of pushes that have ended, by which keys they are found, and their ids.
 */
#include "tests/unit/store/pushes_test.h"

#include "base/clock.h"
#include "store/local/internal.h"
#include "store/local/records_pushes.h"

static void put_old(struct store *store, int number, uint64_t created_s, bool open)
{
    struct error err = ERROR_INIT;
    struct digest digest = digest_of_text("manifest");
    char id[PUSH_ID_MAX];
    snprintf(id, sizeof id, "%04d", number);
    struct push push = push_of(id, &digest);
    push.created_s = created_s;
    push.targets[0].state = open ? PUSH_WAITING : PUSH_REFUSED;
    assert_ok(pushes_put(store, &push, true, &err), &err);
    push_deinit(&push);
}

static void expect_ids(struct store *store, const char *ids)
{
    struct push *pushes = NULL;
    size_t count = recorded_pushes(store, &pushes);
    char text[RECORDED_PUSHES_MAX * 5 + 1] = "";
    for (size_t i = 0; i < count; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s ", pushes[i].id);
    assert_string_equal(text, ids);
    recorded_pushes_free(pushes, count);
}

/* The oldest go first, and none with an open target. */
static void history_has_bounds(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    size_t forgotten = 9;
    bool more = true;
    for (int i = 0; i < 6; i++)
        put_old(store, i, 100 + (uint64_t)i, i == 1);
    struct pushes_history history = {.count = 6, .from_s = 100};
    assert_ok(pushes_forget(store, &history, &forgotten, &more, &err), &err);
    assert_int_equal(forgotten, 0);
    assert_false(more);
    history = (struct pushes_history){.count = 4, .from_s = 100};
    assert_ok(pushes_forget(store, &history, &forgotten, &more, &err), &err);
    assert_int_equal(forgotten, 2);
    expect_ids(store, "0001 0003 0004 0005 ");
    history = (struct pushes_history){.count = 4, .from_s = 105};
    assert_ok(pushes_forget(store, &history, &forgotten, &more, &err), &err);
    assert_int_equal(forgotten, 2);
    expect_ids(store, "0001 0005 ");
    history = (struct pushes_history){.count = 0};
    assert_ok(pushes_forget(store, &history, &forgotten, &more, &err), &err);
    assert_int_equal(forgotten, 1);
    expect_ids(store, "0001 ");
    assert_int_equal(open_targets(store).count, 1);
    store_close(store);
}

/* A step has an end, and says that there is more. */
static void much_history_is_forgotten_in_steps(void **state)
{
    enum { COUNT = 300 };
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    const struct pushes_history history = {.count = 10};
    size_t total = 0;
    for (int i = 0; i < COUNT; i++)
        put_old(store, i, 100, false);
    for (bool more = true; more;) {
        size_t forgotten = 0;
        assert_ok(pushes_forget(store, &history, &forgotten, &more, &err), &err);
        assert_true(forgotten < COUNT - 10);
        total += forgotten;
    }
    assert_int_equal(total, COUNT - 10);
    expect_ids(store, "0290 0291 0292 0293 0294 0295 0296 0297 0298 0299 ");
    store_close(store);
}

static void expect_of_key(struct store *store, const char *name, const char *ids, size_t pushes)
{
    struct error err = ERROR_INIT;
    const struct digest digest = digest_of_text(name);
    struct request_key key = {.pushes = 0};
    struct push *found = NULL;
    size_t count = 9;
    char text[100] = "";
    assert_ok(pushes_of_key(store, &digest, &key, &found, &count, &err), &err);
    for (size_t i = 0; i < count; i++) {
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s ", found[i].id);
        push_deinit(&found[i]);
    }
    free(found);
    assert_string_equal(text, ids);
    assert_int_equal(key.pushes, pushes);
}

static void put_of_key(struct store *store, const char *id, const char *name, size_t pushes)
{
    struct error err = ERROR_INIT;
    const struct digest digest = digest_of_text(id);
    struct push push = push_of(id, &digest);
    push.targets[0].state = PUSH_PUSHED;
    push.key = (struct request_key){digest_of_text(name), digest, pushes};
    assert_ok(pushes_put(store, &push, true, &err), &err);
    push_deinit(&push);
}

/* Those of the last request, for as long as the history has them, also after a restart. */
static void pushes_are_found_by_the_key_of_their_request(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    const struct pushes_history history = {.count = 1};
    size_t forgotten = 0;
    bool more = true;
    put_of_key(store, "0001", "one", 1);
    put_of_key(store, "0002", "two", 2);
    put_of_key(store, "0003", "two", 2);
    put_of_key(store, "0004", "one", 1);
    put_of_key(store, "0005", "three", 2);
    store_close(store);
    store = open_store(*state);
    expect_of_key(store, "one", "0004 ", 1);
    expect_of_key(store, "two", "0002 0003 ", 2);
    expect_of_key(store, "three", "0005 ", 2);
    expect_of_key(store, "none", "", 0);
    assert_ok(pushes_remove(store, "0004", &err), &err);
    expect_of_key(store, "one", "0001 ", 1);
    assert_ok(pushes_forget(store, &history, &forgotten, &more, &err), &err);
    expect_of_key(store, "two", "", 0);
    expect_of_key(store, "three", "0005 ", 2);
    struct kv_txn txn = KV_TXN_INIT;
    size_t keys = 0;
    assert_ok(kv_begin_read(store->kv, &txn, &err), &err);
    assert_ok(kv_count(&txn, KV_PUSH_KEYS, &keys, &err), &err);
    kv_end(&txn);
    assert_int_equal(keys, 1);
    store_close(store);
}

/* In the change that brings the image. */
static void a_batch_records_the_key_with_its_push(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct batch *batch = begin(store, BATCH_DURABLE);
    const struct digest digest = bring(batch, "manifest");
    struct push push = push_of("0001", &digest);
    push.id[0] = '\0';
    push.key = (struct request_key){digest_of_text("key"), digest, 1};
    batch_put_push(batch, &push);
    assert_ok(batch_commit(batch, &err), &err);
    char ids[PUSH_ID_MAX + 2];
    snprintf(ids, sizeof ids, "%s ", push.id);
    expect_of_key(store, "key", ids, 1);
    push_deinit(&push);
    store_close(store);
}

/* --- ids --- */

static void put_push(struct store *store, struct push *push)
{
    struct error err = ERROR_INIT;
    struct batch *batch = begin(store, BATCH_DURABLE);
    struct digest digest = bring(batch, "manifest");
    *push = (struct push){.manifest = manifest_of(&digest)};
    add_target(push, "r.example.com/a:1", false, true);
    batch_put_push(batch, push);
    assert_ok(batch_commit(batch, &err), &err);
}

static void expect_ascending(const struct push *pushes, size_t count)
{
    for (size_t i = 1; i < count; i++)
        if (strcmp(pushes[i - 1].id, pushes[i].id) >= 0)
            fail_msg("%s is before %s", pushes[i - 1].id, pushes[i].id);
}

/* Recorded or not, within one millisecond or not. */
static void ids_ascend_as_pushes_are_accepted(void **state)
{
    enum { COUNT = 60 };
    struct store *store = open_store(*state);
    struct push pushes[COUNT] = {{.id = ""}};
    size_t recorded = 0;
    for (size_t i = 0; i < COUNT; i++) {
        uint64_t before_s = (uint64_t)clock_wall_s();
        if (i % 3 == 0)
            put_push(store, &pushes[i]);
        else
            pushes_accept(store, &pushes[i]);
        recorded += i % 3 == 0;
        assert_int_equal(strlen(pushes[i].id), CHANGE_NUMBER_HEX + PUSH_SUFFIX_SIZE);
        assert_in_range(pushes[i].created_s, before_s, (uint64_t)clock_wall_s());
    }
    expect_ascending(pushes, COUNT);
    struct push *held = list(store, recorded);
    for (size_t i = 0; i < recorded; i++)
        assert_string_equal(held[i].id, pushes[3 * i].id);
    free_list(held, recorded);
    for (size_t i = 0; i < COUNT; i++)
        push_deinit(&pushes[i]);
    store_close(store);
}

/* The number of an id is the time; what follows cannot be guessed. */
static void ids_are_not_guessed(void **state)
{
    struct store *store = open_store(*state);
    struct push pushes[2] = {{.id = ""}};
    uint64_t before_ms = (uint64_t)clock_wall_ms();
    pushes_accept(store, &pushes[0]);
    pushes_accept(store, &pushes[1]);
    char number[CHANGE_NUMBER_HEX + 1] = "";
    memcpy(number, pushes[0].id, CHANGE_NUMBER_HEX);
    assert_in_range(strtoull(number, NULL, 16), before_ms, (uint64_t)clock_wall_ms() + 1);
    assert_string_not_equal(pushes[0].id + CHANGE_NUMBER_HEX, pushes[1].id + CHANGE_NUMBER_HEX);
    store_close(store);
}

/* A record of a push that was accepted when the clock said so much more than now. */
static void a_clock_that_was_set_back_changes_no_order(void **state)
{
    struct error err = ERROR_INIT;
    struct store *store = open_store(*state);
    struct digest digest = digest_of_text("manifest");
    char id[PUSH_ID_MAX];
    push_id_make((uint64_t)clock_wall_ms() + 3600000, "0123456789ab", id);
    struct push pushes[4] = {push_of(id, &digest)};
    assert_ok(pushes_put(store, &pushes[0], true, &err), &err);
    store_close(store);

    store = open_store(*state);
    free_list(list(store, 1), 1);
    put_push(store, &pushes[1]);
    pushes_accept(store, &pushes[2]);
    put_push(store, &pushes[3]);
    expect_ascending(pushes, 4);
    struct push *held = list(store, 3);
    assert_string_equal(held[0].id, pushes[0].id);
    assert_string_equal(held[1].id, pushes[1].id);
    assert_string_equal(held[2].id, pushes[3].id);
    free_list(held, 3);
    for (size_t i = 0; i < 4; i++)
        push_deinit(&pushes[i]);
    store_close(store);
}

struct acceptor {
    struct store *store;
    pthread_t thread;
    struct push pushes[20];
    bool records;
};

static void *accept_many(void *arg)
{
    struct acceptor *acceptor = arg;
    for (size_t i = 0; i < 20; i++)
        if (acceptor->records)
            put_push(acceptor->store, &acceptor->pushes[i]);
        else
            pushes_accept(acceptor->store, &acceptor->pushes[i]);
    return NULL;
}

static void no_two_pushes_have_one_number(void **state)
{
    enum { THREADS = 4 };
    struct store *store = open_store(*state);
    struct acceptor *acceptors = xcalloc(THREADS, sizeof *acceptors);
    for (size_t i = 0; i < THREADS; i++) {
        acceptors[i].store = store;
        acceptors[i].records = i % 2 == 0;
        pthread_create(&acceptors[i].thread, NULL, accept_many, &acceptors[i]);
    }
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(acceptors[i].thread, NULL);
        expect_ascending(acceptors[i].pushes, 20);
    }
    for (size_t i = 0; i < 20 * THREADS; i++)
        for (size_t j = 0; j < i; j++)
            assert_int_not_equal(0,
                                 strncmp(acceptors[i / 20].pushes[i % 20].id,
                                         acceptors[j / 20].pushes[j % 20].id, CHANGE_NUMBER_HEX));
    for (size_t i = 0; i < 20 * THREADS; i++)
        push_deinit(&acceptors[i / 20].pushes[i % 20]);
    free(acceptors);
    store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(history_has_bounds),
        folder_test(pushes_are_found_by_the_key_of_their_request),
        folder_test(a_batch_records_the_key_with_its_push),
        folder_test(much_history_is_forgotten_in_steps),
        folder_test(ids_ascend_as_pushes_are_accepted),
        folder_test(ids_are_not_guessed),
        folder_test(a_clock_that_was_set_back_changes_no_order),
        folder_test(no_two_pushes_have_one_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
