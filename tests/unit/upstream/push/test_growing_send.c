#include "upstream/push/growing_send.h"

#include "base/clock.h"
#include "store/blob.h"
#include "tests/support/fake_registry.h"
#include "tests/support/push_test.h"
#include "upstream/client/registry_host.h"
#include "upstream/push/early_upload.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define LAYER_BYTES 200000 /* not so small that it is not asked for */
#define PIECE_BYTES 40000
#define UPLOADS "/v2/team/app/blobs/uploads/"
#define WAIT_MS 20000

/* A layer on its way into a store, and into team/app of a registry. */
struct scene {
    struct push_test *test;
    struct fake_registry *fake;
    struct http_double *http;
    struct upstream *upstream;
    struct early_uploads *early;
    struct reference target;
    struct made_image image;
    struct descriptor layer;
    struct growing_blob *growing;
};

static struct registry_host *host_of(struct scene *scene)
{
    struct registry_host *host = NULL;
    struct error err = ERROR_INIT;
    const char *name = fake_registry_host(scene->fake);
    assert_int_equal(registries_host(scene->upstream->registries, name, &host, &err), ERR_OK);
    return host;
}

/* Its file is the whole one already: how much of it counts, the test says. */
static void scene_open(struct scene *scene)
{
    struct blob blob = BLOB_INIT;
    struct error err = ERROR_INIT;
    scene->test = push_test_new(NULL);
    scene->fake = fake_registry_start(FAKE_OPEN);
    scene->http = fake_registry_http(scene->fake);
    scene->upstream = push_test_upstream(scene->test, fake_registry_host(scene->fake));
    scene->early = early_uploads_new(scene->upstream);
    scene->image = push_test_image(scene->test, "a", LAYER_BYTES);
    scene->target =
        push_test_request(&scene->image.manifest, fake_registry_host(scene->fake), "team/app:1")
            .target;
    scene->layer = (struct descriptor){.digest = scene->image.layers[0], .size = LAYER_BYTES};
    host_of(scene)->uploads.chunk_bytes = PIECE_BYTES;
    assert_int_equal(blob_open(scene->test->store, &scene->layer.digest, &blob, &err), ERR_OK);
    scene->growing = growing_blob_new(blob.fd);
    early_upload_growing(scene->early, &scene->target, scene->growing, "");
}

static void scene_close(struct scene *scene)
{
    growing_blob_release(scene->growing);
    early_uploads_close(scene->early);
    early_uploads_free(scene->early);
    fake_registry_stop(scene->fake);
    push_test_free(scene->test);
}

static enum errc push_image(struct scene *scene)
{
    struct push_request request =
        push_test_request(&scene->image.manifest, fake_registry_host(scene->fake), "team/app:1");
    request.remembers = true;
    return push_test_one(scene->test, &request, NULL, &scene->test->cancel, &scene->test->result);
}

static size_t count(struct scene *scene, const char *requests)
{
    return http_double_count(scene->http, requests);
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

/* Two pieces are there; so much of it counts. */
static void let_two_pieces_go(struct scene *scene)
{
    growing_blob_grew(scene->growing, PIECE_BYTES - 1);
    growing_blob_grew(scene->growing, 1);
    WAIT_UNTIL(scene, count(scene, "PATCH " UPLOADS) == 1);
    growing_blob_grew(scene->growing, PIECE_BYTES + 1);
    WAIT_UNTIL(scene, count(scene, "PATCH " UPLOADS) == 2);
}

static void pieces_go_while_it_grows_and_the_push_sends_no_more(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene);
    let_two_pieces_go(&scene);
    assert_int_equal(count(&scene, "POST " UPLOADS), 1);
    growing_blob_grew(scene.growing, LAYER_BYTES - 2 * PIECE_BYTES - 1);
    growing_blob_ended(scene.growing, &scene.layer);
    growing_blob_await(scene.growing, &scene.test->cancel);
    if (push_image(&scene) != ERR_OK)
        fail_msg("%s", scene.test->result.error.text);
    /* The config has a session of its own; the layer's bytes went once, in one session. */
    assert_int_equal(count(&scene, "POST " UPLOADS), 2);
    assert_int_equal(count(&scene, "PUT " UPLOADS), 2);
    assert_int_equal(count(&scene, "DELETE"), 0);
    assert_int_equal(scene.test->result.layers.uploaded, 1);
    assert_int_equal(scene.test->result.layers.existed, 0);
    scene_close(&scene);
}

