#include "net/retry_after.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define NOW_S 784111777 /* Sun, 06 Nov 1994 08:49:37 GMT, the date of RFC 9110 */

static int64_t after_dated(const char *value, const char *date)
{
    struct http_response response = HTTP_RESPONSE_INIT;
    if (date) {
        autofree char *field = xasprintf("Date: %s", date);
        buf_append(&response.headers, field, strlen(field) + 1);
    }
    if (value) {
        autofree char *field = xasprintf("Retry-After: %s", value);
        buf_append(&response.headers, field, strlen(field) + 1);
    }
    int64_t ms = retry_after_ms(&response, NOW_S);
    http_response_deinit(&response);
    return ms;
}

static int64_t after(const char *value)
{
    return after_dated(value, NULL);
}

/* The clock of the server, or ours, may be wrong by years. */
static void test_date_of_the_answer(void **state)
{
    (void)state;
    assert_int_equal(after_dated("Sun, 06 Nov 2044 08:00:30 GMT", "Sun, 06 Nov 2044 08:00:00 GMT"),
                     30000);
    assert_int_equal(after_dated("Sun, 06 Nov 1994 08:00:00 GMT", "Sun, 06 Nov 1994 07:59:59 GMT"),
                     1000);
    assert_int_equal(after_dated("Sun, 06 Nov 2044 08:00:30 GMT", "Sun, 06 Nov 2044 08:00:31 GMT"),
                     0);
    assert_int_equal(after_dated("Sun, 06 Nov 1994 08:50:07 GMT", "now"), 30000);
    assert_int_equal(after_dated("7", "Sun, 06 Nov 2044 08:00:00 GMT"), 7000);
}

static void test_retry_after(void **state)
{
    (void)state;
    assert_int_equal(after(NULL), -1);
    assert_int_equal(after(""), -1);
    assert_int_equal(after("soon"), -1);
    assert_int_equal(after("-1"), -1);
    assert_int_equal(after("0"), 0);
    assert_int_equal(after("1"), 1000);
    assert_int_equal(after("120 "), 120000);
    assert_int_equal(after("99999999999999999999999"), 86400000);
    assert_int_equal(after("Sun, 06 Nov 1994 08:50:07 GMT"), 30000);
    assert_int_equal(after("Sunday, 06-Nov-94 08:49:38 GMT"), 1000);
    assert_int_equal(after("Sun, 06 Nov 1994 08:49:37 GMT"), 0);
    assert_int_equal(after("Sun, 06 Nov 1994 08:00:00 GMT"), 0);
    assert_int_equal(after("Sun, 06 Nov 2044 08:00:00 GMT"), 86400000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_retry_after),
        cmocka_unit_test(test_date_of_the_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
