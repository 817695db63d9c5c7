#include "upstream/client/tag_ask.h"

#include "tests/support/fake_registry.h"
#include "tests/support/push_test.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define WAIT_MS 20000
#define HEAD "HEAD /v2/team/app/manifests/1"

static char some[] = "sha256:1111111111111111111111111111111111111111111111111111111111111111";
static char another[] = "sha256:2222222222222222222222222222222222222222222222222222222222222222";

struct scene {
    struct push_test *test;
    struct fake_registry *fake;
    struct http_double *http;
    struct tag_asks *asks;
};

static void scene_open(struct scene *scene, enum fake_auth auth)
{
    scene->test = push_test_new(auth == FAKE_OPEN ? NULL : "s3cret");
    scene->fake = fake_registry_start(auth);
    scene->http = fake_registry_http(scene->fake);
    scene->asks = push_test_upstream(scene->test, fake_registry_host(scene->fake))->tag_asks;
}

static void scene_close(struct scene *scene)
{
    fake_registry_stop(scene->fake);
    push_test_free(scene->test);
}

/* An ask, and whether it was answered. */
struct asked {
    struct tag_ask ask;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool answered;
};

static void on_answer(struct tag_ask *ask)
{
    struct asked *asked = (struct asked *)ask;
    pthread_mutex_lock(&asked->lock);
    asked->answered = true;
    pthread_cond_signal(&asked->changed);
    pthread_mutex_unlock(&asked->lock);
}

static void begin(struct tag_asks *asks, const char *host, const char *expected,
                  struct asked *asked)
{
    struct reference target = {.path = "team/app", .tag = "1"};
    struct error err = ERROR_INIT;
    snprintf(target.host, sizeof target.host, "%s", host);
    *asked = (struct asked){.ask = {.answered = on_answer}};
    if (expected)
        assert_int_equal(digest_parse(expected, &asked->ask.expected, &err), ERR_OK);
    pthread_mutex_init(&asked->lock, NULL);
    pthread_cond_init(&asked->changed, NULL);
    tag_ask_start(asks, &target, &asked->ask);
}

static enum tag_answer end(struct asked *asked)
{
    pthread_mutex_lock(&asked->lock);
    while (!asked->answered)
        pthread_cond_wait(&asked->changed, &asked->lock);
    pthread_mutex_unlock(&asked->lock);
    pthread_mutex_destroy(&asked->lock);
    pthread_cond_destroy(&asked->changed);
    return asked->ask.answer;
}

static enum tag_answer ask(struct scene *scene, const char *expected, struct asked *asked)
{
    begin(scene->asks, fake_registry_host(scene->fake), expected, asked);
    return end(asked);
}

/* The next question is refused, also where it is asked once more by GET. */
static void refuse(struct scene *scene, int status, const char *headers)
{
    struct fake_rule rule = {.part = "/manifests/1", .times = 1, .status = status};
    rule.headers = headers;
    rule.method = "HEAD";
    fake_registry_rule(scene->fake, rule);
    rule.method = "GET";
    fake_registry_rule(scene->fake, rule);
}

static void wait_for_head(struct scene *scene, size_t count)
{
    for (int i = 0; i < WAIT_MS / 2 && http_double_count(scene->http, HEAD) < count; i++)
        cancel_wait(&scene->test->cancel, 2);
    assert_int_equal(http_double_count(scene->http, HEAD), count);
}

static void test_what_is_there(void **state)
{
    (void)state;
    static const enum fake_auth kinds[] = {FAKE_OPEN, FAKE_BASIC, FAKE_BEARER};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        struct scene scene;
        struct asked asked;
        char text[DIGEST_TEXT_MAX];
        scene_open(&scene, kinds[i]);
        assert_int_equal(ask(&scene, some, &asked), TAG_ABSENT);
        assert_int_equal(asked.ask.digest.algorithm, DIGEST_NONE);
        fake_registry_put(scene.fake, "manifests/1", some);
        assert_int_equal(ask(&scene, some, &asked), TAG_SAME);
        assert_int_equal(ask(&scene, another, &asked), TAG_OTHER);
        assert_string_equal(digest_text(&asked.ask.digest, text), some);
        assert_int_equal(ask(&scene, NULL, &asked), TAG_OTHER);
        scene_close(&scene);
    }
}

