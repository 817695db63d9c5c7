/*
 * Who is kept, in which order they are let go, and how many at a time.
 */
#include "gateway/queue/gate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define PLACES 8

static struct gate gate;
static struct gate_place places[PLACES];
static char begun[PLACES + 1];
static int64_t now_ms;

/* As the queue does: it enters, unless another gate keeps it. */
static void begin(struct gate_place *place)
{
    begun[strlen(begun)] = (char)('a' + (place - places));
    gate_enter(&gate, now_ms);
}

static int set_up(void **state)
{
    (void)state;
    now_ms = 1000;
    memset(begun, 0, sizeof begun);
    memset(places, 0, sizeof places);
    gate_init(&gate, 100, 4, begin);
    return 0;
}

static void keep_all(void)
{
    for (size_t i = 0; i < PLACES; i++)
        gate_keep(&gate, &places[i]);
}

/* One that began now fails. */
static void open_it(void)
{
    gate_enter(&gate, now_ms);
    gate_leave(&gate, now_ms);
    assert_true(gate_failed(&gate, now_ms, now_ms + 1, 0));
    now_ms = gate.circuit.until_ms;
}

static void a_closed_circuit_lets_all_through(void **state)
{
    (void)state;
    assert_true(gate_admits(&gate, now_ms));
    keep_all();
    gate_release(&gate, now_ms);
    assert_string_equal(begun, "abcdefgh");
    assert_int_equal(gate.kept_count, 0);
}

static void one_is_tried_then_more_follow_in_their_order(void **state)
{
    (void)state;
    open_it();
    keep_all();
    gate_release(&gate, now_ms - 1);
    assert_string_equal(begun, "");
    gate_release(&gate, now_ms);
    assert_string_equal(begun, "a");
    gate_release(&gate, now_ms);
    assert_string_equal(begun, "a");
    gate_leave(&gate, now_ms);
    gate_succeeded(&gate, now_ms + 1);
    assert_string_equal(begun, "abc");
    gate_leave(&gate, now_ms);
    gate_succeeded(&gate, now_ms + 2);
    assert_string_equal(begun, "abcdefgh");
}

static void a_probe_that_fails_keeps_the_others(void **state)
{
    (void)state;
    open_it();
    keep_all();
    gate_release(&gate, now_ms);
    gate_leave(&gate, now_ms);
    assert_true(gate_failed(&gate, now_ms, now_ms + 5, 0));
    assert_false(gate_admits(&gate, now_ms + 5));
    gate_release(&gate, gate.circuit.until_ms);
    assert_string_equal(begun, "ab");
}

/* A probe that was taken back tells nothing, and gives its place to another. */
static void a_probe_that_does_not_run_is_replaced(void **state)
{
    (void)state;
    open_it();
    keep_all();
    gate_release(&gate, now_ms);
    gate_leave(&gate, now_ms);
    gate_release(&gate, now_ms);
    assert_string_equal(begun, "ab");
}

/* One image that the registry cannot take does not keep the others from it. */
/* Somebody ends the wait in the very millisecond in which it was opened. */
static void who_begins_at_once_has_begun_since(void **state)
{
    (void)state;
    gate_enter(&gate, now_ms);
    gate_leave(&gate, now_ms);
    assert_true(gate_failed(&gate, now_ms, now_ms, 0));
    for (int round = 0; round < 3; round++) {
        gate.circuit.until_ms = now_ms;
        assert_true(gate_admits(&gate, now_ms));
        int64_t began_ms = gate_enter(&gate, now_ms);
        assert_false(gate_is_stale(&gate, began_ms));
        assert_false(gate_admits(&gate, now_ms));
        gate_leave(&gate, began_ms);
        assert_true(gate_admits(&gate, now_ms));
        assert_true(gate_failed(&gate, began_ms, now_ms, 0));
        assert_true(gate_is_stale(&gate, began_ms));
    }
}

static void a_failure_beside_successes_opens_nothing(void **state)
{
    (void)state;
    gate_enter(&gate, now_ms);
    gate_enter(&gate, now_ms);
    gate_leave(&gate, now_ms);
    gate_succeeded(&gate, now_ms + 10);
    gate_leave(&gate, now_ms);
    assert_false(gate_failed(&gate, now_ms, now_ms + 20, 0));
    assert_true(gate_admits(&gate, now_ms + 20));
}

static void an_operator_keeps_all(void **state)
{
    (void)state;
    gate.paused = true;
    assert_false(gate_admits(&gate, now_ms));
    assert_true(gate_is_stale(&gate, now_ms));
    keep_all();
    gate_give_back(&places[1]);
    gate_give_back(&places[1]);
    gate_release(&gate, now_ms);
    assert_string_equal(begun, "");
    gate.paused = false;
    gate_release(&gate, now_ms);
    assert_string_equal(begun, "acdefgh");
}

#define TEST(name) cmocka_unit_test_setup(name, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_closed_circuit_lets_all_through),
        TEST(one_is_tried_then_more_follow_in_their_order),
        TEST(a_probe_that_fails_keeps_the_others),
        TEST(a_probe_that_does_not_run_is_replaced),
        TEST(who_begins_at_once_has_begun_since),
        TEST(a_failure_beside_successes_opens_nothing),
        TEST(an_operator_keeps_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
