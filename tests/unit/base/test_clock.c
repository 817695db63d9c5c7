#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

int __real_clock_gettime(clockid_t clock, struct timespec *out);
int __wrap_clock_gettime(clockid_t clock, struct timespec *out);

/* Of the wall clock. */
static int64_t ahead_s;

int __wrap_clock_gettime(clockid_t clock, struct timespec *out)
{
    int rc = __real_clock_gettime(clock, out);
    if (clock == CLOCK_REALTIME)
        out->tv_sec += ahead_s;
    return rc;
}

/* As it is, or a second of rounding before. */
static void assert_about(int64_t time_s, int64_t wanted_s)
{
    assert_in_range(time_s - wanted_s + 2, 0, 3);
}

static void what_is_set_forward_hurries_nothing(void **state)
{
    (void)state;
    int64_t begun_s = clock_wall_s();
    assert_about(clock_unhurried_s(), begun_s);
    ahead_s = 3600;
    assert_about(clock_wall_s(), begun_s + 3600);
    assert_about(clock_unhurried_s(), begun_s);
    ahead_s = -3600;
    assert_about(clock_unhurried_s(), begun_s - 3600);
    ahead_s = 0;
    assert_about(clock_unhurried_s(), begun_s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_set_forward_hurries_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