/* One attempt, and a failure is neither presence nor absence. */
static void test_no_answer_is_unknown(void **state)
{
    (void)state;
    static const int statuses[] = {401, 403, 429, 500, 503};
    struct scene scene;
    struct asked asked;
    scene_open(&scene, FAKE_OPEN);
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        size_t before = http_double_count(scene.http, HEAD);
        refuse(&scene, statuses[i], "Retry-After: 0\r\n");
        assert_int_equal(ask(&scene, some, &asked), TAG_UNKNOWN);
        assert_int_not_equal(asked.ask.error.code, ERR_OK);
        assert_int_equal(http_double_count(scene.http, HEAD), before + 1);
    }
    begin(scene.asks, "127.0.0.1:1", some, &asked);
    assert_int_equal(end(&asked), TAG_UNKNOWN);
    assert_int_equal(error_party(asked.ask.error.code), PARTY_NETWORK);
    begin(scene.asks, "bad host", some, &asked);
    assert_int_equal(end(&asked), TAG_UNKNOWN);
    scene_close(&scene);
}

static void test_askers_share_a_request(void **state)
{
    (void)state;
    enum { ASKERS = 64 };
    struct scene scene;
    struct asked asked[ASKERS];
    scene_open(&scene, FAKE_OPEN);
    fake_registry_put(scene.fake, "manifests/1", some);
    fake_registry_rule(
        scene.fake,
        (struct fake_rule){
            .part = "/manifests/1", .method = "HEAD", .times = 1, .effect = true, .hold = true});
    for (int i = 0; i < ASKERS; i++)
        begin(scene.asks, fake_registry_host(scene.fake), i % 2 ? another : some, &asked[i]);
    wait_for_head(&scene, 1);
    fake_registry_release(scene.fake);
    for (int i = 0; i < ASKERS; i++)
        assert_int_equal(end(&asked[i]), i % 2 ? TAG_OTHER : TAG_SAME);
    assert_int_equal(http_double_count(scene.http, HEAD), 1);
    scene_close(&scene);
}

/* One asker goes, and the others get their answer; all go, and the next asks anew. */
static void test_cancel(void **state)
{
    (void)state;
    struct scene scene;
    struct asked one, other;
    scene_open(&scene, FAKE_OPEN);
    fake_registry_put(scene.fake, "manifests/1", some);
    const struct fake_rule held = {
        .part = "/manifests/1", .method = "HEAD", .times = 1, .effect = true, .hold = true};
    fake_registry_rule(scene.fake, held);
    begin(scene.asks, fake_registry_host(scene.fake), some, &one);
    begin(scene.asks, fake_registry_host(scene.fake), some, &other);
    wait_for_head(&scene, 1);
    assert_true(tag_ask_cancel(scene.asks, &one.ask));
    assert_false(tag_ask_cancel(scene.asks, &one.ask));
    fake_registry_release(scene.fake);
    assert_int_equal(end(&other), TAG_SAME);
    assert_false(tag_ask_cancel(scene.asks, &other.ask));

    fake_registry_rule(scene.fake, held);
    begin(scene.asks, fake_registry_host(scene.fake), some, &one);
    wait_for_head(&scene, 2);
    assert_true(tag_ask_cancel(scene.asks, &one.ask));
    assert_int_equal(ask(&scene, some, &other), TAG_SAME);
    wait_for_head(&scene, 3);
    fake_registry_release(scene.fake);
    assert_false(one.answered);
    scene_close(&scene);
}

/* In a request, and in a queue that is paused. */
static void test_limit(void **state)
{
    (void)state;
    enum { LIMIT_MS = 200 };
    struct scene scene;
    struct asked asked;
    scene_open(&scene, FAKE_OPEN);
    struct upstream *upstream = push_test_upstream(scene.test, fake_registry_host(scene.fake));
    struct tag_asks *asks = tag_asks_new(upstream->registries, upstream->ends, LIMIT_MS);
    fake_registry_rule(
        scene.fake,
        (struct fake_rule){
            .part = "/manifests/1", .method = "HEAD", .times = 1, .effect = true, .hold = true});
    begin(asks, fake_registry_host(scene.fake), some, &asked);
    assert_int_equal(end(&asked), TAG_UNKNOWN);
    assert_int_equal(asked.ask.error.code, ERR_TIMEOUT);
    fake_registry_release(scene.fake);
    refuse(&scene, 429, "Retry-After: 600\r\n");
    begin(asks, fake_registry_host(scene.fake), some, &asked);
    assert_int_equal(end(&asked), TAG_UNKNOWN);
    assert_int_equal(asked.ask.error.code, ERR_TOO_MANY_REQUESTS);
    size_t asked_before = http_double_count(scene.http, HEAD);
    begin(asks, fake_registry_host(scene.fake), some, &asked);
    assert_int_equal(end(&asked), TAG_UNKNOWN);
    assert_int_equal(asked.ask.error.code, ERR_TIMEOUT);
    assert_int_equal(http_double_count(scene.http, HEAD), asked_before);
    tag_asks_free(asks);
    scene_close(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_there),
        cmocka_unit_test(test_no_answer_is_unknown),
        cmocka_unit_test(test_askers_share_a_request),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_limit),
    };
    return cmocka_run_group_tests_name("tag_ask", tests, NULL, NULL);
}
