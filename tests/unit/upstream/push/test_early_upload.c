#include "upstream/push/early_upload.h"

#include "base/clock.h"
#include "base/mem.h"
#include "tests/support/fake_registry.h"
#include "tests/support/push_test.h"
#include "upstream/auth/location_hmac.h"
#include "upstream/client/registry_host.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define LAYER_BYTES 5000
#define UPLOADS "/v2/team/app/blobs/uploads/"
#define WAIT_MS 20000

/* A store, a registry, and its team/app, where blobs are sent early. */
struct scene {
    struct push_test *test;
    struct fake_registry *fake;
    struct http_double *http;
    const char *host;
    struct upstream *upstream;
    struct early_uploads *early;
    struct reference target;
};

static void scene_open(struct scene *scene, enum fake_auth auth, const char *password)
{
    scene->test = push_test_new(password);
    scene->fake = fake_registry_start(auth);
    scene->http = fake_registry_http(scene->fake);
    scene->host = fake_registry_host(scene->fake);
    scene->upstream = push_test_upstream(scene->test, scene->host);
    scene->early = early_uploads_new(scene->upstream);
    struct descriptor none = {.size = 0};
    scene->target = push_test_request(&none, scene->host, "team/app:1").target;
}

static void scene_close(struct scene *scene)
{
    early_uploads_close(scene->early);
    early_uploads_free(scene->early);
    fake_registry_stop(scene->fake);
    push_test_free(scene->test);
}

static struct descriptor blob_of(const struct digest *digest, uint64_t size)
{
    return (struct descriptor){.digest = *digest, .size = size};
}

static void send_layer(struct scene *scene, const struct digest *digest, uint64_t size)
{
    const struct descriptor blob = blob_of(digest, size);
    early_upload(scene->early, &scene->target, &blob, "");
}

static struct registry_host *host_of(struct scene *scene)
{
    struct registry_host *host = NULL;
    struct error err = ERROR_INIT;
    assert_int_equal(registries_host(scene->upstream->registries, scene->host, &host, &err),
                     ERR_OK);
    return host;
}

static bool knows(struct scene *scene, const struct digest *digest)
{
    struct registry_host *host = host_of(scene);
    struct repository_memory *memory = scene->upstream->memory;
    struct known_blobs *known = repository_memory_hold(memory, &scene->target, clock_ms());
    bool has = known_blobs_has(known, &host->endpoints[0], digest);
    repository_memory_release(memory, known);
    return has;
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

struct marker {
    struct work work;
    atomic_bool held;
};

static void hold(struct work *work)
{
    work_hold(work);
    atomic_store(&((struct marker *)work)->held, true);
}

/* All that was sent early has ended: its places are others'. */
static void drain(struct scene *scene)
{
    enum { PLACES = 5 };
    struct marker markers[PLACES] = {{.held = false}};
    for (int i = 0; i < PLACES; i++) {
        markers[i].work.run = hold;
        work_submit(host_of(scene)->early, &markers[i].work);
    }
    for (int i = 0; i < PLACES; i++)
        WAIT_UNTIL(scene, atomic_load(&markers[i].held));
    for (int i = 0; i < PLACES; i++)
        work_release(&markers[i].work);
}

/* As delivery does it: with what was learned before. */
static enum errc push_with_known(struct scene *scene, const struct descriptor *manifest)
{
    struct push_request request = push_test_request(manifest, scene->host, "team/app:1");
    request.remembers = true;
    return push_test_one(scene->test, &request, NULL, &scene->test->cancel, &scene->test->result);
}

static bool is_recorded(struct scene *scene, const struct digest *layer)
{
    struct error err = ERROR_INIT;
    struct known_location_list *list = xcalloc(1, sizeof *list);
    autofree char *here = xasprintf("%s/team/app", scene->host);
    assert_int_equal(known_locations_get(scene->test->store, layer, list, &err), ERR_OK);
    bool recorded = list->count == 1 && strcmp(list->items[0].source, here) == 0;
    free(list);
    return recorded;
}

/* --- before its manifest, and what the push does then --- */

static void what_was_sent_early_is_not_sent_by_the_push(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, FAKE_OPEN, NULL);
    struct made_image image = push_test_image(scene.test, "abc", LAYER_BYTES);
    for (size_t i = 0; i < 3; i++)
        send_layer(&scene, &image.layers[i], LAYER_BYTES);
    for (size_t i = 0; i < 3; i++)
        WAIT_UNTIL(&scene, knows(&scene, &image.layers[i]));
    assert_int_equal(http_double_count(scene.http, "PUT " UPLOADS), 3);
    size_t heads = http_double_count(scene.http, "HEAD");
    assert_int_equal(push_with_known(&scene, &image.manifest), ERR_OK);
    /* They were sent for it, so it counts them; the next one does not. */
    assert_int_equal(scene.test->result.layers.uploaded, 3);
    assert_int_equal(scene.test->result.layers.existed, 0);
    /* The config, which was not sent early: asked for and sent. */
    assert_int_equal(http_double_count(scene.http, "PUT " UPLOADS), 4);
    assert_int_equal(http_double_count(scene.http, "HEAD"), heads + 1);
    assert_int_equal(http_double_count(scene.http, "GET /v2/"), 1);
    assert_int_equal(push_with_known(&scene, &image.manifest), ERR_OK);
    assert_int_equal(scene.test->result.layers.existed, 3);
    assert_int_equal(scene.test->result.layers.uploaded, 0);
    scene_close(&scene);
}

