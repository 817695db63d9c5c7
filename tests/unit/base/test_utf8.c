#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/utf8.h"

static void characters_have_their_sizes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t size;
        bool control;
    } rows[] = {
        {"a", 1, false},
        {"~", 1, false},
        {" ", 1, false},
        {"\x1b", 1, true},
        {"\x1f", 1, true},
        {"\x7f", 1, true},
        {"\xc2\x80", 2, true},
        {"\xc2\x9b", 2, true}, /* CSI */
        {"\xc2\x9f", 2, true},
        {"\xc2\xa0", 2, false},
        {"\xc3\x9f", 2, false},
        {"\xe2\x82\xac", 3, false},
        {"\xe2\x80\xa7", 3, false},
        {"\xe2\x80\xa8", 3, true}, /* line separator */
        {"\xe2\x80\xae", 3, true}, /* right-to-left override */
        {"\xe2\x80\xaf", 3, false},
        {"\xe2\x80\x8a", 3, false}, /* hair space */
        {"\xe2\x80\x8b", 3, true},  /* zero width space */
        {"\xe2\x80\x8f", 3, true},  /* right-to-left mark */
        {"\xe2\x80\x90", 3, false}, /* hyphen */
        {"\xe2\x81\x9f", 3, false},
        {"\xe2\x81\xa0", 3, true}, /* word joiner */
        {"\xe2\x81\xaf", 3, true},
        {"\xe2\x81\xb0", 3, false},
        {"\xef\xbb\xbf", 3, true}, /* byte order mark */
        {"\xef\xbb\xbe", 3, false},
        {"\xc2\xad", 2, true}, /* soft hyphen */
        {"\xc2\xae", 2, false},
        {"\xd8\x9b", 2, false},
        {"\xd8\x9c", 2, true}, /* Arabic letter mark */
        {"\xe2\x81\xa6", 3, true},
        {"\xe2\x81\xa9", 3, true},
        {"\xf0\x9f\x98\x80", 4, false},
        {"\xf4\x8f\xbf\xbf", 4, false},
        /* no characters */
        {"\x80", 0, false},
        {"\xc2", 0, false},
        {"\xc0\xaf", 0, false},
        {"\xc1\xbf", 0, false},
        {"\xe0\x9f\xbf", 0, false},
        {"\xed\xa0\x80", 0, false},
        {"\xe2\x82", 0, false},
        {"\xf0\x8f\xbf\xbf", 0, false},
        {"\xf4\x90\x80\x80", 0, false},
        {"\xf5\x80\x80\x80", 0, false},
        {"\xff", 0, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        bool control = !rows[i].control;
        assert_int_equal(utf8_next(rows[i].text, &control), rows[i].size);
        assert_int_equal(control, rows[i].control);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(characters_have_their_sizes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
