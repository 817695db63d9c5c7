#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void appends_add_up(void **state)
{
    (void)state;
    struct buf buf autobuf = BUF_INIT(1000);
    assert_string_equal(buf_cstr(&buf), "");
    buf_text(&buf, "");
    assert_string_equal(buf_cstr(&buf), "");
    buf_text(&buf, "ab");
    buf_append(&buf, "c\0d", 3);
    buf_format(&buf, "%d-%s", 42, "x");
    assert_int_equal(buf.size, 9);
    assert_memory_equal(buf.data, "abc\0d42-x", 10);
    assert_false(buf.overflowed);
}

static void growth_keeps_the_content(void **state)
{
    (void)state;
    struct buf buf autobuf = BUF_INIT(100000);
    for (int i = 0; i < 10000; i++)
        buf_format(&buf, "%04d,", i);
    assert_int_equal(buf.size, 50000);
    assert_int_equal(strncmp(buf.data, "0000,0001,", 10), 0);
    assert_string_equal(buf.data + 50000 - 5, "9999,");
}

static void the_limit_is_exact_and_sticky(void **state)
{
    (void)state;
    struct buf buf autobuf = BUF_INIT(8);
    buf_text(&buf, "1234567");
    assert_false(buf.overflowed);
    buf_text(&buf, "8");
    assert_false(buf.overflowed);
    assert_int_equal(buf.size, 8);
    buf_text(&buf, "");
    assert_false(buf.overflowed);
    buf_text(&buf, "9");
    assert_true(buf.overflowed);
    assert_string_equal(buf_cstr(&buf), "12345678");

    struct buf jump autobuf = BUF_INIT(8);
    buf_text(&jump, "12345678+");
    assert_true(jump.overflowed);
    assert_string_equal(buf_cstr(&jump), "");
    buf_text(&jump, "x");
    assert_string_equal(buf_cstr(&jump), "");
    buf_format(&jump, "%d", 1);
    assert_int_equal(jump.size, 0);
    buf_clear(&jump);
    buf_text(&jump, "x");
    assert_string_equal(buf_cstr(&jump), "x");
    assert_false(jump.overflowed);
}

static void sizes_near_the_end_of_the_numbers_overflow_cleanly(void **state)
{
    (void)state;
    struct buf buf autobuf = BUF_INIT(1000);
    buf_text(&buf, "abc");
    buf_append(&buf, "x", SIZE_MAX);
    assert_true(buf.overflowed);
    assert_string_equal(buf_cstr(&buf), "abc");
}

static void taking_hands_the_bytes_over(void **state)
{
    (void)state;
    struct buf buf autobuf = BUF_INIT(10);
    buf_text(&buf, "abc");
    char *taken = buf_take(&buf);
    assert_string_equal(taken, "abc");
    free(taken);
    assert_int_equal(buf.size, 0);
    assert_int_equal(buf.limit_bytes, 10);
    taken = buf_take(&buf);
    assert_string_equal(taken, "");
    free(taken);
    buf_text(&buf, "again");
    assert_string_equal(buf_cstr(&buf), "again");
    buf_clear(&buf);
    assert_string_equal(buf_cstr(&buf), "");
    buf_deinit(&buf);
    buf_deinit(&buf);
    assert_int_equal(buf.limit_bytes, 10);
}

static void queries_are_escaped(void **state)
{
    (void)state;
    struct buf buf autobuf = BUF_INIT(100);
    buf_query_escape(&buf, "sha256:a/b c&d=e%+\xc3\xa4~A-z_0.9");
    assert_string_equal(buf_cstr(&buf), "sha256%3Aa%2Fb%20c%26d%3De%25%2B%C3%A4~A-z_0.9");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appends_add_up),
        cmocka_unit_test(growth_keeps_the_content),
        cmocka_unit_test(the_limit_is_exact_and_sticky),
        cmocka_unit_test(sizes_near_the_end_of_the_numbers_overflow_cleanly),
        cmocka_unit_test(taking_hands_the_bytes_over),
        cmocka_unit_test(queries_are_escaped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
