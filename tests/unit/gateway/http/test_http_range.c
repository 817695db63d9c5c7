#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* cmocka has a macro of that name. */
#undef fail

#include "gateway/http/http_range.h"

static void a_range_asks_for_a_part_for_all_or_for_nothing(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        uint64_t total;
        enum range_answer answer;
        uint64_t first;
        uint64_t size;
    } rows[] = {
        {NULL, 10, RANGE_WHOLE, 0, 0},
        {"bytes=0-0", 10, RANGE_PART, 0, 1},
        {"bytes=0-8", 10, RANGE_PART, 0, 9},
        {"bytes=0-9", 10, RANGE_PART, 0, 10},
        {"bytes=0-10", 10, RANGE_PART, 0, 10},
        {"bytes=0-99999999999999999999999999", 10, RANGE_PART, 0, 10},
        {"bytes=0-18446744073709551615", 10, RANGE_PART, 0, 10},
        {"bytes=8-", 10, RANGE_PART, 8, 2},
        {"bytes=9-", 10, RANGE_PART, 9, 1},
        {"bytes=10-", 10, RANGE_NONE, 0, 0},
        {"bytes=11-12", 10, RANGE_NONE, 0, 0},
        {"bytes=99999999999999999999999999-", 10, RANGE_NONE, 0, 0},
        {"BYTES=2-3", 10, RANGE_PART, 2, 2},
        {"bytes=-1", 10, RANGE_PART, 9, 1},
        {"bytes=-9", 10, RANGE_PART, 1, 9},
        {"bytes=-10", 10, RANGE_PART, 0, 10},
        {"bytes=-11", 10, RANGE_PART, 0, 10},
        {"bytes=-0", 10, RANGE_NONE, 0, 0},
        {"bytes=0-0", 0, RANGE_NONE, 0, 0},
        {"bytes=0-", 0, RANGE_NONE, 0, 0},
        {"bytes=-1", 0, RANGE_WHOLE, 0, 0},
        {"bytes=3-2", 10, RANGE_NONE, 0, 0},
        {"bytes=-", 10, RANGE_WHOLE, 0, 0},
        {"bytes=", 10, RANGE_WHOLE, 0, 0},
        {"bytes", 10, RANGE_WHOLE, 0, 0},
        {"", 10, RANGE_WHOLE, 0, 0},
        {"bytes=1", 10, RANGE_WHOLE, 0, 0},
        {"bytes=1-2,4-5", 10, RANGE_WHOLE, 0, 0},
        {"bytes=1-2x", 10, RANGE_WHOLE, 0, 0},
        {"bytes=a-2", 10, RANGE_WHOLE, 0, 0},
        {"bytes=+1-2", 10, RANGE_WHOLE, 0, 0},
        {"bytes=--1", 10, RANGE_WHOLE, 0, 0},
        {"items=1-2", 10, RANGE_WHOLE, 0, 0},
        {"0-9", 10, RANGE_WHOLE, 0, 0},
        {"bytes=18446744073709551614-18446744073709551615", UINT64_MAX, RANGE_PART, UINT64_MAX - 1,
         1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct byte_range range = {0};
        print_message("%s of %llu\n", rows[i].header, (unsigned long long)rows[i].total);
        assert_int_equal(http_range(rows[i].header, rows[i].total, &range), rows[i].answer);
        assert_int_equal(range.first, rows[i].first);
        assert_int_equal(range.size, rows[i].size);
    }
}

static void a_chunk_says_which_bytes_it_has(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        uint64_t first;
        uint64_t size; /* 0: refused */
    } rows[] = {
        {"0-0", 0, 1},
        {"0-59999", 0, 60000},
        {"60000-119999", 60000, 60000},
        {"bytes=5-6", 5, 2},
        {"bytes 5-6", 5, 2},
        {"Bytes 5-6/*", 5, 2},
        {"bytes 5-6/7", 5, 2},
        {"5-6/8", 5, 2},
        {"5-6/6", 0, 0},
        {"5-6/", 0, 0},
        {"5-6/x", 0, 0},
        {"5-6/*7", 0, 0},
        {"6-6", 6, 1},
        {"6-5", 0, 0},
        {"0-9223372036854775807", 0, 9223372036854775808U},
        {"18446744073709551605-18446744073709551614", 18446744073709551605U, 10},
        {"0-18446744073709551614", 0, UINT64_MAX},
        {"0-18446744073709551615", 0, 0},
        {"0-18446744073709551616", 0, 0},
        {"99999999999999999999-99999999999999999999", 0, 0},
        {"", 0, 0},
        {"-", 0, 0},
        {"5-", 0, 0},
        {"-5", 0, 0},
        {"0--1", 0, 0},
        {" 0-1", 0, 0},
        {"=0-1", 0, 0},
        {"bytes0-1", 0, 0},
        {"bytes  0-1", 0, 0},
        {"bytes=bytes=0-1", 0, 0},
        {"bytes */7", 0, 0},
        {"0-1 ", 0, 0},
        {"0-1,2-3", 0, 0},
        {"0x0-1", 0, 0},
        {"+0-1", 0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct byte_range range = {0};
        struct error err = ERROR_INIT;
        print_message("%s\n", rows[i].header);
        assert_int_equal(content_range_parse(rows[i].header, &range, &err),
                         rows[i].size > 0 ? ERR_OK : ERR_UPLOAD_INVALID);
        assert_int_equal(range.first, rows[i].first);
        assert_int_equal(range.size, rows[i].size);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_range_asks_for_a_part_for_all_or_for_nothing),
        cmocka_unit_test(a_chunk_says_which_bytes_it_has),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
