#include "tests/unit/store/store_test.h"

#include "gateway/access/login_cache.h"
#include "gateway/access/login_delays.h"
#include "gateway/access/logins.h"

#include <pthread.h>
#include <stdatomic.h>

/* The password is "x", as that of test_htpasswd.c. */
#define BOB "bob:$2b$04$abcdefghijklmnopqrstuuPp7HPfoAs8I2dCQCQ/fW7zEJv8I8C8e\n"

static struct net_address address_of(const char *text)
{
    struct net_address address;
    assert_true(net_address_parse(text, strlen(text), &address));
    return address;
}

/* ---- what is known ---- */

static void what_is_known_is_of_one_name_password_and_file(void **state)
{
    (void)state;
    struct login_cache *cache = login_cache_new();
    login_cache_add(cache, "ann", "secret", 3, 1000);
    assert_true(login_cache_has(cache, "ann", "secret", 3, 1000));
    assert_true(login_cache_has(cache, "ann", "secret", 3, 999 + LOGIN_CACHE_MS));
    assert_false(login_cache_has(cache, "ann", "secret", 3, 1000 + LOGIN_CACHE_MS));
    assert_false(login_cache_has(cache, "ann", "secret", 4, 1000));
    assert_false(login_cache_has(cache, "ann", "secret2", 3, 1000));
    assert_false(login_cache_has(cache, "anns", "ecret", 3, 1000));
    assert_false(login_cache_has(cache, "", "", 0, 0));
    login_cache_free(cache);
}

static void a_proof_is_known_for_seconds_with_whose_it_is(void **state)
{
    (void)state;
    const struct identity ann = {.kind = IDENTITY_CI, .name = (char[]){"ann"}};
    const struct identity bob = {.kind = IDENTITY_CI, .name = (char[]){"bob"}};
    struct identity found = IDENTITY_INIT;
    struct login_cache *cache = login_cache_new();
    assert_false(login_cache_find_proof(cache, "a.b.c", 1000, &found));
    login_cache_add_proof(cache, "a.b.c", &ann, 1000);
    login_cache_add_proof(cache, "a.b.c", &bob, 1000);
    assert_true(login_cache_find_proof(cache, "a.b.c", 999 + LOGIN_CACHE_PROOF_MS, &found));
    assert_string_equal(found.name, "bob");
    identity_deinit(&found);
    assert_false(login_cache_find_proof(cache, "a.b.c", 1000 + LOGIN_CACHE_PROOF_MS, &found));
    assert_false(login_cache_find_proof(cache, "a.b.d", 1000, &found));
    assert_false(login_cache_has(cache, "", "a.b.c", 0, 1000));
    login_cache_free(cache);
}

static void what_is_known_has_a_bound(void **state)
{
    (void)state;
    struct login_cache *cache = login_cache_new();
    size_t known = 0;
    for (int i = 0; i < 3 * LOGIN_CACHE_MAX; i++) {
        char name[16];
        snprintf(name, sizeof name, "u%d", i);
        login_cache_add(cache, name, "p", 0, 1000 + i);
        assert_true(login_cache_has(cache, name, "p", 0, 1000 + i));
    }
    for (int i = 0; i < 3 * LOGIN_CACHE_MAX; i++) {
        char name[16];
        snprintf(name, sizeof name, "u%d", i);
        known += login_cache_has(cache, name, "p", 0, 5000);
    }
    assert_in_range(known, LOGIN_CACHE_MAX * 9 / 10, LOGIN_CACHE_MAX);
    login_cache_free(cache);
}

/* ---- delays ---- */

static void delays_double_up_to_a_minute(void **state)
{
    (void)state;
    static const int64_t seconds[] = {0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60};
    struct login_delays *delays = login_delays_new();
    struct net_address peer = address_of("2001:db8::1");
    struct net_address neighbour = address_of("2001:db8::2:1");
    struct net_address other = address_of("2001:db8:1::1");
    int64_t now_ms = 1000;
    for (size_t i = 0; i < sizeof seconds / sizeof seconds[0]; i++) {
        login_delays_failed(delays, &peer, now_ms);
        assert_int_equal(login_delays_left_ms(delays, &peer, now_ms), seconds[i] * 1000);
        assert_int_equal(login_delays_left_ms(delays, &neighbour, now_ms), seconds[i] * 1000);
        assert_int_equal(login_delays_left_ms(delays, &other, now_ms), 0);
        now_ms += seconds[i] * 1000;
        assert_int_equal(login_delays_left_ms(delays, &peer, now_ms), 0);
    }
    login_delays_failed(delays, &peer, now_ms + LOGIN_FORGOTTEN_MS);
    assert_int_equal(login_delays_left_ms(delays, &peer, now_ms + LOGIN_FORGOTTEN_MS), 0);
    login_delays_free(delays);
}

static void delays_have_a_bound(void **state)
{
    (void)state;
    struct login_delays *delays = login_delays_new();
    struct net_address peer = address_of("10.0.0.1");
    size_t delayed = 0;
    for (int i = 0; i < 2 * LOGIN_ADDRESSES_MAX * LOGIN_FAILURES_FREE; i++) {
        int number = i / LOGIN_FAILURES_FREE;
        peer.bytes[13] = (uint8_t)(number >> 16);
        peer.bytes[14] = (uint8_t)(number >> 8);
        peer.bytes[15] = (uint8_t)number;
        login_delays_failed(delays, &peer, 1000 + i / 1000);
        assert_true((login_delays_left_ms(delays, &peer, 1000 + i / 1000) > 0) ==
                    (i % LOGIN_FAILURES_FREE == LOGIN_FAILURES_FREE - 1));
    }
    for (int number = 0; number < 2 * LOGIN_ADDRESSES_MAX; number++) {
        peer.bytes[13] = (uint8_t)(number >> 16);
        peer.bytes[14] = (uint8_t)(number >> 8);
        peer.bytes[15] = (uint8_t)number;
        delayed += login_delays_left_ms(delays, &peer, 1100) > 0;
    }
    assert_true(delayed <= LOGIN_ADDRESSES_MAX && delayed > LOGIN_ADDRESSES_MAX / 2);
    login_delays_free(delays);
}

