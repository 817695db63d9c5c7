#include "base/timer_heap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#include <cmocka.h>

#define TIMERS 300

static int64_t earliest(const struct heap_timer *timers)
{
    int64_t first_ms = INT64_MAX;
    for (size_t i = 0; i < TIMERS; i++)
        if (timers[i].position > 0 && timers[i].due_ms < first_ms)
            first_ms = timers[i].due_ms;
    return first_ms;
}

/* Whatever comes and goes, in whatever order. */
static void the_first_is_due_first(void **state)
{
    (void)state;
    struct timer_heap heap = {0};
    struct heap_timer timers[TIMERS] = {{0}};
    uint32_t chance = 1;
    size_t count = 0;
    assert_null(timer_heap_first(&heap));
    for (size_t round = 0; round < 20000; round++) {
        chance = chance * 1664525 + 1013904223;
        struct heap_timer *timer = &timers[(chance >> 8) % TIMERS];
        bool there = timer->position > 0;
        count += there ? (size_t)-1 : 1;
        if (there)
            timer_heap_remove(&heap, timer);
        else
            timer_heap_add(&heap, timer, (int64_t)(chance >> 24) - 100);
        assert_int_equal(heap.count, count);
        if (count > 0)
            assert_int_equal(timer_heap_first(&heap)->due_ms, earliest(timers));
    }
    for (int64_t last_ms = INT64_MIN; heap.count > 0;) {
        struct heap_timer *first = timer_heap_first(&heap);
        assert_true(first->due_ms >= last_ms);
        last_ms = first->due_ms;
        timer_heap_remove(&heap, first);
        assert_int_equal(first->position, 0);
    }
    timer_heap_deinit(&heap);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_is_due_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
