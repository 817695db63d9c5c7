/*
 * What real registries cannot be made to do, and what a start knows;
 * tests/integration/test_confirm.py has the rest.
 */
#include "gateway/registry/confirm.h"

#include "base/clock.h"
#include "base/mem.h"
#include "gateway/queue/push_targets.h"
#include "tests/support/queue_test.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define CONFIRM_MS 60000
#define HEAD "HEAD /v2/team/app/manifests/1"

/* The front has team/app:1, and its target is the double's team/app. */
struct bench {
    struct queue_test *test;
    struct confirms *confirms;
    struct made_image image;
    struct repository_manifest manifest;
    struct mirror_route route;
    struct confirm_question question;
};

static void put_in_front(struct bench *bench)
{
    struct error err = ERROR_INIT;
    const struct manifest_entry entry = {
        .repository = "team/app", .tag = "1", .manifest = bench->manifest};
    struct batch *batch = batch_begin(bench->test->runtime.store, BATCH_DURABLE);
    batch_put_manifest(batch, &entry);
    if (batch_commit(batch, &err) != ERR_OK)
        fail_msg("%s", err.text);
}

static int set_up(void **state)
{
    struct bench *bench = xcalloc(1, sizeof *bench);
    struct error err = ERROR_INIT;
    bench->test = queue_test_new();
    bench->image = push_test_image(bench->test->push, "ab", 1000);
    bench->manifest.digest = bench->image.manifest.digest;
    bench->manifest.size = bench->image.manifest.size;
    memcpy(bench->manifest.media_type, bench->image.manifest.media_type, MEDIA_TYPE_MAX);
    put_in_front(bench);
    bench->route.confirm_ms = CONFIRM_MS;
    bench->route.count = 1;
    autofree char *target = xasprintf("%s/team/app", bench->test->host);
    assert_int_equal(reference_parse(target, &bench->route.targets[0].repository, &err), ERR_OK);
    bench->question = (struct confirm_question){
        .repository = "team/app", .tag = "1", .manifest = &bench->manifest, .route = &bench->route};
    bench->confirms = confirms_new(&bench->test->runtime, bench->test->queue);
    *state = bench;
    return 0;
}

static int tear_down(void **state)
{
    struct bench *bench = *state;
    fake_registry_release(bench->test->registry);
    confirms_close(bench->confirms);
    push_queue_close(bench->test->queue);
    queue_test_idle(bench->test);
    confirms_free(bench->confirms);
    queue_test_free(bench->test);
    free(bench);
    return 0;
}

struct waiting {
    struct confirm_waiter waiter;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool ended;
    struct error error;
};

static void on_end(struct confirm_waiter *waiter, const struct error *err)
{
    struct waiting *waiting = (struct waiting *)waiter;
    pthread_mutex_lock(&waiting->lock);
    waiting->ended = true;
    waiting->error = *err;
    pthread_cond_signal(&waiting->changed);
    pthread_mutex_unlock(&waiting->lock);
}

static void begin(struct bench *bench, struct waiting *waiting)
{
    *waiting = (struct waiting){.waiter = {.ended = on_end}};
    pthread_mutex_init(&waiting->lock, NULL);
    pthread_cond_init(&waiting->changed, NULL);
    confirm_begin(bench->confirms, &bench->question, &waiting->waiter);
}

static enum errc end(struct waiting *waiting)
{
    pthread_mutex_lock(&waiting->lock);
    while (!waiting->ended)
        pthread_cond_wait(&waiting->changed, &waiting->lock);
    pthread_mutex_unlock(&waiting->lock);
    pthread_mutex_destroy(&waiting->lock);
    pthread_cond_destroy(&waiting->changed);
    return waiting->error.code;
}

static enum errc ask(struct bench *bench)
{
    struct waiting waiting;
    begin(bench, &waiting);
    return end(&waiting);
}

static bool is_due(struct bench *bench)
{
    return confirm_is_due(bench->confirms, &bench->question);
}