static void *push_meanwhile(void *arg)
{
    const struct made_image *image = ((void **)arg)[1];
    struct push_test *test = ((struct scene *)((void **)arg)[0])->test;
    const char *host = ((struct scene *)((void **)arg)[0])->host;
    push_test_push(test, &image->manifest, host);
    return NULL;
}

static bool told_of_bytes(struct push_test *test)
{
    pthread_mutex_lock(&test->lock);
    bool told = test->byte_events > 0;
    pthread_mutex_unlock(&test->lock);
    return told;
}

/* Whether the blob is still wanted early does not matter to the push. */
static void join(bool ends_early)
{
    struct scene scene;
    scene_open(&scene, FAKE_OPEN, NULL);
    fake_registry_rule(scene.fake,
                       (struct fake_rule){"PUT", UPLOADS, 1, .effect = true, .hold = true});
    struct made_image image = push_test_image(scene.test, "a", LAYER_BYTES);
    send_layer(&scene, &image.layers[0], LAYER_BYTES);
    WAIT_UNTIL(&scene, http_double_count(scene.http, "PUT " UPLOADS) == 1);
    pthread_t thread;
    void *arg[] = {&scene, &image};
    pthread_create(&thread, NULL, push_meanwhile, arg);
    WAIT_UNTIL(&scene, told_of_bytes(scene.test));
    if (ends_early) {
        early_uploads_end(scene.early, &scene.target, &image.layers[0]);
        drain(&scene);
    }
    fake_registry_release(scene.fake);
    pthread_join(thread, NULL);
    assert_int_equal(scene.test->result.state, PUSH_PUSHED);
    assert_int_equal(scene.test->result.layers.existed, 0);
    assert_int_equal(scene.test->result.layers.uploaded, 1);
    assert_int_equal(http_double_count(scene.http, "PUT " UPLOADS), 2);
    assert_int_equal(http_double_count(scene.http, "DELETE"), 0);
    assert_true(is_recorded(&scene, &image.diff_ids[0]));
    scene_close(&scene);
}

static void a_push_joins_what_is_under_way(void **state)
{
    (void)state;
    join(false);
}

static void a_push_keeps_what_it_waits_for(void **state)
{
    (void)state;
    join(true);
}

/* One blob, and what an index needs; not what is of another image, or goes elsewhere. */
static void what_nobody_needs_is_not_sent_on(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, FAKE_OPEN, NULL);
    http_double_stall(scene.http, "PUT");
    const struct made_image images[] = {push_test_image(scene.test, "ab", 4 << 20),
                                        push_test_image(scene.test, "c", 4 << 20)};
    const struct descriptor index = push_test_index(scene.test, images, 2);
    struct made_image other = push_test_image(scene.test, "d", 4 << 20);
    struct reference elsewhere = push_test_request(&index, scene.host, "other/app:1").target;
    for (size_t i = 0; i < 2; i++)
        send_layer(&scene, &images[0].layers[i], 4 << 20);
    send_layer(&scene, &images[1].layers[0], 4 << 20);
    send_layer(&scene, &other.layers[0], 4 << 20);
    WAIT_UNTIL(&scene, http_double_count(scene.http, "PUT " UPLOADS) == 4);
    early_uploads_end_image(scene.early, &elsewhere, &index);
    early_uploads_end(scene.early, &scene.target, &images[0].layers[0]);
    assert_int_equal(http_double_await(scene.http, "DELETE " UPLOADS, 1), 1);
    early_uploads_end_image(scene.early, &scene.target, &index);
    assert_int_equal(http_double_await(scene.http, "DELETE " UPLOADS, 3), 3);
    early_uploads_close(scene.early);
    assert_int_equal(http_double_await(scene.http, "DELETE " UPLOADS, 4), 4);
    assert_int_equal(http_double_count(scene.http, "POST " UPLOADS), 4);
    scene_close(&scene);
}

