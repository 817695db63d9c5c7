/* The list of gateways that an image has come through. */
#include "base/via.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define A "00000000000000aa"
#define B "00000000000000bb"
#define SEVEN A "," A "," A "," A "," A "," A "," A
#define EIGHT SEVEN "," A

static void lists_are_read(void **state)
{
    static const struct {
        const char *header;
        enum errc want;
        const char *via;
    } cases[] = {
        {NULL, ERR_OK, ""},
        {"", ERR_OK, ""},
        {" , ,", ERR_OK, ""},
        {A, ERR_OK, A},
        {A "," A, ERR_OK, A ", " A},
        {" " A " ,\t" A ", ", ERR_OK, A ", " A},
        {SEVEN, ERR_OK, A ", " A ", " A ", " A ", " A ", " A ", " A},
        {EIGHT, ERR_LOOP, NULL},
        {EIGHT "," A, ERR_BAD_REQUEST, NULL},
        {B, ERR_LOOP, NULL},
        {A ", " B ", " A, ERR_LOOP, NULL},
        {A "b", ERR_BAD_REQUEST, NULL},
        {"00000000000000AA", ERR_BAD_REQUEST, NULL},
        {A ";" A, ERR_BAD_REQUEST, NULL},
        {"\xff", ERR_BAD_REQUEST, NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct error err = ERROR_INIT;
        char via[VIA_TEXT_MAX + 1] = "before";
        assert_int_equal(via_read(cases[i].header, B, via, &err), cases[i].want);
        assert_string_equal(via, cases[i].via ? cases[i].via : "before");
        if (cases[i].want == ERR_LOOP)
            assert_non_null(strstr(err.text, strstr(cases[i].header, B) ? B : A));
    }
}

static void one_more_is_added(void **state)
{
    char via[VIA_TEXT_MAX + 1];
    struct error err = ERROR_INIT;
    (void)state;
    via_add("", A, via);
    assert_string_equal(via, A);
    char seven[VIA_TEXT_MAX + 1];
    char eight[VIA_TEXT_MAX + 1];
    assert_int_equal(via_read(SEVEN, B, seven, &err), ERR_OK);
    via_add(seven, A, eight);
    assert_int_equal(via_read(eight, B, via, &err), ERR_LOOP);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_are_read),
        cmocka_unit_test(one_more_is_added),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
