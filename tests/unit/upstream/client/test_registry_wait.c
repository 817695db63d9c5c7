#include "upstream/client/registry_wait.h"

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static bool tell(struct registry_waits *waits, const char *registry, int64_t left_ms, char *text)
{
    const struct registry_wait wait = {
        .registry = registry, .reason = "PUT x: status 503", .until_ms = clock_ms() + left_ms};
    return registry_waits_tell(waits, &wait, text);
}

static void for_what_and_until_when(void **state)
{
    (void)state;
    struct registry_waits waits = {.next = 0};
    char text[REGISTRY_WAIT_TEXT_MAX] = "";
    int hour, minute, second;
    assert_true(tell(&waits, "r.example.com:5000", 3600000, text));
    assert_int_equal(sscanf(text,
                            "waiting 3600 s for registry r.example.com:5000, until %2d:%2d:%2d "
                            "UTC: PUT x: status 503",
                            &hour, &minute, &second),
                     3);
    assert_int_equal(strcmp(text + strlen(text) - 3, "503"), 0);
    assert_false(registry_waits_tell(&waits, NULL, text));
    assert_false(tell(&waits, "r", 0, text));
}

/* Layers and targets that failed together wait a little longer or shorter than each other. */
static void once_a_wait(void **state)
{
    (void)state;
    struct registry_waits waits = {.next = 0};
    char text[REGISTRY_WAIT_TEXT_MAX];
    assert_true(tell(&waits, "a", 100000, text));
    assert_false(tell(&waits, "a", 100000, text));
    assert_false(tell(&waits, "a", 125000, text));
    assert_false(tell(&waits, "a", 20000, text));
    assert_true(tell(&waits, "a", 600000, text));
    assert_false(tell(&waits, "a", 600000, text));
    assert_true(tell(&waits, "b", 100000, text));
}

static void of_too_many_the_oldest_is_told_again(void **state)
{
    (void)state;
    struct registry_waits waits = {.next = 0};
    char text[REGISTRY_WAIT_TEXT_MAX];
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < REGISTRY_WAITS_TOLD; i++) {
            char name[8];
            snprintf(name, sizeof name, "r%d", i);
            assert_int_equal(tell(&waits, name, 100000, text), round == 0);
        }
    }
    assert_true(tell(&waits, "one more", 100000, text));
    assert_false(tell(&waits, "r1", 100000, text));
    assert_true(tell(&waits, "r0", 100000, text));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(for_what_and_until_when),
        cmocka_unit_test(once_a_wait),
        cmocka_unit_test(of_too_many_the_oldest_is_told_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