static void what_was_wrong_is_asked_for_again(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, FAKE_OPEN, NULL);
    struct made_image image = push_test_image(scene.test, "a", LAYER_BYTES);
    send_layer(&scene, &image.layers[0], LAYER_BYTES);
    WAIT_UNTIL(&scene, knows(&scene, &image.layers[0]));
    size_t heads = http_double_count(scene.http, "HEAD");
    repository_memory_forget(scene.upstream->memory, &scene.target);
    assert_false(knows(&scene, &image.layers[0]));
    assert_int_equal(push_with_known(&scene, &image.manifest), ERR_OK);
    assert_true(http_double_count(scene.http, "HEAD") > heads + 1);
    assert_true(knows(&scene, &image.layers[0]));
    scene_close(&scene);
}

static void credentials_are_those_of_the_target(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, FAKE_BEARER, "s3cret");
    struct made_image image = push_test_image(scene.test, "ab", LAYER_BYTES);
    send_layer(&scene, &image.layers[0], LAYER_BYTES);
    send_layer(&scene, &image.layers[1], LAYER_BYTES);
    WAIT_UNTIL(&scene, knows(&scene, &image.layers[0]) && knows(&scene, &image.layers[1]));
    assert_int_equal(fake_registry_tokens(scene.fake), 1);
    scene_close(&scene);
}

/* A layer that is known by its diffID from another repository is mounted from there. */
static void a_known_layer_is_mounted(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, FAKE_OPEN, NULL);
    struct made_image image = push_test_image(scene.test, "a", LAYER_BYTES);
    struct known_location seen = {.digest = image.layers[0]};
    struct error err = ERROR_INIT;
    snprintf(seen.source, sizeof seen.source, "%s/team/base", scene.host);
    assert_int_equal(known_locations_add(scene.test->store, &image.diff_ids[0], &seen, &err),
                     ERR_OK);
    fake_registry_rule(scene.fake, (struct fake_rule){"POST", UPLOADS, 1, .status = 201});
    send_layer(&scene, &image.layers[0], LAYER_BYTES);
    WAIT_UNTIL(&scene, knows(&scene, &image.layers[0]));
    assert_int_equal(http_double_count(scene.http, "POST " UPLOADS), 1);
    assert_int_equal(http_double_count(scene.http, "PUT"), 0);
    struct known_location_list *list = xcalloc(1, sizeof *list);
    assert_int_equal(known_locations_get(scene.test->store, &image.diff_ids[0], list, &err),
                     ERR_OK);
    assert_int_equal(list->count, 2);
    free(list);
    assert_int_equal(push_with_known(&scene, &image.manifest), ERR_OK);
    assert_int_equal(scene.test->result.layers.mounted, 1);
    assert_int_equal(scene.test->result.layers.existed, 0);
    scene_close(&scene);
}

/* So that a later push to another repository can mount it. */
static void a_push_records_the_diff_id(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, FAKE_OPEN, NULL);
    struct made_image image = push_test_image(scene.test, "a", LAYER_BYTES);
    send_layer(&scene, &image.layers[0], LAYER_BYTES);
    WAIT_UNTIL(&scene, knows(&scene, &image.layers[0]));
    assert_true(is_recorded(&scene, &image.layers[0]));
    assert_false(is_recorded(&scene, &image.diff_ids[0]));
    for (int i = 0; i < 2; i++) {
        assert_int_equal(push_with_known(&scene, &image.manifest), ERR_OK);
        assert_true(is_recorded(&scene, &image.diff_ids[0]));
    }
    struct digest layer;
    struct error err = ERROR_INIT;
    bool found = false;
    assert_int_equal(
        known_locations_layer(scene.test->store, &image.layers[0], &found, &layer, &err), ERR_OK);
    assert_true(found && digest_equal(&layer, &image.diff_ids[0]));
    scene_close(&scene);
}

/* --- what goes wrong --- */

static void a_refusal_is_only_a_blob_less(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, FAKE_OPEN, NULL);
    struct made_image image = push_test_image(scene.test, "ab", LAYER_BYTES);
    const struct digest unheld = digest_of(DIGEST_SHA256, "?", 1);
    fake_registry_rule(scene.fake, (struct fake_rule){"POST", UPLOADS, 1, .status = 403});
    send_layer(&scene, &image.layers[0], LAYER_BYTES);
    WAIT_UNTIL(&scene, http_double_count(scene.http, "POST " UPLOADS) == 1);
    send_layer(&scene, &unheld, LAYER_BYTES);
    send_layer(&scene, &image.layers[1], LAYER_BYTES);
    WAIT_UNTIL(&scene, knows(&scene, &image.layers[1]));
    assert_false(knows(&scene, &image.layers[0]));
    assert_int_equal(push_with_known(&scene, &image.manifest), ERR_OK);
    assert_int_equal(scene.test->result.layers.existed, 0);
    assert_int_equal(scene.test->result.layers.uploaded, 2);
    scene_close(&scene);
}

