#include "upstream/client/retry.h"

#include "base/cancel.h"
#include "base/clock.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_waits_grow(void **state)
{
    (void)state;
    int64_t longest_ms = 0;
    for (unsigned failed = 1; failed < RETRY_ATTEMPTS; failed++) {
        int64_t least_ms = retry_wait_ms(RETRY_WAIT_MS, failed, 0);
        assert_int_equal(least_ms, 5000 * failed);
        assert_true(least_ms > longest_ms);
        longest_ms = retry_wait_ms(RETRY_WAIT_MS, failed, UINT32_MAX);
        assert_int_equal(longest_ms, 6250 * failed);
        assert_in_range(retry_wait_ms(RETRY_WAIT_MS, failed, UINT32_MAX / 2), least_ms, longest_ms);
    }
}

/* --- attempts --- */

#define BASE_MS 4

struct scene {
    struct back_off back_off;
    struct retry retry;
    struct error err;
};

static void set_up(struct scene *scene, int64_t base_ms)
{
    *scene = (struct scene){.err = ERROR_INIT};
    back_off_init(&scene->back_off, "r.example.com", (struct bounded_queue){.limit = 5},
                  (struct bounded_queue){.limit = 5}, NULL, base_ms);
}

static void tear_down(struct scene *scene)
{
    back_off_deinit(&scene->back_off);
}

/* One more attempt that fails like this. */
static bool fails(struct scene *scene, enum errc code)
{
    scene->retry.made++;
    (fail)(&scene->err, code, 0, "attempt %u", scene->retry.made);
    return retry_follows(&scene->retry, "test", &scene->back_off, error_retriable(code),
                         &scene->err);
}

/* For how long the next attempt is waited for. */
static int64_t left_ms(const struct scene *scene)
{
    return scene->retry.until_ms - clock_ms();
}

static void so_many_attempts_are_made(void **state)
{
    (void)state;
    struct scene scene;
    set_up(&scene, 1000);
    for (unsigned made = 1; made < RETRY_ATTEMPTS; made++) {
        assert_true(fails(&scene, ERR_CONNECTION_LOST));
        assert_int_equal(scene.retry.made, made);
        assert_int_equal(scene.err.code, ERR_OK);
        assert_string_equal(scene.err.text, "");
        assert_in_range(left_ms(&scene), 1000 * made - 500, 1250 * made);
    }
    assert_false(fails(&scene, ERR_CONNECTION_LOST));
    assert_int_equal(scene.retry.made, RETRY_ATTEMPTS);
    assert_int_equal(scene.retry.until_ms, 0);
    assert_int_equal(scene.err.code, ERR_CONNECTION_LOST);
    assert_string_equal(scene.err.text, "5 attempts: attempt 5");
    tear_down(&scene);
}

static void errors_that_are_not_retried(void **state)
{
    (void)state;
    const enum errc final[] = {
        ERR_UNAUTHORIZED,     ERR_DENIED,          ERR_REGISTRY_UNSUPPORTED, ERR_NOT_A_REGISTRY,
        ERR_NO_SPACE,         ERR_CANCELLED,       ERR_BLOB_CORRUPT,         ERR_BLOB_UNKNOWN,
        ERR_NAME_UNKNOWN,     ERR_PUSHED_DIGEST,   ERR_CERTIFICATE,          ERR_MANIFEST_UNKNOWN,
        ERR_MANIFEST_REFUSED, ERR_ADDRESS_REFUSED, ERR_REGISTRY_REFUSED,
    };
    for (size_t i = 0; i < sizeof final / sizeof final[0]; i++) {
        struct scene scene;
        set_up(&scene, BASE_MS);
        assert_false(fails(&scene, final[i]));
        assert_int_equal(scene.err.code, final[i]);
        assert_string_equal(scene.err.text, "attempt 1");
        assert_int_equal(scene.retry.until_ms, 0);
        tear_down(&scene);
    }
}

static void errors_that_are_retried(void **state)
{
    (void)state;
    const enum errc passing[] = {
        ERR_TOO_MANY_REQUESTS,
        ERR_REGISTRY_FAULT,
        ERR_REGISTRY_ANSWER,
        ERR_UPLOAD_UNKNOWN,
        ERR_BLOB_NOT_THERE,
        ERR_CONNECT,
        ERR_HOST_UNKNOWN,
        ERR_TIMEOUT,
        ERR_NO_ANSWER,
        ERR_CONNECTION_LOST,
        ERR_IO,
    };
    for (size_t i = 0; i < sizeof passing / sizeof passing[0]; i++) {
        struct scene scene;
        set_up(&scene, BASE_MS);
        assert_true(fails(&scene, passing[i]));
        assert_int_equal(scene.err.code, ERR_OK);
        tear_down(&scene);
    }
}

