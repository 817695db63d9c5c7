#include "tests/support/queue_test.h"

#include "base/clock.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

struct queue_test *queue_test_new(void)
{
    struct queue_test *test = xcalloc(1, sizeof *test);
    test->push = push_test_new(NULL);
    test->registry = fake_registry_start(FAKE_OPEN);
    test->http = fake_registry_http(test->registry);
    test->host = fake_registry_host(test->registry);
    atomic_init(&test->settings.references, 1);
    test->settings.limits.pushes_per_registry = 4;
    test->registry_setting = (struct registry_setting){.host = xstrdup(test->host),
                                                       .retry_wait_ms = QUEUE_TEST_RETRY_MS};
    test->settings.registries = &test->registry_setting;
    test->settings.registry_count = 1;
    test->runtime = (struct runtime){
        .settings = &test->settings,
        .store = test->push->store,
        .executor = test->push->executor,
        .upstream = push_test_upstream(test->push, test->host),
    };
    test->runtime.early = early_uploads_new(test->runtime.upstream);
    test->queue = push_queue_new(&test->runtime);
    return test;
}

void queue_test_close(struct queue_test *test)
{
    push_queue_close(test->queue);
    assert_true(push_queue_wait(test->queue, QUEUE_TEST_MS));
    push_queue_free(test->queue);
    test->queue = NULL;
}

void queue_test_open(struct queue_test *test)
{
    struct error err = ERROR_INIT;
    test->queue = push_queue_new(&test->runtime);
    if (push_queue_restart(test->queue, &err) != ERR_OK)
        fail_msg("%s", err.text);
}

void queue_test_idle(struct queue_test *test)
{
    assert_true(push_queue_wait(test->queue, QUEUE_TEST_MS));
}

void queue_test_free(struct queue_test *test)
{
    fake_registry_release(test->registry);
    if (test->queue)
        queue_test_close(test);
    early_uploads_close(test->runtime.early);
    early_uploads_free(test->runtime.early);
    push_test_free(test->push);
    fake_registry_stop(test->registry);
    free(test->registry_setting.host);
    free(test);
}

static struct reference target_of(const struct queue_test *test, const struct push *push,
                                  const char *text)
{
    struct error err = ERROR_INIT;
    struct reference target;
    bool has_host = strchr(text, ':') && strchr(text, ':') < strchr(text, '/');
    autofree char *whole = has_host ? xstrdup(text) : xasprintf("%s/%s", test->host, text);
    if (reference_parse(whole, &target, &err) != ERR_OK)
        fail_msg("%s", err.text);
    if (target.tag[0] == '\0')
        target.digest = push->manifest.digest;
    return target;
}

struct push queue_test_push(struct queue_test *test, const struct descriptor *manifest,
                            const char *targets, bool stored)
{
    struct error err = ERROR_INIT;
    struct push push = {.manifest = *manifest};
    autofree char *text = xstrdup(targets);
    char *rest = NULL;
    for (char *at = strtok_r(text, " ", &rest); at; at = strtok_r(NULL, " ", &rest)) {
        struct reference target = target_of(test, &push, at);
        assert_int_equal(push_add_target(&push, &target, false, stored, &err), ERR_OK);
    }
    return push;
}

void queue_test_accept(struct queue_test *test, struct push *push)
{
    struct error err = ERROR_INIT;
    if (push_stored_targets(push) == 0) {
        pushes_accept(test->runtime.store, push);
        return;
    }
    struct batch *batch = batch_begin(test->runtime.store, BATCH_DURABLE);
    batch_put_push(batch, push);
    if (batch_commit(batch, &err) != ERR_OK)
        fail_msg("%s", err.text);
}

const char *queue_test_store(struct queue_test *test, const struct descriptor *manifest,
                             const char *targets)
{
    static char id[PUSH_ID_MAX];
    struct push push = queue_test_push(test, manifest, targets, true);
    queue_test_accept(test, &push);
    memcpy(id, push.id, sizeof id);
    push_queue_start(test->queue, &push);
    push_deinit(&push);
    return id;
}