static void a_registry_that_is_away_costs_nothing(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, FAKE_OPEN, NULL);
    struct made_image image = push_test_image(scene.test, "a", LAYER_BYTES);
    const struct descriptor blob = blob_of(&image.layers[0], LAYER_BYTES);
    const struct descriptor none = {.size = 0};
    struct reference away = push_test_request(&none, "127.0.0.1:1", "team/app:1").target;
    struct reference nonsense = away;
    snprintf(nonsense.host, sizeof nonsense.host, "a b");
    int64_t start_ms = clock_ms();
    for (int i = 0; i < 100; i++) {
        early_upload(scene.early, &away, &blob, "");
        early_upload(scene.early, &nonsense, &blob, "");
    }
    send_layer(&scene, &image.layers[0], LAYER_BYTES);
    WAIT_UNTIL(&scene, knows(&scene, &image.layers[0]));
    scene_close(&scene);
    assert_in_range(clock_ms() - start_ms, 0, 10000);
}

/* Blobs that came before it was found to be away are dropped; those that come later ask again. */
static void what_waits_for_a_registry_that_is_away_is_dropped(void **state)
{
    (void)state;
    enum { BLOBS = 100 };
    struct scene scene;
    struct digest blobs[BLOBS];
    scene_open(&scene, FAKE_OPEN, NULL);
    fake_registry_rule(scene.fake,
                       (struct fake_rule){"GET", "/v2/", BLOBS, .drop = true, .hold = true});
    for (size_t i = 0; i < BLOBS; i++) {
        blobs[i] = digest_of(DIGEST_SHA256, &i, sizeof i);
        send_layer(&scene, &blobs[i], LAYER_BYTES);
    }
    WAIT_UNTIL(&scene, http_double_count(scene.http, "GET /v2/") == 1);
    fake_registry_release(scene.fake);
    struct made_image image = push_test_image(scene.test, "a", LAYER_BYTES);
    drain(&scene);
    /* One that took a place in the moment in which that was found out may have asked as well. */
    size_t asked = http_double_count(scene.http, "GET /v2/");
    assert_in_range(asked, 1, 5);
    /* What came in the same millisecond came before. */
    WAIT_UNTIL(&scene, clock_ms() > atomic_load(&host_of(&scene)->away_ms));
    send_layer(&scene, &image.layers[0], LAYER_BYTES);
    drain(&scene);
    assert_int_equal(http_double_count(scene.http, "GET /v2/"), asked + 1);
    assert_int_equal(http_double_count(scene.http, "POST"), 0);
    scene_close(&scene);
}

/* There may never have been a registry: a push waits for it, a blob alone does not. */
static void a_registry_that_says_later_is_not_waited_for(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, FAKE_OPEN, NULL);
    fake_registry_rule(scene.fake, (struct fake_rule){"GET", "/v2/", 1, .status = 500});
    host_of(&scene)->back_off.base_ms = 60000;
    struct made_image image = push_test_image(scene.test, "a", LAYER_BYTES);
    send_layer(&scene, &image.layers[0], LAYER_BYTES);
    drain(&scene);
    assert_false(knows(&scene, &image.layers[0]));
    assert_int_equal(http_double_count(scene.http, "GET /v2/"), 1);
    send_layer(&scene, &image.layers[0], LAYER_BYTES);
    WAIT_UNTIL(&scene, knows(&scene, &image.layers[0]));
    scene_close(&scene);
}

static void a_slow_registry_holds_up_no_other(void **state)
{
    (void)state;
    struct scene scene;
    struct fake_registry *slow = fake_registry_start(FAKE_OPEN);
    scene_open(&scene, FAKE_OPEN, NULL);
    fake_registry_rule(slow, (struct fake_rule){"GET", "/v2/", 1000, .hold = true});
    struct made_image image = push_test_image(scene.test, "abcdefgh", LAYER_BYTES);
    const struct descriptor none = {.size = 0};
    struct reference there =
        push_test_request(&none, fake_registry_host(slow), "team/app:1").target;
    for (size_t i = 0; i < 8; i++) {
        const struct descriptor blob = blob_of(&image.layers[i], LAYER_BYTES);
        early_upload(scene.early, &there, &blob, "");
    }
    for (size_t i = 0; i < 8; i++)
        send_layer(&scene, &image.layers[i], LAYER_BYTES);
    for (size_t i = 0; i < 8; i++)
        WAIT_UNTIL(&scene, knows(&scene, &image.layers[i]));
    assert_int_equal(http_double_count(fake_registry_http(slow), "PUT"), 0);
    early_uploads_close(scene.early);
    fake_registry_stop(slow);
    scene_close(&scene);
}