/* Waiting a quarter of an hour five times helps nobody. */
static void no_answer_twice_is_the_end(void **state)
{
    (void)state;
    struct scene scene;
    set_up(&scene, BASE_MS);
    assert_true(fails(&scene, ERR_CONNECTION_LOST));
    assert_true(fails(&scene, ERR_NO_ANSWER));
    assert_true(fails(&scene, ERR_CONNECTION_LOST));
    assert_false(fails(&scene, ERR_NO_ANSWER));
    assert_string_equal(scene.err.text, "4 attempts: attempt 4");
    tear_down(&scene);
}

/* After an attempt that nothing can help, the wait of an earlier one is over, too. */
static void the_last_word_leaves_no_wait(void **state)
{
    (void)state;
    struct scene scene;
    set_up(&scene, 60000);
    assert_true(fails(&scene, ERR_TIMEOUT));
    assert_false(fails(&scene, ERR_DENIED));
    assert_int_equal(scene.retry.until_ms, 0);
    assert_string_equal(scene.err.text, "attempt 2");
    tear_down(&scene);
}

static void the_registry_may_ask_for_longer(void **state)
{
    (void)state;
    struct scene scene;
    set_up(&scene, BASE_MS);
    back_off_refused(&scene.back_off, 60000);
    assert_true(fails(&scene, ERR_TOO_MANY_REQUESTS));
    assert_in_range(left_ms(&scene), 50000, 60000);
    tear_down(&scene);

    /* And for less than would be waited anyway. */
    set_up(&scene, 60000);
    back_off_refused(&scene.back_off, 10);
    assert_true(fails(&scene, ERR_TOO_MANY_REQUESTS));
    assert_in_range(left_ms(&scene), 50000, 75000);
    tear_down(&scene);
}

/* --- words --- */

static void a_wait_is_told_second_by_second(void **state)
{
    (void)state;
    static const struct {
        int64_t left_ms;
        const char *words;
        int64_t next_ms; /* when the next words are due, before the end */
    } cases[] = {
        {600500, "Retrying in 601 seconds", 600000},
        {2500, "Retrying in 3 seconds", 2000},
        {1500, "Retrying in 2 seconds", 1000},
        {500, "Retrying in 1 second", 0},
        {0, "", 0},
        {-500, "", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char words[RETRY_WORDS_MAX];
        const struct retry retry = {.made = 1, .until_ms = clock_ms() + cases[i].left_ms};
        int64_t due_ms = retry_words(&retry, words);
        assert_string_equal(words, cases[i].words);
        assert_int_equal(retry.until_ms - due_ms, cases[i].next_ms);
    }
}

/* As a work does that is submitted for each of these times. */
static void the_words_of_a_whole_wait(void **state)
{
    (void)state;
    struct cancel pause;
    cancel_init(&pause);
    int64_t start_ms = clock_ms();
    const struct retry retry = {.made = 1, .until_ms = start_ms + 2400};
    static const char *const want[] = {"Retrying in 3 seconds", "Retrying in 2 seconds",
                                       "Retrying in 1 second", ""};
    for (size_t i = 0; i < 4; i++) {
        char words[RETRY_WORDS_MAX];
        int64_t due_ms = retry_words(&retry, words);
        assert_string_equal(words, want[i]);
        while (clock_ms() < due_ms)
            cancel_wait(&pause, due_ms - clock_ms());
    }
    assert_true(clock_ms() - start_ms >= 2400);
    cancel_deinit(&pause);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_waits_grow),
        cmocka_unit_test(so_many_attempts_are_made),
        cmocka_unit_test(errors_that_are_not_retried),
        cmocka_unit_test(errors_that_are_retried),
        cmocka_unit_test(no_answer_twice_is_the_end),
        cmocka_unit_test(the_last_word_leaves_no_wait),
        cmocka_unit_test(the_registry_may_ask_for_longer),
        cmocka_unit_test(a_wait_is_told_second_by_second),
        cmocka_unit_test(the_words_of_a_whole_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
