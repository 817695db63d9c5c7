#include "tests/unit/store/store_test.h"

#include "gateway/access/robot_secret.h"
#include "gateway/access/robots.h"

#include <time.h>

#define NOW_S ((uint64_t)time(NULL))

static void secrets_have_a_checksum(void **state)
{
    (void)state;
    char secret[ROBOT_SECRET_SIZE + 1];
    char other[ROBOT_SECRET_SIZE + 1];
    struct error err = ERROR_INIT;
    assert_ok(robot_secret_make(secret, &err), &err);
    assert_ok(robot_secret_make(other, &err), &err);
    assert_string_not_equal(secret, other);
    assert_true(robot_secret_is(secret));
    for (size_t i = 0; i < ROBOT_SECRET_SIZE; i++) {
        char kept = secret[i];
        secret[i] = kept == 'a' ? 'b' : 'a';
        assert_false(robot_secret_is(secret));
        secret[i] = kept;
    }
    secret[ROBOT_SECRET_SIZE - 1] = '\0';
    assert_false(robot_secret_is(secret));
    assert_false(robot_secret_is(""));
    /* Pinned: scanners outside know the form. */
    assert_true(robot_secret_is("slw_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg14UWyQ"));
}

static char *create(struct store *store, const char *name)
{
    struct error err = ERROR_INIT;
    json_t *answer = NULL;
    autojson json_t *body =
        json_pack("{s:s, s:s, s:s}", "name", name, "expires", "1h", "note", "n");
    assert_ok(robots_do(store, ROBOT_CREATE, NULL, body, &answer, &err), &err);
    assert_string_equal(json_text(answer, "state"), "active");
    assert_string_equal(json_text(answer, "note"), "n");
    char *secret = xstrdup(json_text(answer, "secret"));
    json_decref(answer);
    return secret;
}

static void a_robot_logs_in_until_it_is_taken_away(void **state)
{
    struct store *store = open_store(*state);
    struct error err = ERROR_INIT;
    struct robot robot = {.name = ""};
    json_t *answer = NULL;
    autofree char *secret = create(store, "ci-a");
    autofree char *other = create(store, "ci-b");
    assert_false(robots_known(store, "ci-a", secret, NOW_S, &robot)); /* its use is to be written */
    assert_true(robots_login(store, "ci-a", secret, NOW_S, &robot));
    assert_string_equal(robot.name, "ci-a");
    assert_true(robots_known(store, "ci-a", secret, NOW_S, &robot));
    assert_true(robot.used_s > 0);
    assert_false(robots_known(store, "ci-a", secret, NOW_S + ROBOT_USE_S + 1, &robot));
    assert_false(robots_login(store, "ci-a", other, NOW_S, &robot));
    assert_false(robots_login(store, "ci-c", secret, NOW_S, &robot));
    assert_false(robots_login(store, "", secret, NOW_S, &robot));
    assert_false(robots_login(store, "ci-a", secret, NOW_S + 3601, &robot));
    assert_true(robots_login(store, "ci-a", secret, NOW_S + 3000, &robot));
    store_close(store);

    store = open_store(*state);
    assert_ok(robots_do(store, ROBOT_DISABLE, "ci-a", NULL, &answer, &err), &err);
    assert_string_equal(json_text(answer, "state"), "disabled");
    json_decref(answer);
    assert_false(robots_login(store, "ci-a", secret, NOW_S, &robot));
    assert_true(robots_login(store, "ci-b", other, NOW_S, &robot));
    assert_ok(robots_do(store, ROBOT_REMOVE, "ci-b", NULL, &answer, &err), &err);
    assert_null(answer);
    assert_false(robots_stands(store, "ci-b", NOW_S, &robot));
    assert_ok(robots_do(store, ROBOT_LIST, NULL, NULL, &answer, &err), &err);
    assert_int_equal(json_array_size(json_object_get(answer, "robots")), 1);
    autofree char *text = json_compact_take(answer);
    assert_null(strstr(text, "secret"));
    assert_non_null(strstr(text, "\"disabled\""));
    store_close(store);
}

static void a_name_is_taken_until_it_is_removed(void **state)
{
    struct store *store = open_store(*state);
    struct error err = ERROR_INIT;
    struct robot robot;
    json_t *answer = NULL;
    autofree char *secret = create(store, "ci");
    autojson json_t *body = json_pack("{s:s, s:s}", "name", "ci", "expires", "1h");
    assert_code(robots_do(store, ROBOT_CREATE, NULL, body, &answer, &err), ERR_BAD_REQUEST, &err);
    assert_non_null(strstr(err.text, "already"));
    assert_true(robots_login(store, "ci", secret, NOW_S, &robot));
    error_clear(&err);
    assert_ok(robots_do(store, ROBOT_REMOVE, "ci", NULL, &answer, &err), &err);
    assert_code(robots_do(store, ROBOT_REMOVE, "ci", NULL, &answer, &err), ERR_NOT_FOUND, &err);
    error_clear(&err);
    assert_code(robots_do(store, ROBOT_DISABLE, "ci", NULL, &answer, &err), ERR_NOT_FOUND, &err);
    autofree char *again = create(store, "ci");
    assert_false(robots_login(store, "ci", secret, NOW_S, &robot));
    assert_true(robots_login(store, "ci", again, NOW_S, &robot));
    /* What was read of the old one is written to nobody. */
    struct robot old = robot;
    old.created_s--;
    error_clear(&err);
    assert_ok(robots_used(store, &old, 7, &err), &err);
    assert_true(robots_stands(store, "ci", NOW_S, &robot) && robot.used_s != 7);
    store_close(store);
}

static void what_is_no_robot_is_refused(void **state)
{
    struct store *store = open_store(*state);
    static const char *const bodies[] = {
        "[]",
        "{}",
        "{\"name\": \"a\"}",
        "{\"name\": \"a\", \"expires\": \"90d\"}",
        "{\"name\": \"a\", \"expires\": \"999ms\"}",
        "{\"name\": \"a\", \"expires\": \"87601h\"}",
        "{\"name\": \"a\", \"expires\": 7}",
        "{\"name\": \"\", \"expires\": \"1h\"}",
        "{\"name\": \"-a\", \"expires\": \"1h\"}",
        "{\"name\": \"robot:a\", \"expires\": \"1h\"}",
        "{\"name\": \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\", "
        "\"expires\": \"1h\"}",
        "{\"name\": \"a\", \"expires\": \"1h\", \"note\": \"a\\nb\"}",
        "{\"name\": \"a\", \"expires\": \"1h\", \"owner\": \"ann\"}",
    };
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        struct error err = ERROR_INIT;
        json_t *answer = NULL;
        autojson json_t *body = NULL;
        assert_ok(json_parse(bodies[i], strlen(bodies[i]), 4096, "a body", &body, &err), &err);
        assert_code(robots_do(store, ROBOT_CREATE, NULL, body, &answer, &err), ERR_BAD_REQUEST,
                    &err);
        assert_null(answer);
    }
    store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(secrets_have_a_checksum),
        folder_test(a_robot_logs_in_until_it_is_taken_away),
        folder_test(a_name_is_taken_until_it_is_removed),
        folder_test(what_is_no_robot_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