struct open_count {
    char last[PUSH_ID_MAX];
    size_t pushes;
    size_t targets;
};

static void count_open(void *self, const struct open_target *open)
{
    struct open_count *count = self;
    count->targets++;
    count->pushes += strcmp(count->last, open->id) != 0;
    memcpy(count->last, open->id, sizeof count->last);
}

size_t queue_test_records(struct queue_test *test, size_t *targets)
{
    struct error err = ERROR_INIT;
    struct open_count count = {.last = ""};
    if (pushes_each_open(test->runtime.store, count_open, &count, &err) != ERR_OK)
        fail_msg("%s", err.text);
    *targets = count.targets;
    return count.pushes;
}

static struct push read_push(struct queue_test *test, const char *id)
{
    struct error err = ERROR_INIT;
    struct push push;
    bool found = false;
    if (pushes_get(test->runtime.store, id, &push, &found, &err) != ERR_OK || !found)
        fail_msg("push %s: %s", id, err.text);
    return push;
}

struct push_target queue_test_target(struct queue_test *test, const char *id, size_t target)
{
    struct push push = read_push(test, id);
    struct push_target out = push.targets[target];
    push_deinit(&push);
    return out;
}

enum push_state queue_test_state(struct queue_test *test, const char *id, size_t target)
{
    return queue_test_target(test, id, target).state;
}

struct push_target queue_test_look(struct queue_test *test, const char *id)
{
    struct push push = read_push(test, id);
    push_queue_look(test->queue, &push);
    struct push_target target = push.targets[0];
    push_deinit(&push);
    return target;
}

struct push_retried queue_test_retry(struct queue_test *test, const struct push_retry *wanted)
{
    struct error err = ERROR_INIT;
    struct push_retried done;
    if (push_queue_retry(test->queue, wanted, &done, &err) != ERR_OK)
        fail_msg("%s", err.text);
    return done;
}

/* ---- a push that somebody waits for ---- */

void waiting_push_init(struct waiting_push *waiting, struct queue_test *test,
                       const struct descriptor *manifest, const char *targets)
{
    *waiting = (struct waiting_push){.push = queue_test_push(test, manifest, targets, false),
                                     .lock = PTHREAD_MUTEX_INITIALIZER};
    clock_cond_init(&waiting->changed);
    cancel_init(&waiting->cancel);
    queue_test_accept(test, &waiting->push);
}

static void on_ended(void *self)
{
    struct waiting_push *waiting = self;
    pthread_mutex_lock(&waiting->lock);
    assert_false(waiting->ended);
    waiting->ended = true;
    pthread_cond_broadcast(&waiting->changed);
    pthread_mutex_unlock(&waiting->lock);
}

void waiting_push_run(struct waiting_push *waiting, struct queue_test *test)
{
    const struct push_options options = {.progress = waiting->progress,
                                         .cancel = &waiting->cancel,
                                         .remembers = true,
                                         .ended = on_ended,
                                         .self = waiting};
    push_queue_run(test->queue, &options, &waiting->push);
}

bool waiting_push_ended(struct waiting_push *waiting)
{
    pthread_mutex_lock(&waiting->lock);
    bool ended = waiting->ended;
    pthread_mutex_unlock(&waiting->lock);
    return ended;
}

void waiting_push_wait(struct waiting_push *waiting)
{
    struct timespec until = clock_deadline(QUEUE_TEST_MS);
    int rc = 0;
    pthread_mutex_lock(&waiting->lock);
    while (!waiting->ended && rc == 0)
        rc = pthread_cond_timedwait(&waiting->changed, &waiting->lock, &until);
    bool ended = waiting->ended;
    pthread_mutex_unlock(&waiting->lock);
    assert_true(ended);
}

void waiting_push_deinit(struct waiting_push *waiting)
{
    push_deinit(&waiting->push);
    cancel_deinit(&waiting->cancel);
    pthread_cond_destroy(&waiting->changed);
    pthread_mutex_destroy(&waiting->lock);
}
