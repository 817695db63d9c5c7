/* Pushes whose uploads break off again and again: no session stays open, however they end. */
#include "base/clock.h"
#include "base/mem.h"
#include "tests/support/fake_registry.h"
#include "tests/support/push_test.h"
#include "upstream/client/registry_host.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define LAYER_BYTES 5000
#define UPLOADS "/v2/team/app/blobs/uploads/"

struct scene {
    struct push_test *test;
    struct fake_registry *fake;
    struct made_image image;
    enum errc code;
};

static void set_up_good(struct scene *scene)
{
    *scene = (struct scene){.test = push_test_new(NULL), .fake = fake_registry_start(FAKE_OPEN)};
    scene->image = push_test_image(scene->test, "a", LAYER_BYTES);
}

static void has(struct scene *scene, const struct digest *digest)
{
    char text[DIGEST_TEXT_MAX];
    fake_registry_put(scene->fake, digest_text(digest, text), "1");
}

/* Every PUT fails, and of each session the registry has 100 bytes; it has one of the two blobs. */
static void set_up(struct scene *scene, bool config)
{
    set_up_good(scene);
    has(scene, config ? &scene->image.config : &scene->image.layers[0]);
    fake_registry_rule(scene->fake, (struct fake_rule){"PUT", UPLOADS, 1000, .status = 504});
    fake_registry_rule(scene->fake, (struct fake_rule){"GET", UPLOADS, 1000, .status = 204,
                                                       .headers = "Range: 0-99\r\n"});
}

static void tear_down(struct scene *scene)
{
    fake_registry_stop(scene->fake);
    push_test_free(scene->test);
}

static size_t requests(const struct scene *scene, const char *prefix)
{
    return http_double_count(fake_registry_http(scene->fake), prefix);
}

static void *run(void *arg)
{
    struct scene *scene = arg;
    scene->code =
        push_test_push(scene->test, &scene->image.manifest, fake_registry_host(scene->fake));
    return NULL;
}

static void the_last_failure_takes_the_session_back(void **state)
{
    (void)state;
    struct scene scene;
    set_up(&scene, true);
    run(&scene);
    assert_int_equal(scene.code, ERR_REGISTRY_FAULT);
    assert_int_equal(scene.test->result.attempts, 5);
    assert_int_equal(requests(&scene, "POST " UPLOADS), 1);
    assert_int_equal(requests(&scene, "DELETE " UPLOADS), 1);
    tear_down(&scene);
}

#define SESSION_MS 20000

static bool waits(struct push_test *test)
{
    pthread_mutex_lock(&test->lock);
    bool found = strstr(test->events, "Retrying in ") != NULL;
    pthread_mutex_unlock(&test->lock);
    return found;
}

static void cancelled_between_attempts(void **state)
{
    (void)state;
    struct scene scene;
    struct error err = ERROR_INIT;
    struct registry_host *host = NULL;
    pthread_t thread;
    struct cancel never;
    cancel_init(&never);
    set_up(&scene, true);
    const char *name = fake_registry_host(scene.fake);
    struct registries *registries = push_test_upstream(scene.test, name)->registries;
    assert_int_equal(registries_host(registries, name, &host, &err), ERR_OK);
    host->back_off.base_ms = 60000;
    pthread_create(&thread, NULL, run, &scene);
    while (!waits(scene.test))
        cancel_wait(&scene.test->cancel, 2);
    assert_int_equal(requests(&scene, "DELETE " UPLOADS), 0); /* the next attempt would need it */
    int64_t start_ms = clock_ms();
    cancel_request(&scene.test->cancel);
    pthread_join(thread, NULL);
    assert_in_range(clock_ms() - start_ms, 0, 1000);
    assert_int_equal(scene.code, ERR_CANCELLED);
    assert_int_equal(requests(&scene, "POST " UPLOADS), 1);
    /* The transfer ends its session; the push does not wait for that. */
    for (int64_t until_ms = clock_ms() + SESSION_MS;
         requests(&scene, "DELETE " UPLOADS) == 0 && clock_ms() < until_ms;)
        cancel_wait(&never, 2);
    assert_int_equal(requests(&scene, "DELETE " UPLOADS), 1);
    cancel_deinit(&never);
    tear_down(&scene);
}

static void the_config_is_no_different(void **state)
{
    (void)state;
    struct scene scene;
    set_up(&scene, false);
    run(&scene);
    assert_int_equal(scene.code, ERR_REGISTRY_FAULT);
    assert_int_equal(scene.test->result.layers.existed, 1);
    assert_int_equal(scene.test->result.attempts, 5);
    assert_int_equal(requests(&scene, "POST " UPLOADS), 1);
    assert_int_equal(requests(&scene, "DELETE " UPLOADS), 1);
    tear_down(&scene);
}

/* --- a registry that takes everything and does not answer --- */

static void silent(struct scene *scene, struct fake_rule rule)
{
    set_up_good(scene);
    scene->test->times.commit_ms = 400;
    has(scene, &scene->image.config);
    rule.method = "PUT";
    rule.hold = true;
    fake_registry_rule(scene->fake, rule);
    run(scene);
}

static void no_answer_is_waited_for_twice(void **state)
{
    (void)state;
    static const char *const parts[] = {UPLOADS, "/v2/team/app/manifests/"};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        struct scene scene;
        autofree char *puts = xasprintf("PUT %s", parts[i]);
        silent(&scene, (struct fake_rule){.part = parts[i], .times = 1000, .status = 504});
        assert_int_equal(scene.code, ERR_NO_ANSWER);
        assert_int_equal(scene.test->result.attempts, 2);
        assert_non_null(strstr(scene.test->result.error.text, "2 attempts"));
        assert_int_equal(requests(&scene, puts), 2);
        tear_down(&scene);
    }
}

/* What arrived without an answer is asked for, and not sent again. */
static void what_arrived_is_not_sent_again(void **state)
{
    (void)state;
    static const char *const parts[] = {UPLOADS, "/manifests/"};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        struct scene scene;
        silent(&scene, (struct fake_rule){.part = parts[i], .times = 1, .effect = true});
        assert_int_equal(scene.code, ERR_OK);
        assert_int_equal(scene.test->result.attempts, 1);
        assert_int_equal(requests(&scene, "PUT " UPLOADS), 1); /* the layer */
        assert_int_equal(requests(&scene, "PUT /v2/team/app/manifests/"), 1);
        tear_down(&scene);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_failure_takes_the_session_back),
        cmocka_unit_test(cancelled_between_attempts),
        cmocka_unit_test(the_config_is_no_different),
        cmocka_unit_test(no_answer_is_waited_for_twice),
        cmocka_unit_test(what_arrived_is_not_sent_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