static void closing_takes_back_what_is_open(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene, FAKE_OPEN, NULL);
    http_double_stall(scene.http, "PUT");
    struct made_image image = push_test_image(scene.test, "abcdefgh", 4 << 20);
    for (size_t i = 0; i < 8; i++)
        send_layer(&scene, &image.layers[i], 4 << 20);
    WAIT_UNTIL(&scene, http_double_count(scene.http, "PUT " UPLOADS) == 5);
    int64_t start_ms = clock_ms();
    early_uploads_close(scene.early);
    assert_in_range(clock_ms() - start_ms, 0, 3000);
    assert_int_equal(http_double_count(scene.http, "POST " UPLOADS), 5);
    assert_int_equal(http_double_await(scene.http, "DELETE " UPLOADS, 5), 5);
    send_layer(&scene, &image.layers[0], 4 << 20);
    scene_close(&scene);
}

static size_t asked_for(struct scene *scene, const struct digest *digest)
{
    char text[DIGEST_TEXT_MAX];
    autofree char *line = xasprintf("HEAD /v2/team/app/blobs/%s", digest_text(digest, text));
    return http_double_count(scene->http, line);
}

/* Big blobs that the store does not hold are asked for, and then given up; one that is known costs
 * no request. */
static void so_many_wait_and_no_more(void **state)
{
    (void)state;
    enum { WORKING = 5 };
    struct scene scene;
    scene_open(&scene, FAKE_OPEN, NULL);
    struct made_image image = push_test_image(scene.test, "a", LAYER_BYTES);
    struct digest blobs[WORKING + 3];
    for (size_t i = 0; i < WORKING + 3; i++)
        blobs[i] = digest_of(DIGEST_SHA256, &i, sizeof i);
    send_layer(&scene, &image.layers[0], LAYER_BYTES);
    WAIT_UNTIL(&scene, knows(&scene, &image.layers[0]));
    fake_registry_rule(scene.fake,
                       (struct fake_rule){"HEAD", "/blobs/", WORKING, .status = 404, .hold = true});
    for (size_t i = 0; i < WORKING; i++) {
        send_layer(&scene, &blobs[i], 1 << 20);
        WAIT_UNTIL(&scene, asked_for(&scene, &blobs[i]) == 1);
    }
    for (size_t i = 0; i < EARLY_QUEUE_MAX - 1; i++)
        send_layer(&scene, &image.layers[0], LAYER_BYTES);
    send_layer(&scene, &blobs[WORKING], 1 << 20);
    send_layer(&scene, &blobs[WORKING + 1], 1 << 20);
    fake_registry_release(scene.fake);
    WAIT_UNTIL(&scene, asked_for(&scene, &blobs[WORKING]) == 1);
    send_layer(&scene, &blobs[WORKING + 2], 1 << 20);
    WAIT_UNTIL(&scene, asked_for(&scene, &blobs[WORKING + 2]) == 1);
    assert_int_equal(asked_for(&scene, &blobs[WORKING + 1]), 0);
    scene_close(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_sent_early_is_not_sent_by_the_push),
        cmocka_unit_test(a_push_joins_what_is_under_way),
        cmocka_unit_test(a_push_keeps_what_it_waits_for),
        cmocka_unit_test(what_nobody_needs_is_not_sent_on),
        cmocka_unit_test(what_was_wrong_is_asked_for_again),
        cmocka_unit_test(credentials_are_those_of_the_target),
        cmocka_unit_test(a_known_layer_is_mounted),
        cmocka_unit_test(a_push_records_the_diff_id),
        cmocka_unit_test(a_refusal_is_only_a_blob_less),
        cmocka_unit_test(a_registry_that_is_away_costs_nothing),
        cmocka_unit_test(what_waits_for_a_registry_that_is_away_is_dropped),
        cmocka_unit_test(a_registry_that_says_later_is_not_waited_for),
        cmocka_unit_test(a_slow_registry_holds_up_no_other),
        cmocka_unit_test(closing_takes_back_what_is_open),
        cmocka_unit_test(so_many_wait_and_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
