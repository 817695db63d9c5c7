#include "base/cancel.h"

#include "base/clock.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void nothing_is_cancelled_at_first(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct cancel cancel;
    cancel_init(&cancel);
    assert_false(cancel_requested(&cancel));
    assert_int_equal(cancel_check(&cancel, &err), ERR_OK);
    assert_int_equal(err.code, ERR_OK);
    assert_false(cancel_wait(&cancel, 0));
    cancel_request(&cancel);
    cancel_request(&cancel);
    assert_true(cancel_requested(&cancel));
    assert_int_equal(cancel_check(&cancel, &err), ERR_CANCELLED);
    assert_true(cancel_wait(&cancel, 60000));
    cancel_deinit(&cancel);
}

static void a_wait_ends_when_its_time_is_over(void **state)
{
    (void)state;
    struct cancel cancel;
    cancel_init(&cancel);
    int64_t start = clock_ms();
    assert_false(cancel_wait(&cancel, 30));
    /* The clock counts whole milliseconds. */
    assert_true(clock_ms() - start >= 29);
    cancel_deinit(&cancel);
}

struct waiter {
    pthread_t thread;
    struct cancel *cancel;
    bool woken;
};

static void *wait_a_minute(void *arg)
{
    struct waiter *waiter = arg;
    waiter->woken = cancel_wait(waiter->cancel, 60000);
    return NULL;
}

static void every_waiter_wakes(void **state)
{
    (void)state;
    struct cancel cancel;
    struct waiter waiters[4];
    cancel_init(&cancel);
    int64_t start = clock_ms();
    for (size_t i = 0; i < 4; i++) {
        waiters[i] = (struct waiter){.cancel = &cancel};
        assert_int_equal(pthread_create(&waiters[i].thread, NULL, wait_a_minute, &waiters[i]), 0);
    }
    cancel_request(&cancel);
    for (size_t i = 0; i < 4; i++) {
        pthread_join(waiters[i].thread, NULL);
        assert_true(waiters[i].woken);
    }
    assert_true(clock_ms() - start < 30000);
    cancel_deinit(&cancel);
}

static void deadlines_carry_over_the_second(void **state)
{
    (void)state;
    for (int64_t ms = 0; ms <= 3000; ms += 250) {
        int64_t before = clock_ms();
        struct timespec at = clock_deadline(ms);
        int64_t after = clock_ms();
        assert_in_range(at.tv_nsec, 0, 999999999);
        int64_t deadline = (int64_t)at.tv_sec * 1000 + at.tv_nsec / 1000000;
        assert_true(deadline >= before + ms && deadline <= after + ms);
    }
}

static void times_are_written_by_rfc_3339(void **state)
{
    (void)state;
    char text[CLOCK_TEXT_MAX];
    assert_int_equal(strlen(clock_text(text)), strlen("2024-01-02T03:04:05.678Z"));
    assert_int_equal(text[10], 'T');
    assert_int_equal(text[19], '.');
    assert_int_equal(text[23], 'Z');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_cancelled_at_first),
        cmocka_unit_test(a_wait_ends_when_its_time_is_over),
        cmocka_unit_test(every_waiter_wakes),
        cmocka_unit_test(deadlines_carry_over_the_second),
        cmocka_unit_test(times_are_written_by_rfc_3339),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
