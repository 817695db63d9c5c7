/* What pushes wait for (a place, a turn, a time, the first answer of a registry), that it costs no
 * thread, and that a cancel ends each of these waits at once. */
#include "base/clock.h"
#include "base/mem.h"
#include "tests/support/fake_registry.h"
#include "tests/support/push_test.h"
#include "upstream/client/registry_host.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define LAYER_BYTES 5000
#define UPLOADS "/v2/team/app/blobs/uploads/"
#define WAIT_MS 20000
#define STARTED_MAX 80

/* A push to one target. */
struct started {
    struct scene *scene;
    struct push push;
    struct push_target target;
    struct push_options options;
    struct progress progress;
    struct cancel cancel;
    struct cancel ended; /* requested when it has */
    atomic_bool began;
    atomic_bool counts_down;
};

struct scene {
    struct push_test *test;
    struct fake_registry *fake;
    struct http_double *http;
    const char *host;
    struct upstream *upstream;
    struct made_image image;
    struct started *pushes;
    size_t count;
};

static struct scene scene_of(enum fake_auth auth)
{
    struct scene scene = {.test = push_test_new(auth == FAKE_OPEN ? NULL : "s3cret"),
                          .fake = fake_registry_start(auth),
                          .pushes = xcalloc(STARTED_MAX, sizeof(struct started))};
    scene.http = fake_registry_http(scene.fake);
    scene.host = fake_registry_host(scene.fake);
    scene.upstream = push_test_upstream(scene.test, scene.host);
    scene.image = push_test_image(scene.test, "a", LAYER_BYTES);
    return scene;
}

static struct registry_host *host_of(const struct scene *scene)
{
    struct registry_host *host = NULL;
    struct error err = ERROR_INIT;
    assert_int_equal(registries_host(scene->upstream->registries, scene->host, &host, &err),
                     ERR_OK);
    return host;
}

static void note(void *self, const struct progress_event *event)
{
    struct started *started = self;
    if (event->kind == PROGRESS_MESSAGE)
        atomic_store(&started->began, true);
    if (event->kind == PROGRESS_COUNTDOWN)
        atomic_store(&started->counts_down, true);
}

static void on_ended(void *self)
{
    struct started *started = self;
    cancel_request(&started->ended);
}

/* The scene's image to HOST/`rest`. */
static struct started *start(struct scene *scene, const char *rest)
{
    struct started *started = &scene->pushes[scene->count++];
    const struct push_request request =
        push_test_request(&scene->image.manifest, scene->host, rest);
    assert_true(scene->count <= STARTED_MAX);
    cancel_init(&started->cancel);
    cancel_init(&started->ended);
    started->scene = scene;
    started->target = (struct push_target){.reference = request.target, .state = PUSH_QUEUED};
    started->push =
        (struct push){.manifest = request.manifest, .targets = &started->target, .target_count = 1};
    started->progress = (struct progress){.emit = note, .self = started};
    started->options = (struct push_options){.upstream = scene->upstream,
                                             .progress = &started->progress,
                                             .cancel = &started->cancel,
                                             .ended = on_ended,
                                             .self = started};
    push_start(&started->options, &started->push, 0);
    return started;
}

static void start_many(struct scene *scene, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        autofree char *rest = xasprintf("team/app-%zu:1", scene->count);
        start(scene, rest);
    }
}

static void expect_end(struct started *started, enum errc want)
{
    assert_true(cancel_wait(&started->ended, WAIT_MS));
    const struct push_target *target = &started->target;
    if (target->error.code != want)
        fail_msg("%s instead of %s: %s", error_name(target->error.code), error_name(want),
                 target->error.text);
    assert_int_equal(target->state, want == ERR_OK ? PUSH_PUSHED : PUSH_FAILED);
}

/* And nothing else ends for it. */
static void expect_cancel_at_once(struct started *started)
{
    const struct scene *scene = started->scene;
    size_t ended = 0;
    assert_false(cancel_requested(&started->ended));
    for (size_t i = 0; i < scene->count; i++)
        ended += cancel_requested(&scene->pushes[i].ended);
    int64_t start_ms = clock_ms();
    cancel_request(&started->cancel);
    expect_end(started, ERR_CANCELLED);
    assert_in_range(clock_ms() - start_ms, 0, 1000);
    for (size_t i = 0; i < scene->count; i++)
        ended -= cancel_requested(&scene->pushes[i].ended);
    assert_int_equal(ended, (size_t)-1);
}

