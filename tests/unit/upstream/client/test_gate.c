#include "upstream/client/gate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define BASE_MS 40

static void test_limit(void **state)
{
    (void)state;
    struct gate gate;
    gate_init(&gate, 2, BASE_MS);
    assert_true(gate_try(&gate));
    assert_true(gate_try(&gate));
    assert_false(gate_try(&gate));
    gate_leave(&gate);
    assert_true(gate_try(&gate));
    assert_false(gate_try(&gate));
    gate_leave(&gate);
    gate_leave(&gate);
    gate_deinit(&gate);
}

struct visitor {
    struct gate *gate;
    struct stop stop;
    struct cancel cancel;
    enum errc code;
};

static void *visit(void *arg)
{
    struct visitor *visitor = arg;
    struct error err = ERROR_INIT;
    visitor->code = gate_enter(visitor->gate, &visitor->stop, &err);
    return NULL;
}

static void visitor_init(struct visitor *visitor, struct gate *gate)
{
    visitor->gate = gate;
    visitor->code = ERR_INTERNAL;
    cancel_init(&visitor->cancel);
    stop_init(&visitor->stop, &visitor->cancel);
}

static void test_who_waits_gets_in(void **state)
{
    (void)state;
    struct gate gate;
    struct visitor visitor;
    pthread_t thread;
    gate_init(&gate, 1, BASE_MS);
    visitor_init(&visitor, &gate);
    assert_true(gate_try(&gate));
    pthread_create(&thread, NULL, visit, &visitor);
    gate_leave(&gate);
    pthread_join(thread, NULL);
    assert_int_equal(visitor.code, ERR_OK);
    assert_false(gate_try(&gate));
    gate_leave(&gate);
    cancel_deinit(&visitor.cancel);
    gate_deinit(&gate);
}

static void test_who_is_stopped_is_not_inside(void **state)
{
    (void)state;
    struct gate gate;
    struct visitor visitor;
    pthread_t thread;
    gate_init(&gate, 1, BASE_MS);
    visitor_init(&visitor, &gate);
    assert_true(gate_try(&gate));
    int64_t start_ms = clock_ms();
    pthread_create(&thread, NULL, visit, &visitor);
    cancel_request(&visitor.cancel);
    pthread_join(thread, NULL);
    assert_in_range(clock_ms() - start_ms, 0, 1000);
    assert_int_equal(visitor.code, ERR_CANCELLED);
    gate_leave(&gate);
    assert_true(gate_try(&gate));
    gate_leave(&gate);
    cancel_deinit(&visitor.cancel);
    gate_deinit(&gate);
}

static void test_closed_for_the_time_asked_for(void **state)
{
    (void)state;
    struct gate gate;
    struct error err = ERROR_INIT;
    gate_init(&gate, 5, BASE_MS);
    assert_int_equal(gate_closed_ms(&gate), 0);
    gate_back_off(&gate, 300);
    int64_t start_ms = clock_ms();
    assert_false(gate_try(&gate));
    assert_in_range(gate_closed_ms(&gate), 200, 300);
    assert_int_equal(gate_enter(&gate, NULL, &err), ERR_OK);
    assert_in_range(clock_ms() - start_ms, 290, 2000);
    assert_int_equal(gate_closed_ms(&gate), 0);
    gate_leave(&gate);
    gate_deinit(&gate);
}

static void test_waiting_outside(void **state)
{
    (void)state;
    struct gate gate;
    struct error err = ERROR_INIT;
    struct visitor visitor;
    gate_init(&gate, 1, BASE_MS);
    visitor_init(&visitor, &gate);
    assert_int_equal(gate_wait_open(&gate, NULL, &err), ERR_OK);
    gate_back_off(&gate, 200);
    int64_t start_ms = clock_ms();
    assert_int_equal(gate_wait_open(&gate, NULL, &err), ERR_OK);
    assert_in_range(clock_ms() - start_ms, 190, 2000);
    assert_true(gate_try(&gate)); /* it did not go in */
    gate_leave(&gate);
    gate_back_off(&gate, 60000);
    cancel_request(&visitor.cancel);
    assert_int_equal(gate_wait_open(&gate, &visitor.stop, &err), ERR_CANCELLED);
    cancel_deinit(&visitor.cancel);
    gate_deinit(&gate);
}

static void test_halves_and_grows_back_one_by_one(void **state)
{
    (void)state;
    struct gate gate;
    gate_init(&gate, 5, BASE_MS);
    assert_int_equal(gate_allowed(&gate), 5);
    const unsigned halved[] = {2, 1, 1};
    for (size_t i = 0; i < 3; i++) {
        gate_back_off(&gate, 0);
        assert_int_equal(gate_allowed(&gate), halved[i]);
    }
    assert_true(gate_try(&gate));
    assert_false(gate_try(&gate));
    const unsigned grown[] = {2, 3, 4, 5, 5};
    for (size_t i = 0; i < 5; i++) {
        gate_succeeded(&gate);
        assert_int_equal(gate_allowed(&gate), grown[i]);
    }
    gate_leave(&gate);
    gate_deinit(&gate);
}

static void test_answers_to_what_was_under_way_count_once(void **state)
{
    (void)state;
    struct gate gate;
    gate_init(&gate, 8, BASE_MS);
    gate_back_off(&gate, 60000);
    for (int i = 0; i < 5; i++)
        gate_back_off(&gate, -1);
    assert_int_equal(gate_allowed(&gate), 4);
    assert_in_range(gate_closed_ms(&gate), 59000, 60000);
    gate_back_off(&gate, 1000); /* never shorter than what was asked for before */
    assert_in_range(gate_closed_ms(&gate), 59000, 60000);
    gate_back_off(&gate, 90000);
    assert_in_range(gate_closed_ms(&gate), 89000, 90000);
    assert_int_equal(gate_allowed(&gate), 4);
    gate_deinit(&gate);
}

static void test_grows_where_no_time_is_named(void **state)
{
    (void)state;
    struct gate gate;
    struct error err = ERROR_INIT;
    gate_init(&gate, 5, BASE_MS);
    for (int refusals = 1; refusals <= 3; refusals++) {
        gate_back_off(&gate, -1);
        assert_in_range(gate_closed_ms(&gate), BASE_MS * refusals - 30, BASE_MS * refusals);
        assert_int_equal(gate_wait_open(&gate, NULL, &err), ERR_OK);
    }
    gate_succeeded(&gate);
    gate_back_off(&gate, -1);
    assert_in_range(gate_closed_ms(&gate), 1, BASE_MS);
    gate_deinit(&gate);
}

static void test_longest(void **state)
{
    (void)state;
    struct gate gate;
    gate_init(&gate, 5, GATE_GROWN_MAX_MS * 3);
    gate_back_off(&gate, -1);
    assert_in_range(gate_closed_ms(&gate), GATE_GROWN_MAX_MS - 1000, GATE_GROWN_MAX_MS);
    gate_back_off(&gate, INT64_MAX / 2);
    assert_in_range(gate_closed_ms(&gate), GATE_CLOSED_MAX_MS - 1000, GATE_CLOSED_MAX_MS);
    gate_deinit(&gate);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_who_waits_gets_in),
        cmocka_unit_test(test_who_is_stopped_is_not_inside),
        cmocka_unit_test(test_closed_for_the_time_asked_for),
        cmocka_unit_test(test_waiting_outside),
        cmocka_unit_test(test_halves_and_grows_back_one_by_one),
        cmocka_unit_test(test_answers_to_what_was_under_way_count_once),
        cmocka_unit_test(test_grows_where_no_time_is_named),
        cmocka_unit_test(test_longest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
