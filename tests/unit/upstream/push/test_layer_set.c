#include "upstream/push/layer_set.h"

#include "base/clock.h"
#include "base/mem.h"
#include "store/known_locations.h"
#include "tests/support/push_test.h"
#include "tests/support/transfer_box.h"
#include "upstream/client/registry_host.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define HOST "127.0.0.1:1"
#define LAYERS_MAX 16
#define WINDOW 5
#define WAIT_MS 20000

/* A push to team/app, its layers "a", "b", ..., and how often it was woken. */
struct scene {
    struct push_test *test;
    struct registry_credentials credentials;
    struct repository repository;
    struct target_push push;
    struct push_target result;
    struct progress progress;
    struct descriptor blobs[LAYERS_MAX];
    struct push_layer layers[LAYERS_MAX];
    size_t count;
    struct layer_set *set;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    unsigned woken;
    char events[8192];
};

static void record(void *self, const struct progress_event *event)
{
    struct scene *scene = self;
    pthread_mutex_lock(&scene->lock);
    size_t used = strlen(scene->events);
    if (event->kind != PROGRESS_BYTES)
        snprintf(scene->events + used, sizeof scene->events - used, "%s %s\n", event->id,
                 event->status);
    pthread_mutex_unlock(&scene->lock);
}

static void wake(void *self)
{
    struct scene *scene = self;
    pthread_mutex_lock(&scene->lock);
    scene->woken++;
    pthread_cond_signal(&scene->changed);
    pthread_mutex_unlock(&scene->lock);
}

/* A letter a layer, upper case for a foreign one; its diffID is that of the letter. */
static struct scene *scene_new(const char *letters)
{
    struct scene *scene = xcalloc(1, sizeof *scene);
    struct registry_host *host = NULL;
    struct error err = ERROR_INIT;
    scene->test = push_test_new(NULL);
    scene->progress = (struct progress){.emit = record, .self = scene};
    pthread_mutex_init(&scene->lock, NULL);
    clock_cond_init(&scene->changed);
    struct upstream *upstream = push_test_upstream(scene->test, HOST);
    assert_int_equal(registries_host(upstream->registries, HOST, &host, &err), ERR_OK);
    host->window = WINDOW;
    repository_init(&scene->repository, &host->endpoints[0], "team/app", &scene->credentials);
    target_push_init(&scene->push, scene->test->store, &scene->repository, &scene->progress,
                     "target", &scene->test->cancel, &scene->result);
    for (; letters[scene->count]; scene->count++) {
        size_t i = scene->count;
        const char content[] = {letters[i], '!'};
        scene->blobs[i].digest = digest_of(DIGEST_SHA256, content, 2);
        scene->blobs[i].size = TRANSFER_BOX_BYTES;
        scene->blobs[i].foreign = letters[i] < 'a';
        scene->layers[i].blob = &scene->blobs[i];
        scene->layers[i].layer = digest_of(DIGEST_SHA256, content, 1);
        digest_short(&scene->layers[i].layer, scene->layers[i].id);
    }
    return scene;
}

/* The first `distinct` layers are. */
static void begin(struct scene *scene, size_t distinct)
{
    const struct layer_set_waker waker = {.wake = wake, .self = scene};
    scene->set = layer_set_new(&scene->push, scene->test->upstream->transfers, scene->layers,
                               scene->count, distinct, transfer_box_attempt, waker);
}

static void scene_free(struct scene *scene)
{
    layer_set_free(scene->set);
    target_push_deinit(&scene->push);
    repository_deinit(&scene->repository);
    push_test_free(scene->test);
    pthread_cond_destroy(&scene->changed);
    pthread_mutex_destroy(&scene->lock);
    free(scene);
}

static void await_wake(struct scene *scene)
{
    struct timespec until = clock_deadline(WAIT_MS);
    int rc = 0;
    pthread_mutex_lock(&scene->lock);
    while (scene->woken == 0 && rc == 0)
        rc = pthread_cond_timedwait(&scene->changed, &scene->lock, &until);
    scene->woken = 0;
    pthread_mutex_unlock(&scene->lock);
    assert_int_equal(rc, 0);
}

static enum layer_set_state advance_to_the_end(struct scene *scene)
{
    enum layer_set_state state;
    while ((state = layer_set_advance(scene->set)) == LAYER_SET_WAITS)
        await_wake(scene);
    return state;
}