/* Whether it was worth it can be asked only in the end. */
static void what_is_there_is_not_sent_to_its_end(void **state)
{
    (void)state;
    struct scene scene;
    char text[DIGEST_TEXT_MAX];
    scene_open(&scene);
    fake_registry_put(scene.fake, digest_text(&scene.layer.digest, text), "200000");
    let_two_pieces_go(&scene);
    growing_blob_ended(scene.growing, &scene.layer);
    growing_blob_await(scene.growing, &scene.test->cancel);
    assert_int_equal(push_image(&scene), ERR_OK);
    WAIT_UNTIL(&scene, count(&scene, "DELETE " UPLOADS) == 1);
    assert_int_equal(count(&scene, "PUT " UPLOADS), 1); /* the config */
    scene_close(&scene);
}

static void nothing_stays_of_one_that_broke(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene);
    let_two_pieces_go(&scene);
    growing_blob_ended(scene.growing, NULL);
    growing_blob_await(scene.growing, &scene.test->cancel);
    WAIT_UNTIL(&scene, count(&scene, "DELETE " UPLOADS) == 1);
    assert_int_equal(count(&scene, "PUT"), 0);
    scene_close(&scene);
}

static void a_stop_takes_the_session_back(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene);
    let_two_pieces_go(&scene);
    early_uploads_close(scene.early);
    assert_int_equal(count(&scene, "DELETE " UPLOADS), 1);
    growing_blob_await(scene.growing, &scene.test->cancel);
    scene_close(&scene);
}

/* It goes when it is whole, and a second one is not tried in pieces. */
static void a_registry_that_takes_no_pieces_gets_it_whole(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene);
    fake_registry_rule(scene.fake, (struct fake_rule){"PATCH", UPLOADS, 9, .status = 405});
    growing_blob_grew(scene.growing, PIECE_BYTES);
    WAIT_UNTIL(&scene, count(&scene, "DELETE " UPLOADS) == 1);
    growing_blob_grew(scene.growing, LAYER_BYTES - PIECE_BYTES);
    growing_blob_ended(scene.growing, &scene.layer);
    growing_blob_await(scene.growing, &scene.test->cancel);
    assert_int_equal(push_image(&scene), ERR_OK);
    assert_int_equal(count(&scene, "PATCH"), 1);
    assert_int_equal(count(&scene, "PUT " UPLOADS), 2);
    struct growing_blob *second = growing_blob_new(dup(growing_blob_fd(scene.growing)));
    early_upload_growing(scene.early, &scene.target, second, "");
    growing_blob_grew(second, LAYER_BYTES);
    growing_blob_ended(second, NULL);
    growing_blob_await(second, &scene.test->cancel);
    growing_blob_release(second);
    assert_int_equal(count(&scene, "PATCH"), 1);
    scene_close(&scene);
}

/* A connection that breaks says nothing of pieces. */
static void trouble_leaves_it_to_the_end(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene);
    fake_registry_rule(scene.fake, (struct fake_rule){"PATCH", UPLOADS, 1, .drop = true});
    growing_blob_grew(scene.growing, 2 * PIECE_BYTES);
    WAIT_UNTIL(&scene, count(&scene, "DELETE " UPLOADS) == 1);
    assert_false(atomic_load(&host_of(&scene)->no_pieces));
    growing_blob_ended(scene.growing, &scene.layer);
    growing_blob_await(scene.growing, &scene.test->cancel);
    assert_int_equal(push_image(&scene), ERR_OK);
    assert_int_equal(count(&scene, "PATCH"), 1);
    scene_close(&scene);
}

/* What its digest says is another push's transfer already: the session is not needed. */
static void a_transfer_of_the_same_blob_is_joined(void **state)
{
    (void)state;
    struct scene scene;
    scene_open(&scene);
    let_two_pieces_go(&scene);
    fake_registry_rule(scene.fake,
                       (struct fake_rule){"PUT", UPLOADS, 1, .effect = true, .hold = true});
    early_upload(scene.early, &scene.target, &scene.layer, "");
    WAIT_UNTIL(&scene, count(&scene, "PUT " UPLOADS) == 1);
    growing_blob_ended(scene.growing, &scene.layer);
    growing_blob_await(scene.growing, &scene.test->cancel);
    fake_registry_release(scene.fake);
    WAIT_UNTIL(&scene, count(&scene, "DELETE " UPLOADS) == 1);
    assert_int_equal(push_image(&scene), ERR_OK);
    assert_int_equal(count(&scene, "PUT " UPLOADS), 2);
    scene_close(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_go_while_it_grows_and_the_push_sends_no_more),
        cmocka_unit_test(what_is_there_is_not_sent_to_its_end),
        cmocka_unit_test(nothing_stays_of_one_that_broke),
        cmocka_unit_test(a_stop_takes_the_session_back),
        cmocka_unit_test(a_registry_that_takes_no_pieces_gets_it_whole),
        cmocka_unit_test(trouble_leaves_it_to_the_end),
        cmocka_unit_test(a_transfer_of_the_same_blob_is_joined),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