static void rule(struct bench *bench, const char *method, int times, int status, bool hold)
{
    fake_registry_rule(bench->test->registry, (struct fake_rule){.method = method,
                                                                 .part = "/manifests/",
                                                                 .times = times,
                                                                 .status = status,
                                                                 .effect = status == 0,
                                                                 .hold = hold});
}

static size_t heads(struct bench *bench)
{
    return http_double_count(bench->test->http, HEAD);
}

static void what_is_absent_is_pushed(void **state)
{
    struct bench *bench = *state;
    assert_true(is_due(bench));
    assert_int_equal(ask(bench), ERR_OK);
    assert_true(fake_registry_has(bench->test->registry, "manifests/1"));
    assert_int_equal(heads(bench), 1);
    assert_false(is_due(bench));
}

static void what_is_there_is_believed(void **state)
{
    struct bench *bench = *state;
    char text[DIGEST_TEXT_MAX];
    size_t targets = 0;
    fake_registry_put(bench->test->registry, "manifests/1",
                      digest_text(&bench->manifest.digest, text));
    assert_int_equal(ask(bench), ERR_OK);
    assert_false(is_due(bench));
    assert_int_equal(heads(bench), 1);
    assert_int_equal(queue_test_records(bench->test, &targets), 0);
    /* Of another manifest nothing is known; and what somebody else has put there stays. */
    bench->manifest.digest = digest_of(DIGEST_SHA256, "x", 1);
    assert_true(is_due(bench));
    assert_int_equal(ask(bench), ERR_OK);
    assert_int_equal(http_double_count(bench->test->http, "PUT"), 0);
    assert_false(is_due(bench));
    bench->question.tag = "2";
    assert_true(is_due(bench));
    bench->route.targets[0].optional = true;
    assert_false(is_due(bench));
}

/* It is told at once, and once in a while it is tried again. */
static void what_is_refused_is_not_there(void **state)
{
    struct bench *bench = *state;
    rule(bench, "PUT", 100, 403, false);
    assert_int_equal(ask(bench), ERR_MANIFEST_NOT_HELD);
    size_t puts = http_double_count(bench->test->http, "PUT");
    assert_true(is_due(bench));
    assert_int_equal(ask(bench), ERR_MANIFEST_NOT_HELD);
    assert_int_equal(http_double_count(bench->test->http, "PUT"), puts);
    bench->route.acknowledge = ACKNOWLEDGE_STORED;
    assert_false(is_due(bench));
    bench->route.confirm_ms = 1;
    QUEUE_TEST_UNTIL(is_due(bench));
    confirm_begin(bench->confirms, &bench->question, NULL);
    QUEUE_TEST_UNTIL(http_double_count(bench->test->http, "PUT") > puts);
}

/* A push that somebody waits for, that of this HEAD or not. */
static void an_open_push_is_waited_for(void **state)
{
    struct bench *bench = *state;
    struct waiting_push push;
    struct waiting waiting;
    const struct reference *repository = &bench->route.targets[0].repository;
    struct reference target = *repository;
    snprintf(target.tag, sizeof target.tag, "1");
    assert_false(push_queue_view(bench->test->queue, &target).open);
    fake_registry_rule(
        bench->test->registry,
        (struct fake_rule){
            .method = "PUT", .part = "/blobs/", .times = 1, .effect = true, .hold = true});
    waiting_push_init(&push, bench->test, &bench->image.manifest, "team/app:1");
    waiting_push_run(&push, bench->test);
    assert_true(push_queue_view(bench->test->queue, &target).open);
    QUEUE_TEST_UNTIL(http_double_count(bench->test->http, "PUT") > 0);
    begin(bench, &waiting);
    QUEUE_TEST_UNTIL(heads(bench) == 1);
    fake_registry_release(bench->test->registry);
    assert_int_equal(end(&waiting), ERR_OK);
    waiting_push_wait(&push);
    assert_true(fake_registry_has(bench->test->registry, "manifests/1"));
    waiting_push_deinit(&push);
}

