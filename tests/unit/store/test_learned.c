#include "tests/unit/store/store_test.h"

#include "store/learned.h"
#include "store/local/internal.h"

#define HOST "r.example.com:5000"

static bool get(struct store *store, const char *host, struct learned *out)
{
    struct error err = ERROR_INIT;
    bool found = false;
    assert_ok(learned_get(store, host, &found, out, &err), &err);
    return found;
}

static void put(struct store *store, const char *host, enum upload_way way, uint64_t limit)
{
    struct error err = ERROR_INIT;
    struct learned learned = {.way = way, .body_limit = limit};
    assert_ok(learned_put(store, host, &learned, &err), &err);
}

static void what_was_learned_outlives_the_process(void **state)
{
    struct store *store = open_store(*state);
    struct learned learned = {.body_limit = 7};
    assert_false(get(store, HOST, &learned));
    assert_int_equal(learned.body_limit, 7);
    put(store, HOST, UPLOAD_WAY_CHUNKED, (uint64_t)95 << 20);
    store_close(store);

    store = open_store(*state);
    assert_true(get(store, HOST, &learned));
    assert_int_equal(learned.way, UPLOAD_WAY_CHUNKED);
    assert_int_equal(learned.body_limit, (uint64_t)95 << 20);
    assert_false(get(store, "r.example.com", &learned));
    store_close(store);
}

static void what_is_learned_anew_replaces_it(void **state)
{
    struct store *store = open_store(*state);
    struct learned learned;
    put(store, HOST, UPLOAD_WAY_PUT, 0);
    put(store, HOST, UPLOAD_WAY_POST, UINT64_MAX);
    assert_true(get(store, HOST, &learned));
    assert_int_equal(learned.way, UPLOAD_WAY_POST);
    assert_true(learned.body_limit == UINT64_MAX);
    store_close(store);
}

static void a_damaged_record_is_never_guessed_at(void **state)
{
    struct store *store = open_store(*state);
    struct learned kept = {.way = UPLOAD_WAY_POST, .body_limit = 1};
    struct record_value value = learned_value(&kept);
    struct learned learned;
    struct error err = ERROR_INIT;
    assert_ok(learned_decode(record_value_slice(&value), &learned, &err), &err);
    assert_int_equal(learned.way, UPLOAD_WAY_POST);

    for (size_t size = 0; size < value.size; size++) {
        struct kv_slice cut = {.data = value.bytes, .size = size};
        error_clear(&err);
        assert_code(learned_decode(cut, &learned, &err), ERR_STORE, &err);
    }
    value.bytes[1] = UPLOAD_WAYS;
    assert_code(learned_decode(record_value_slice(&value), &learned, &err), ERR_STORE, &err);
    assert_int_equal(learned.way, UPLOAD_WAY_POST);
    store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(what_was_learned_outlives_the_process),
        folder_test(what_is_learned_anew_replaces_it),
        folder_test(a_damaged_record_is_never_guessed_at),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