static void scene_end(struct scene *scene)
{
    for (size_t i = 0; i < scene->count; i++)
        cancel_request(&scene->pushes[i].cancel);
    for (size_t i = 0; i < scene->count; i++) {
        assert_true(cancel_wait(&scene->pushes[i].ended, WAIT_MS));
        cancel_deinit(&scene->pushes[i].ended);
        cancel_deinit(&scene->pushes[i].cancel);
    }
    fake_registry_stop(scene->fake);
    push_test_free(scene->test);
    free(scene->pushes);
}

#define WAIT_UNTIL(scene, condition)                                                               \
    do {                                                                                           \
        int64_t until_ms = clock_ms() + WAIT_MS;                                                   \
        while (!(condition)) {                                                                     \
            cancel_wait(&(scene)->test->cancel, 2);                                                \
            if (clock_ms() > until_ms)                                                             \
                fail_msg("not in time: %s", #condition);                                           \
        }                                                                                          \
    } while (0)

static size_t requests(const struct scene *scene, const char *prefix)
{
    return http_double_count(scene->http, prefix);
}

/* All that may wait for the first answer of the registry do. */
static void await_first_request(struct scene *scene)
{
    for (size_t i = 0; i < scene->count; i++)
        WAIT_UNTIL(scene, atomic_load(&scene->pushes[i].began));
    WAIT_UNTIL(scene, requests(scene, "GET /v2/") == 1);
    /* What told its beginning takes its turn next, without waiting for anything. */
    cancel_wait(&scene->test->cancel, 50);
}

/* --- the first request --- */

static void one_asks_and_the_others_share_its_failure(void **state)
{
    (void)state;
    enum { COUNT = 20 };
    struct scene scene = scene_of(FAKE_OPEN);
    fake_registry_rule(scene.fake,
                       (struct fake_rule){"GET", "/v2/", 1, .drop = true, .hold = true});
    start_many(&scene, COUNT);
    await_first_request(&scene);
    /* Twenty steps that end soon need no twenty workers, and what waits needs none: idle ones end.
     */
    assert_in_range(executor_threads(scene.test->executor), 1, 20);
    WAIT_UNTIL(&scene, executor_threads(scene.test->executor) == 1);
    fake_registry_release(scene.fake);
    /* Somebody accepted the connection, so all wait, and one asks again. */
    for (size_t i = 0; i < COUNT; i++)
        expect_end(&scene.pushes[i], ERR_OK);
    assert_int_equal(requests(&scene, "GET /v2/"), 2);
    scene_end(&scene);
}

static void one_asks_and_the_others_know(void **state)
{
    (void)state;
    enum { COUNT = 20 };
    struct scene scene = scene_of(FAKE_OPEN);
    fake_registry_rule(scene.fake, (struct fake_rule){"GET", "/v2/", 1, .hold = true});
    start_many(&scene, COUNT);
    await_first_request(&scene);
    fake_registry_release(scene.fake);
    for (size_t i = 0; i < COUNT; i++)
        expect_end(&scene.pushes[i], ERR_OK);
    assert_int_equal(requests(&scene, "GET /v2/"), 1);
    scene_end(&scene);
}

/* When it is cancelled, that is no failure to share: the next one asks. */
static void the_next_one_asks_when_the_first_is_cancelled(void **state)
{
    (void)state;
    struct scene scene = scene_of(FAKE_OPEN);
    fake_registry_rule(scene.fake, (struct fake_rule){"GET", "/v2/", 1, .hold = true});
    struct started *first = start(&scene, "team/app:1");
    await_first_request(&scene);
    struct started *second = start(&scene, "team/lib:1");
    WAIT_UNTIL(&scene, atomic_load(&second->began));
    expect_cancel_at_once(first);
    expect_end(second, ERR_OK);
    assert_int_equal(requests(&scene, "GET /v2/"), 2);
    scene_end(&scene);
}

/* --- cancels --- */

static void cancelled_in_the_first_request_or_behind_it(void **state)
{
    (void)state;
    struct scene scene = scene_of(FAKE_OPEN);
    fake_registry_rule(scene.fake, (struct fake_rule){"GET", "/v2/", 1000, .hold = true});
    start_many(&scene, 4);
    await_first_request(&scene);
    for (size_t i = 0; i < 4; i++)
        expect_cancel_at_once(&scene.pushes[i]);
    scene_end(&scene);
}

static void cancelled_before_there_is_a_place(void **state)
{
    (void)state;
    enum { PLACES = 64 };
    struct scene scene = scene_of(FAKE_OPEN);
    fake_registry_rule(scene.fake, (struct fake_rule){"GET", "/v2/", 1, .hold = true});
    start_many(&scene, PLACES);
    await_first_request(&scene);
    struct started *waits = start(&scene, "team/app:1");
    struct started *other = start(&scene, "team/lib:1");
    assert_int_equal(work_queue_waiting(host_of(&scene)->pushes), 2);
    expect_cancel_at_once(waits);
    assert_false(atomic_load(&waits->began) || atomic_load(&other->began));
    fake_registry_release(scene.fake);
    for (size_t i = 0; i < PLACES; i++)
        expect_end(&scene.pushes[i], ERR_OK);
    expect_end(other, ERR_OK);
    scene_end(&scene);
}

static void cancelled_before_it_began(void **state)
{
    (void)state;
    struct scene scene = scene_of(FAKE_OPEN);
    struct cancel cancel;
    struct push_target result;
    const struct push_request request =
        push_test_request(&scene.image.manifest, scene.host, "team/app:1");
    cancel_init(&cancel);
    cancel_request(&cancel);
    assert_int_equal(push_test_one(scene.test, &request, NULL, &cancel, &result), ERR_CANCELLED);
    assert_int_equal(result.state, PUSH_FAILED);
    assert_int_equal(requests(&scene, ""), 0);
    cancel_deinit(&cancel);
    scene_end(&scene);
}

/* The requests of five others are not answered. */
static void cancelled_before_it_may_send_a_request(void **state)
{
    (void)state;
    struct scene scene = scene_of(FAKE_BASIC);
    expect_end(start(&scene, "team/app:1"), ERR_OK);
    size_t before = requests(&scene, "GET /v2/");
    fake_registry_rule(scene.fake, (struct fake_rule){"GET", "/v2/", 1000, .hold = true});
    start_many(&scene, 5);
    WAIT_UNTIL(&scene, requests(&scene, "GET /v2/") == before + 5);
    struct started *waits = start(&scene, "team/app:1");
    WAIT_UNTIL(&scene, work_queue_waiting(host_of(&scene)->requests) == 1);
    expect_cancel_at_once(waits);
    assert_int_equal(requests(&scene, "GET /v2/"), before + 5);
    scene_end(&scene);
}

static void cancelled_before_another_first_request(void **state)
{
    (void)state;
    struct scene scene = scene_of(FAKE_OPEN);
    fake_registry_rule(scene.fake, (struct fake_rule){"GET", "/v2/", 1000, .status = 500});
    host_of(&scene)->back_off.base_ms = 60000;
    struct started *waits = start(&scene, "team/app:1");
    WAIT_UNTIL(&scene, atomic_load(&waits->counts_down));
    expect_cancel_at_once(waits);
    assert_int_equal(requests(&scene, "GET /v2/"), 1);
    scene_end(&scene);
}

static void cancelled_before_another_manifest(void **state)
{
    (void)state;
    struct scene scene = scene_of(FAKE_OPEN);
    fake_registry_rule(scene.fake, (struct fake_rule){"PUT", "/manifests/", 1000, .status = 500});
    host_of(&scene)->back_off.base_ms = 60000;
    struct started *waits = start(&scene, "team/app:1");
    WAIT_UNTIL(&scene, requests(&scene, "PUT /v2/team/app/manifests/") == 1);
    cancel_wait(&scene.test->cancel, 50);
    expect_cancel_at_once(waits);
    assert_int_equal(requests(&scene, "PUT /v2/team/app/manifests/"), 1);
    scene_end(&scene);
}

/* The same manifest goes into the same repository: one after the other. */
static void cancelled_before_its_turn(void **state)
{
    (void)state;
    struct scene scene = scene_of(FAKE_OPEN);
    fake_registry_rule(scene.fake,
                       (struct fake_rule){"PUT", "/manifests/", 1, .effect = true, .hold = true});
    struct started *first = start(&scene, "team/app:1");
    WAIT_UNTIL(&scene, requests(&scene, "PUT /v2/team/app/manifests/") == 1);
    struct started *second = start(&scene, "team/app:2");
    struct started *third = start(&scene, "team/app:3");
    WAIT_UNTIL(&scene, atomic_load(&second->began) && atomic_load(&third->began));
    cancel_wait(&scene.test->cancel, 50);
    expect_cancel_at_once(second);
    assert_int_equal(requests(&scene, "PUT /v2/team/app/manifests/"), 1);
    fake_registry_release(scene.fake);
    expect_end(first, ERR_OK);
    expect_end(third, ERR_OK);
    assert_int_equal(requests(&scene, "PUT /v2/team/app/manifests/"), 2);
    scene_end(&scene);
}

static void cancelled_while_the_registry_wants_to_be_left_alone(void **state)
{
    (void)state;
    struct scene scene = scene_of(FAKE_OPEN);
    fake_registry_rule(scene.fake, (struct fake_rule){"POST", UPLOADS, 1, .status = 429,
                                                      .headers = "Retry-After: 500\r\n"});
    char config[DIGEST_TEXT_MAX];
    fake_registry_put(scene.fake, digest_text(&scene.image.config, config), "1");
    struct started *asked = start(&scene, "team/app:1");
    WAIT_UNTIL(&scene, back_off_left_ms(&host_of(&scene)->back_off) > 0);
    struct started *later = start(&scene, "team/lib:1");
    /* Its first step, and perhaps one of the first push, whose config has been found. */
    WAIT_UNTIL(&scene, work_queue_waiting(host_of(&scene)->requests) >= 1);
    expect_cancel_at_once(later);
    expect_cancel_at_once(asked);
    assert_false(atomic_load(&later->began));
    scene_end(&scene);
}

static void cancelled_while_a_blob_is_on_its_way(void **state)
{
    (void)state;
    struct scene scene = scene_of(FAKE_OPEN);
    fake_registry_rule(scene.fake,
                       (struct fake_rule){"PUT", UPLOADS, 1, .effect = true, .hold = true});
    struct started *sends = start(&scene, "team/app:1");
    WAIT_UNTIL(&scene, requests(&scene, "PUT " UPLOADS) >= 1);
    expect_cancel_at_once(sends);
    WAIT_UNTIL(&scene, requests(&scene, "DELETE " UPLOADS) >= 1); /* nobody waits for it */
    scene_end(&scene);
}

/* --- many --- */

/* Cancelled at any moment, from several threads; the sanitizers look. */
static void *cancel_some(void *arg)
{
    struct scene *scene = arg;
    for (size_t i = 0; i < scene->count; i += 2) {
        cancel_request(&scene->pushes[i].cancel);
        cancel_wait(&scene->test->cancel, (int64_t)(i % 3));
    }
    return NULL;
}

static void many_pushes_and_cancels(void **state)
{
    (void)state;
    pthread_t thread;
    struct scene scene = scene_of(FAKE_OPEN);
    for (size_t i = 0; i < 78; i++) {
        autofree char *rest = xasprintf("team/app-%zu:%zu", i % 7, i);
        start(&scene, rest);
    }
    pthread_create(&thread, NULL, cancel_some, &scene);
    pthread_join(thread, NULL);
    for (size_t i = 0; i < scene.count; i++) {
        struct started *started = &scene.pushes[i];
        assert_true(cancel_wait(&started->ended, WAIT_MS));
        enum errc code = started->target.error.code;
        assert_true(code == ERR_OK || (i % 2 == 0 && code == ERR_CANCELLED));
    }
    scene_end(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_asks_and_the_others_share_its_failure),
        cmocka_unit_test(one_asks_and_the_others_know),
        cmocka_unit_test(the_next_one_asks_when_the_first_is_cancelled),
        cmocka_unit_test(cancelled_in_the_first_request_or_behind_it),
        cmocka_unit_test(cancelled_before_there_is_a_place),
        cmocka_unit_test(cancelled_before_it_began),
        cmocka_unit_test(cancelled_before_it_may_send_a_request),
        cmocka_unit_test(cancelled_before_another_first_request),
        cmocka_unit_test(cancelled_before_another_manifest),
        cmocka_unit_test(cancelled_before_its_turn),
        cmocka_unit_test(cancelled_while_the_registry_wants_to_be_left_alone),
        cmocka_unit_test(cancelled_while_a_blob_is_on_its_way),
        cmocka_unit_test(many_pushes_and_cancels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