static void who_is_away_is_left_alone(void **state)
{
    struct bench *bench = *state;
    struct reference *repository = &bench->route.targets[0].repository;
    const struct reference there = *repository;
    snprintf(repository->host, sizeof repository->host, "127.0.0.1:1");
    assert_true(is_due(bench));
    assert_int_equal(ask(bench), ERR_OK);
    assert_false(is_due(bench));
    bench->question.tag = "another";
    assert_false(is_due(bench));
    bench->question.tag = "1";
    /* What the queue waits for, too. */
    *repository = there;
    assert_true(is_due(bench));
    bench->test->registry_setting.retry_wait_ms = 3600000;
    rule(bench, "PUT", 100, 503, false);
    queue_test_store(bench->test, &bench->image.manifest, "team/app:other");
    QUEUE_TEST_UNTIL(push_queue_view(bench->test->queue, repository).away);
    assert_false(is_due(bench));
}

static void who_is_paused_is_left_alone(void **state)
{
    struct bench *bench = *state;
    struct error err = ERROR_INIT;
    struct target_view view;
    autofree char *name = xasprintf("other:%s", bench->test->host);
    queue_test_store(bench->test, &bench->image.manifest, "team/app:other");
    queue_test_idle(bench->test);
    if (push_queue_pause(bench->test->queue, name, true, &view, &err) != ERR_OK)
        fail_msg("%s", err.text);
    assert_false(is_due(bench));
    assert_int_equal(push_queue_pause(bench->test->queue, name, false, &view, &err), ERR_OK);
    assert_true(is_due(bench));
}

static void nobody_waits_at_the_end(void **state)
{
    struct bench *bench = *state;
    struct waiting asking, late;
    rule(bench, "HEAD", 1, 0, true);
    begin(bench, &asking);
    QUEUE_TEST_UNTIL(heads(bench) == 1);
    confirms_close(bench->confirms);
    assert_int_equal(end(&asking), ERR_STOPPING);
    begin(bench, &late);
    assert_int_equal(end(&late), ERR_STOPPING);
}

static void a_push_is_waited_for_until_the_end(void **state)
{
    struct bench *bench = *state;
    struct waiting waiting;
    rule(bench, "PUT", 1, 0, true);
    begin(bench, &waiting);
    QUEUE_TEST_UNTIL(http_double_count(bench->test->http, "PUT /v2/team/app/manifests/") == 1);
    confirms_close(bench->confirms);
    assert_int_equal(end(&waiting), ERR_STOPPING);
    fake_registry_release(bench->test->registry);
    queue_test_idle(bench->test);
    assert_true(fake_registry_has(bench->test->registry, "manifests/1"));
}

/* What became of pushes is read from their records. */
static void a_start_knows_what_was_pushed(void **state)
{
    struct bench *bench = *state;
    queue_test_store(bench->test, &bench->image.manifest, "team/app:1");
    queue_test_idle(bench->test);
    confirms_close(bench->confirms);
    confirms_free(bench->confirms);
    bench->confirms = confirms_new(&bench->test->runtime, bench->test->queue);
    QUEUE_TEST_UNTIL(!is_due(bench));
    assert_int_equal(heads(bench), 0);
    bench->route.confirm_ms = 1;
    QUEUE_TEST_UNTIL(is_due(bench));
}

int main(void)
{
#define CASE(NAME) cmocka_unit_test_setup_teardown(NAME, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(what_is_absent_is_pushed),      CASE(what_is_there_is_believed),
        CASE(what_is_refused_is_not_there),  CASE(an_open_push_is_waited_for),
        CASE(who_is_paused_is_left_alone),   CASE(who_is_away_is_left_alone),
        CASE(nobody_waits_at_the_end),       CASE(a_push_is_waited_for_until_the_end),
        CASE(a_start_knows_what_was_pushed),
    };
    return cmocka_run_group_tests_name("confirm", tests, NULL, NULL);
}