static void expect_layers(const struct scene *scene, unsigned existed, unsigned uploaded,
                          unsigned skipped)
{
    assert_int_equal(scene->result.layers.existed, existed);
    assert_int_equal(scene->result.layers.uploaded, uploaded);
    assert_int_equal(scene->result.layers.skipped, skipped);
    assert_int_equal(scene->result.layers.mounted, 0);
    assert_int_equal(scene->result.bytes_uploaded, uploaded * TRANSFER_BOX_BYTES);
}

/* How often the layer was told this. */
static unsigned told(struct scene *scene, size_t layer, const char *words)
{
    autofree char *line = xasprintf("%s %s\n", scene->layers[layer].id, words);
    unsigned count = 0;
    pthread_mutex_lock(&scene->lock);
    for (const char *at = scene->events; (at = strstr(at, line)); at++)
        count++;
    pthread_mutex_unlock(&scene->lock);
    return count;
}

static size_t known_places(struct scene *scene, size_t layer)
{
    struct error err = ERROR_INIT;
    autofree struct known_location_list *list = xcalloc(1, sizeof *list);
    assert_int_equal(
        known_locations_get(scene->test->store, &scene->layers[layer].layer, list, &err), ERR_OK);
    return list->count;
}

/* --- the way it goes --- */

static void so_many_are_under_way_and_no_more(void **state)
{
    (void)state;
    struct scene *scene = scene_new("abcdefghijkl");
    transfer_box_reset(true);
    begin(scene, 12);
    assert_int_equal(layer_set_advance(scene->set), LAYER_SET_WAITS);
    transfer_box_wait_calls(WINDOW);
    assert_int_equal(layer_set_advance(scene->set), LAYER_SET_WAITS);
    /* The others did not even queue: nothing is told of a wait. */
    for (size_t i = 0; i < 12; i++)
        assert_int_equal(told(scene, i, "Waiting"), 0);
    assert_int_equal(transfer_box_calls(), WINDOW);
    transfer_box_release();
    assert_int_equal(advance_to_the_end(scene), LAYER_SET_DONE);
    assert_int_equal(layer_set_advance(scene->set), LAYER_SET_DONE);
    assert_int_equal(transfer_box.calls, 12);
    assert_int_equal(transfer_box.most, WINDOW);
    expect_layers(scene, 0, 12, 0);
    assert_int_equal(scene->result.attempts, 1);
    for (size_t i = 0; i < 12; i++) {
        assert_int_equal(told(scene, i, "Pushed"), 1);
        assert_int_equal(known_places(scene, i), 1);
    }
    scene_free(scene);
}

static void nothing_is_done_at_once(void **state)
{
    (void)state;
    struct scene *scene = scene_new("");
    transfer_box_reset(true);
    begin(scene, 0);
    assert_int_equal(layer_set_advance(scene->set), LAYER_SET_DONE);
    scene_free(scene);
}

static void repetitions_find_their_blob_there(void **state)
{
    (void)state;
    struct scene *scene = scene_new("abcaab");
    transfer_box_reset(true);
    begin(scene, 3);
    assert_int_equal(layer_set_advance(scene->set), LAYER_SET_WAITS);
    transfer_box_wait_calls(3);
    transfer_box_release();
    assert_int_equal(advance_to_the_end(scene), LAYER_SET_DONE);
    assert_int_equal(transfer_box.calls, 3);
    expect_layers(scene, 3, 3, 0);
    assert_int_equal(told(scene, 0, "Pushed"), 1);
    assert_int_equal(told(scene, 0, "Layer already exists"), 2);
    assert_int_equal(told(scene, 1, "Layer already exists"), 1);
    scene_free(scene);
}

static void what_is_settled_needs_no_transfer(void **state)
{
    (void)state;
    struct scene *scene = scene_new("aFb");
    transfer_box_reset(false);
    target_push_learn(&scene->push, &scene->blobs[0].digest);
    target_push_learn(&scene->push, &scene->blobs[2].digest);
    begin(scene, 3);
    assert_int_equal(layer_set_advance(scene->set), LAYER_SET_DONE);
    assert_int_equal(transfer_box.calls, 0);
    expect_layers(scene, 2, 0, 1);
    assert_int_equal(told(scene, 0, "Layer already exists"), 1);
    assert_int_equal(told(scene, 1, "Skipped foreign layer"), 1);
    /* What another push brought there, without its diffID say, is remembered under it. */
    assert_int_equal(known_places(scene, 0), 1);
    assert_int_equal(known_places(scene, 1), 0);
    scene_free(scene);
}

