/* Two pushes at once to one repository of a registry double: what they share, and what happens when
 * one of them, or both, are cancelled. */
#include "base/clock.h"
#include "base/mem.h"
#include "tests/support/fake_registry.h"
#include "tests/support/push_test.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define LAYER_BYTES 5000
#define UPLOADS "/v2/team/app/blobs/uploads/"

struct pusher {
    struct push_test *test;
    const char *letters;
    struct push_request request;
    struct push_target result;
    struct cancel cancel;
    pthread_t thread;
    pthread_mutex_t lock;              /* guards what follows */
    char watched[8][DIGEST_SHORT_MAX]; /* layers whose bytes were told: it watches their transfer */
    size_t watched_count;
};

static void note(void *self, const struct progress_event *event)
{
    struct pusher *pusher = self;
    if (event->kind != PROGRESS_BYTES)
        return;
    pthread_mutex_lock(&pusher->lock);
    size_t i = 0;
    while (i < pusher->watched_count && strcmp(pusher->watched[i], event->id) != 0)
        i++;
    if (i == pusher->watched_count)
        strcpy(pusher->watched[pusher->watched_count++], event->id);
    pthread_mutex_unlock(&pusher->lock);
}

static void *run(void *arg)
{
    struct pusher *pusher = arg;
    const struct progress progress = {.emit = note, .self = pusher};
    push_test_one(pusher->test, &pusher->request, &progress, &pusher->cancel, &pusher->result);
    return NULL;
}

/* Two images that have their first layer in common. */
struct scene {
    struct push_test *test;
    struct fake_registry *fake;
    struct made_image images[2];
    struct pusher pushers[2];
};

static void wait_watching(struct pusher *pusher)
{
    for (bool watching = false; !watching; cancel_wait(&pusher->test->cancel, 2)) {
        pthread_mutex_lock(&pusher->lock);
        watching = pusher->watched_count == strlen(pusher->letters);
        pthread_mutex_unlock(&pusher->lock);
    }
}

static size_t requests(struct scene *scene, const char *prefix)
{
    return http_double_count(fake_registry_http(scene->fake), prefix);
}

/* Both watch the transfers of all their layers, none of which can end: the answers are held. */
static struct scene *scene_new(const char *first, const char *second)
{
    struct scene *scene = xcalloc(1, sizeof *scene);
    scene->test = push_test_new(NULL);
    scene->fake = fake_registry_start(FAKE_OPEN);
    const char *host = fake_registry_host(scene->fake);
    push_test_upstream(scene->test, host);
    fake_registry_rule(scene->fake,
                       (struct fake_rule){"PUT", UPLOADS, 1000, .effect = true, .hold = true});
    const char *const letters[] = {first, second};
    const char *const names[] = {"team/app:1", "team/app:2"};
    for (int i = 0; i < 2; i++) {
        struct pusher *pusher = &scene->pushers[i];
        scene->images[i] = push_test_image(scene->test, letters[i], LAYER_BYTES);
        pusher->test = scene->test;
        pusher->letters = letters[i];
        pusher->request = push_test_request(&scene->images[i].manifest, host, names[i]);
        cancel_init(&pusher->cancel);
        pthread_mutex_init(&pusher->lock, NULL);
        pthread_create(&pusher->thread, NULL, run, pusher);
    }
    for (int i = 0; i < 2; i++)
        wait_watching(&scene->pushers[i]);
    return scene;
}

static void expect_end(struct scene *scene, int which, enum errc want)
{
    struct pusher *pusher = &scene->pushers[which];
    pthread_join(pusher->thread, NULL);
    if (pusher->result.error.code != want)
        fail_msg("push %d: %s", which, pusher->result.error.text);
    if (want == ERR_OK)
        assert_true(digest_equal(&pusher->result.digest, &scene->images[which].manifest.digest));
}

static void scene_free(struct scene *scene)
{
    for (int i = 0; i < 2; i++) {
        cancel_deinit(&scene->pushers[i].cancel);
        pthread_mutex_destroy(&scene->pushers[i].lock);
    }
    fake_registry_stop(scene->fake);
    push_test_free(scene->test);
    free(scene);
}

static void test_each_blob_is_sent_once(void **state)
{
    (void)state;
    struct scene *scene = scene_new("abc", "abd");
    fake_registry_release(scene->fake);
    expect_end(scene, 0, ERR_OK);
    expect_end(scene, 1, ERR_OK);
    /* Four layers and two configs. */
    assert_int_equal(requests(scene, "POST " UPLOADS), 6);
    assert_int_equal(requests(scene, "PUT " UPLOADS), 6);
    assert_int_equal(requests(scene, "DELETE "), 0);
    unsigned uploaded = 0;
    unsigned existed = 0;
    for (int i = 0; i < 2; i++) {
        uploaded += scene->pushers[i].result.layers.uploaded;
        existed += scene->pushers[i].result.layers.existed;
        assert_int_equal(scene->pushers[i].result.attempts, 1);
    }
    assert_int_equal(uploaded, 4);
    assert_int_equal(existed, 2);
    scene_free(scene);
}

static void test_the_same_image_under_two_tags(void **state)
{
    (void)state;
    struct scene *scene = scene_new("ab", "ab");
    fake_registry_release(scene->fake);
    expect_end(scene, 0, ERR_OK);
    expect_end(scene, 1, ERR_OK);
    assert_int_equal(requests(scene, "PUT " UPLOADS), 3);
    assert_true(fake_registry_has(scene->fake, "manifests/1"));
    assert_true(fake_registry_has(scene->fake, "manifests/2"));
    scene_free(scene);
}

static void test_cancelling_one(void **state)
{
    (void)state;
    for (int cancelled = 0; cancelled < 2; cancelled++) {
        struct scene *scene = scene_new("ab", "ab");
        int64_t start_ms = clock_ms();
        cancel_request(&scene->pushers[cancelled].cancel);
        expect_end(scene, cancelled, ERR_CANCELLED);
        assert_in_range(clock_ms() - start_ms, 0, 1000);
        assert_int_equal(requests(scene, "DELETE "), 0);
        fake_registry_release(scene->fake);
        expect_end(scene, !cancelled, ERR_OK);
        assert_int_equal(requests(scene, "PUT " UPLOADS), 3);
        assert_int_equal(scene->pushers[!cancelled].result.attempts, 1);
        assert_int_equal(scene->pushers[!cancelled].result.layers.uploaded, 2);
        scene_free(scene);
    }
}

static void test_cancelling_both(void **state)
{
    (void)state;
    struct scene *scene = scene_new("ab", "ab");
    struct http_double *http = fake_registry_http(scene->fake);
    assert_int_equal(http_double_await(http, "PUT " UPLOADS, 3), 3); /* two layers, a config */
    int64_t start_ms = clock_ms();
    cancel_request(&scene->pushers[0].cancel);
    cancel_request(&scene->pushers[1].cancel);
    expect_end(scene, 0, ERR_CANCELLED);
    expect_end(scene, 1, ERR_CANCELLED);
    assert_in_range(clock_ms() - start_ms, 0, 1000);
    assert_int_equal(requests(scene, "POST " UPLOADS), 3);
    assert_int_equal(http_double_await(http, "DELETE " UPLOADS, 3), 3);
    assert_int_equal(requests(scene, "PUT /v2/team/app/manifests/"), 0);
    scene_free(scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_blob_is_sent_once),
        cmocka_unit_test(test_the_same_image_under_two_tags),
        cmocka_unit_test(test_cancelling_one),
        cmocka_unit_test(test_cancelling_both),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
