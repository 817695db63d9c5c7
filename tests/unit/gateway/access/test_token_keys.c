#include "tests/unit/store/store_test.h"

#include "gateway/access/token_keys.h"
#include "store/signing_keys.h"

#include <pthread.h>

#define DAY ((int64_t)24 * 3600)
#define START ((int64_t)1700000000)
#define LONGEST (30 * DAY)

static const char *const audience = "gateway";

static struct token_keys *open_keys(struct store *store, int64_t now_s)
{
    struct token_keys *keys = NULL;
    struct error err = ERROR_INIT;
    assert_ok(token_keys_open(store, TOKEN_KEYS_PERIOD_S, LONGEST, now_s, &keys, &err), &err);
    return keys;
}

static char *sign(struct token_keys *keys, int64_t now_s)
{
    char *token = NULL;
    struct error err = ERROR_INIT;
    autojson json_t *claims = json_pack("{s:s, s:s, s:I}", "iss", "us", "aud", audience, "exp",
                                        (json_int_t)(now_s + LONGEST));
    assert_ok(token_keys_sign(keys, now_s, "JWT", claims, &token, &err), &err);
    return token;
}

static enum jwt_check verify(struct token_keys *keys, const char *token, int64_t now_s)
{
    const struct jwt_rules rules = {
        .issuer = "us", .audiences = &audience, .audience_count = 1, .now_s = now_s};
    enum jwt_check check = JWT_PASSED;
    struct error err = ERROR_INIT;
    autojson json_t *claims = NULL;
    token_keys_verify(keys, token, &rules, &claims, &check, &err);
    return check;
}

static size_t count_stored(struct store *store)
{
    struct signing_keys keys;
    struct error err = ERROR_INIT;
    assert_ok(signing_keys_get(store, &keys, &err), &err);
    for (size_t i = 1; i < keys.count; i++)
        assert_true(keys.items[i - 1].created_s <= keys.items[i].created_s);
    return keys.count;
}

static void a_rotation_ends_no_token(void **state)
{
    struct store *store = open_store(*state);
    struct token_keys *keys = open_keys(store, START);
    assert_int_equal(count_stored(store), 1);
    autofree char *first = sign(keys, START);
    int64_t last_day = START + 30 * DAY - 1;
    autofree char *last_of_first = sign(keys, last_day);
    assert_int_equal(count_stored(store), 1);
    autofree char *second = sign(keys, START + 30 * DAY);
    assert_int_equal(count_stored(store), 2);
    assert_int_equal(verify(keys, first, START + 30 * DAY - 1), JWT_PASSED);
    assert_int_equal(verify(keys, first, START + 30 * DAY), JWT_EXPIRED);
    assert_int_equal(verify(keys, last_of_first, last_day + LONGEST - 1), JWT_PASSED);
    assert_int_equal(verify(keys, second, START + 30 * DAY), JWT_PASSED);

    /* The third: what the first has signed has ended for a second, or not yet. */
    autofree char *third = sign(keys, START + 60 * DAY);
    assert_int_equal(count_stored(store), 3);
    autofree char *fourth = sign(keys, START + 90 * DAY + 1);
    assert_int_equal(count_stored(store), 2);
    assert_int_equal(verify(keys, last_of_first, last_day), JWT_KEY);
    assert_int_equal(verify(keys, second, START + 31 * DAY), JWT_KEY);
    assert_int_equal(verify(keys, third, START + 61 * DAY), JWT_PASSED);
    assert_int_equal(verify(keys, fourth, START + 91 * DAY), JWT_PASSED);
    token_keys_close(keys);
    store_close(store);
}

static void the_keys_outlive_the_process(void **state)
{
    struct store *store = open_store(*state);
    struct token_keys *keys = open_keys(store, START);
    autofree char *token = sign(keys, START);
    token_keys_close(keys);
    store_close(store);

    store = open_store(*state);
    keys = open_keys(store, START + 1);
    assert_int_equal(count_stored(store), 1);
    assert_int_equal(verify(keys, token, START + 1), JWT_PASSED);
    autofree char *again = sign(keys, START);
    assert_string_equal(again, token); /* Ed25519 has no random part */
    token_keys_close(keys);
    store_close(store);

    autofree char *path = xasprintf("%s/meta/data.mdb", (const char *)*state);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void another_store_has_other_keys(void **state)
{
    struct store *store = open_store(*state);
    autofree char *path = xasprintf("%s/other", (const char *)*state);
    struct store *other = open_store(path);
    struct token_keys *keys = open_keys(store, START);
    struct token_keys *others = open_keys(other, START);
    autofree char *token = sign(keys, START);
    assert_int_equal(verify(others, token, START), JWT_KEY);
    token_keys_close(keys);
    token_keys_close(others);
    store_close(store);
    store_close(other);
}

static void *sign_some(void *keys)
{
    for (int i = 0; i < 20; i++) {
        autofree char *token = sign(keys, START + 31 * DAY);
        assert_int_equal(verify(keys, token, START + 31 * DAY), JWT_PASSED);
    }
    return NULL;
}

static void several_threads_make_one_successor(void **state)
{
    pthread_t threads[4];
    struct store *store = open_store(*state);
    struct token_keys *keys = open_keys(store, START);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, sign_some, keys), 0);
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(count_stored(store), 2);
    token_keys_close(keys);
    store_close(store);
}

static void a_ring_that_is_full_loses_its_oldest(void **state)
{
    struct store *store = open_store(*state);
    struct token_keys *keys = NULL;
    struct error err = ERROR_INIT;
    assert_ok(token_keys_open(store, 1, LONGEST, START, &keys, &err), &err);
    for (int64_t i = 1; i <= SIGNING_KEYS_MAX + 2; i++) {
        autofree char *token = sign(keys, START + i);
        assert_int_equal(verify(keys, token, START + i), JWT_PASSED);
    }
    assert_int_equal(count_stored(store), SIGNING_KEYS_MAX);
    token_keys_close(keys);
    store_close(store);
}

int main(void)
{
    json_start();
    const struct CMUnitTest tests[] = {
        folder_test(a_rotation_ends_no_token),
        folder_test(the_keys_outlive_the_process),
        folder_test(another_store_has_other_keys),
        folder_test(several_threads_make_one_successor),
        folder_test(a_ring_that_is_full_loses_its_oldest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