/* ---- together ---- */

static struct htpasswd *open_users(const char *folder)
{
    autofree char *path = xasprintf("%s/users", folder);
    struct htpasswd *users = NULL;
    struct error err = ERROR_INIT;
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(BOB, file);
    fclose(file);
    assert_ok(htpasswd_open(path, &users, &err), &err);
    return users;
}

static void a_right_password_is_known_afterwards(void **state)
{
    struct htpasswd *users = open_users(*state);
    struct logins *logins = logins_new(users);
    struct net_address peer = address_of("192.0.2.1");
    struct error err = ERROR_INIT;
    assert_false(logins_known(logins, "bob", "x"));
    assert_ok(logins_verify(logins, "bob", "x", &peer, &err), &err);
    assert_true(logins_known(logins, "bob", "x"));
    assert_false(logins_known(logins, "bob", "y"));
    /* Somebody who knows the password is let in from an address that others spoil. */
    for (int i = 0; i < LOGIN_FAILURES_FREE; i++)
        logins_failed(logins, &peer);
    assert_ok(logins_verify(logins, "bob", "x", &peer, &err), &err);
    assert_code(logins_verify(logins, "ann", "x", &peer, &err), ERR_TOO_MANY, &err);
    logins_free(logins);
    htpasswd_close(users);
}

static void both_failures_read_alike(void **state)
{
    struct htpasswd *users = open_users(*state);
    struct logins *logins = logins_new(users);
    struct net_address peer = address_of("192.0.2.1");
    struct error wrong = ERROR_INIT;
    struct error unknown = ERROR_INIT;
    assert_code(logins_verify(logins, "bob", "y", &peer, &wrong), ERR_UNAUTHENTICATED, &wrong);
    assert_code(logins_verify(logins, "eve", "y", &peer, &unknown), ERR_UNAUTHENTICATED, &unknown);
    assert_string_equal(wrong.text, unknown.text);
    logins_free(logins);
    logins = logins_new(NULL);
    error_clear(&unknown);
    assert_code(logins_verify(logins, "eve", "y", &peer, &unknown), ERR_UNAUTHENTICATED, &unknown);
    assert_string_equal(wrong.text, unknown.text);
    assert_false(logins_known(logins, "eve", "y"));
    logins_free(logins);
    htpasswd_close(users);
}

/* ---- a crowd ---- */

#define CROWD 24
#define TRIES 100

struct crowd {
    struct logins *logins;
    atomic_uint asked; /* verified and found wrong */
    atomic_uint refused;
};

static void *try_often(void *arg)
{
    struct crowd *crowd = arg;
    struct net_address peer = address_of("192.0.2.66");
    for (int i = 0; i < TRIES; i++) {
        struct error err = ERROR_INIT;
        logins_verify(crowd->logins, "bob", "wrong", &peer, &err);
        assert_true(err.code == ERR_UNAUTHENTICATED || err.code == ERR_TOO_MANY);
        atomic_fetch_add(err.code == ERR_UNAUTHENTICATED ? &crowd->asked : &crowd->refused, 1);
    }
    return NULL;
}

static void a_crowd_of_wrong_passwords_costs_some(void **state)
{
    struct htpasswd *users = open_users(*state);
    struct crowd crowd = {.logins = logins_new(users)};
    struct net_address peer = address_of("192.0.2.66");
    struct net_address other = address_of("192.0.2.67");
    struct error err = ERROR_INIT;
    pthread_t threads[CROWD];
    /* As after many, so that the next delay is longer than the test. */
    for (int i = 0; i < LOGIN_FAILURES_FREE - 1; i++)
        logins_failed(crowd.logins, &peer);
    for (int i = 0; i < 20; i++)
        logins_failed(crowd.logins, &other);
    for (int i = 0; i < CROWD; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, try_often, &crowd), 0);
    for (int i = 0; i < CROWD; i++)
        pthread_join(threads[i], NULL);
    assert_true(crowd.asked >= 1 && crowd.asked <= 10);
    assert_int_equal(crowd.asked + crowd.refused, CROWD * TRIES);
    assert_in_range(logins_retry_after_s(crowd.logins, &other), 2, 60);
    assert_code(logins_admit(crowd.logins, &other, &err), ERR_TOO_MANY, &err);
    error_clear(&err);
    peer = address_of("192.0.2.68");
    assert_ok(logins_verify(crowd.logins, "bob", "x", &peer, &err), &err);
    assert_int_equal(logins_retry_after_s(crowd.logins, &peer), 1);
    logins_free(crowd.logins);
    htpasswd_close(users);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_proof_is_known_for_seconds_with_whose_it_is),
        cmocka_unit_test(what_is_known_is_of_one_name_password_and_file),
        cmocka_unit_test(what_is_known_has_a_bound),
        cmocka_unit_test(delays_double_up_to_a_minute),
        cmocka_unit_test(delays_have_a_bound),
        folder_test(a_right_password_is_known_afterwards),
        folder_test(both_failures_read_alike),
        folder_test(a_crowd_of_wrong_passwords_costs_some),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
