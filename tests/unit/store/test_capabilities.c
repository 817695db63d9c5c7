#include "tests/unit/store/store_test.h"

#include "store/capabilities.h"
#include "store/local/internal.h"

#define HOST "r.example.com:5000"

static bool get(struct store *store, const char *host, struct capabilities *out)
{
    struct error err = ERROR_INIT;
    bool found = false;
    assert_ok(capabilities_get(store, host, &found, out, &err), &err);
    return found;
}

static void put(struct store *store, const char *host, enum upload_method way, uint64_t limit)
{
    struct error err = ERROR_INIT;
    struct capabilities capabilities = {.way = way, .body_limit = limit};
    assert_ok(capabilities_put(store, host, &capabilities, &err), &err);
}

static void what_was_learned_outlives_the_process(void **state)
{
    struct store *store = open_store(*state);
    struct capabilities capabilities = {.body_limit = 7};
    assert_false(get(store, HOST, &capabilities));
    assert_int_equal(capabilities.body_limit, 7);
    put(store, HOST, UPLOAD_METHOD_CHUNKED, (uint64_t)95 << 20);
    store_close(store);

    store = open_store(*state);
    assert_true(get(store, HOST, &capabilities));
    assert_int_equal(capabilities.way, UPLOAD_METHOD_CHUNKED);
    assert_int_equal(capabilities.body_limit, (uint64_t)95 << 20);
    assert_false(get(store, "r.example.com", &capabilities));
    store_close(store);
}

static void what_is_learned_anew_replaces_it(void **state)
{
    struct store *store = open_store(*state);
    struct capabilities capabilities;
    put(store, HOST, UPLOAD_METHOD_PUT, 0);
    put(store, HOST, UPLOAD_METHOD_POST, UINT64_MAX);
    assert_true(get(store, HOST, &capabilities));
    assert_int_equal(capabilities.way, UPLOAD_METHOD_POST);
    assert_true(capabilities.body_limit == UINT64_MAX);
    store_close(store);
}

static void one_that_speaks_no_tls(void **state)
{
    struct store *store = open_store(*state);
    struct error err = ERROR_INIT;
    const struct capabilities kept = {.way = UPLOAD_METHOD_POST, .body_limit = 1, .plain = true};
    struct capabilities capabilities = {.way = UPLOAD_METHOD_AUTO};
    assert_ok(capabilities_put(store, HOST, &kept, &err), &err);
    store_close(store);

    store = open_store(*state);
    assert_true(get(store, HOST, &capabilities));
    assert_true(capabilities.plain);
    assert_int_equal(capabilities.way, UPLOAD_METHOD_POST);
    put(store, HOST, UPLOAD_METHOD_POST, 1);
    assert_true(get(store, HOST, &capabilities));
    assert_false(capabilities.plain);
    store_close(store);

    struct record_value value = capabilities_value(&kept);
    value.bytes[value.size - 1] = 2;
    assert_code(capabilities_decode(record_value_slice(&value), &capabilities, &err), ERR_STORE,
                &err);
}

static void a_damaged_record_is_never_guessed_at(void **state)
{
    struct store *store = open_store(*state);
    struct capabilities kept = {.way = UPLOAD_METHOD_POST, .body_limit = 1};
    struct record_value value = capabilities_value(&kept);
    struct capabilities capabilities;
    struct error err = ERROR_INIT;
    assert_ok(capabilities_decode(record_value_slice(&value), &capabilities, &err), &err);
    assert_int_equal(capabilities.way, UPLOAD_METHOD_POST);

    for (size_t size = 0; size < value.size; size++) {
        struct kv_slice cut = {.data = value.bytes, .size = size};
        error_clear(&err);
        assert_code(capabilities_decode(cut, &capabilities, &err), ERR_STORE, &err);
    }
    value.bytes[1] = UPLOAD_METHODS;
    assert_code(capabilities_decode(record_value_slice(&value), &capabilities, &err), ERR_STORE,
                &err);
    assert_int_equal(capabilities.way, UPLOAD_METHOD_POST);
    store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(what_was_learned_outlives_the_process),
        folder_test(what_is_learned_anew_replaces_it),
        folder_test(one_that_speaks_no_tls),
        folder_test(a_damaged_record_is_never_guessed_at),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
