#include "gateway/ingest/unpacked.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct digest nth(int number)
{
    char text[16];
    snprintf(text, sizeof text, "%d", number);
    return digest_of(DIGEST_SHA256, text, strlen(text));
}

static void a_layer_is_known_whatever_the_limit(void **state)
{
    (void)state;
    struct digest blob = nth(-1);
    struct unpacked got;
    const struct unpacked layer = {.diff_id = nth(-2), .raw_size = 7};
    assert_false(unpacked_find(&blob, 7, &got));
    unpacked_note(&blob, &layer);
    assert_true(unpacked_find(&blob, 1, &got));
    assert_true(digest_equal(&got.diff_id, &layer.diff_id));
    assert_int_equal(got.raw_size, 7);
}

static void what_is_too_large_is_known_up_to_its_limit(void **state)
{
    (void)state;
    struct digest blob = nth(-3);
    struct unpacked got;
    unpacked_note(&blob, &(struct unpacked){.raw_size = 100});
    assert_true(unpacked_find(&blob, 99, &got));
    assert_true(unpacked_find(&blob, 100, &got));
    assert_int_equal(got.diff_id.algorithm, DIGEST_NONE);
    assert_false(unpacked_find(&blob, 101, &got));
    unpacked_note(&blob, &(struct unpacked){.raw_size = UINT64_MAX});
    assert_true(unpacked_find(&blob, UINT64_MAX, &got));
}

static void the_oldest_makes_room(void **state)
{
    (void)state;
    struct unpacked got;
    for (int i = 0; i <= UNPACKED_MAX; i++) {
        struct digest blob = nth(i);
        unpacked_note(&blob, &(struct unpacked){.diff_id = blob, .raw_size = (uint64_t)i});
    }
    for (int i = 0; i <= UNPACKED_MAX; i += i < 2 ? 1 : 1021) {
        struct digest blob = nth(i);
        assert_int_equal(unpacked_find(&blob, 1, &got), i > 0);
        assert_true(i == 0 || got.raw_size == (uint64_t)i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_layer_is_known_whatever_the_limit),
        cmocka_unit_test(what_is_too_large_is_known_up_to_its_limit),
        cmocka_unit_test(the_oldest_makes_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
