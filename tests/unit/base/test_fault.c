#include "base/fault.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct error error_of(enum errc code)
{
    return (struct error){.code = code};
}

static enum fault_state state_of(struct fault *fault, enum errc *code)
{
    struct error why = ERROR_INIT;
    enum fault_state state = fault_now(fault, &why);
    *code = why.code;
    return state;
}

static void one_that_passes_is_forgotten_and_one_that_stays_is_not(void **state)
{
    (void)state;
    struct fault fault;
    struct error full = error_of(ERR_NO_SPACE), io = error_of(ERR_IO), sync = error_of(ERR_SYNC);
    enum errc code = ERR_OK;
    fault_init(&fault);
    assert_int_equal(state_of(&fault, &code), FAULT_NONE);
    fault_set(&fault, FAULT_PASSES, &full);
    fault_set(&fault, FAULT_PASSES, &io);
    assert_int_equal(state_of(&fault, &code), FAULT_PASSES);
    assert_int_equal(code, ERR_NO_SPACE);
    fault_clear(&fault);
    assert_int_equal(fault_now(&fault, NULL), FAULT_NONE);
    fault_set(&fault, FAULT_PASSES, &full);
    fault_set(&fault, FAULT_STAYS, &sync);
    fault_set(&fault, FAULT_STAYS, &io);
    fault_set(&fault, FAULT_PASSES, &full);
    fault_clear(&fault);
    assert_int_equal(state_of(&fault, &code), FAULT_STAYS);
    assert_int_equal(code, ERR_SYNC);
    fault_deinit(&fault);
}

static void a_wait_ends_with_a_change_or_when_it_is_woken(void **state)
{
    (void)state;
    struct fault fault;
    struct error full = error_of(ERR_NO_SPACE);
    fault_init(&fault);
    assert_int_equal(fault_wait(&fault, 0, 1), 0);
    fault_set(&fault, FAULT_PASSES, &full);
    fault_set(&fault, FAULT_PASSES, &full);
    assert_int_equal(fault_wait(&fault, 0, 60000), 1);
    fault_clear(&fault);
    fault_clear(&fault);
    assert_int_equal(fault_wait(&fault, 1, 60000), 2);
    fault_wake(&fault);
    assert_int_equal(fault_wait(&fault, 2, 60000), 3);
    fault_deinit(&fault);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_that_passes_is_forgotten_and_one_that_stays_is_not),
        cmocka_unit_test(a_wait_ends_with_a_change_or_when_it_is_woken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
