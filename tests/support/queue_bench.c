#include "tests/support/queue_bench.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

int queue_bench_set_up(void **state)
{
    struct queue_bench *bench = xcalloc(1, sizeof *bench);
    *state = bench;
    bench->test = queue_test_new();
    bench->elsewhere = fake_registry_start(FAKE_OPEN);
    for (size_t i = 0; i < QUEUE_BENCH_IMAGES; i++) {
        const char letters[] = {(char)('a' + i), 'z', '\0'};
        bench->images[i] = push_test_image(bench->test->push, letters, 1000);
    }
    snprintf(bench->other, sizeof bench->other, "other:%s", bench->test->host);
    return 0;
}

int queue_bench_tear_down(void **state)
{
    struct queue_bench *bench = *state;
    queue_test_free(bench->test);
    fake_registry_stop(bench->elsewhere);
    for (size_t i = 0; i < QUEUE_BENCH_TARGETS; i++) {
        free(bench->targets[i].label);
        free(bench->targets[i].target);
    }
    free(bench->mirror.match);
    free(bench);
    return 0;
}

void queue_bench_configure(struct queue_bench *bench, const char *const *names)
{
    struct mirror_setting *mirror = &bench->mirror;
    *mirror = (struct mirror_setting){.match = xstrdup("team/*"), .targets = bench->targets};
    for (; names[mirror->target_count]; mirror->target_count++) {
        struct mirror_target_setting *target = &bench->targets[mirror->target_count];
        target->label = xstrdup(names[mirror->target_count]);
        target->target = xasprintf("%s/team/*", bench->test->host);
    }
    bench->test->settings.mirrors = mirror;
    bench->test->settings.mirror_count = 1;
}

/* ---- pushes ---- */

const char *queue_bench_store(struct queue_bench *bench, size_t image, const char *targets)
{
    return queue_test_store(bench->test, &bench->images[image].manifest, targets);
}

struct push queue_bench_accepted(struct queue_bench *bench, size_t image, const char *targets)
{
    struct push push = queue_test_push(bench->test, &bench->images[image].manifest, targets, true);
    queue_test_accept(bench->test, &push);
    return push;
}

struct push queue_bench_promise(struct queue_bench *bench, size_t image, const char *target,
                                const char *name)
{
    struct push push = queue_test_push(bench->test, &bench->images[image].manifest, target, true);
    snprintf(push.targets[0].name, sizeof push.targets[0].name, "%s", name);
    queue_test_accept(bench->test, &push);
    return push;
}

void queue_bench_start(struct queue_bench *bench, struct push *push)
{
    push_queue_start(bench->test->queue, push);
    push_deinit(push);
}

/* ---- the registry ---- */

void queue_bench_answer_puts(struct queue_bench *bench, const char *part, int times, int status)
{
    fake_registry_rule(
        bench->test->registry,
        (struct fake_rule){.method = "PUT", .part = part, .times = times, .status = status});
}

void queue_bench_hold_put(struct queue_bench *bench, const char *part)
{
    fake_registry_rule(
        bench->test->registry,
        (struct fake_rule){
            .method = "PUT", .part = part, .times = 1, .effect = true, .hold = true});
}

void queue_bench_wait_long(struct queue_bench *bench)
{
    bench->test->registry_setting.retry_wait_ms = 600000;
}

size_t queue_bench_puts(struct queue_bench *bench, const char *path, const char *tag)
{
    autofree char *wanted = xasprintf("PUT /v2/%s/manifests/%s", path, tag);
    return http_double_count(bench->test->http, wanted);
}

bool queue_bench_is_there(struct queue_bench *bench, const char *tag, size_t image)
{
    char digest[DIGEST_TEXT_MAX];
    autofree char *name = xasprintf("manifests/%s", tag);
    autofree char *value = fake_registry_value(bench->test->registry, name);
    digest_text(&bench->images[image].manifest.digest, digest);
    return value && strcmp(value, digest) == 0;
}

/* ---- what a test says ---- */

size_t queue_bench_puts_by_digest(struct queue_bench *bench, size_t image)
{
    char digest[DIGEST_TEXT_MAX];
    return queue_bench_puts(bench, "team/app",
                            digest_text(&bench->images[image].manifest.digest, digest));
}

void queue_bench_expect_overtaken(struct queue_bench *bench, struct waiting_push *waiting,
                                  size_t image)
{
    waiting_push_wait(waiting);
    const struct push_target *target = &waiting->push.targets[0];
    assert_int_equal(target->state, PUSH_SUPERSEDED);
    assert_int_equal(target->error.code, ERR_OK);
    assert_true(digest_equal(&target->digest, &bench->images[image].manifest.digest));
    assert_true(target->size == bench->images[image].manifest.size);
    assert_int_equal(queue_bench_puts_by_digest(bench, image), 1);
    waiting_push_deinit(waiting);
}

void queue_bench_await(struct queue_bench *bench, struct waiting_push *waiting, size_t image,
                       const char *targets)
{
    waiting_push_init(waiting, bench->test, &bench->images[image].manifest, targets);
}

void queue_bench_run(struct queue_bench *bench, struct waiting_push *waiting)
{
    waiting_push_run(waiting, bench->test);
}

void queue_bench_expect_end(struct waiting_push *waiting, enum errc code)
{
    waiting_push_wait(waiting);
    for (size_t i = 0; i < waiting->push.target_count; i++) {
        const struct push_target *target = &waiting->push.targets[i];
        assert_int_equal(target->state, code == ERR_OK ? PUSH_PUSHED : PUSH_FAILED);
        assert_int_equal(target->error.code, code);
    }
    waiting_push_deinit(waiting);
}

void queue_bench_release(struct queue_bench *bench)
{
    fake_registry_release(bench->test->registry);
}

void queue_bench_until_puts(struct queue_bench *bench, const char *path, const char *tag,
                            size_t count)
{
    QUEUE_TEST_UNTIL(queue_bench_puts(bench, path, tag) == count);
}

void queue_bench_expect_records(struct queue_bench *bench, size_t count, size_t waiting)
{
    size_t targets = 0;
    assert_int_equal(queue_test_records(bench->test, &targets), count);
    assert_int_equal(targets, waiting);
}

size_t queue_bench_records(struct queue_bench *bench)
{
    size_t waiting = 0;
    return queue_test_records(bench->test, &waiting);
}

void queue_bench_settle(struct queue_bench *bench)
{
    struct waiting_push other;
    autofree char *target =
        xasprintf("%s/settle:s%u", fake_registry_host(bench->elsewhere), bench->settled++);
    queue_bench_await(bench, &other, QUEUE_BENCH_IMAGES - 1, target);
    queue_bench_run(bench, &other);
    queue_bench_expect_end(&other, ERR_OK);
}

void queue_bench_expect_done(struct queue_bench *bench)
{
    queue_test_idle(bench->test);
    queue_bench_expect_records(bench, 0, 0);
}

const char *queue_bench_park(struct queue_bench *bench, size_t image, const char *path,
                             const char *tag)
{
    autofree char *target = xasprintf("%s:%s", path, tag);
    queue_bench_wait_long(bench);
    queue_bench_answer_puts(bench, tag, 5, 503);
    const char *id = queue_bench_store(bench, image, target);
    QUEUE_TEST_UNTIL(queue_test_state(bench->test, id, 0) == PUSH_WAITING);
    assert_int_equal(queue_bench_puts(bench, path, tag), 5);
    return id;
}

void queue_bench_open_again(struct queue_bench *bench)
{
    bench->test->registry_setting.retry_wait_ms = QUEUE_TEST_RETRY_MS;
    queue_test_open(bench->test);
}