static void what_came_of_a_layer_is_told_and_counted(void **state)
{
    (void)state;
    static const struct {
        enum layer_end end;
        const char *source;
        const char *words;
    } cases[] = {
        {LAYER_EXISTED, "", "Layer already exists"},
        {LAYER_MOUNTED, "team/base", "Mounted from team/base"},
        {LAYER_UPLOADED, "", "Pushed"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct scene *scene = scene_new("a");
        transfer_box_reset(false);
        transfer_box.end = cases[i].end;
        transfer_box.source = cases[i].source;
        begin(scene, 1);
        assert_int_equal(advance_to_the_end(scene), LAYER_SET_DONE);
        assert_int_equal(told(scene, 0, cases[i].words), 1);
        const struct push_layers *layers = &scene->result.layers;
        assert_int_equal(layers->existed, cases[i].end == LAYER_EXISTED);
        assert_int_equal(layers->mounted, cases[i].end == LAYER_MOUNTED);
        assert_int_equal(layers->uploaded, cases[i].end == LAYER_UPLOADED);
        scene_free(scene);
    }
}

/* A blob without a name (a config) counts as bytes only. */
static void a_blob_without_a_name_is_no_layer(void **state)
{
    (void)state;
    for (int known = 0; known < 2; known++) {
        struct scene *scene = scene_new("a");
        transfer_box_reset(false);
        scene->layers[0].id[0] = '\0';
        if (known)
            target_push_learn(&scene->push, &scene->blobs[0].digest);
        begin(scene, 1);
        assert_int_equal(advance_to_the_end(scene), LAYER_SET_DONE);
        assert_int_equal(transfer_box.calls, !known);
        assert_int_equal(scene->result.layers.existed + scene->result.layers.uploaded, 0);
        assert_int_equal(scene->result.bytes_uploaded, known ? 0 : TRANSFER_BOX_BYTES);
        assert_string_equal(scene->events, "");
        assert_int_equal(known_places(scene, 0), 0);
        scene_free(scene);
    }
}

static void attempts_are_counted(void **state)
{
    (void)state;
    char id[DIGEST_SHORT_MAX];
    struct scene *scene = scene_new("abc");
    transfer_box_reset(false);
    transfer_box.fails_only = digest_short(&scene->blobs[1].digest, id);
    transfer_box.fail_first = 3;
    /* Waits that a loaded machine does not miss: each is told as long as it lasts. */
    scene->repository.endpoint->host->back_off.base_ms = 100;
    begin(scene, 3);
    assert_int_equal(advance_to_the_end(scene), LAYER_SET_DONE);
    assert_in_range(scene->result.attempts, 2, 4); /* the calls of the others count as well */
    assert_int_equal(transfer_box.calls, 3 + scene->result.attempts - 1);
    expect_layers(scene, 0, 3, 0);
    assert_true(told(scene, 1, "Retrying in 1 second") >= 1);
    assert_int_equal(told(scene, 1, "Image push failed"), 0);
    scene_free(scene);
}

/* --- failing and leaving --- */

static void a_failure_ends_the_others(void **state)
{
    (void)state;
    char id[DIGEST_SHORT_MAX];
    struct scene *scene = scene_new("abcdefghijkl");
    transfer_box_reset(true);
    transfer_box.fails_only = digest_short(&scene->blobs[2].digest, id);
    transfer_box.fail_first = UINT32_MAX;
    transfer_box.fails_with = ERR_DENIED;
    begin(scene, 12);
    int64_t start_ms = clock_ms();
    assert_int_equal(advance_to_the_end(scene), LAYER_SET_FAILED);
    assert_in_range(clock_ms() - start_ms, 0, 5000);
    assert_int_equal(scene->push.failure.code, ERR_DENIED);
    assert_true(cancel_requested(&scene->push.cancel));
    assert_int_equal(layer_set_advance(scene->set), LAYER_SET_FAILED);
    /* Those under way may have begun; the others never do. */
    assert_in_range(transfer_box.calls, 1, WINDOW);
    assert_int_equal(transfer_box.now, 0);
    expect_layers(scene, 0, 0, 0);
    for (size_t i = 0; i < 12; i++)
        assert_int_equal(told(scene, i, "Image push failed"), i == 2);
    scene_free(scene);
}

/* One at a time: the next one does not begin when the failure is taken. */
static void nothing_begins_after_a_failure(void **state)
{
    (void)state;
    char id[DIGEST_SHORT_MAX];
    struct scene *scene = scene_new("ab");
    struct registry_host *host = scene->repository.endpoint->host;
    host->window = 1;
    transfer_box_reset(false);
    transfer_box.fails_only = digest_short(&scene->blobs[0].digest, id);
    transfer_box.fail_first = UINT32_MAX;
    transfer_box.fails_with = ERR_DENIED;
    begin(scene, 2);
    assert_int_equal(layer_set_advance(scene->set), LAYER_SET_WAITS);
    await_wake(scene);
    assert_int_equal(layer_set_advance(scene->set), LAYER_SET_FAILED); /* nothing to wait for */
    assert_int_equal(transfer_box.calls, 1);
    scene_free(scene);
}

static void a_set_that_is_left_ends(void **state)
{
    (void)state;
    struct scene *scene = scene_new("abcdefgh");
    transfer_box_reset(true);
    begin(scene, 8);
    assert_int_equal(layer_set_advance(scene->set), LAYER_SET_WAITS);
    transfer_box_wait_calls(WINDOW);
    int64_t start_ms = clock_ms();
    while (!layer_set_leave(scene->set))
        await_wake(scene);
    assert_in_range(clock_ms() - start_ms, 0, 5000);
    assert_int_equal(transfer_box.calls, WINDOW);
    assert_int_equal(transfer_box.cancelled, WINDOW);
    assert_int_equal(scene->push.failure.code, ERR_CANCELLED);
    assert_int_equal(layer_set_advance(scene->set), LAYER_SET_FAILED);
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(told(scene, i, "Image push failed"), 0);
    scene_free(scene);
}

static void a_set_that_has_not_begun_is_left_at_once(void **state)
{
    (void)state;
    struct scene *scene = scene_new("ab");
    transfer_box_reset(false);
    begin(scene, 2);
    assert_true(layer_set_leave(scene->set));
    assert_int_equal(transfer_box.calls, 0);
    scene_free(scene);
}

/* --- the last wake --- */

struct last_wake {
    struct scene *scene;
    struct cancel entered; /* used as signals */
    struct cancel ended;
    pthread_t owner;
};

/* As the owner of a set does it: with the end of its last blob, the set goes. */
static void *end_set(void *arg)
{
    struct last_wake *last = arg;
    cancel_wait(&last->entered, WAIT_MS);
    assert_int_equal(layer_set_advance(last->scene->set), LAYER_SET_DONE);
    layer_set_free(last->scene->set);
    last->scene->set = NULL;
    cancel_request(&last->ended);
    return NULL;
}

static void take_time(void *self)
{
    struct last_wake *last = self;
    cancel_request(&last->entered);
    assert_false(cancel_wait(&last->ended, 50));
}

/* What is woken may be gone with the set: the end is not there to be taken before that is over. */
static void an_end_is_not_taken_before_its_wake_is_over(void **state)
{
    (void)state;
    struct last_wake last = {.scene = scene_new("a")};
    const struct layer_set_waker waker = {.wake = take_time, .self = &last};
    struct scene *scene = last.scene;
    transfer_box_reset(true);
    cancel_init(&last.entered);
    cancel_init(&last.ended);
    scene->set = layer_set_new(&scene->push, scene->test->upstream->transfers, scene->layers, 1, 1,
                               transfer_box_attempt, waker);
    assert_int_equal(layer_set_advance(scene->set), LAYER_SET_WAITS);
    pthread_create(&last.owner, NULL, end_set, &last);
    transfer_box_release();
    pthread_join(last.owner, NULL);
    cancel_deinit(&last.entered);
    cancel_deinit(&last.ended);
    scene_free(scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(so_many_are_under_way_and_no_more),
        cmocka_unit_test(nothing_is_done_at_once),
        cmocka_unit_test(repetitions_find_their_blob_there),
        cmocka_unit_test(what_is_settled_needs_no_transfer),
        cmocka_unit_test(what_came_of_a_layer_is_told_and_counted),
        cmocka_unit_test(a_blob_without_a_name_is_no_layer),
        cmocka_unit_test(attempts_are_counted),
        cmocka_unit_test(a_failure_ends_the_others),
        cmocka_unit_test(nothing_begins_after_a_failure),
        cmocka_unit_test(a_set_that_is_left_ends),
        cmocka_unit_test(a_set_that_has_not_begun_is_left_at_once),
        cmocka_unit_test(an_end_is_not_taken_before_its_wake_is_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
