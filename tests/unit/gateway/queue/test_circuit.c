/*
 * The arithmetic of waiting: how long, and who has a say.
 */
#include "gateway/queue/circuit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define BASE_MS 1000
#define MIDDLE (UINT32_MAX / 2)

static void delays_double_up_to_five_minutes(void **state)
{
    (void)state;
    static const int64_t wanted[] = {1000, 2000, 4000, 8000, 16000, 32000, 64000, 128000, 256000};
    for (unsigned failed = 1; failed <= 9; failed++) {
        assert_in_range(circuit_delay_ms(BASE_MS, failed, MIDDLE), wanted[failed - 1] - 2,
                        wanted[failed - 1] + 2);
        assert_int_equal(circuit_delay_ms(BASE_MS, failed, 0), wanted[failed - 1] * 4 / 5);
        assert_int_equal(circuit_delay_ms(BASE_MS, failed, UINT32_MAX), wanted[failed - 1] * 6 / 5);
    }
    for (unsigned failed = 10; failed < 2000; failed += 199)
        assert_in_range(circuit_delay_ms(BASE_MS, failed, UINT32_MAX), 300000, 360000);
    assert_in_range(circuit_delay_ms(CIRCUIT_DELAY_MAX_MS * 10, 1, 0), 240000, 240000);
}

static void it_opens_and_lets_one_through(void **state)
{
    (void)state;
    struct circuit circuit;
    circuit_init(&circuit, BASE_MS, 5);
    assert_int_equal(circuit_state(&circuit, 10), CIRCUIT_CLOSED);
    assert_true(circuit_failed(&circuit, 5, 10, 0, MIDDLE));
    assert_int_equal(circuit_state(&circuit, 10), CIRCUIT_OPEN);
    assert_int_equal(circuit_state(&circuit, circuit.until_ms - 1), CIRCUIT_OPEN);
    assert_int_equal(circuit_state(&circuit, circuit.until_ms), CIRCUIT_HALF_OPEN);
    assert_int_equal(circuit.allowed, 1);
}

static void what_was_under_way_says_nothing_new(void **state)
{
    (void)state;
    struct circuit circuit;
    circuit_init(&circuit, BASE_MS, 5);
    assert_true(circuit_failed(&circuit, 5, 100, 0, MIDDLE));
    int64_t until_ms = circuit.until_ms;
    assert_false(circuit_failed(&circuit, 5, 110, 0, MIDDLE));
    assert_false(circuit_failed(&circuit, 100, 110, 0, MIDDLE));
    assert_false(circuit_failed(&circuit, 101, until_ms - 1, 0, MIDDLE)); /* nobody admitted it */
    assert_int_equal(circuit.until_ms, until_ms);
    assert_int_equal(circuit.failures, 1);
    assert_true(circuit_failed(&circuit, 1200, 1300, 0, MIDDLE));
    assert_int_equal(circuit.failures, 2);
}

static void who_was_answered_ends_the_wait(void **state)
{
    (void)state;
    struct circuit circuit;
    circuit_init(&circuit, BASE_MS, 5);
    assert_true(circuit_failed(&circuit, 5, 100, 0, MIDDLE));
    assert_int_equal(circuit_state(&circuit, 110), CIRCUIT_OPEN);
    assert_true(circuit_succeeded(&circuit, 110));
    assert_int_equal(circuit_state(&circuit, 110), CIRCUIT_HALF_OPEN);
    assert_int_equal(circuit.allowed, 2);
    assert_int_equal(circuit.failures, 0);
    assert_false(circuit_failed(&circuit, 99, 120, 0, MIDDLE));
}

static void successes_let_more_through_until_it_is_closed(void **state)
{
    (void)state;
    struct circuit circuit;
    circuit_init(&circuit, BASE_MS, 5);
    assert_false(circuit_succeeded(&circuit, 1));
    assert_true(circuit_failed(&circuit, 5, 10, 0, MIDDLE));
    assert_true(circuit_succeeded(&circuit, 2000));
    assert_int_equal(circuit.allowed, 2);
    assert_int_equal(circuit.failures, 0);
    assert_true(circuit_succeeded(&circuit, 2000));
    assert_int_equal(circuit.allowed, 4);
    assert_true(circuit_succeeded(&circuit, 2001));
    assert_int_equal(circuit_state(&circuit, 2002), CIRCUIT_CLOSED);
    assert_false(circuit_succeeded(&circuit, 2003));
}

/* Retry-After goes before a shorter delay. */
static void who_asks_for_more_gets_it(void **state)
{
    (void)state;
    struct circuit circuit;
    circuit_init(&circuit, BASE_MS, 5);
    assert_true(circuit_failed(&circuit, 5, 10, 60000, MIDDLE));
    assert_int_equal(circuit.until_ms, 60010);
    circuit_init(&circuit, BASE_MS, 5);
    assert_true(circuit_failed(&circuit, 5, 10, 1, MIDDLE));
    assert_true(circuit.until_ms >= 10 + BASE_MS - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(delays_double_up_to_five_minutes),
        cmocka_unit_test(it_opens_and_lets_one_through),
        cmocka_unit_test(what_was_under_way_says_nothing_new),
        cmocka_unit_test(who_was_answered_ends_the_wait),
        cmocka_unit_test(successes_let_more_through_until_it_is_closed),
        cmocka_unit_test(who_asks_for_more_gets_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
